"""`arena.*`: creating tasks, taking roles and leaving them, entering models."""

from pathlib import Path
from typing import Literal

from flocknode.errors import FileUnusable, UsageError
from flocknode.jobs import MeasureBaseline, TrainSettings
from flocknode.node import Node
from flocknode.participants.diary import TrainingPlan
from flocknode.participants.trainer import enter_weights
from flocknode.participants.validator import FETCH_SHARE
from flocknode.rpc.arena_records import Settings, Submitted, TaskOptions, TaskReference, Training
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods.arena import find_task, scan_all_tasks
from flocknode.rpc.methods.transactions import describe_outcome, send
from flocknode.rpc.records import Count, FilePath, Units
from flocknode.sealing import make_key
from protocol import vrf
from protocol.blinding import dataset_key_hash, join_alpha
from protocol.errors import Malformed
from protocol.models import METRICS, MetricSpec, ModelSpec, Setting
from protocol.params import TaskSettings
from protocol.plain import from_plain, to_plain
from protocol.ristretto import RANDOMNESS_BYTES
from protocol.rules.arena import records
from protocol.transactions import CreateTask, Join, Leave, Resources, Role, SealedDataset, TaskSpec, check_spec
from protocol.types import MEBIBYTE, Score

# What judging an epoch takes where a creator says nothing.
DEFAULT_NEEDED_MEMORY_MIB = 512
DEFAULT_NEEDED_EVALUATION_MS = 5_000
ROLES = {"trainer": Role.TRAINER, "validator": Role.VALIDATOR}


def require_file(path: FilePath) -> Path:
    """Return the path of a file that this node can read; raises `FileUnusable`."""
    found = Path(path)
    if not found.is_file():
        raise FileUnusable(f"{path} is not a file on the machine of the node", help="Name a dataset file by its path.")
    return found


async def seal_dataset(node: Node, path: FilePath, baseline: int) -> SealedDataset:
    """Encrypt a dataset under a fresh key that this node keeps, and offer the blob to peers. Raises `KeyLocked`."""
    node.kit.account.require_open()
    key = make_key()
    blob = await node.kit.seal_into_blob(require_file(path), key)
    node.kit.diary.save_dataset_key(blob.root, key)
    return SealedDataset(blob, dataset_key_hash(key), baseline)


async def find_baseline(node: Node, path: FilePath, metric: MetricSpec, least: int, *, is_measured: bool) -> int:
    """Return the score on a dataset that earns nothing: the least given, or a constant answer's if that is more.

    Raises `JobFailed` for a file that is no dataset, or one that the metric does not apply to.
    """
    node.kit.account.require_open()
    dataset = str(require_file(path))
    return max(least, (await node.kit.worker.run(MeasureBaseline(metric, dataset))).score) if is_measured else least


def find_created(node: Node, spec: TaskSpec) -> int | None:
    """Return the number of the task with this spec, whose sealed datasets no other task has; None before it exists."""
    return next((task.id for task in reversed(scan_all_tasks(node)) if task.spec == spec), None)


def make_join(node: Node, task: records.Task, role: Role, stake_units: int, resources: Resources) -> Join:
    """Return the transaction that takes a role, with the proof that this account owns its key for the task."""
    secret = node.kit.vrf_secret(task.id)
    alpha = join_alpha(node.chain.id, task.id, node.kit.sender.address)
    proof = vrf.prove(secret, alpha=alpha, ad=b"", randomness=node.kit.randomness(RANDOMNESS_BYTES))
    return Join(task.id, role, stake_units, vrf.public(secret), proof, resources)


def declare_resources(
    node: Node, task: records.Task, memory_mib: int | None = None, evaluation_ms: int | None = None
) -> Resources:
    """Return what a validator declares: what its worker may take, and the part of scoring that fetching leaves."""
    return Resources(
        node.kit.worker.memory_bytes // MEBIBYTE if memory_mib is None else memory_mib,
        int(task.spec.settings.score_phase_ms * (1 - FETCH_SHARE)) if evaluation_ms is None else evaluation_ms,
    )


