"""The way of an alliance through its rounds (white paper Fig. 5): what ends each phase, and what follows."""

from msgspec.structs import replace

from protocol.alliance_settings import MAX_AGGREGATORS, MIN_PRIVATE_PROPOSERS
from protocol.crypto import integer_bytes
from protocol.formulas import alliance as formulas
from protocol.formulas.arena import draw
from protocol.rules import gifts
from protocol.rules.alliance import pool
from protocol.rules.alliance.absence import has_trained
from protocol.rules.alliance.commitments import PUBLISHED, drop_boxes, get_published, is_masked, is_private
from protocol.rules.alliance.duties import votes_on_aggregate
from protocol.rules.alliance.ending import begin_round, close_round, count_roles, enter_phase, get_current
from protocol.rules.alliance.founding import end_unworked
from protocol.rules.alliance.judging import get_ballots, poll_updates
from protocol.rules.alliance.masked_phases import (
    close_adding,
    close_dispute,
    close_unmasking,
    is_dispute_judged,
    is_last_attempt,
    is_unmasking_complete,
    is_verdict_complete,
    run_again,
)
from protocol.rules.alliance.records import (
    UPDATES,
    Alliance,
    AlliancePhase,
    VoterSheet,
    get_sheets,
    get_update,
    put_alliance,
    put_round,
    put_sheet,
    scan_active_alliances,
)
from protocol.rules.context import Context
from protocol.rules.jobs import Funding, PhaseRule, has_enough_proposers, is_past_deadline, with_block
from protocol.state import Overlay, StateView


def end_block(state: Overlay, context: Context) -> None:
    """Note this block's proposer in every active alliance, and close what is over."""
    for alliance in scan_active_alliances(state):
        seen = with_block(context, alliance)
        put_alliance(state, seen)
        rule = PHASES[seen.phase]
        if rule.is_complete(state, context, seen) or is_past_deadline(context, seen):
            rule.close(state, context, seen)


# --- opening and draw ------------------------------------------------------------------------------------------------


def is_opening_complete(state: StateView, context: Context, alliance: Alliance) -> bool:
    """Return whether as many joined as the creator asked for, and there is money."""
    return alliance.places >= alliance.spec.participants and alliance.funding is not Funding.AWAITED


