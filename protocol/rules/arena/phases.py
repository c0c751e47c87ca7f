"""The way of a task through its phases (white paper Fig. 3): what ends each phase, and what follows.

Phases close at the end of a block: early when every expected act was applied, otherwise at the deadline, but only once
proposers with more than 1/3 of the voting power have made blocks in the phase. So neither an outage nor one censoring
proposer gets an honest account slashed.
"""

from collections.abc import Callable
from dataclasses import dataclass

from msgspec.structs import replace

from protocol.crypto import integer_bytes
from protocol.errors import InsufficientFunds
from protocol.formulas import arena as formulas
from protocol.rules import purses
from protocol.rules.arena import settlement
from protocol.rules.arena.records import (
    ACTIVE,
    Epoch,
    Juror,
    Phase,
    Seat,
    Task,
    get_epoch,
    get_places,
    get_task,
    put_epoch,
    put_task,
    scan_active_tasks,
    scan_members,
    scan_opened,
    scan_sheets,
    scan_submissions,
)
from protocol.rules.arena.tasks import expire_task, get_min_stake, release_bonds, remove_member
from protocol.rules.context import Context
from protocol.state import Overlay, StateView
from protocol.tendermint.replicas import is_skip
from protocol.transactions import Role


@dataclass(frozen=True)
class PhaseRule:
    """When a phase is over before its deadline, and what its end does."""

    is_complete: Callable[[StateView, Context, Task], bool]
    close: Callable[[Overlay, Context, Task], None]


def end_block(state: Overlay, context: Context) -> None:
    """Note this block's proposer in every active task, draw what is due, and close what is over."""
    for task in scan_active_tasks(state):
        seen = with_block(context, task)
        put_task(state, seen)
        if seen.phase is Phase.OPEN and is_draw_due(state, context, seen):
            draw_validators(state, context, seen)
            seen = get_task(state, task.id)
        rule = PHASES[seen.phase]
        if rule.is_complete(state, context, seen) or is_past_deadline(context, seen):
            rule.close(state, context, seen)


def with_block(context: Context, task: Task) -> Task:
    """Return the task with the block's proposer counted, and its deadline moved by an outage before the block."""
    proposers = tuple(sorted({*task.proposers, context.proposer_key}))
    gap_ms, deadline_ms = context.time_ms - context.previous_time_ms, task.deadline_ms
    if deadline_ms is not None and context.height > 1 and gap_ms > context.params.max_block_gap_ms:
        deadline_ms += gap_ms
    return replace(task, proposers=proposers, deadline_ms=deadline_ms)


def is_past_deadline(context: Context, task: Task) -> bool:
    """Return whether the time is over and enough different proposers had the chance to include an act."""
    return task.deadline_ms is not None and context.time_ms >= task.deadline_ms and has_enough_proposers(context, task)


def has_enough_proposers(context: Context, task: Task) -> bool:
    """Return whether proposers with more than 1/3 of the power made blocks in the phase: one of them is honest."""
    power = sum(context.replicas.power_of(key) for key in task.proposers)
    return is_skip(power, context.replicas.total_power())


def enter_phase(state: Overlay, context: Context, task: Task, phase: Phase, length_ms: int | None) -> Task:
    """Begin a phase at this block; a length of None has no deadline yet."""
    deadline_ms = None if length_ms is None else context.time_ms + length_ms
    entered = replace(task, phase=phase, phase_height=context.height, deadline_ms=deadline_ms, proposers=())
    put_task(state, entered)
    return entered


# --- opening ---------------------------------------------------------------------------------------------------------


def is_opening_complete(state: StateView, context: Context, task: Task) -> bool:
    """Return whether enough trainers and validators joined and every validator attested the datasets."""
    places = get_places(state, task.id)
    return has_enough_members(state, context, task) and places.attested == places.validators


def has_enough_members(state: StateView, context: Context, task: Task) -> bool:
    """Return whether the task has the trainers and attested validators that it needs to open."""
    places = get_places(state, task.id)
    return places.trainers >= context.params.min_trainers and places.attested >= context.params.min_validators


