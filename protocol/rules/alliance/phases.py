"""The way of an alliance through its rounds (white paper Fig. 5): what ends each phase, and what follows."""

from msgspec.structs import replace

from protocol.alliance_settings import MIN_PARTICIPANTS
from protocol.formulas import alliance as formulas
from protocol.formulas.arena import draw
from protocol.rules import gifts, purses
from protocol.rules.alliance import pool
from protocol.rules.alliance.duties import votes_on_aggregate
from protocol.rules.alliance.founding import end_unworked, forget_active
from protocol.rules.alliance.judging import get_ballots, poll_updates
from protocol.rules.alliance.membership import find_candidates, review_participants, unbond, unbond_stake
from protocol.rules.alliance.records import (
    Alliance,
    AlliancePhase,
    AllianceRound,
    VoterSheet,
    get_round,
    get_sheets,
    get_update,
    put_alliance,
    put_round,
    scan_active_alliances,
    scan_participants,
)
from protocol.rules.alliance.settlement import pay_remainder, settle_round
from protocol.rules.context import Context
from protocol.rules.jobs import Funding, PhaseRule, has_enough_proposers, in_phase, is_past_deadline, with_block
from protocol.state import Overlay, StateView


def end_block(state: Overlay, context: Context) -> None:
    """Note this block's proposer in every active alliance, and close what is over."""
    for alliance in scan_active_alliances(state):
        seen = with_block(context, alliance)
        put_alliance(state, seen)
        rule = PHASES[seen.phase]
        if rule.is_complete(state, context, seen) or is_past_deadline(context, seen):
            rule.close(state, context, seen)


def enter_phase(
    state: Overlay, context: Context, alliance: Alliance, phase: AlliancePhase, length_ms: int | None
) -> None:
    """Begin a phase at this block; a length of None has no deadline yet."""
    put_alliance(state, in_phase(context, alliance, phase, length_ms))


def get_current(state: StateView, alliance: Alliance) -> AllianceRound:
    """Return the round that the alliance is in."""
    return get_round(state, alliance.id, alliance.round)


# --- opening and draw ------------------------------------------------------------------------------------------------


def is_opening_complete(state: StateView, context: Context, alliance: Alliance) -> bool:
    """Return whether as many joined as the creator asked for, and there is money."""
    return alliance.places >= alliance.spec.participants and alliance.funding is not Funding.AWAITED