def close_opening(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Begin the first round if enough joined for one and there is money; else expire."""
    if not count_roles(alliance, alliance.places).voters or alliance.funding is Funding.AWAITED:
        end_unworked(state, alliance, AlliancePhase.EXPIRED)
        return
    gifts.forget_gifts(state, pool.BOOK, alliance.id)
    begin_round(state, context, alliance)


def is_draw_due(state: StateView, context: Context, alliance: Alliance) -> bool:
    """Return whether the beacon has matured: proposers with more than 1/3 of the power added to it since the freeze."""
    return has_enough_proposers(context, alliance)


def close_draw(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Draw proposers and voters, all with the same likelihood: one head, one vote."""
    settings, current = alliance.spec.settings, get_current(state, alliance)
    by_address = {one.address: one for one in current.candidates}
    counts = count_roles(alliance, len(by_address))
    if is_private(alliance):
        counts = counts._replace(proposers=min(counts.proposers, context.params.alliance.zk.max_clients))
    seed = formulas.role_seed(context.beacon, alliance=alliance.id, round=alliance.round)
    drawn = draw(seed, weights=dict.fromkeys(by_address, 1), count=counts.proposers + counts.voters + MAX_AGGREGATORS)
    first_voter, first_other = counts.proposers, counts.proposers + counts.voters
    drawn_round = replace(
        current,
        candidates=(),
        proposers=tuple(by_address[address] for address in sorted(drawn[:first_voter])),
        voters=tuple(by_address[address] for address in sorted(drawn[first_voter:first_other])),
        aggregators=tuple(by_address[address] for address in drawn[first_other:]) if is_private(alliance) else (),
        beacon=context.beacon,
    )
    put_round(state, alliance, drawn_round)
    enter_phase(state, context, alliance, AlliancePhase.TRAIN, settings.train_phase_ms)


# --- train and hold --------------------------------------------------------------------------------------------------


def find_updates(state: StateView, alliance: Alliance) -> list[bytes]:
    """Return the proposers of the current round that trained something, sorted."""
    proposers = [one.address for one in get_current(state, alliance).proposers]
    return [address for address in proposers if get_update(state, alliance.id, alliance.round, address) is not None]


def count_trained(state: StateView, alliance: Alliance) -> int:
    """Return how many proposers of the current round put their update, or the commitment to it, on the log."""
    return sum(has_trained(state, alliance, one.address) for one in get_current(state, alliance).proposers)


def is_enough(alliance: Alliance, updates: int) -> bool:
    """Return whether so many updates make a round: one, or as many as hide each other."""
    return updates >= (MIN_PRIVATE_PROPOSERS if is_private(alliance) else 1)


def is_training_complete(state: StateView, context: Context, alliance: Alliance) -> bool:
    """Return whether every proposer proposed its update, or committed to it."""
    return count_trained(state, alliance) == len(get_current(state, alliance).proposers)


def close_training(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Ask the voters what they hold, or first for the updates that were committed to; without any the round is void.

    So is one that runs again, unless everybody is in it again (`masked_phases`).
    """
    settings = alliance.spec.settings
    is_broken = is_last_attempt(state, alliance) and not is_training_complete(state, context, alliance)
    if is_broken or not is_enough(alliance, count_trained(state, alliance)):
        close_round(state, context, alliance)
        return
    phase = AlliancePhase.SEAL if is_private(alliance) else AlliancePhase.HOLD
    enter_phase(state, context, alliance, phase, settings.hold_phase_ms)


def is_sealing_complete(state: StateView, context: Context, alliance: Alliance) -> bool:
    """Return whether every commitment's update was sealed to the aggregator."""
    return len(find_updates(state, alliance)) == count_trained(state, alliance)


def close_sealing(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Ask the voters which sealed updates they hold; with too few to hide each other the round is void.

    Masked ones are all needed: without one of them the round is run again, once.
    """
    is_short = is_masked(alliance) and not is_sealing_complete(state, context, alliance)
    is_broken = is_short and is_last_attempt(state, alliance)
    if is_broken or not is_enough(alliance, len(find_updates(state, alliance))):
        close_round(state, context, alliance)
        return
    if is_short:
        run_again(state, context, alliance)
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

    Otherwise one that serves half of the voters would void rounds for free. Masked ones are all needed, and once they
    are on the log none of them is left out, which would bare it: the round is void.
    """
    sheets, current = get_voter_sheets(state, alliance), get_current(state, alliance)
    frozen = tuple(
        proposer
        for proposer in find_updates(state, alliance)
        if formulas.is_quorum(sum(proposer in (sheet.held or ()) for sheet in sheets), of=len(sheets))
    )
    put_round(state, alliance, replace(current, frozen=frozen))
    settings = alliance.spec.settings
    is_short = is_masked(alliance) and len(frozen) < count_trained(state, alliance)
    if is_short or not is_enough(alliance, len(frozen)):
        close_round(state, context, alliance)
    elif is_private(alliance):
        enter_phase(state, context, alliance, AlliancePhase.AGGREGATE, settings.aggregate_phase_ms)
    else:
        enter_phase(state, context, alliance, AlliancePhase.VOTE, settings.vote_phase_ms)


# --- aggregate, where updates are hidden -----------------------------------------------------------------------------


def is_aggregating_complete(state: StateView, context: Context, alliance: Alliance) -> bool:
    """Return whether the aggregator put the proven sum on the log, or why there is none."""
    return get_published(state, alliance) is not None or get_current(state, alliance).is_disputed


def close_aggregating(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Vote on what was published; else it is the next aggregator's turn, and after the last the round is void.

    What was sealed to the one that failed is sealed anew, to the next. Who can open too few boxes, and shows no liar,
    says nothing that could be voted on, and nothing that it could help: it is out of the draw, without blame.
    """
    if is_masked(alliance):
        close_adding(state, context, alliance)
        return
    published, current = get_published(state, alliance), get_current(state, alliance)
    if published is not None and (published.proven is not None or published.liars):
        enter_phase(state, context, alliance, AlliancePhase.VOTE, alliance.spec.settings.vote_phase_ms)
        return
    following = current.turn + 1
    if published is not None:
        PUBLISHED.delete(state, integer_bytes(alliance.id), integer_bytes(alliance.round))
        left = (*current.aggregators[: current.turn], *current.aggregators[following:])
        current, following = replace(current, aggregators=left), current.turn
        put_round(state, alliance, current)
    if following == len(current.aggregators):
        close_round(state, context, alliance)
        return
    drop_boxes(state, alliance)
    for proposer in find_updates(state, alliance):
        UPDATES.delete(state, integer_bytes(alliance.id), integer_bytes(alliance.round), proposer)
    for voter, sheet in get_sheets(state, alliance, current).items():
        put_sheet(state, alliance.id, alliance.round, voter, replace(sheet, held=None))
    put_round(state, alliance, replace(current, turn=following, frozen=()))
    enter_phase(state, context, alliance, AlliancePhase.SEAL, alliance.spec.settings.hold_phase_ms)


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


PHASES: dict[AlliancePhase, PhaseRule[Alliance]] = {
    AlliancePhase.OPENING: PhaseRule(is_opening_complete, close_opening),
    AlliancePhase.DRAW: PhaseRule(is_draw_due, close_draw),
    AlliancePhase.TRAIN: PhaseRule(is_training_complete, close_training),
    AlliancePhase.SEAL: PhaseRule(is_sealing_complete, close_sealing),
    AlliancePhase.HOLD: PhaseRule(is_holding_complete, close_holding),
    AlliancePhase.AGGREGATE: PhaseRule(is_aggregating_complete, close_aggregating),
    AlliancePhase.VOTE: PhaseRule(is_voting_complete, close_voting),
    AlliancePhase.REVEAL: PhaseRule(is_revealing_complete, close_revealing),
    AlliancePhase.CONFIRM: PhaseRule(is_confirming_complete, close_round),
    AlliancePhase.DISPUTE: PhaseRule(is_dispute_judged, close_dispute),
    AlliancePhase.UNMASK: PhaseRule(is_unmasking_complete, close_unmasking),
    AlliancePhase.VERDICT: PhaseRule(is_verdict_complete, close_round),
}
