"""What a participant of an alliance should do now, read from the state alone (alliance.md "A round")."""

from collections.abc import Iterator

from protocol.alliance_settings import Attribution
from protocol.rules.alliance.commitments import get_committed, is_masked, is_private
from protocol.rules.alliance.masks import find_unopened
from protocol.rules.alliance.records import (
    DISPUTED_PHASES,
    Alliance,
    AlliancePhase,
    AllianceRound,
    get_round,
    get_sheet,
    get_update,
    scan_active_alliances,
)
from protocol.state import StateView
from protocol.types import Address, Count, Record


class TrainUpdate(Record):
    """Train on the own data from the latest model, and propose the result."""

    alliance: Count
    round: Count


class CommitOwnUpdate(Record):
    """Train on the own data from the latest model, and commit to the result, which stays hidden.

    `attempt` is `AllianceRound.attempt`: where updates are masked the round may be run again, with what was trained.
    """

    alliance: Count
    round: Count
    attempt: Count


class RevealOwnUpdate(Record):
    """Seal the update that was committed to, to this aggregator."""

    alliance: Count
    round: Count
    aggregator: Address


class AggregateUpdates(Record):
    """Open the updates of the frozen proposers, and publish their sum with a proof."""

    alliance: Count
    round: Count


class FetchUpdates(Record):
    """Fetch the proposers' updates and say which are here."""

    alliance: Count
    round: Count


class VoteOnUpdates(Record):
    """Score what is voted on with the own test split, and commit to the scores."""

    alliance: Count
    round: Count


class RevealOwnVote(Record):
    """Show the scores that were committed to."""

    alliance: Count
    round: Count


class ConfirmOwnAggregate(Record):
    """Aggregate the accepted updates, score the result, and name it."""

    alliance: Count
    round: Count


class ShareOwnMasked(Record):
    """Mask the update that was committed to with the seeds of all clients of this attempt, and name its blob."""

    alliance: Count
    round: Count
    attempt: Count


class JudgeOwnSum(Record):
    """Add the masked updates, and say whether their sum opens Enc(w), as the aggregator disputes."""

    alliance: Count
    round: Count
    attempt: Count


class OpenOwnMask(Record):
    """Show the secret of this attempt, which the voters need to find who lied."""

    alliance: Count
    round: Count
    attempt: Count


class AccuseOwnLiars(Record):
    """Open all masks, and name who lied."""

    alliance: Count
    round: Count
    attempt: Count


AllianceDuty = (
    TrainUpdate
    | CommitOwnUpdate
    | RevealOwnUpdate
    | AggregateUpdates
    | FetchUpdates
    | VoteOnUpdates
    | RevealOwnVote
    | ConfirmOwnAggregate
    | ShareOwnMasked
    | JudgeOwnSum
    | OpenOwnMask
    | AccuseOwnLiars
)


def get_alliance_duties(state: StateView, address: bytes) -> Iterator[AllianceDuty]:
    """Yield everything that the account should do now in alliances, by alliance."""
    for alliance in scan_active_alliances(state):
        yield from _duties_in(state, alliance, address)


def _duties_in(state: StateView, alliance: Alliance, address: bytes) -> Iterator[AllianceDuty]:
    if alliance.phase not in _ROUND_PHASES:
        return
    current = get_round(state, alliance.id, alliance.round)
    if current.is_proposer(address):
        yield from _proposer_duties(state, alliance, current, address)
    elif current.is_voter(address):
        yield from _voter_duties(state, alliance, current, address)
    elif alliance.phase is AlliancePhase.AGGREGATE and current.aggregator() == address:
        yield AggregateUpdates(alliance.id, alliance.round)


def _proposer_duties(
    state: StateView, alliance: Alliance, current: AllianceRound, address: bytes
) -> Iterator[AllianceDuty]:
    number, has_update = alliance.round, get_update(state, alliance.id, alliance.round, address) is not None
    has_committed, aggregator = get_committed(state, alliance, address) is not None, current.aggregator()
    match alliance.phase:
        case AlliancePhase.TRAIN if is_private(alliance):
            if not has_committed:
                yield CommitOwnUpdate(alliance.id, number, current.attempt())
        case AlliancePhase.TRAIN if not has_update:
            yield TrainUpdate(alliance.id, number)
        case AlliancePhase.SEAL if is_masked(alliance):
            if has_committed and not has_update:
                yield ShareOwnMasked(alliance.id, number, current.attempt())
        case AlliancePhase.UNMASK if address in find_unopened(state, alliance):
            yield OpenOwnMask(alliance.id, number, current.attempt())
        case AlliancePhase.SEAL if has_committed and not has_update and aggregator is not None:
            yield RevealOwnUpdate(alliance.id, number, aggregator)


def _voter_duties(
    state: StateView, alliance: Alliance, current: AllianceRound, address: bytes
) -> Iterator[AllianceDuty]:
    number, sheet = alliance.round, get_sheet(state, alliance.id, alliance.round, address)
    match alliance.phase:
        case AlliancePhase.HOLD if sheet.held is None:
            yield FetchUpdates(alliance.id, number)
        # Who missed a step has no say in the later ones.
        case AlliancePhase.VOTE if sheet.held is not None and sheet.commitment is None:
            yield VoteOnUpdates(alliance.id, number)
        case AlliancePhase.REVEAL if sheet.commitment is not None and sheet.ballot is None:
            yield RevealOwnVote(alliance.id, number)
        case AlliancePhase.CONFIRM if sheet.ballot is not None and sheet.confirmation is None:
            yield ConfirmOwnAggregate(alliance.id, number)
        case AlliancePhase.DISPUTE if sheet.held is not None and sheet.opens is None:
            yield JudgeOwnSum(alliance.id, number, current.attempt())
        case AlliancePhase.VERDICT if sheet.opens is not None and sheet.liars is None:
            yield AccuseOwnLiars(alliance.id, number, current.attempt())


_ROUND_PHASES = (
    AlliancePhase.TRAIN,
    AlliancePhase.SEAL,
    AlliancePhase.HOLD,
    AlliancePhase.AGGREGATE,
    AlliancePhase.VOTE,
    AlliancePhase.REVEAL,
    AlliancePhase.CONFIRM,
    *DISPUTED_PHASES,
)


def votes_on_aggregate(alliance: Alliance) -> bool:
    """Return whether a round's one vote is about the aggregate of the frozen set."""
    return alliance.spec.settings.attribution is Attribution.AGGREGATE
