"""The way of a task through its phases (white paper Fig. 3): what ends each phase, and what follows."""

from msgspec.structs import replace

from protocol.crypto import integer_bytes
from protocol.rules.arena import funding, jury, keys, seats, settlement, vaults
from protocol.rules.arena.records import (
    ACTIVE,
    Epoch,
    Phase,
    Task,
    get_epoch,
    get_places,
    get_task,
    put_epoch,
    put_task,
    scan_active_tasks,
    scan_members,
    scan_opened,
    scan_submissions,
)
from protocol.rules.arena.tasks import end_unworked, release_bonds, remove_member
from protocol.rules.context import Context
from protocol.rules.jobs import Funding, PhaseRule, has_enough_proposers, in_phase, is_past_deadline, with_block
from protocol.state import Overlay, StateView
from protocol.transactions import Role


def end_block(state: Overlay, context: Context) -> None:
    """Note this block's proposer in every active task, draw what is due, and close what is over."""
    for task in scan_active_tasks(state):
        seen = with_block(context, task)
        put_task(state, seen)
        if seen.phase in (Phase.OPEN, Phase.REDRAW) and is_draw_due(state, context, seen):
            jury.draw_validators(state, context, seen)
            seen = get_task(state, task.id)
        if seats.has_queue(state, seen) and has_enough_proposers(context, seen):
            seats.draw_seats(state, context, seen)
            seen = enter_phase(state, context, seen, Phase.SUBMIT, seen.spec.settings.submit_phase_ms)
        rule = PHASES[seen.phase]
        if rule.is_complete(state, context, seen) or is_past_deadline(context, seen):
            rule.close(state, context, seen)
    keys.release_creators(state, context)


def enter_phase(state: Overlay, context: Context, task: Task, phase: Phase, length_ms: int | None) -> Task:
    """Begin a phase at this block; a length of None has no deadline yet."""
    entered = in_phase(context, task, phase, length_ms)
    put_task(state, entered)
    return entered


# --- opening ---------------------------------------------------------------------------------------------------------


def is_opening_complete(state: StateView, context: Context, task: Task) -> bool:
    """Return whether the task has what it needs to open, and every validator attested the datasets."""
    places = get_places(state, task.id)
    return can_open(state, context, task) and places.attested == places.validators


def can_open(state: StateView, context: Context, task: Task) -> bool:
    """Return whether the task has the money, the trainers and the attested validators that it needs to open."""
    places = get_places(state, task.id)
    if task.funding is Funding.AWAITED:
        return False
    return places.trainers >= context.params.min_trainers and places.attested >= context.params.min_validators


def close_opening(state: Overlay, context: Context, task: Task) -> None:
    """Release validators without the data, then begin the first epoch, or expire for want of members or money."""
    for address, member in scan_members(state, task.id, Role.VALIDATOR):
        if not member.is_attested:
            remove_member(state, context, task, address, member)
    if can_open(state, context, task):
        begin_epoch(state, context, task)
    else:
        end_unworked(state, task, Phase.EXPIRED)


def begin_epoch(state: Overlay, context: Context, task: Task) -> None:
    """Freeze the ring of trainers and open the epoch for submissions; with too many trainers, draw the ring first."""
    vaults.begin_vaults(state, context, task)
    candidates = seats.find_candidates(state, context, task)
    has_room = len(candidates) <= context.params.max_trainers
    put_epoch(state, task, Epoch(candidates if has_room else (), (), (), False, False, (), None, 0, ()))
    enter_phase(state, context, task, Phase.SUBMIT, task.spec.settings.submit_phase_ms if has_room else None)
    if not has_room:
        seats.queue_candidates(state, task, candidates)


# --- submit and open -------------------------------------------------------------------------------------------------


def is_submitting_complete(state: StateView, context: Context, task: Task) -> bool:
    """Return whether every seat has entered a submission."""
    places = len(get_epoch(state, task.id, task.epoch).seats)
    return places > 0 and len(scan_submissions(state, task.id, task.epoch)) == places


def close_submitting(state: Overlay, context: Context, task: Task) -> None:
    """Freeze who may be drawn, before the blocks that seed the draw exist."""
    epoch = get_epoch(state, task.id, task.epoch)
    put_epoch(state, task, replace(epoch, candidates=jury.find_candidates(state, context, task)))
    enter_phase(state, context, task, Phase.OPEN, None)


def is_draw_due(state: StateView, context: Context, task: Task) -> bool:
    """Return whether the beacon has matured: proposers with more than 1/3 of the power added to it since the freeze."""
    return not get_epoch(state, task.id, task.epoch).is_drawn and has_enough_proposers(context, task)


def is_open_complete(state: StateView, context: Context, task: Task) -> bool:
    """Return whether the draw, the key and all openings are there."""
    epoch = get_epoch(state, task.id, task.epoch)
    submissions = scan_submissions(state, task.id, task.epoch)
    return epoch.is_key_released and all(submission.key is not None for _, submission in submissions)


