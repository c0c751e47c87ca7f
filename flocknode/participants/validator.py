"""The validator's duties: hold the data, evaluate blindly, commit, reveal (white paper V.D, V.E)."""

import shutil
from pathlib import Path

import trio

from flocknode.errors import FlocknodeError
from flocknode.jobs import Evaluate, Submitted
from flocknode.network.errors import BlobUnavailable
from flocknode.participants import faults
from flocknode.participants.creator import find_dataset
from flocknode.participants.diary import CommittedScores
from flocknode.participants.kit import Kit
from flocknode.worker import JobFailed
from protocol.blinding import dataset_key_hash, score_commitment
from protocol.blobs import BlobId
from protocol.crypto import open_sealed_key
from protocol.errors import InvalidProof
from protocol.rules.arena.copies import get_gallery
from protocol.rules.arena.records import Epoch, Submission, Task, get_epoch, get_submission, scan_opened
from protocol.rules.duties import AttestDatasets, RevealOwnScores, ScoreSubmissions
from protocol.transactions import Attest, CommitScores, DatasetName, KeyComplaint, RevealScores, ScoreEntry, Verdict

SALT_BYTES = 32


class KeyUnusable(FlocknodeError):
    """The creator sealed no usable key to this validator, which is a reason to complain."""

    number = 144


# The part of the scoring phase after which a blob that nobody delivers counts as unfetchable.
FETCH_SHARE = 0.5
# The part of the scoring phase, at its end, in which a validator that cannot evaluate abstains.
LATE_SHARE = 0.4


async def attest_datasets(kit: Kit, duty: AttestDatasets) -> None:
    """Fetch both encrypted datasets before saying that they are held."""
    task = kit.get_task(duty.task)
    for dataset in (task.spec.dataset_a, task.spec.dataset_b):
        await fetch(kit, dataset.blob)
    await kit.sender.apply(Attest(duty.task))
    kit.report(task, "holds both encrypted datasets")


async def fetch(kit: Kit, blob: BlobId) -> None:
    """Bring a blob into the store unless it is there."""
    if not kit.blobs.has(blob):
        with kit.works.track("fetching", f"blob {blob.root.hex()[:8]}", "bytes") as advance:
            await kit.source.fetch_blob(blob, on_progress=advance)


async def score_submissions(kit: Kit, duty: ScoreSubmissions) -> None:
    """Judge every opened submission without knowing whose it is, save the scores, and commit to them."""
    task = kit.get_task(duty.task)
    saved = kit.diary.load_scores(duty.task, duty.epoch)
    if saved is None:
        try:
            entries = await evaluate(kit, task)
        except KeyUnusable as error:
            await kit.sender.apply(KeyComplaint(duty.task, duty.epoch))
            kit.report(task, f"complained about its key: {error.message}")
            return
        saved = CommittedScores(kit.randomness(SALT_BYTES), entries)
        kit.diary.save_scores(duty.task, duty.epoch, saved)
    commitment = score_commitment(kit.chain.id, duty.task, duty.epoch, kit.address, saved.salt, saved.entries)
    await kit.sender.apply(CommitScores(duty.task, duty.epoch, commitment))
    kit.report(task, f"committed to the scores of {len(saved.entries)} submissions")


async def reveal_scores(kit: Kit, duty: RevealOwnScores) -> None:
    """Show the scores behind the commitment."""
    saved = kit.diary.load_scores(duty.task, duty.epoch)
    assert saved is not None, "a commitment of this account that its diary does not know"
    task = kit.get_task(duty.task)
    await kit.sender.apply(RevealScores(duty.task, duty.epoch, saved.salt, saved.entries))
    kit.report(task, f"revealed the scores of {len(saved.entries)} submissions")


async def evaluate(kit: Kit, task: Task) -> tuple[ScoreEntry, ...]:
    """Return one entry per opened submission, sorted by tag."""
    folder = kit.scratch / f"evaluate-{task.id}-{task.epoch}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        opened = sorted(scan_opened(kit.chain.view, task.id, task.epoch), key=lambda item: item[1].order)
        try:
            dataset = await open_dataset(kit, task, folder)
        except InvalidProof as error:
            # The creator's fault; who says nothing at all would be slashed for it.
            kit.report(task, f"abstains, for the dataset does not open: {error.message}")
            faults.note_bad_dataset(kit, task, epoch_dataset(task), error)
            return tuple(abstain(tag) for tag in sorted(dict(opened)))
        entries: list[ScoreEntry] = []
        readable: list[Submitted] = []
        for tag, submission in opened:
            found = await open_weights(kit, task, folder, tag, submission)
            if isinstance(found, Path):
                readable.append(Submitted(tag, str(found)))
            else:
                entries.append(found)
        earlier = await open_gallery(kit, task, folder)
        judged = await judge(kit, task, dataset, tuple(readable), earlier)
        for entry in judged:
            if entry.verdict is Verdict.INVALID:
                await faults.note_bad_header(kit, task, entry.tag, dict(opened)[entry.tag])
        entries.extend(judged)
        return tuple(sorted(entries, key=lambda entry: entry.tag))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def open_gallery(kit: Kit, task: Task, folder: Path) -> tuple[Submitted, ...]:
    """Return the best models of earlier epochs in clear, the oldest first; those that cannot be had are left out."""
    found = []
    for origin in (original.origin for original in get_gallery(kit.chain.view, task.id)):
        submission = get_submission(kit.chain.view, task.id, origin.epoch, origin.tag)
        assert submission is not None, "a model of the gallery was entered"
        assert submission.key is not None, "a model of the gallery was opened"
        path = folder / f"earlier-{origin.tag.hex()}.safetensors"
        try:
            await fetch(kit, submission.blob)
            await kit.open_blob(submission.blob, path, submission.key)
        except (BlobUnavailable, InvalidProof) as error:
            kit.report(task, f"compares with no {origin.tag.hex()[:8]} of epoch {origin.epoch + 1}: {error.message}")
        else:
            found.append((origin.epoch, submission.order, Submitted(origin.tag, str(path))))
    return tuple(submitted for _, _, submitted in sorted(found))


