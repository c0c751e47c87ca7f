"""`alliance.rounds`: who was selected in each round, what was voted on, and what became of it."""

import base64

import trio
from msgspec.structs import replace

from flocknode.alliance_log import make_round_proof
from flocknode.node import Node
from flocknode.rpc.alliance_records import (
    AllianceReference,
    JudgedUpdate,
    ProofPart,
    ProvenSum,
    Round,
    RoundList,
    RoundState,
    Share,
)
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods.alliance import ROLES, find_alliance
from flocknode.rpc.records import MAX_LIST, Count
from protocol.codec import encode
from protocol.crypto import integer_bytes
from protocol.errors import NotFound
from protocol.rules.alliance import records, results
from protocol.rules.alliance.absence import has_trained
from protocol.rules.alliance.commitments import get_published, is_private
from protocol.rules.alliance.masks import get_mask
from protocol.rules.alliance.records import CLOSED_PHASES, AlliancePhase, get_round, get_sheet, get_update
from protocol.rules.alliance.results import ROUND_RESULTS, AllianceRole, Outcome
from protocol.state import StateView

USUAL_ROUNDS = 20
# An answer is one line, which has a limit; most proofs are shorter.
PROOF_PART_BYTES = 1024 * 1024
OUTCOMES: dict[Outcome, RoundState] = {
    Outcome.ACCEPTED: "accepted",
    Outcome.REJECTED: "rejected",
    Outcome.VOID: "void",
}


def describe_round(state: StateView, alliance: records.Alliance, number: int) -> Round | None:
    """Return a round that was settled or is running; None for any other."""
    result = ROUND_RESULTS.get(state, integer_bytes(alliance.id), integer_bytes(number))
    if result is not None:
        return replace(describe_settled(result, number), proven=describe_sum(state, alliance, number))
    if number == alliance.round and alliance.phase not in (AlliancePhase.OPENING, *CLOSED_PHASES):
        return replace(describe_running(state, alliance), proven=describe_sum(state, alliance, number))
    return None


def describe_sum(state: StateView, alliance: records.Alliance, number: int) -> ProvenSum | None:
    """Return what was published of a round's sum; nothing where updates are not hidden, or nobody had to say."""
    published = get_published(state, replace(alliance, round=number)) if is_private(alliance) else None
    if published is None:
        return None
    proven = published.proven
    return ProvenSum(
        aggregator=published.aggregator.hex(),
        digest=None if proven is None else proven.digest.hex(),
        proof=None if proven is None or proven.proof is None else proven.proof.hex(),
        root=None if proven is None else proven.blob.root.hex(),
        summed=() if proven is None else tuple(client.hex() for client in proven.clients),
        liars=tuple(client.hex() for client in published.liars),
        unreadable=tuple(client.hex() for client in published.unreadable),
    )


def describe_settled(result: results.RoundResult, number: int) -> Round:
    """Return a settled round."""
    return Round(
        round=number,
        state=OUTCOMES[result.outcome],
        phase=None,
        pool_units=result.pool,
        reward_units=result.reward,
        paid_units=sum(one.earned for one in result.settled),
        slashed_units=sum(one.slashed for one in result.settled),
        root=None if result.model is None else result.model.root.hex(),
        score_millionths=result.score,
        in_favour=result.in_favour,
        against=result.against,
        updates=tuple(
            JudgedUpdate(
                proposer=update.proposer.hex(),
                in_favour=update.in_favour,
                against=update.against,
                score_millionths=update.score,
                gain_millionths=update.gain,
                is_accepted=update.is_accepted,
            )
            for update in result.updates
        ),
        shares=tuple(
            Share(
                account=one.address.hex(),
                role=ROLES[one.role],
                stake_units=one.stake,
                merit_millionths=one.merit,
                has_acted=not one.is_absent,
                is_absent=one.is_absent,
                earned_units=one.earned,
                slashed_units=one.slashed,
            )
            for one in result.settled
        ),
        settled_height=result.settled_height,
    )


