"""From one round of an alliance to the next, or to its end (white paper VI.F): where every way through one leads."""

from msgspec.structs import replace

from protocol.alliance_settings import MIN_PRIVATE_PROPOSERS
from protocol.formulas import alliance as formulas
from protocol.rules import purses
from protocol.rules.alliance.commitments import is_private, prune_commitments
from protocol.rules.alliance.founding import forget_active
from protocol.rules.alliance.membership import find_candidates, review_participants, unbond, unbond_stake
from protocol.rules.alliance.records import (
    Alliance,
    AlliancePhase,
    AllianceRound,
    get_round,
    put_alliance,
    put_round,
    scan_participants,
)
from protocol.rules.alliance.settlement import pay_remainder, settle_round
from protocol.rules.context import Context
from protocol.rules.jobs import in_phase
from protocol.state import Overlay, StateView


def enter_phase(
    state: Overlay, context: Context, alliance: Alliance, phase: AlliancePhase, length_ms: int | None
) -> None:
    """Begin a phase at this block; a length of None has no deadline yet."""
    put_alliance(state, in_phase(context, alliance, phase, length_ms))


def get_current(state: StateView, alliance: Alliance) -> AllianceRound:
    """Return the round that the alliance is in."""
    return get_round(state, alliance.id, alliance.round)


def begin_round(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Freeze who may be drawn, before the blocks that seed the draw exist."""
    candidates = find_candidates(state, alliance)
    frozen = AllianceRound(
        candidates=candidates,
        proposers=(),
        dropped=(),
        voters=(),
        aggregators=(),
        turn=0,
        is_disputed=False,
        beacon=None,
        frozen=(),
        accepted=(),
    )
    put_round(state, alliance, frozen)
    enter_phase(state, context, alliance, AlliancePhase.DRAW, None)


def count_roles(alliance: Alliance, candidates: int) -> formulas.RoleCounts:
    """Return the sizes of the roles among so many candidates; where updates are hidden, somebody must aggregate."""
    is_hidden = is_private(alliance)
    return formulas.count_roles(
        candidates,
        min_proposers=MIN_PRIVATE_PROPOSERS if is_hidden else 1,
        others=1 if is_hidden else 0,
        proposer_share_millionths=alliance.spec.settings.proposer_share_millionths,
        voter_share_millionths=alliance.spec.settings.voter_share_millionths,
    )


def close_round(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Settle the round and begin the next one; after the last, or with too few left for another, finish."""
    settled = settle_round(state, context, alliance)
    prune_commitments(state, settled)
    if settled.rounds_left() == 1:
        finish_alliance(state, context, settled)
        return
    reviewed = review_participants(state, context, settled)
    if not count_roles(reviewed, len(find_candidates(state, reviewed))).voters:
        finish_alliance(state, context, reviewed)
        return
    begin_round(state, context, replace(reviewed, round=reviewed.round + 1))


def finish_alliance(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Pay out the pool and release all stakes; who took part stays on record."""
    pay_remainder(state, context, alliance)
    for address, participant in scan_participants(state, alliance.id):
        if not participant.is_out:
            unbond_stake(state, context, alliance, address)
    unbond(state, context, alliance, purses.alliance_bond_of(alliance.id, alliance.creator), alliance.creator)
    forget_active(state, alliance)
    enter_phase(state, context, alliance, AlliancePhase.FINISHED, None)