def close_open(state: Overlay, context: Context, task: Task) -> None:
    """Go on to scoring if there is something to score, somebody to do it and a key; else to the claims."""
    epoch = get_epoch(state, task.id, task.epoch)
    can_be_judged = bool(epoch.panel()) and bool(scan_opened(state, task.id, task.epoch))
    if can_be_judged and epoch.is_key_released:
        enter_phase(state, context, task, Phase.SCORE, task.spec.settings.score_phase_ms)
        return
    if can_be_judged:
        settlement.slash_creator(state, context, task)
    enter_phase(state, context, task, Phase.CLAIM, task.spec.settings.claim_phase_ms)


# --- score, reveal, claim --------------------------------------------------------------------------------------------


def is_scoring_complete(state: StateView, context: Context, task: Task) -> bool:
    """Return whether somebody complained about its key, or the whole panel has committed."""
    epoch = get_epoch(state, task.id, task.epoch)
    return keys.has_open_complaint(epoch) or jury.have_all_committed(state, task, epoch)


def close_scoring(state: Overlay, context: Context, task: Task) -> None:
    """Ask for the scores that were committed to, or first for the key that somebody lacks."""
    if keys.has_open_complaint(get_epoch(state, task.id, task.epoch)):
        enter_phase(state, context, task, Phase.ANSWER, context.params.answer_phase_ms)
        return
    enter_phase(state, context, task, Phase.REVEAL, task.spec.settings.reveal_phase_ms)


def is_answering_complete(state: StateView, context: Context, task: Task) -> bool:
    """Return whether the creator published the key."""
    return not keys.has_open_complaint(get_epoch(state, task.id, task.epoch))


def close_answering(state: Overlay, context: Context, task: Task) -> None:
    """Give everybody the time to score with the public key; without it nobody can, and the creator is slashed."""
    if is_answering_complete(state, context, task):
        enter_phase(state, context, task, Phase.SCORE, task.spec.settings.score_phase_ms)
        return
    keys.ignore_unanswered(state, context, task)
    enter_phase(state, context, task, Phase.CLAIM, task.spec.settings.claim_phase_ms)


def is_revealing_complete(state: StateView, context: Context, task: Task) -> bool:
    """Return whether every commitment was revealed."""
    return jury.have_all_revealed(state, task, get_epoch(state, task.id, task.epoch))


def close_revealing(state: Overlay, context: Context, task: Task) -> None:
    """Ask for the authors; when too few revealed, draw other validators first, once."""
    if jury.is_redraw_needed(state, task):
        jury.dismiss_panel(state, task)
        enter_phase(state, context, task, Phase.REDRAW, None)
        return
    enter_phase(state, context, task, Phase.CLAIM, task.spec.settings.claim_phase_ms)


def is_redraw_complete(state: StateView, context: Context, task: Task) -> bool:
    """Return whether others are drawn and the key is handed out to them."""
    epoch = get_epoch(state, task.id, task.epoch)
    return epoch.is_drawn and epoch.is_key_released


def is_claiming_complete(state: StateView, context: Context, task: Task) -> bool:
    """Return whether every opened submission has an author."""
    return all(submission.author is not None for _, submission in scan_opened(state, task.id, task.epoch))


def close_claiming(state: Overlay, context: Context, task: Task) -> None:
    """Settle the epoch, let those leave who want to, and begin the next epoch or finish the task."""
    settlement.settle_epoch(state, context, task)
    vaults.release_leaving(state, context, task)
    if task.is_last_epoch():
        # Everybody's bonds are released, and who was paid stays on record.
        finish_task(state, context, task)
        return
    for role in Role:
        for address, member in scan_members(state, task.id, role):
            if member.is_leaving:
                remove_member(state, context, task, address, member)
    begin_epoch(state, context, replace(task, epoch=task.epoch + 1))


def finish_task(state: Overlay, context: Context, task: Task) -> None:
    """Release all stakes but the creator's, which waits for the keys, and close the pots."""
    funding.close_funds(state, task)
    for role in Role:
        for address, _ in scan_members(state, task.id, role):
            release_bonds(state, context, task, address)
            vaults.unbond_vault(state, context, task, address)
    ACTIVE.delete(state, integer_bytes(task.id))
    enter_phase(state, context, task, Phase.FINISHED, None)


PHASES: dict[Phase, PhaseRule[Task]] = {
    Phase.OPENING: PhaseRule(is_opening_complete, close_opening),
    Phase.SUBMIT: PhaseRule(is_submitting_complete, close_submitting),
    Phase.OPEN: PhaseRule(is_open_complete, close_open),
    Phase.SCORE: PhaseRule(is_scoring_complete, close_scoring),
    Phase.REVEAL: PhaseRule(is_revealing_complete, close_revealing),
    Phase.ANSWER: PhaseRule(is_answering_complete, close_answering),
    Phase.REDRAW: PhaseRule(is_redraw_complete, close_open),
    Phase.CLAIM: PhaseRule(is_claiming_complete, close_claiming),
}
