"""The rules of Algorithm 1 (arXiv 1807.04938): one match arm per rule, labelled with the paper's lines.

Pure: `apply(state, input) -> (state, effects)`. Inputs are whole events ("a proposal and a polka for it"), so nothing
is counted here, and applying an event twice does nothing the second time. A polka is 2f + 1 prevotes.
"""

from enum import IntEnum

import msgspec

from protocol.tendermint.events import Decide, Effect, GetBlock, ScheduleTimeout, SignProposal, SignVote, TimeoutKind
from protocol.tendermint.messages import Commit, VoteKind
from protocol.types import Digest, Height, Record, Round


class Step(IntEnum):
    """step_p of the paper, with the wait before round 0 and the end of a height made explicit."""

    WAITING = 0
    PROPOSE = 1
    PREVOTE = 2
    PRECOMMIT = 3
    DECIDED = 4


class State(Record):
    """The variables of one height (L3 to L9). None stands for the paper's -1 and nil."""

    height: Height
    round: Round = 0
    step: Step = Step.WAITING
    locked_round: Round | None = None
    locked_block: Digest | None = None
    valid_round: Round | None = None
    valid_block: Digest | None = None
    # "For the first time" of L34, L36 and L47; each round starts anew.
    has_any_prevotes: bool = False
    has_polka: bool = False
    has_any_precommits: bool = False


# --- inputs ----------------------------------------------------------------------------------------------------------


class RoundZero(Record):
    """The height starts; whether this replica proposes in round 0."""

    is_proposer: bool


class OwnBlock(Record):
    """The block asked for at L18 was built in this round."""

    round: Round
    block_id: Digest


class FreshProposal(Record):
    """The proposer of the current round proposes a new block; `is_valid` counts its time in."""

    block_id: Digest
    is_valid: bool


class ReproposalAndPolka(Record):
    """The proposer of the current round repeats the block of an earlier round, which had a polka there."""

    block_id: Digest
    valid_round: Round
    is_valid: bool


class AnyPrevotes(Record):
    """2f + 1 prevotes in the current round, for whatever."""


class ProposalAndPolka(Record):
    """A valid proposal of the current round and a polka for it."""

    block_id: Digest


class NilPolka(Record):
    """2f + 1 prevotes for nil in the current round."""


class AnyPrecommits(Record):
    """2f + 1 precommits in the current round, for whatever."""


class BlockAndCommit(Record):
    """2f + 1 precommits of one round, any round of this height, for a block that is at hand."""

    commit: Commit


class LaterRound(Record):
    """More than f of the power voted in this or a later round; whether this replica proposes in it."""

    round: Round
    is_proposer: bool


class Expired(Record):
    """A timeout has passed; for a precommit timeout, whether this replica proposes in the next round."""

    kind: TimeoutKind
    round: Round
    is_next_proposer: bool


Input = (
    RoundZero
    | OwnBlock
    | FreshProposal
    | ReproposalAndPolka
    | AnyPrevotes
    | ProposalAndPolka
    | NilPolka
    | AnyPrecommits
    | BlockAndCommit
    | LaterRound
    | Expired
)
Outcome = tuple[State, list[Effect]]