async def judge(
    kit: Kit, task: Task, dataset: Path, readable: tuple[Submitted, ...], earlier: tuple[Submitted, ...]
) -> list[ScoreEntry]:
    """Return the entries of the submissions that could be decrypted, from the learning worker."""
    job = Evaluate(
        task.spec.model,
        task.spec.metric,
        str(dataset),
        readable,
        earlier,
        kit.chain.params.near_duplicate_millionths,
        kit.chain.params.min_improvement_millionths,
    )
    try:
        with kit.works.track("evaluating", f"task {task.id} {task.spec.name}", "models") as advance:
            advance(0, len(readable))
            result = await kit.worker.run(job, lambda progress: advance(progress.done, progress.total))
    except JobFailed as error:
        if not is_late(kit, task):
            raise
        # A dataset that cannot be evaluated is the creator's fault; who says nothing at all would be slashed for it.
        kit.report(task, f"abstains, for nothing can be evaluated: {error.message}")
        return [abstain(submitted.tag) for submitted in readable]
    for assessment in result.assessments:
        if assessment.reason:
            kit.report(task, f"{assessment.entry.tag.hex()[:8]} is invalid: {assessment.reason}")
    return [assessment.entry for assessment in result.assessments]


def is_late(kit: Kit, task: Task) -> bool:
    """Return whether so little of the scoring phase is left that another attempt may be the last."""
    left_ms = (task.deadline_ms or 0) - kit.chain.head.time_ms
    return left_ms < task.spec.settings.score_phase_ms * LATE_SHARE


def abstain(tag: bytes) -> ScoreEntry:
    """Return the entry that says nothing of a submission."""
    return ScoreEntry(tag, Verdict.UNFETCHABLE, 0, None, None)


async def open_dataset(kit: Kit, task: Task, folder: Path) -> Path:
    """Return the epoch's evaluation dataset in clear, with the key that the creator released.

    Raises `KeyUnusable`, or `InvalidProof` when the data is not what the right key opens.
    """
    epoch = get_epoch(kit.chain.view, task.id, task.epoch)
    key = epoch.clear_key or open_box(kit, task, epoch)
    blob = find_dataset(task, epoch_dataset(task)).blob
    await fetch(kit, blob)
    path = folder / "dataset.safetensors"
    await kit.open_blob(blob, path, key)
    return path


def epoch_dataset(task: Task) -> DatasetName:
    """Return which dataset the current epoch is judged on."""
    return DatasetName.B if task.is_last_epoch() else DatasetName.A


def open_box(kit: Kit, task: Task, epoch: Epoch) -> bytes:
    """Return the key in this account's box; raises `KeyUnusable` if there is none, or another than the task names."""
    box = next((entry.box for entry in epoch.sealed if entry.recipient == kit.address), b"")
    try:
        key = open_sealed_key(box, kit.account.seed)
    except InvalidProof as error:
        raise KeyUnusable(error.message) from error
    if dataset_key_hash(key) != task.spec.dataset_a.key_hash:
        raise KeyUnusable("the box holds another key than the task names")
    return key


async def open_weights(kit: Kit, task: Task, folder: Path, tag: bytes, submission: Submission) -> Path | ScoreEntry:
    """Return a submission's weights in clear, or the entry that says why there are none."""
    assert submission.key is not None, "only opened submissions are judged"
    path = folder / f"{tag.hex()}.safetensors"
    limit_s = task.spec.settings.score_phase_ms / 1_000 * FETCH_SHARE
    with trio.move_on_after(limit_s):
        while not kit.blobs.has(submission.blob):
            try:
                await fetch(kit, submission.blob)
            except BlobUnavailable:
                await trio.sleep(1)
    if not kit.blobs.has(submission.blob):
        return abstain(tag)
    try:
        await kit.open_blob(submission.blob, path, submission.key)
    except InvalidProof as error:
        faults.note_bad_piece(kit, task, tag, error)
        # There is no plaintext; the ciphertext's root says which bytes were judged.
        return ScoreEntry(tag, Verdict.INVALID, 0, submission.blob.root, None)
    return path
