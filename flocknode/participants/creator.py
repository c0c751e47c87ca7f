"""The creator's duties: hand out the keys of the evaluation data when the log asks for them (arena.md "Datasets")."""

from flocknode.errors import FlocknodeError
from flocknode.participants.kit import Kit
from protocol.crypto import seal_key
from protocol.rules.arena.records import Task
from protocol.rules.duties import PublishDatasetKey, ReleaseDatasetKey
from protocol.transactions import DatasetName, PublishKey, ReleaseKey, SealedDataset, SealedKey


class DatasetKeyMissing(FlocknodeError):
    """This node does not have the key of a dataset that its account created; another home does."""

    number = 141


def find_dataset(task: Task, name: DatasetName) -> SealedDataset:
    """Return one of the task's two evaluation datasets."""
    return task.spec.dataset_a if name is DatasetName.A else task.spec.dataset_b


def load_key(kit: Kit, task: Task, name: DatasetName) -> bytes:
    """Return the key of a dataset from the diary."""
    key = kit.diary.load_dataset_key(find_dataset(task, name).blob.root)
    if key is None:
        raise DatasetKeyMissing(
            f"the key of dataset {name.name} of task {task.id} is not in this home",
            help="Start the node on the home that created the task.",
        )
    return key


async def release_key(kit: Kit, duty: ReleaseDatasetKey) -> None:
    """Seal A's key to each drawn validator, or publish B's: the epoch's submissions can be judged from now on."""
    task = kit.get_task(duty.task)
    key = load_key(kit, task, duty.dataset)
    if duty.dataset is DatasetName.B:
        payload = ReleaseKey(duty.task, duty.epoch, (), key)
    else:
        sealed = tuple(SealedKey(juror.address, seal_key(key, juror.address)) for juror in duty.drawn)
        payload = ReleaseKey(duty.task, duty.epoch, sealed, None)
    await kit.sender.apply(payload)
    kit.report(task, f"released the key of dataset {duty.dataset.name} to {len(duty.drawn)} validators")


async def publish_key(kit: Kit, duty: PublishDatasetKey) -> None:
    """Publish a key after the task, which frees the creator's deposit and stake."""
    task = kit.get_task(duty.task)
    await kit.sender.apply(PublishKey(duty.task, duty.dataset, load_key(kit, task, duty.dataset)))
    kit.report(task, f"published the key of dataset {duty.dataset.name}: anyone can evaluate again")
