"""Who did not do its part of a round: alone on time, so whatever the votes came to (alliance.md "A round")."""

from protocol.formulas import alliance as formulas
from protocol.rules.alliance.commitments import get_committed, is_private
from protocol.rules.alliance.masks import find_unopened
from protocol.rules.alliance.records import (
    DISPUTED_PHASES,
    Alliance,
    AlliancePhase,
    AllianceRound,
    VoterSheet,
    get_sheets,
    get_update,
)
from protocol.state import StateView


def find_absent(state: StateView, alliance: Alliance, current: AllianceRound) -> frozenset[bytes]:
    """Return the proposers and voters that missed a step, as the round ends in the alliance's current phase."""
    sheets = get_sheets(state, alliance, current)
    voters = {voter for voter, sheet in sheets.items() if has_missed(sheet, alliance.phase)}
    proposers = {one.address for one in current.proposers if is_missing(state, alliance, current, sheets, one.address)}
    proposers |= {one.address for one in current.dropped}
    if alliance.phase in (AlliancePhase.UNMASK, AlliancePhase.VERDICT):
        proposers |= set(find_unopened(state, alliance))
    return frozenset(voters | proposers)


def is_missing(
    state: StateView, alliance: Alliance, current: AllianceRound, sheets: dict[bytes, VoterSheet], proposer: bytes
) -> bool:
    """Return whether a proposer left out one of the steps up to the alliance's phase, so that it cannot be counted."""
    if not has_trained(state, alliance, proposer):
        return True
    return alliance.phase >= AlliancePhase.SEAL and is_out_of_reach(state, alliance, current, sheets, proposer)


def has_trained(state: StateView, alliance: Alliance, proposer: bytes) -> bool:
    """Return whether a proposer put its update on the log, or the commitment to it where updates are hidden."""
    if is_private(alliance):
        return get_committed(state, alliance, proposer) is not None
    return get_update(state, alliance.id, alliance.round, proposer) is not None


def is_out_of_reach(
    state: StateView, alliance: Alliance, current: AllianceRound, sheets: dict[bytes, VoterSheet], proposer: bytes
) -> bool:
    """Return whether there is no blob of a proposer's update, or too few voters could fetch it."""
    if get_update(state, alliance.id, alliance.round, proposer) is None:
        return True
    return alliance.phase >= AlliancePhase.HOLD and was_withheld(sheets, current, proposer)


def has_missed(sheet: VoterSheet, last: AlliancePhase) -> bool:
    """Return whether a voter left out one of the steps up to a phase; after a disputed sum nobody votes."""
    voted = (
        (AlliancePhase.VOTE, sheet.commitment),
        (AlliancePhase.REVEAL, sheet.ballot),
        (AlliancePhase.CONFIRM, sheet.confirmation),
    )
    judged = ((AlliancePhase.DISPUTE, sheet.opens), (AlliancePhase.VERDICT, sheet.liars))
    steps = ((AlliancePhase.HOLD, sheet.held), *(judged if last in DISPUTED_PHASES else voted))
    return any(done is None for phase, done in steps if phase <= last)


def was_withheld(sheets: dict[bytes, VoterSheet], current: AllianceRound, proposer: bytes) -> bool:
    """Return whether too many voters said that they lack a proposer's update.

    Voters that said nothing do not count against it: if they held it, it would have been frozen.
    """
    lacking = [sheet for sheet in sheets.values() if sheet.held is not None and proposer not in sheet.held]
    return not formulas.is_quorum(len(sheets) - len(lacking), of=len(current.voters))
