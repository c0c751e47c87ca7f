"""`arena.*`: creating tasks, taking roles and leaving them, entering models."""

from pathlib import Path
from typing import Literal

from flocknode.errors import FileUnusable
from flocknode.jobs import TrainSettings
from flocknode.node import Node
from flocknode.participants.diary import TrainingPlan
from flocknode.participants.trainer import enter_weights
from flocknode.rpc.arena_records import Settings, Submitted, TaskReference, Training
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods.arena import find_task, scan_all_tasks
from flocknode.rpc.methods.transactions import describe_outcome, send
from flocknode.rpc.records import Count, FilePath, Units
from flocknode.sealing import make_key
from protocol import vrf
from protocol.blinding import dataset_key_hash, join_alpha
from protocol.models import METRICS, MetricSpec, ModelSpec, Setting
from protocol.rules.arena import records
from protocol.transactions import CreateTask, Join, Leave, Role, SealedDataset, TaskSpec, check_spec

ROLES = {"trainer": Role.TRAINER, "validator": Role.VALIDATOR}


def require_file(path: FilePath) -> Path:
    """Return the path of a file that this node can read; raises `FileUnusable`."""
    found = Path(path)
    if not found.is_file():
        raise FileUnusable(f"{path} is not a file on the machine of the node", help="Name a dataset file by its path.")
    return found


async def seal_dataset(node: Node, path: FilePath) -> SealedDataset:
    """Encrypt a dataset under a fresh key that this node keeps, and offer the blob to peers. Raises `KeyLocked`."""
    node.kit.account.require_open()
    key = make_key()
    blob = await node.kit.seal_into_blob(require_file(path), key)
    node.kit.diary.save_dataset_key(blob.root, key)
    return SealedDataset(blob, dataset_key_hash(key))


def find_created(node: Node, spec: TaskSpec) -> int | None:
    """Return the number of the task with this spec, whose sealed datasets no other task has; None before it exists."""
    return next((task.id for task in reversed(scan_all_tasks(node)) if task.spec == spec), None)


def make_join(node: Node, task: records.Task, role: Role, stake_units: int) -> Join:
    """Return the transaction that takes a role, with the proof that this account owns its key for the task."""
    secret = node.kit.vrf_secret(task.id)
    alpha = join_alpha(node.chain.id, task.id, node.kit.sender.address)
    proof = vrf.prove(secret, alpha=alpha, ad=b"", randomness=node.kit.randomness(vrf.RANDOMNESS_BYTES))
    return Join(task.id, role, stake_units, vrf.public(secret), proof)


def save_plan(node: Node, task: records.Task, dataset: FilePath, training: Training) -> None:
    """Keep what a trainer trains on, before it takes its seat; raises `FileUnusable` or `KeyLocked`."""
    node.kit.account.require_open()
    settings = TrainSettings(training.passes, training.learning_rate_millionths, training.batch_size, training.seed)
    node.kit.diary.save_plan(task.id, TrainingPlan(str(require_file(dataset)), settings))


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace that change something."""

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
        spec = TaskSpec(
            name=name,
            model=ModelSpec(family, tuple(Setting(key, tuple(values)) for key, values in sorted(model.items()))),
            metric=MetricSpec(metric, METRICS[metric], metric_low_millionths, metric_high_millionths),
            dataset_a=await seal_dataset(node, dataset_a),
            dataset_b=await seal_dataset(node, dataset_b),
            epochs=epochs,
            settings=node.chain.params.task,
        )
        check_spec(spec)
        payload = CreateTask(spec, node.chain.params.min_stake_creator_units, escrow_units)
        outcome = await send(node, payload, wait=wait)
        return Submitted(task=find_created(node, spec), outcome=outcome)

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
        payload = make_join(node, found, ROLES[role], stake_units)
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

    return {"arena.create": create, "arena.join": join, "arena.submit": submit, "arena.leave": leave}