def close_opening(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Begin the first round if enough joined for one and there is money; else expire."""
    if alliance.places < MIN_PARTICIPANTS or alliance.funding is Funding.AWAITED:
        end_unworked(state, alliance, AlliancePhase.EXPIRED)
        return
    gifts.forget_gifts(state, pool.BOOK, alliance.id)
    begin_round(state, context, alliance)


def begin_round(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Freeze who may be drawn, before the blocks that seed the draw exist."""
    candidates = find_candidates(state, alliance)
    put_round(state, alliance, AllianceRound(candidates, (), (), (), ()))
    enter_phase(state, context, alliance, AlliancePhase.DRAW, None)


def is_draw_due(state: StateView, context: Context, alliance: Alliance) -> bool:
    """Return whether the beacon has matured: proposers with more than 1/3 of the power added to it since the freeze."""
    return has_enough_proposers(context, alliance)


def close_draw(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Draw proposers and voters, all with the same likelihood: one head, one vote."""
    settings, current = alliance.spec.settings, get_current(state, alliance)
    by_address = {one.address: one for one in current.candidates}
    counts = count_roles(alliance, len(by_address))
    seed = formulas.role_seed(context.beacon, alliance=alliance.id, round=alliance.round)
    drawn = draw(seed, weights=dict.fromkeys(by_address, 1), count=counts.proposers + counts.voters)
    proposers, voters = drawn[: counts.proposers], drawn[counts.proposers :]
    drawn_round = AllianceRound(
        candidates=(),
        proposers=tuple(by_address[address] for address in sorted(proposers)),
        voters=tuple(by_address[address] for address in sorted(voters)),
        frozen=(),
        accepted=(),
    )
    put_round(state, alliance, drawn_round)
    enter_phase(state, context, alliance, AlliancePhase.TRAIN, settings.train_phase_ms)


def count_roles(alliance: Alliance, candidates: int) -> formulas.RoleCounts:
    """Return the sizes of the roles among so many candidates."""
    return formulas.count_roles(
        candidates,
        proposer_share_millionths=alliance.spec.settings.proposer_share_millionths,
        voter_share_millionths=alliance.spec.settings.voter_share_millionths,
    )


# --- train and hold --------------------------------------------------------------------------------------------------


def find_updates(state: StateView, alliance: Alliance) -> list[bytes]:
    """Return the proposers of the current round that trained something, sorted."""
    proposers = [one.address for one in get_current(state, alliance).proposers]
    return [address for address in proposers if get_update(state, alliance.id, alliance.round, address) is not None]


def is_training_complete(state: StateView, context: Context, alliance: Alliance) -> bool:
    """Return whether every proposer proposed its update."""
    return len(find_updates(state, alliance)) == len(get_current(state, alliance).proposers)


def close_training(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Ask the voters what they hold; without any update the round is void."""
    if not find_updates(state, alliance):
        close_round(state, context, alliance)
        return
    enter_phase(state, context, alliance, AlliancePhase.HOLD, alliance.spec.settings.hold_phase_ms)


def get_voter_sheets(state: StateView, alliance: Alliance) -> list[VoterSheet]:
    """Return what the voters of the current round did, by address."""
    return list(get_sheets(state, alliance, get_current(state, alliance)).values())


def is_holding_complete(state: StateView, context: Context, alliance: Alliance) -> bool:
    """Return whether every voter said what it holds."""
    return all(sheet.held is not None for sheet in get_voter_sheets(state, alliance))


def close_holding(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Freeze the updates that 2/3 of the voters hold, to be voted on; without any the round is void.

    Otherwise one that serves half of the voters would void rounds for free.
    """
    sheets, current = get_voter_sheets(state, alliance), get_current(state, alliance)
    frozen = tuple(
        proposer
        for proposer in find_updates(state, alliance)
        if formulas.is_quorum(sum(proposer in (sheet.held or ()) for sheet in sheets), of=len(sheets))
    )
    put_round(state, alliance, replace(current, frozen=frozen))
    if not frozen:
        close_round(state, context, alliance)
        return
    enter_phase(state, context, alliance, AlliancePhase.VOTE, alliance.spec.settings.vote_phase_ms)


# --- vote, reveal, confirm -------------------------------------------------------------------------------------------


def is_voting_complete(state: StateView, context: Context, alliance: Alliance) -> bool:
    """Return whether everybody that still has a vote committed to it."""
    return all(sheet.held is None or sheet.commitment is not None for sheet in get_voter_sheets(state, alliance))


def close_voting(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Ask for the votes that were committed to; when those of 2/3 cannot come any more, the round is void."""
    sheets = get_voter_sheets(state, alliance)
    if not formulas.is_quorum(sum(sheet.commitment is not None for sheet in sheets), of=len(sheets)):
        close_round(state, context, alliance)
        return
    enter_phase(state, context, alliance, AlliancePhase.REVEAL, alliance.spec.settings.reveal_phase_ms)


def is_revealing_complete(state: StateView, context: Context, alliance: Alliance) -> bool:
    """Return whether every commitment was revealed."""
    return all(sheet.commitment is None or sheet.ballot is not None for sheet in get_voter_sheets(state, alliance))


def close_revealing(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Ask for the aggregate of the updates that the votes accept; where that was voted on, the round is over."""
    current = get_current(state, alliance)
    sheets = get_sheets(state, alliance, current)
    ballots = get_ballots(sheets)
    if not votes_on_aggregate(alliance) and formulas.is_quorum(len(ballots), of=len(sheets)):
        polls = poll_updates(alliance, current, ballots)
        accepted = tuple(proposer for proposer, poll in polls.items() if poll.is_accepted)
        put_round(state, alliance, replace(current, accepted=accepted))
        if accepted:
            enter_phase(state, context, alliance, AlliancePhase.CONFIRM, alliance.spec.settings.confirm_phase_ms)
            return
    close_round(state, context, alliance)


def is_confirming_complete(state: StateView, context: Context, alliance: Alliance) -> bool:
    """Return whether everybody whose vote counted named the aggregate."""
    return all(sheet.ballot is None or sheet.confirmation is not None for sheet in get_voter_sheets(state, alliance))


# --- the end of a round, and of the alliance -------------------------------------------------------------------------


def close_round(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Settle the round and begin the next one; after the last, or with too few left for another, finish."""
    settled = settle_round(state, context, alliance)
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


PHASES: dict[AlliancePhase, PhaseRule[Alliance]] = {
    AlliancePhase.OPENING: PhaseRule(is_opening_complete, close_opening),
    AlliancePhase.DRAW: PhaseRule(is_draw_due, close_draw),
    AlliancePhase.TRAIN: PhaseRule(is_training_complete, close_training),
    AlliancePhase.HOLD: PhaseRule(is_holding_complete, close_holding),
    AlliancePhase.VOTE: PhaseRule(is_voting_complete, close_voting),
    AlliancePhase.REVEAL: PhaseRule(is_revealing_complete, close_revealing),
    AlliancePhase.CONFIRM: PhaseRule(is_confirming_complete, close_round),
}
