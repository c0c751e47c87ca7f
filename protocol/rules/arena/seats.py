"""Who trains in an epoch: a seat for each trainer with stake and deposit, drawn by stake when seats are fewer.

Whoever may be drawn is frozen when the epoch begins, and the draw waits for the beacon to mature, as the validators'
does: so nobody whose block comes just then can choose its result.
"""

from msgspec.structs import replace

from protocol.crypto import integer_bytes
from protocol.errors import InsufficientFunds
from protocol.formulas import arena as formulas
from protocol.rules import purses
from protocol.rules.arena.records import Seat, Task, get_epoch, put_epoch, scan_members
from protocol.rules.context import Context
from protocol.state import Overlay, StateView, Table
from protocol.transactions import Role
from protocol.types import Record


class Queue(Record):
    """More trainers than seats: who may be drawn for the epoch that begins, sorted by key."""

    candidates: tuple[Seat, ...]


QUEUES = Table(b"q", Queue)


def find_candidates(state: Overlay, context: Context, task: Task) -> tuple[Seat, ...]:
    """Return seats for all trainers with stake and deposit, sorted by key; a lost deposit is taken anew."""
    seats = []
    for address, member in scan_members(state, task.id, Role.TRAINER):
        own = purses.get_units(state, purses.stake_of(task.id, address))
        if own >= context.params.min_stake_trainer_units and has_seat_deposit(state, context, task, address):
            seats.append(Seat(member.vrf_key, address, purses.count_stake(state, task.id, address)))
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


def has_queue(state: StateView, task: Task) -> bool:
    """Return whether the seats of the current epoch are still to be drawn."""
    return QUEUES.get(state, integer_bytes(task.id)) is not None


def queue_candidates(state: Overlay, task: Task, candidates: tuple[Seat, ...]) -> None:
    """Freeze who may be drawn."""
    QUEUES.put(state, Queue(candidates), integer_bytes(task.id))


def drop_queue(state: Overlay, task: int) -> None:
    """Forget who waited for a draw."""
    QUEUES.delete(state, integer_bytes(task))


def draw_seats(state: Overlay, context: Context, task: Task) -> None:
    """Give the seats to candidates drawn with a likelihood that grows with stake (A16); the others keep their stake."""
    queue = QUEUES.get(state, integer_bytes(task.id))
    assert queue is not None, "a draw without candidates"
    weights = {
        seat.vrf_key: formulas.selection_weight(
            seat.stake,
            min_stake=context.params.min_stake_trainer_units,
            max_stake=context.params.max_selection_stake_units,
        )
        for seat in queue.candidates
    }
    seed = formulas.seat_seed(context.beacon, task=task.id, epoch=task.epoch)
    drawn = set(formulas.draw(seed, weights=weights, count=context.params.max_trainers))
    seats = tuple(seat for seat in queue.candidates if seat.vrf_key in drawn)
    put_epoch(state, task, replace(get_epoch(state, task.id, task.epoch), seats=seats))
    drop_queue(state, task.id)
