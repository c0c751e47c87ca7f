"""The task that the cast performs, as RPC calls: created by alice, joined by all others. The rest is the daemons'."""

import msgspec
import trio

from devnet.cast import CREATOR, ESCROW_FML, FAMILY, LAYERS, METRIC, TRAINERS, VALIDATORS, Actor
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


async def create_task(flock: Flock, *, epochs: int) -> Submitted:
    """Have the creator create a task, and return it once it is on the log. Raises `DevnetError`."""
    tasks = (await flock.ask(CREATOR.name, "arena.list", TaskList)).tasks
    number = max((task.task for task in tasks), default=0) + 1
    created = await flock.ask(
        CREATOR.name,
        "arena.create",
        Submitted,
        name="digits" if number == 1 else f"digits-{number}",
        family=FAMILY,
        model={"layers": LAYERS},
        metric=METRIC,
        dataset_a=str(flock.state.dataset("a").absolute()),
        dataset_b=str(flock.state.dataset("b").absolute()),
        epochs=epochs,
        escrow_units=ESCROW_FML * UNITS_PER_FML,
    )
    require_included(created.outcome, "creating the task")
    if created.task is None:
        raise DevnetError("the task is on the log and has no number")
    return created


async def join_all(flock: Flock, created: Submitted) -> None:
    """Have all trainers and validators join."""
    async with trio.open_nursery() as nursery:
        for actor in (*TRAINERS, *VALIDATORS):
            nursery.start_soon(join_task, flock, actor, created)


async def join_task(flock: Flock, actor: Actor, created: Submitted) -> None:
    """Have one node join with its stake, a trainer with its private part of the data. Raises `DevnetError`."""
    await wait_for_height(flock, actor.name, created.outcome.height or 0)
    is_trainer = actor.training is not None
    joined = await flock.ask(
        actor.name,
        "arena.join",
        Submitted,
        task=str(created.task),
        role=actor.role,
        stake_units=actor.stake_fml * UNITS_PER_FML,
        dataset=str(flock.state.dataset(actor.name).absolute()) if is_trainer else None,
        training=msgspec.to_builtins(actor.training) if is_trainer else None,
    )
    require_included(joined.outcome, f"{actor.name}'s joining")


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
