"""`arena.*`: creating tasks, taking roles, leaving them, and how tasks stand."""

from pathlib import Path
from typing import Literal

from flocknode.errors import FileUnusable, UsageError
from flocknode.jobs import TrainSettings
from flocknode.node import Node
from flocknode.participants.diary import TrainingPlan
from flocknode.participants.trainer import enter_weights
from flocknode.rpc.arena_records import (
    Dataset,
    Member,
    Settings,
    Submitted,
    Task,
    TaskList,
    TaskReference,
    TaskState,
    TaskSummary,
    Training,
)
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods.transactions import describe_outcome, send
from flocknode.rpc.records import MAX_LIST, Count, FilePath, Units
from flocknode.sealing import make_key
from protocol import vrf
from protocol.blinding import dataset_key_hash, join_alpha
from protocol.errors import NotFound
from protocol.models import METRICS, MetricSpec, ModelSpec, Setting
from protocol.plain import to_plain
from protocol.rules import purses
from protocol.rules.arena import records
from protocol.rules.arena.records import Phase, get_epoch, get_task, scan_members
from protocol.state import StateView
from protocol.transactions import CreateTask, Join, Leave, Role, SealedDataset, TaskSpec, check_spec

ROLES = {"trainer": Role.TRAINER, "validator": Role.VALIDATOR}
STATES: dict[Phase, TaskState] = {Phase.OPENING: "opening", Phase.FINISHED: "settled", Phase.EXPIRED: "expired"}


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
    )


def describe_members(state: StateView, task: records.Task) -> tuple[Member, ...]:
    """Return everybody with a role in a task."""
    has_epoch = task.phase not in (Phase.OPENING, Phase.EXPIRED)
    drawn = {juror.address for juror in get_epoch(state, task.id, task.epoch).drawn} if has_epoch else set()
    names: dict[Role, Literal["trainer", "validator"]] = {Role.TRAINER: "trainer", Role.VALIDATOR: "validator"}
    creator = Member(
        account=task.creator.hex(),
        role="creator",
        stake_units=purses.get_units(state, purses.stake_of(task.id, task.creator)),
        has_attested=False,
        is_drawn=False,
        is_leaving=False,
    )
    others = (
        Member(
            account=address.hex(),
            role=names[role],
            stake_units=purses.get_units(state, purses.stake_of(task.id, address)),
            has_attested=member.is_attested,
            is_drawn=address in drawn,
            is_leaving=member.is_leaving,
        )
        for role in Role
        for address, member in scan_members(state, task.id, role)
    )
    return (creator, *others)


def describe_task(state: StateView, task: records.Task) -> Task:
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
                key=None if key is None else key.hex(),
            )
            for name, dataset, key in datasets
        ),
        members=describe_members(state, task),
        parameters=to_plain(spec.settings),
    )


def require_file(path: FilePath) -> Path:
    """Return the path of a file that this node can read; raises `FileUnusable`."""
    found = Path(path)
    if not found.is_file():
        raise FileUnusable(f"{path} is not a file on the machine of the node", help="Name a dataset file by its path.")
    return found


async def seal_dataset(node: Node, path: FilePath) -> SealedDataset:
    """Encrypt a dataset under a fresh key that this node keeps, and offer the blob to peers."""
    key = make_key()
    blob = await node.kit.seal_into_blob(require_file(path), key)
    node.kit.diary.save_dataset_key(blob.root, key)
    return SealedDataset(blob, dataset_key_hash(key))


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace that change something or describe a task."""

    async def create(
        *,
        name: str,
        family: str,
        model: Settings,
        metric: Literal["accuracy", "mse", "r2"],
        dataset_a: FilePath,
        dataset_b: FilePath,
        epochs: Count,
        escrow_units: Units,
        metric_low_millionths: int = 0,
        metric_high_millionths: int = 1_000_000,
        wait: bool = True,
    ) -> Submitted:
        """Create a self-funded task; both datasets are encrypted here and leave this node only as ciphertext."""
        settings = tuple(Setting(key, tuple(values)) for key, values in sorted(model.items()))
        spec = TaskSpec(
            name=name,
            model=ModelSpec(family, settings),
            metric=MetricSpec(metric, METRICS[metric], metric_low_millionths, metric_high_millionths),
            dataset_a=await seal_dataset(node, dataset_a),
            dataset_b=await seal_dataset(node, dataset_b),
            epochs=epochs,
            settings=node.chain.params.task,
        )
        check_spec(spec)
        payload = CreateTask(spec, node.chain.params.min_stake_creator_units, escrow_units)
        outcome = await send(node, payload, wait=wait)
        created = [task for task in scan_all_tasks(node) if task.spec.dataset_a.blob == spec.dataset_a.blob]
        return Submitted(task=created[-1].id if created else None, outcome=outcome)

    async def join(
        *,
        task: TaskReference,
        role: Literal["trainer", "validator"],
        stake_units: Units,
        dataset: FilePath | None = None,
        training: Training | None = None,
        wait: bool = True,
    ) -> Submitted:
        """Take a role in a task with a stake. A trainer names its training data, or uses `arena.submit`."""
        found = find_task(node.chain.view, task)
        if dataset is not None:
            save_plan(node, found, dataset, training or Training())
        secret = node.kit.vrf_secret(found.id)
        alpha = join_alpha(node.chain.id, found.id, node.sender.address)
        proof = vrf.prove(secret, alpha=alpha, ad=b"", randomness=node.kit.randomness(vrf.RANDOMNESS_BYTES))
        payload = Join(found.id, ROLES[role], stake_units, vrf.public(secret), proof)
        return Submitted(task=found.id, outcome=await send(node, payload, wait=wait))

    async def submit(*, task: TaskReference, weights: FilePath) -> Submitted:
        """Enter a model trained elsewhere, a safetensors file, for the current epoch; anonymous like any other."""
        found = find_task(node.chain.view, task)
        included = await enter_weights(node.kit, found, require_file(weights))
        return Submitted(task=found.id, outcome=describe_outcome(included.id, included, None))

    async def leave(*, task: TaskReference, wait: bool = True) -> Submitted:
        """Give up a role in a task: at once while it opens, else when the epoch settles."""
        found = find_task(node.chain.view, task)
        return Submitted(task=found.id, outcome=await send(node, Leave(found.id), wait=wait))

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
        return describe_task(node.chain.view, find_task(node.chain.view, task))

    return {
        "arena.create": create,
        "arena.join": join,
        "arena.submit": submit,
        "arena.leave": leave,
        "arena.list": list_tasks,
        "arena.show": show,
    }


def scan_all_tasks(node: Node) -> list[records.Task]:
    """Return every task ever created, oldest first."""
    return [task for _, task in records.TASKS.scan(node.chain.view)]


def save_plan(node: Node, task: records.Task, dataset: FilePath, training: Training) -> None:
    """Keep what a trainer trains on, before it takes its seat; raises `FileUnusable`."""
    settings = TrainSettings(training.passes, training.learning_rate_millionths, training.batch_size, training.seed)
    node.kit.diary.save_plan(task.id, TrainingPlan(str(require_file(dataset)), settings))
