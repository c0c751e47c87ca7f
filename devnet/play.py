"""A task that the cast performs, as RPC calls: created by one, joined by all others. The rest is the daemons'."""

import msgspec
import trio

from devnet.cast import ESCROW_FML, GOVERNANCE, Casting, Part
from devnet.errors import DevnetError
from devnet.flock import Flock
from flocknode.errors import ConnectionLost, NotRunning
from flocknode.rpc.arena_records import Submitted, Task, TaskList
from flocknode.rpc.records import NodeStatus, Outcome
from protocol.types import UNITS_PER_FML

# How long a node may take to reach a height that others have, and how often it is asked.
REACH_S = 60.0
POLL_S = 0.1
# How long the creator may take to publish both keys once the task has finished.
KEYS_S = 30.0


async def create_task(flock: Flock, casting: Casting, *, epochs: int) -> Submitted:
    """Have the creator create a task, and return it once it is on the log. Raises `DevnetError`."""
    application = casting.application
    tasks = (await flock.ask_any("arena.list", TaskList)).tasks
    number = max((task.task for task in tasks), default=0) + 1
    created = await flock.ask(
        casting.creator,
        "arena.create",
        Submitted,
        name=application.name if number == 1 else f"{application.name}-{number}",
        family=application.family,
        model=application.model,
        metric=application.metric,
        metric_low_millionths=application.low,
        metric_high_millionths=application.high,
        dataset_a=str(flock.state.dataset(application.dataset, "a").absolute()),
        dataset_b=str(flock.state.dataset(application.dataset, "b").absolute()),
        epochs=epochs,
        escrow_units=ESCROW_FML * UNITS_PER_FML,
    )
    require_included(created.outcome, "creating the task")
    if created.task is None:
        raise DevnetError("the task is on the log and has no number")
    return created


async def verify_task(flock: Flock, created: Submitted) -> None:
    """Have the governance account verify the task. Raises `DevnetError`."""
    await wait_for_height(flock, GOVERNANCE, created.outcome.height or 0)
    verified = await flock.ask(GOVERNANCE, "arena.verify", Submitted, task=str(created.task))
    require_included(verified.outcome, "verifying the task")


async def join_all(flock: Flock, casting: Casting, created: Submitted) -> None:
    """Have all trainers and validators join."""
    async with trio.open_nursery() as nursery:
        for part in casting.members:
            nursery.start_soon(join_task, flock, casting, part, created)


async def join_task(flock: Flock, casting: Casting, part: Part, created: Submitted) -> None:
    """Have one node join with its stake, a trainer with its private part of the data. Raises `DevnetError`."""
    await wait_for_height(flock, part.name, created.outcome.height or 0)
    rows = None if part.rows is None else flock.state.dataset(casting.application.dataset, part.rows)
    joined = await flock.ask(
        part.name,
        "arena.join",
        Submitted,
        task=str(created.task),
        role=part.role,
        stake_units=part.stake_fml * UNITS_PER_FML,
        dataset=None if rows is None else str(rows.absolute()),
        training=None if part.training is None else msgspec.to_builtins(part.training),
    )
    require_included(joined.outcome, f"{part.name}'s joining")


async def wait_for_height(flock: Flock, name: str, height: int) -> NodeStatus:
    """Return a node's status once it has a height and is not behind. Raises `DevnetError` when that takes too long."""
    with trio.move_on_after(REACH_S):
        while True:
            try:
                status = await flock.ask(name, "node.status", NodeStatus)
                if status.height >= height and not status.is_catching_up:
                    return status
            except (NotRunning, ConnectionLost):
                pass  # it starts, or starts again
            await trio.sleep(POLL_S)
    raise DevnetError(f"{name} did not reach height {height} within {REACH_S:.0f} s")


async def wait_for_keys(flock: Flock, task: int) -> bool:
    """Return whether the creator has published both keys of a finished task within reasonable time."""
    with trio.move_on_after(KEYS_S):
        while True:
            found = await flock.ask_any("arena.show", Task, task=str(task))
            if all(dataset.key is not None for dataset in found.datasets):
                return True
            await trio.sleep(POLL_S)
    return False


def require_included(outcome: Outcome, what: str) -> None:
    """Return if a transaction was applied; raise `DevnetError` otherwise."""
    if outcome.status != "included":
        raise DevnetError(f"{what}: the transaction is {outcome.status}: {outcome.message or 'no reason given'}")
