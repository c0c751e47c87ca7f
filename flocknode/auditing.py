"""Evaluates every submission of a task again from the published keys, and compares with what the log says of it."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from msgspec.structs import replace

from flocknode.errors import FlocknodeError
from flocknode.jobs import Evaluate, Submitted
from flocknode.network.errors import BlobUnavailable
from flocknode.participants.creator import find_dataset
from flocknode.participants.kit import Kit
from flocknode.participants.validator import epoch_dataset, fetch
from flocknode.worker import JobFailed
from protocol.errors import InvalidProof
from protocol.rules.arena.auditing import Comparison, compare, count_settled, find_gallery, find_public_key
from protocol.rules.arena.records import Submission, Task, get_submission, scan_opened
from protocol.transactions import ScoreEntry, Verdict


class NothingToAudit(FlocknodeError):
    """No epoch of the task is settled."""

    number = 148


@dataclass(frozen=True)
class Unchecked:
    """A submission, or with no tag a whole epoch, that could not be evaluated again, and why."""

    epoch: int
    tag: bytes | None
    reason: str


@dataclass
class Audit:
    """What came of an audit."""

    epochs: int
    comparisons: list[Comparison] = field(default_factory=list)
    unchecked: list[Unchecked] = field(default_factory=list)


async def audit_task(kit: Kit, task: Task) -> Audit:
    """Evaluate all settled epochs of a task again. Raises `NothingToAudit`."""
    audit = Audit(count_settled(kit.chain.view, task))
    if not audit.epochs:
        raise NothingToAudit(
            f"no epoch of task {task.id} is settled yet", help="`flocknode arena show` says where a task stands."
        )
    for epoch in range(audit.epochs):
        with open_folder(kit, task, epoch) as folder:
            await audit_epoch(kit, replace(task, epoch=epoch), folder, audit)
    return audit


@contextmanager
def open_folder(kit: Kit, task: Task, epoch: int) -> Iterator[Path]:
    """Give a folder for the files in clear of one epoch's audit, which are deleted in the end."""
    folder = kit.scratch / f"audit-{task.id}-{epoch}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def audit_epoch(kit: Kit, task: Task, folder: Path, audit: Audit) -> None:
    """Evaluate the submissions of the task's epoch again; `task.epoch` says which."""
    key, view = find_public_key(kit.chain.view, task, task.epoch), kit.chain.view
    if key is None:
        audit.unchecked.append(Unchecked(task.epoch, None, "the dataset's key is not public"))
        return
    dataset = folder / "dataset.safetensors"
    try:
        blob = find_dataset(task, epoch_dataset(task)).blob
        await fetch(kit, blob)
        await kit.open_blob(blob, dataset, key)
    except (BlobUnavailable, InvalidProof) as error:
        audit.unchecked.append(Unchecked(task.epoch, None, f"the dataset: {error.message}"))
        return
    found: dict[bytes, ScoreEntry] = {}
    readable: list[Submitted] = []
    for tag, submission in sorted(scan_opened(view, task.id, task.epoch), key=lambda item: item[1].order):
        path = folder / f"{tag.hex()}.safetensors"
        try:
            await open_submission(kit, submission, path)
        except BlobUnavailable as error:
            audit.unchecked.append(Unchecked(task.epoch, tag, error.message))
        except InvalidProof:
            found[tag] = ScoreEntry(tag, Verdict.INVALID, 0, submission.blob.root, None)
        else:
            readable.append(Submitted(tag, str(path)))
    try:
        found.update(await evaluate(kit, task, dataset, readable, await open_gallery(kit, task, folder)))
    except JobFailed as error:
        audit.unchecked.append(Unchecked(task.epoch, None, f"nothing can be evaluated: {error.message}"))
    audit.comparisons.extend(compare(view, task, task.epoch, found))


async def open_submission(kit: Kit, submission: Submission, path: Path) -> None:
    """Write a submission's weights in clear; raises `BlobUnavailable` or `InvalidProof`."""
    assert submission.key is not None, "only opened submissions are audited"
    await fetch(kit, submission.blob)
    await kit.open_blob(submission.blob, path, submission.key)


async def open_gallery(kit: Kit, task: Task, folder: Path) -> tuple[Submitted, ...]:
    """Return the models that the epoch's submissions were compared with, the oldest first, as validators had them."""
    found = []
    for original in find_gallery(kit.chain.view, kit.chain.params, task, task.epoch):
        epoch, tag = original.origin.epoch, original.origin.tag
        submission = get_submission(kit.chain.view, task.id, epoch, tag)
        assert submission is not None, "a model of the gallery was entered"
        path = folder / f"earlier-{tag.hex()}.safetensors"
        try:
            await open_submission(kit, submission, path)
        except (BlobUnavailable, InvalidProof) as error:
            kit.report(task, f"compares with no {tag.hex()[:8]} of epoch {epoch + 1}: {error.message}")
        else:
            found.append((epoch, submission.order, Submitted(tag, str(path))))
    return tuple(submitted for _, _, submitted in sorted(found))


async def evaluate(
    kit: Kit, task: Task, dataset: Path, readable: list[Submitted], earlier: tuple[Submitted, ...]
) -> dict[bytes, ScoreEntry]:
    """Return what is so of each submission that could be decrypted; raises `JobFailed`."""
    params = kit.chain.params
    job = Evaluate(
        task.spec.model,
        task.spec.metric,
        str(dataset),
        tuple(readable),
        earlier,
        params.near_duplicate_millionths,
        params.min_improvement_millionths,
    )
    with kit.works.track("evaluating", f"task {task.id} epoch {task.epoch + 1} again", "models") as advance:
        advance(0, len(readable))
        result = await kit.worker.run(job, lambda progress: advance(progress.done, progress.total))
    return {assessment.entry.tag: assessment.entry for assessment in result.assessments}