def with_options(settings: TaskSettings, options: TaskOptions) -> TaskSettings:
    """Return the chain's own settings of a task with some of them changed; raises `UsageError`."""
    try:
        return from_plain(TaskSettings, {**to_plain(settings), **options}, "settings")
    except Malformed as error:
        known = ", ".join(TaskSettings.__struct_fields__)
        raise UsageError(str(error), help=f"Settings of a task: {known}.") from error


def save_plan(node: Node, task: records.Task, dataset: FilePath, training: Training) -> None:
    """Keep what a trainer trains on, before it takes its seat; raises `FileUnusable` or `KeyLocked`."""
    node.kit.account.require_open()
    settings = TrainSettings(
        training.passes,
        training.learning_rate_millionths,
        training.batch_size,
        training.seed,
        training.optimizer,
    )
    node.kit.diary.save_plan(task.id, TrainingPlan(str(require_file(dataset)), settings, training.warm_start))


def make_create(node: Node) -> Handler:
    """Return the method that creates a task."""

    async def create(
        *,
        name: str,
        family: str,
        model: Settings,
        metric: Literal["accuracy", "loss", "mse", "r2"],
        dataset_a: FilePath,
        dataset_b: FilePath,
        epochs: Count,
        escrow_units: Units,
        metric_low_millionths: int = 0,
        metric_high_millionths: int = 1_000_000,
        stake_units: Units | None = None,
        settings: TaskOptions | None = None,
        needed_memory_mib: Count = DEFAULT_NEEDED_MEMORY_MIB,
        needed_evaluation_ms: Count = DEFAULT_NEEDED_EVALUATION_MS,
        baseline_millionths: Score = 0,
        measure_baseline: bool = True,
        wait: bool = True,
    ) -> Submitted:
        """Create a task; both datasets are encrypted here and leave this node only as ciphertext.

        A model that scores no more than the baseline earns nothing. For each dataset that is `baseline_millionths`, or
        what the best constant answer scores on it, if that is more and to be measured.

        Without an escrow it opens once governance verifies it. The stake is the minimum if not given; who has a record
        or is recognised may give 0. Only a task with an escrow may have `settings` of its own.
        """
        chosen = with_options(node.chain.params.task, settings or {})
        measured = MetricSpec(metric, METRICS[metric], metric_low_millionths, metric_high_millionths)
        baselines = [
            await find_baseline(node, path, measured, baseline_millionths, is_measured=measure_baseline)
            for path in (dataset_a, dataset_b)
        ]
        spec = TaskSpec(
            name=name,
            model=ModelSpec(family, tuple(Setting(key, tuple(values)) for key, values in sorted(model.items()))),
            metric=measured,
            dataset_a=await seal_dataset(node, dataset_a, baselines[0]),
            dataset_b=await seal_dataset(node, dataset_b, baselines[1]),
            epochs=epochs,
            settings=chosen,
            needs=Resources(needed_memory_mib, needed_evaluation_ms),
        )
        check_spec(spec)
        stake = node.chain.params.min_stake_creator_units if stake_units is None else stake_units
        payload = CreateTask(spec, stake, escrow_units)
        outcome = await send(node, payload, wait=wait)
        return Submitted(task=find_created(node, spec), outcome=outcome)

    return create


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace that change something."""

    async def join(
        *,
        task: TaskReference,
        role: Literal["trainer", "validator"],
        stake_units: Units,
        dataset: FilePath | None = None,
        training: Training | None = None,
        memory_mib: Count | None = None,
        evaluation_ms: Count | None = None,
        wait: bool = True,
    ) -> Submitted:
        """Take a role in a task with a stake. A trainer names its training data, or uses `arena.submit`.

        A validator declares memory and time for judging an epoch: what its worker may take, and half of the phase, if
        nothing is given.
        """
        found = find_task(node.chain.view, task)
        if dataset is not None:
            save_plan(node, found, dataset, training or Training())
        payload = make_join(
            node, found, ROLES[role], stake_units, declare_resources(node, found, memory_mib, evaluation_ms)
        )
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

    return {"arena.create": make_create(node), "arena.join": join, "arena.submit": submit, "arena.leave": leave}
