"""`arena.*`: creating tasks, taking roles, leaving them, and how tasks stand."""

from typing import Literal

from flocknode.errors import UsageError
from flocknode.node import Node
from flocknode.rpc.arena_records import (
    Dataset,
    Funding,
    Member,
    Task,
    TaskList,
    TaskReference,
    TaskState,
    TaskSummary,
)
from flocknode.rpc.delegations import describe_vault
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.records import MAX_LIST, Count
from protocol.errors import NotFound
from protocol.params import Params
from protocol.plain import to_plain
from protocol.rules import jobs, purses
from protocol.rules.arena import records
from protocol.rules.arena.records import Phase, get_epoch, get_task, scan_members
from protocol.state import StateView
from protocol.transactions import Role

ROLES = {"trainer": Role.TRAINER, "validator": Role.VALIDATOR}
STATES: dict[Phase, TaskState] = {
    Phase.OPENING: "opening",
    Phase.FINISHED: "settled",
    Phase.EXPIRED: "expired",
    Phase.CANCELLED: "cancelled",
}


FUNDING: dict[jobs.Funding, Funding] = {
    jobs.Funding.ESCROW: "escrow",
    jobs.Funding.AWAITED: "awaited",
    jobs.Funding.VERIFIED: "verified",
}


def state_of(task: records.Task) -> TaskState:
    """Return a task's state in one word."""
    return STATES.get(task.phase, "running")


def find_task(state: StateView, reference: TaskReference) -> records.Task:
    """Return the task with this number, or the only one with this name; raises `NotFound` or `UsageError`."""
    if reference.isdecimal():
        return get_task(state, int(reference))
    named = [task for _, task in records.TASKS.scan(state) if task.spec.name == reference]
    if not named:
        raise NotFound(f"there is no task {reference!r}")
    if len(named) > 1:
        numbers = ", ".join(str(task.id) for task in named)
        raise UsageError(f"{len(named)} tasks are called {reference!r}", help=f"Name one by its number: {numbers}.")
    return named[0]


def summarise(state: StateView, task: records.Task) -> TaskSummary:
    """Return a task in one line."""
    return TaskSummary(
        task=task.id,
        name=task.spec.name,
        creator=task.creator.hex(),
        status=state_of(task),
        epoch=task.epoch,
        epochs=task.spec.epochs,
        phase=task.phase.name.lower() if state_of(task) == "running" else None,
        deadline_ms=task.deadline_ms,
        trainers=len(scan_members(state, task.id, Role.TRAINER)),
        validators=len(scan_members(state, task.id, Role.VALIDATOR)),
        escrow_units=purses.get_units(state, purses.pot_of(task.id)),
        funding=FUNDING[task.funding],
        emitted_units=purses.get_units(state, purses.emission_of(task.id)),
    )


def describe_members(state: StateView, params: Params, task: records.Task) -> tuple[Member, ...]:
    """Return everybody with a role in a task."""
    has_epoch = task.phase not in (Phase.OPENING, Phase.EXPIRED, Phase.CANCELLED)
    drawn = {juror.address for juror in get_epoch(state, task.id, task.epoch).drawn} if has_epoch else set()
    names: dict[Role, Literal["trainer", "validator"]] = {Role.TRAINER: "trainer", Role.VALIDATOR: "validator"}
    creator = Member(
        account=task.creator.hex(),
        role="creator",
        stake_units=purses.get_units(state, purses.stake_of(task.id, task.creator)),
        has_attested=False,
        is_drawn=False,
        is_leaving=False,
        vault=None,
    )
    others = (
        Member(
            account=address.hex(),
            role=names[role],
            stake_units=purses.get_units(state, purses.stake_of(task.id, address)),
            has_attested=member.is_attested,
            is_drawn=address in drawn,
            is_leaving=member.is_leaving,
            vault=describe_vault(state, params, task.id, address, member),
        )
        for role in Role
        for address, member in scan_members(state, task.id, role)
    )
    return (creator, *others)


def describe_task(state: StateView, params: Params, task: records.Task) -> Task:
    """Return everything about a task but its results."""
    spec = task.spec
    datasets = zip(("a", "b"), (spec.dataset_a, spec.dataset_b), task.published, strict=True)
    return Task(
        summary=summarise(state, task),
        family=spec.model.family,
        model={setting.name: list(setting.values) for setting in spec.model.settings},
        metric=spec.metric.name,
        higher_is_better=spec.metric.higher_is_better,
        metric_low_millionths=spec.metric.low_millionths,
        metric_high_millionths=spec.metric.high_millionths,
        datasets=tuple(
            Dataset(
                name=name,  # type: ignore[arg-type]
                root=dataset.blob.root.hex(),
                length_bytes=dataset.blob.length,
                baseline_millionths=dataset.baseline,
                key=None if key is None else key.hex(),
            )
            for name, dataset, key in datasets
        ),
        members=describe_members(state, params, task),
        parameters={**to_plain(spec.settings), **{f"needed_{k}": v for k, v in to_plain(spec.needs).items()}},
    )


def scan_all_tasks(node: Node) -> list[records.Task]:
    """Return every task ever created, oldest first."""
    return [task for _, task in records.TASKS.scan(node.chain.view)]


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace that describe tasks."""

    async def list_tasks(*, status: TaskState | None = None, limit: Count = 100) -> TaskList:
        """List the tasks of the chain, newest first."""
        view = node.chain.view
        tasks = [task for task in reversed(scan_all_tasks(node)) if status in (None, state_of(task))]
        return TaskList(
            height=node.chain.head.height,
            tasks=tuple(summarise(view, task) for task in tasks[: min(limit, MAX_LIST)]),
        )

    async def show(*, task: TaskReference) -> Task:
        """Show everything about a task but its results."""
        return describe_task(node.chain.view, node.chain.params, find_task(node.chain.view, task))

    return {"arena.list": list_tasks, "arena.show": show}
