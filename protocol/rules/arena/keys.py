"""The keys of the evaluation data after they were handed out: complaints, the answer, and publishing (arena.md).

A key is sealed with an ephemeral secret that follows from key and recipient. So whoever sees the key, the ledger too,
can seal again and compare: a box that differs convicts the creator, one that does not convicts who complained.
"""

from msgspec.structs import replace

from protocol.blinding import dataset_key_hash
from protocol.crypto import integer_bytes, seal_key
from protocol.errors import AlreadyDone, NotEligible, OutOfBounds, WrongPhase
from protocol.rules import purses
from protocol.rules.arena.records import (
    CREATED,
    RELEASES,
    Epoch,
    Phase,
    Task,
    get_epoch,
    get_sheet,
    get_task,
    put_epoch,
    put_task,
    require_phase,
)
from protocol.rules.arena.settlement import slash_creator, slash_stake
from protocol.rules.arena.tasks import release_bonds
from protocol.rules.context import Context
from protocol.rules.jobs import Mark
from protocol.state import Overlay, StateView
from protocol.transactions import DatasetName, KeyComplaint, PublishKey, SealedDataset


def complain(state: Overlay, context: Context, sender: bytes, payload: KeyComplaint) -> None:
    """Say that one's box does not hold dataset A's key: the creator must publish that key, or it was right.

    Whoever committed to scores could open the dataset, so it has nothing to complain about.
    """
    task = require_phase(state, payload.task, payload.epoch, Phase.SCORE, Phase.ANSWER)
    epoch = get_epoch(state, task.id, task.epoch)
    if not epoch.is_on_panel(sender):
        raise NotEligible("only who was drawn has a box to complain about")
    if epoch.clear_key is not None:
        raise NotEligible("the key is public, so nobody needs a box")
    if sender in epoch.complaints:
        raise AlreadyDone("the account has complained")
    if get_sheet(state, task.id, task.epoch, sender) is not None:
        raise NotEligible("the account committed to scores, so it could open the dataset")
    put_epoch(state, task, replace(epoch, complaints=(*epoch.complaints, sender)))


def has_open_complaint(epoch: Epoch) -> bool:
    """Return whether somebody waits for the key to be published."""
    return bool(epoch.complaints) and epoch.clear_key is None


def publish_key(state: Overlay, context: Context, sender: bytes, payload: PublishKey) -> None:
    """Publish a dataset's key: after the task, or A's as the answer to a complaint.

    With both out, the creator's deposit and stake are free once nobody can prove a fraud any more.
    """
    task = get_task(state, payload.task)
    if sender != task.creator:
        raise NotEligible("only the creator publishes a task's keys")
    is_answer = task.phase is Phase.ANSWER and payload.dataset is DatasetName.A
    if task.phase is not Phase.FINISHED and not is_answer:
        raise WrongPhase("the keys are published after the last epoch, or as the answer to a complaint")
    if get_published(task, payload.dataset) is not None:
        raise AlreadyDone("this key is published")
    if dataset_key_hash(payload.key) != get_dataset(task, payload.dataset).key_hash:
        raise OutOfBounds("the key does not match the hash in the task")
    key_a, key_b = task.published
    published = (payload.key, key_b) if payload.dataset is DatasetName.A else (key_a, payload.key)
    task = replace(task, published=published)
    put_task(state, task)
    if is_answer:
        judge_complaints(state, context, task, payload.key)
    if None not in published:
        release_ms = context.time_ms + context.params.evidence_age_ms
        RELEASES.put(state, Mark(), integer_bytes(release_ms), integer_bytes(task.id))


def get_dataset(task: Task, name: DatasetName) -> SealedDataset:
    """Return one of the task's two evaluation datasets."""
    return task.spec.dataset_a if name is DatasetName.A else task.spec.dataset_b


def get_published(task: Task, name: DatasetName) -> bytes | None:
    """Return a dataset's key if the creator published it."""
    return task.published[0] if name is DatasetName.A else task.published[1]


def judge_complaints(state: Overlay, context: Context, task: Task, key: bytes) -> None:
    """Slash the creator if any box of the panel was wrong, and everybody who complained about a right one."""
    epoch = get_epoch(state, task.id, task.epoch)
    right = {entry.recipient for entry in epoch.sealed if entry.box == seal_key(key, entry.recipient)}
    for address in epoch.complaints:
        if address in right:
            slash_stake(state, context, task, address, context.params.fraud_slash_millionths, epoch=task.epoch)
    if any(entry.recipient not in right for entry in epoch.sealed):
        slash_creator(state, context, task)
    put_epoch(state, task, replace(epoch, clear_key=key))


def ignore_unanswered(state: Overlay, context: Context, task: Task) -> None:
    """Slash the creator that owes a key, and let nobody pay for scores that it could not make."""
    slash_creator(state, context, task)
    epoch = get_epoch(state, task.id, task.epoch)
    put_epoch(state, task, replace(epoch, is_key_released=False))


def release_creators(state: Overlay, context: Context) -> None:
    """Free the bonds of creators whose tasks are over and whose keys have been public for long enough."""
    for key, _ in RELEASES.scan(state):
        release_ms, number = int.from_bytes(key[:8], "big"), key[8:]
        if release_ms > context.time_ms:
            break
        task = get_task(state, int.from_bytes(number, "big"))
        RELEASES.delete(state, key)
        release_bonds(state, context, task, task.creator)
        CREATED.delete(state, task.creator, number)


def get_bond(state: StateView, task: Task) -> int:
    """Return what the creator still has to lose, in units."""
    return purses.get_units(state, purses.deposit_of(task.id, task.creator))