def apply(state: State, event: Input) -> Outcome:
    """Return the state after an event and what is to be done; an event that no rule waits for changes nothing."""
    step = state.step
    match event:
        case _ if step == Step.DECIDED:
            return state, []
        case RoundZero(is_proposer) if step == Step.WAITING:  # L10
            return _start_round(state, 0, is_proposer)
        case OwnBlock(round, block_id) if round == state.round and step == Step.PROPOSE:  # L18, L19
            return state, [SignProposal(state.height, round, None, block_id)]
        case FreshProposal(block_id, is_valid) if step == Step.PROPOSE:  # L22
            if is_valid and (state.locked_round is None or state.locked_block == block_id):  # L23
                return _prevote(state, block_id)  # L24, L27
            return _prevote(state, None)  # L25 to L27
        case ReproposalAndPolka(block_id, valid_round, is_valid) if step == Step.PROPOSE and valid_round < state.round:
            # L28
            is_free = state.locked_round is None or state.locked_round <= valid_round or state.locked_block == block_id
            if is_valid and is_free:  # L29
                return _prevote(state, block_id)  # L30, L33
            return _prevote(state, None)  # L31 to L33
        case AnyPrevotes() if step == Step.PREVOTE and not state.has_any_prevotes:  # L34
            return _wait(state, TimeoutKind.PREVOTE, has_any_prevotes=True)  # L35
        case ProposalAndPolka(block_id) if step >= Step.PREVOTE and not state.has_polka:  # L36
            return _accept_polka(state, block_id)
        case NilPolka() if step == Step.PREVOTE:  # L44
            return _precommit(state, None)  # L45, L46
        case AnyPrecommits() if step >= Step.PROPOSE and not state.has_any_precommits:  # L47
            return _wait(state, TimeoutKind.PRECOMMIT, has_any_precommits=True)  # L48
        case BlockAndCommit(commit):  # L49; whoever stores the block judges L50
            return _change(state, step=Step.DECIDED), [Decide(commit)]  # L51 to L54
        case LaterRound(round, is_proposer) if round > state.round:  # L55
            return _start_round(state, round, is_proposer)  # L56
        case Expired(TimeoutKind.PROPOSE, round) if round == state.round and step == Step.PROPOSE:  # L57, L58
            return _prevote(state, None)  # L59, L60
        case Expired(TimeoutKind.PREVOTE, round) if round == state.round and step == Step.PREVOTE:  # L61, L62
            return _precommit(state, None)  # L63, L64
        case Expired(TimeoutKind.PRECOMMIT, round, is_next) if (
            round == state.round and step >= Step.PROPOSE
        ):  # L65, L66
            return _start_round(state, round + 1, is_next)  # L67
        case _:
            return state, []


def get_timeouts(state: State) -> list[ScheduleTimeout]:
    """Return the timeouts that run in this state: those of the round that were asked for and have not passed."""
    is_running = {
        TimeoutKind.PROPOSE: state.step == Step.PROPOSE,
        TimeoutKind.PREVOTE: state.step == Step.PREVOTE and state.has_any_prevotes,
        TimeoutKind.PRECOMMIT: state.step in (Step.PROPOSE, Step.PREVOTE, Step.PRECOMMIT) and state.has_any_precommits,
    }
    return [ScheduleTimeout(kind, state.height, state.round) for kind, runs in is_running.items() if runs]


def _start_round(state: State, round: int, is_proposer: bool) -> Outcome:  # L11
    """The proposer, too, waits no longer than the timeout: building a block can fail."""
    started = _change(
        state,
        round=round,  # L12
        step=Step.PROPOSE,  # L13
        has_any_prevotes=False,
        has_polka=False,
        has_any_precommits=False,
    )
    wait = ScheduleTimeout(TimeoutKind.PROPOSE, state.height, round)
    if is_proposer and state.valid_block is not None:  # L14, L15
        return started, [wait, SignProposal(state.height, round, state.valid_round, state.valid_block)]  # L16, L19
    if is_proposer:
        return started, [wait, GetBlock(state.height, round)]  # L17, L18
    return started, [wait]  # L20, L21


def _prevote(state: State, block_id: bytes | None) -> Outcome:
    return _change(state, step=Step.PREVOTE), [SignVote(VoteKind.PREVOTE, state.height, state.round, block_id)]


def _precommit(state: State, block_id: bytes | None) -> Outcome:
    return _change(state, step=Step.PRECOMMIT), [SignVote(VoteKind.PRECOMMIT, state.height, state.round, block_id)]


def _accept_polka(state: State, block_id: bytes) -> Outcome:
    """Lock only while prevoting; remember as valid in any case."""
    valid = _change(state, has_polka=True, valid_block=block_id, valid_round=state.round)  # L42, L43
    if state.step == Step.PREVOTE:  # L37
        return _precommit(_change(valid, locked_block=block_id, locked_round=state.round), block_id)  # L38 to L41
    return valid, []


def _wait(state: State, kind: TimeoutKind, **flags: bool) -> Outcome:
    return _change(state, **flags), [ScheduleTimeout(kind, state.height, state.round)]


def _change(state: State, **fields: object) -> State:
    return msgspec.structs.replace(state, **fields)