def close_opening(state: Overlay, context: Context, task: Task) -> None:
    """Release validators without the data, then begin the first epoch, or expire for want of members."""
    for address, member in scan_members(state, task.id, Role.VALIDATOR):
        if not member.is_attested:
            remove_member(state, context, task.id, address, member)
    if has_enough_members(state, context, task):
        begin_epoch(state, context, task)
    else:
        expire_task(state, context, task)


def begin_epoch(state: Overlay, context: Context, task: Task) -> None:
    """Freeze the ring of trainers and open the epoch for submissions."""
    seats = take_seats(state, context, task)
    put_epoch(state, task, Epoch(seats, (), (), False, False, (), None))
    enter_phase(state, context, task, Phase.SUBMIT, task.spec.settings.submit_phase_ms)


def take_seats(state: Overlay, context: Context, task: Task) -> tuple[Seat, ...]:
    """Return the seats of all trainers with stake and deposit, sorted by key; a lost deposit is taken anew."""
    seats = []
    for address, member in scan_members(state, task.id, Role.TRAINER):
        stake = purses.get_units(state, purses.stake_of(task.id, address))
        if stake >= get_min_stake(context, Role.TRAINER) and has_seat_deposit(state, context, task, address):
            seats.append(Seat(member.vrf_key, address, stake))
    return tuple(sorted(seats, key=lambda seat: seat.vrf_key))


def has_seat_deposit(state: Overlay, context: Context, task: Task, address: bytes) -> bool:
    """Return whether the trainer's deposit is there, after filling it up from the balance if that suffices."""
    purse = purses.deposit_of(task.id, address)
    missing = context.params.seat_deposit_units - purses.get_units(state, purse)
    if missing <= 0:
        return True
    try:
        purses.move(state, purses.balance_of(address), purse, missing)
    except InsufficientFunds:
        return False
    return True


# --- submit and open -------------------------------------------------------------------------------------------------


def is_submitting_complete(state: StateView, context: Context, task: Task) -> bool:
    """Return whether every seat has entered a submission."""
    seats = get_epoch(state, task.id, task.epoch).seats
    return bool(seats) and len(scan_submissions(state, task.id, task.epoch)) == len(seats)


def close_submitting(state: Overlay, context: Context, task: Task) -> None:
    """Freeze who may be drawn, before the blocks that seed the draw exist."""
    epoch = get_epoch(state, task.id, task.epoch)
    put_epoch(state, task, replace(epoch, candidates=find_candidates(state, context, task)))
    enter_phase(state, context, task, Phase.OPEN, None)


def find_candidates(state: StateView, context: Context, task: Task) -> tuple[Juror, ...]:
    """Return the validators that may be drawn, sorted by address."""
    candidates = []
    for address, member in scan_members(state, task.id, Role.VALIDATOR):
        stake = purses.get_units(state, purses.stake_of(task.id, address))
        if member.is_attested and not member.is_leaving and stake >= get_min_stake(context, Role.VALIDATOR):
            candidates.append(Juror(address, stake))
    return tuple(candidates)


def is_draw_due(state: StateView, context: Context, task: Task) -> bool:
    """Return whether the beacon has matured: proposers with more than 1/3 of the power added to it since the freeze."""
    return not get_epoch(state, task.id, task.epoch).is_drawn and has_enough_proposers(context, task)


def draw_validators(state: Overlay, context: Context, task: Task) -> None:
    """Draw the epoch's validators with a likelihood that grows with stake (A16); the deadline counts from here."""
    epoch = get_epoch(state, task.id, task.epoch)
    stakes = {juror.address: juror.stake for juror in epoch.candidates}
    weights = {
        address: formulas.selection_weight(
            stake,
            min_stake=context.params.min_stake_validator_units,
            max_stake=context.params.max_selection_stake_units,
        )
        for address, stake in stakes.items()
    }
    seed = formulas.draw_seed(context.beacon, task=task.id, epoch=task.epoch)
    drawn = formulas.draw(seed, weights=weights, count=context.params.validators_per_epoch)
    jurors = tuple(Juror(address, stakes[address]) for address in drawn)
    put_epoch(state, task, replace(epoch, candidates=(), drawn=jurors, is_drawn=True))
    put_task(state, replace(task, deadline_ms=context.time_ms + task.spec.settings.open_phase_ms, proposers=()))