def describe_running(state: StateView, alliance: records.Alliance) -> Round:
    """Return the round that is going on; before the draw nobody is selected."""
    current = get_round(state, alliance.id, alliance.round)
    selected = [(one, AllianceRole.PROPOSER) for one in (*current.proposers, *current.dropped)]
    selected += [(one, AllianceRole.VOTER) for one in current.voters]
    selected += [(one, AllianceRole.AGGREGATOR) for one in current.aggregators[: current.turn + 1]]
    return Round(
        round=alliance.round,
        state="running",
        phase=alliance.phase.name.lower(),
        pool_units=0,
        reward_units=0,
        paid_units=0,
        slashed_units=0,
        root=None,
        score_millionths=None,
        in_favour=0,
        against=0,
        updates=(),
        shares=tuple(
            Share(
                account=one.address.hex(),
                role=ROLES[role],
                stake_units=one.stake,
                merit_millionths=None,
                has_acted=has_acted(state, alliance, one.address, role),
                is_absent=one in current.dropped,
                earned_units=0,
                slashed_units=0,
            )
            for one, role in selected
        ),
        settled_height=None,
    )


def has_acted(state: StateView, alliance: records.Alliance, address: bytes, role: AllianceRole) -> bool:
    """Return whether a selected participant has done what the current step waits for; a proposer, its training."""
    if role is AllianceRole.AGGREGATOR:
        published = get_published(state, alliance)
        is_disputing = get_round(state, alliance.id, alliance.round).is_disputed
        return is_disputing or (published is not None and published.aggregator == address)
    if role is AllianceRole.PROPOSER and alliance.phase is AlliancePhase.TRAIN:
        return has_trained(state, alliance, address)
    if role is AllianceRole.PROPOSER and alliance.phase is AlliancePhase.UNMASK:
        mask = get_mask(state, alliance, address)
        return mask is not None and mask.secret is not None
    if role is AllianceRole.PROPOSER:
        return get_update(state, alliance.id, alliance.round, address) is not None
    sheet = get_sheet(state, alliance.id, alliance.round, address)
    done = {
        AlliancePhase.HOLD: sheet.held,
        AlliancePhase.VOTE: sheet.commitment,
        AlliancePhase.REVEAL: sheet.ballot,
        AlliancePhase.CONFIRM: sheet.confirmation,
        AlliancePhase.DISPUTE: sheet.opens,
        AlliancePhase.VERDICT: sheet.liars,
    }
    return done.get(alliance.phase) is not None


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace about rounds."""

    async def rounds(
        *, alliance: AllianceReference, round: Count | None = None, limit: Count = USUAL_ROUNDS
    ) -> RoundList:
        """List the newest rounds of an alliance, or one of them: roles, votes, scores, rewards and slashes."""
        view = node.chain.view
        found = find_alliance(view, alliance)
        first = max(0, found.round + 1 - min(limit, MAX_LIST))
        numbers = range(first, found.round + 1) if round is None else (round,)
        described = (describe_round(view, found, number) for number in numbers)
        return RoundList(
            alliance=found.id, name=found.spec.name, rounds=tuple(one for one in described if one is not None)
        )

    async def proof(*, alliance: AllianceReference, round: Count, part: Count = 0) -> ProofPart:
        """Give the file that shows to anybody that the sum of a settled round was proven, as the log's blocks have it.

        It comes in parts; all of them in order are the file, which needs no node to be verified.
        """
        found = find_alliance(node.chain.view, alliance)
        data = await trio.to_thread.run_sync(lambda: encode(make_round_proof(node.chain, found, round)))
        parts = -(-len(data) // PROOF_PART_BYTES)
        if part >= parts:
            raise NotFound(f"the proof has {parts} parts, counted from 0")
        piece = data[part * PROOF_PART_BYTES : (part + 1) * PROOF_PART_BYTES]
        return ProofPart(
            alliance=found.id, round=round, part=part, parts=parts, data=base64.b64encode(piece).decode("ascii")
        )

    return {"alliance.rounds": rounds, "alliance.proof": proof}
