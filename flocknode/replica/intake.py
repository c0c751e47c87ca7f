"""Judges what peers send under the topic of consensus, and queues it for the replica's task. Changes nothing else.

Rejected is only what no honest laggard sends: malformed bytes, wrong signatures, blocks that are not what their
proposal names. Whatever depends on where this replica stands is ignored. The queue is bounded; what finds no room comes
again by anti-entropy.
"""

from collections.abc import Callable
from dataclasses import dataclass

import trio

from flocknode.network.messages import PeerId, Verdict
from flocknode.replica.blocks import HeldBlock, open_proposed_block
from flocknode.replica.catch_up import RangeFetched
from flocknode.replica.engine import Engine
from flocknode.replica.presence import Presence
from flocknode.replica.wire import (
    MAX_BLOCK_BYTES,
    BlockProposal,
    ConsensusMessage,
    NewestVoteAsked,
    NewestVoteTold,
    SummaryTold,
    VoteCast,
    verify_summary,
)
from protocol.codec import decode
from protocol.errors import InvalidBlock, InvalidSignature, Malformed
from protocol.params import Params
from protocol.tendermint import events
from protocol.tendermint.core import MAX_ROUNDS_AHEAD, Core
from protocol.tendermint.messages import Proposal, Vote, verify_message

MAX_INBOX = 4096
# Proposals carry up to 2 MiB each; so many may wait.
MAX_WAITING_PROPOSALS = 16
MAX_MESSAGE_BYTES = MAX_BLOCK_BYTES + 1024


@dataclass(frozen=True)
class Joined:
    """A peer is connected."""

    peer: PeerId


@dataclass(frozen=True)
class Told:
    """A message that a peer sent to this replica alone, its signature verified."""

    peer: PeerId
    message: SummaryTold | NewestVoteAsked | NewestVoteTold


@dataclass(frozen=True)
class Proposed:
    """A verified proposal with its block."""

    event: events.ProposalReceived
    held: HeldBlock


@dataclass(frozen=True)
class Woken:
    """Something changed outside, such as a new transaction."""


Item = Joined | Told | Proposed | Woken | RangeFetched | events.VoteReceived | events.TimeoutExpired


class Intake:
    """The queue in front of the replica's task, and the judge at its entrance. `wall_clock` in ms since the epoch."""

    def __init__(self, engine: Engine, presence: Presence, wall_clock: Callable[[], int]) -> None:
        self._engine = engine
        self._presence = presence
        self._wall_clock = wall_clock
        self._writer, self._reader = trio.open_memory_channel[Item](MAX_INBOX)
        self._proposals_waiting = 0

    def put(self, item: Item) -> bool:
        """Queue an item; returns whether there was room."""
        try:
            self._writer.send_nowait(item)
        except trio.WouldBlock:
            return False
        return True

    async def take(self) -> list[Item]:
        """Wait for an item, and return all that are there."""
        items = [await self._reader.receive()]
        while self._reader.statistics().current_buffer_used:
            items.append(self._reader.receive_nowait())
        self._proposals_waiting -= sum(isinstance(item, Proposed) for item in items)
        return items

    def judge(self, peer: PeerId, payload: bytes) -> Verdict:
        """Return what a message is worth, and queue it if it is of use."""
        try:
            message: ConsensusMessage = decode(payload, ConsensusMessage, max_bytes=MAX_MESSAGE_BYTES)  # type: ignore[arg-type]
        except Malformed:
            return Verdict.REJECT
        match message:
            case VoteCast(vote):
                return self._take_vote(vote)
            case BlockProposal():
                return self._take_proposal(message)
            case _:
                return self._take_told(peer, message)

    def _take_vote(self, vote: Vote) -> Verdict:
        verdict = judge_vote(self._engine.chain.id, self._engine.core, vote)
        if verdict is not Verdict.ACCEPT:
            return verdict
        self._presence.hear(vote.replica, trio.current_time())
        return verdict if self.put(events.VoteReceived(vote)) else Verdict.IGNORE

    def _take_proposal(self, message: BlockProposal) -> Verdict:
        proposal, chain = message.proposal, self._engine.chain
        verdict, held = judge_proposal(chain.id, self._engine.core, message)
        if held is None:
            return verdict
        self._presence.hear(proposal.replica, trio.current_time())
        timely = is_timely(
            chain.params,
            block_time_ms=held.block.header.time_ms,
            round=proposal.round,
            now_ms=self._wall_clock(),
        )
        item = Proposed(events.ProposalReceived(proposal, timely), held)
        if self._proposals_waiting >= MAX_WAITING_PROPOSALS or not self.put(item):
            return Verdict.IGNORE
        self._proposals_waiting += 1
        return verdict

    def _take_told(self, peer: PeerId, message: SummaryTold | NewestVoteAsked | NewestVoteTold) -> Verdict:
        try:
            match message:
                case SummaryTold():
                    verify_summary(self._engine.chain.id, message)
                case NewestVoteTold(replica, vote) if vote is not None:
                    if vote.replica != replica:
                        return Verdict.REJECT
                    verify_message(self._engine.chain.id, vote)
        except InvalidSignature:
            return Verdict.REJECT
        self.put(Told(peer, message))
        return Verdict.IGNORE


def judge_vote(chain: bytes, core: Core, vote: Vote) -> Verdict:
    """Return whether a vote is of use and signed."""
    return Verdict.IGNORE if not is_of_use(core, vote) else _judge_signature(chain, vote)


def judge_proposal(chain: bytes, core: Core, message: BlockProposal) -> tuple[Verdict, HeldBlock | None]:
    """Return whether a proposal is of use, signed, and comes with its block; with the block if so."""
    proposal = message.proposal
    if not is_of_use(core, proposal) or not _may_propose(core, proposal):
        return Verdict.IGNORE, None
    verdict = _judge_signature(chain, proposal)
    if verdict is not Verdict.ACCEPT:
        return verdict, None
    try:
        return Verdict.ACCEPT, open_proposed_block(proposal, message.block)
    except (Malformed, InvalidBlock):
        return Verdict.REJECT, None


def is_of_use(core: Core, message: Proposal | Vote) -> bool:
    """Return whether a message is of the current or next height, of a member, and new."""
    is_near = core.state.height <= message.height <= core.state.height + 1
    return is_near and core.replicas.get(message.replica) is not None and not core.holds(message)


def is_timely(params: Params, *, block_time_ms: int, round: int, now_ms: int) -> bool:
    """Return whether a fresh block's time is close to the own clock; the allowance for its journey grows by round."""
    delay_ms = params.message_delay_ms + params.round_growth_ms * round
    return now_ms - params.clock_precision_ms - delay_ms <= block_time_ms <= now_ms + params.clock_precision_ms


def _may_propose(core: Core, proposal: Proposal) -> bool:
    """Return whether it is the sender's turn; the next height's turns are judged once it begins."""
    if proposal.height != core.state.height:
        return True
    is_near = proposal.round <= core.state.round + MAX_ROUNDS_AHEAD
    return is_near and core.proposer(proposal.round) == proposal.replica


def _judge_signature(chain: bytes, message: Proposal | Vote) -> Verdict:
    try:
        verify_message(chain, message)
    except InvalidSignature:
        return Verdict.REJECT
    return Verdict.ACCEPT