def is_open_complete(state: StateView, context: Context, task: Task) -> bool:
    """Return whether the draw, the key and all openings are there."""
    epoch = get_epoch(state, task.id, task.epoch)
    submissions = scan_submissions(state, task.id, task.epoch)
    return epoch.is_key_released and all(submission.key is not None for _, submission in submissions)


def close_open(state: Overlay, context: Context, task: Task) -> None:
    """Go on to scoring if there is something to score, somebody to do it and a key; else to the claims."""
    epoch = get_epoch(state, task.id, task.epoch)
    can_be_judged = bool(epoch.drawn) and bool(scan_opened(state, task.id, task.epoch))
    if can_be_judged and epoch.is_key_released:
        enter_phase(state, context, task, Phase.SCORE, task.spec.settings.score_phase_ms)
        return
    if can_be_judged:
        settlement.slash_creator(state, context, task)
    enter_phase(state, context, task, Phase.CLAIM, task.spec.settings.claim_phase_ms)


# --- score, reveal, claim --------------------------------------------------------------------------------------------


def is_scoring_complete(state: StateView, context: Context, task: Task) -> bool:
    """Return whether every drawn validator has committed."""
    return len(scan_sheets(state, task.id, task.epoch)) == len(get_epoch(state, task.id, task.epoch).drawn)


def close_scoring(state: Overlay, context: Context, task: Task) -> None:
    """Ask for the scores that were committed to."""
    enter_phase(state, context, task, Phase.REVEAL, task.spec.settings.reveal_phase_ms)


def is_revealing_complete(state: StateView, context: Context, task: Task) -> bool:
    """Return whether every commitment was revealed."""
    return all(sheet.entries is not None for _, sheet in scan_sheets(state, task.id, task.epoch))


def close_revealing(state: Overlay, context: Context, task: Task) -> None:
    """Ask for the authors."""
    enter_phase(state, context, task, Phase.CLAIM, task.spec.settings.claim_phase_ms)


def is_claiming_complete(state: StateView, context: Context, task: Task) -> bool:
    """Return whether every opened submission has an author."""
    return all(submission.author is not None for _, submission in scan_opened(state, task.id, task.epoch))


def close_claiming(state: Overlay, context: Context, task: Task) -> None:
    """Settle the epoch, let those leave who want to, and begin the next epoch or finish the task."""
    settlement.settle_epoch(state, context, task)
    for role in Role:
        for address, member in scan_members(state, task.id, role):
            if member.is_leaving:
                remove_member(state, context, task.id, address, member)
    if task.is_last_epoch():
        finish_task(state, context, task)
    else:
        begin_epoch(state, context, replace(task, epoch=task.epoch + 1))


def finish_task(state: Overlay, context: Context, task: Task) -> None:
    """Release all stakes but the creator's, which waits for the keys, and close the pots."""
    settlement.close_pots(state, task)
    for role in Role:
        for address, _ in scan_members(state, task.id, role):
            release_bonds(state, context, task.id, address)
    ACTIVE.delete(state, integer_bytes(task.id))
    enter_phase(state, context, task, Phase.FINISHED, None)


PHASES = {
    Phase.OPENING: PhaseRule(is_opening_complete, close_opening),
    Phase.SUBMIT: PhaseRule(is_submitting_complete, close_submitting),
    Phase.OPEN: PhaseRule(is_open_complete, close_open),
    Phase.SCORE: PhaseRule(is_scoring_complete, close_scoring),
    Phase.REVEAL: PhaseRule(is_revealing_complete, close_revealing),
    Phase.CLAIM: PhaseRule(is_claiming_complete, close_claiming),
}
