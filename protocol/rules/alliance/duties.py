"""What a participant of an alliance should do now, read from the state alone (alliance.md "A round")."""

from collections.abc import Iterator

from protocol.alliance_settings import Attribution
from protocol.rules.alliance.records import (
    Alliance,
    AlliancePhase,
    get_round,
    get_sheet,
    get_update,
    scan_active_alliances,
)
from protocol.state import StateView
from protocol.types import Count, Record


class TrainUpdate(Record):
    """Train on the own data from the latest model, and propose the result."""

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


AllianceDuty = TrainUpdate | FetchUpdates | VoteOnUpdates | RevealOwnVote | ConfirmOwnAggregate


def get_alliance_duties(state: StateView, address: bytes) -> Iterator[AllianceDuty]:
    """Yield everything that the account should do now in alliances, by alliance."""
    for alliance in scan_active_alliances(state):
        yield from _duties_in(state, alliance, address)


def _duties_in(state: StateView, alliance: Alliance, address: bytes) -> Iterator[AllianceDuty]:
    if alliance.phase not in _ROUND_PHASES:
        return
    number, current = alliance.round, get_round(state, alliance.id, alliance.round)
    if alliance.phase is AlliancePhase.TRAIN:
        if current.is_proposer(address) and get_update(state, alliance.id, number, address) is None:
            yield TrainUpdate(alliance.id, number)
        return
    if not current.is_voter(address):
        return
    sheet = get_sheet(state, alliance.id, number, address)
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


_ROUND_PHASES = (
    AlliancePhase.TRAIN,
    AlliancePhase.HOLD,
    AlliancePhase.VOTE,
    AlliancePhase.REVEAL,
    AlliancePhase.CONFIRM,
)


def votes_on_aggregate(alliance: Alliance) -> bool:
    """Return whether a round's one vote is about the aggregate of the frozen set."""
    return alliance.spec.settings.attribution is Attribution.AGGREGATE
