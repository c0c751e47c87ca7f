"""Frauds that a validator came across: noted when they are found, proven on the log as soon as it can judge them."""

import structlog
import trio

from flocknode.participants.diary import Fault
from flocknode.participants.kit import Kit
from flocknode.participants.sender import ReceiptRefused
from protocol.blobs import PIECE_BYTES, BlobId
from protocol.crypto import merkle_leaf, merkle_levels, merkle_path
from protocol.errors import InvalidProof
from protocol.rules.arena.keys import get_bond, get_dataset
from protocol.rules.arena.proofs import count_at_stake, find_public_key, find_scorers, is_no_model, is_proven
from protocol.rules.arena.records import CLOSED_PHASES, Submission, Task, get_submission, get_task
from protocol.transactions import DatasetName, ProveBadPiece, ProveWrongVerdict

log = structlog.get_logger()


def note_bad_dataset(kit: Kit, task: Task, name: DatasetName, error: InvalidProof) -> None:
    """Remember which piece of a dataset does not decrypt, for the time when its key is public."""
    index = error.data.get("piece")
    if isinstance(index, int):
        kit.diary.save_fault(Fault(task.id, task.epoch, name, None, index))


def note_bad_piece(kit: Kit, task: Task, tag: bytes, error: InvalidProof) -> None:
    """Remember which piece of a submission does not decrypt: who scores it lies."""
    index = error.data.get("piece")
    if isinstance(index, int):
        kit.diary.save_fault(Fault(task.id, task.epoch, None, tag, index))


async def note_bad_header(kit: Kit, task: Task, tag: bytes, submission: Submission) -> None:
    """Remember a submission whose first piece shows that it is no model: who scores it lies."""
    piece, _ = await trio.to_thread.run_sync(load_piece, kit, submission.blob, 0)
    if is_no_model(task.spec.model, submission, 0, piece):
        kit.diary.save_fault(Fault(task.id, task.epoch, None, tag, 0))


def find_provable(kit: Kit) -> list[Fault]:
    """Return the frauds that can be proven now; those that nobody can be held to any more are forgotten."""
    provable = []
    for fault in kit.diary.load_faults():
        task = get_task(kit.chain.view, fault.task)
        if is_settled(kit, task, fault):
            kit.diary.forget_fault(fault)
        elif is_provable(kit, task, fault):
            provable.append(fault)
    return provable


def is_settled(kit: Kit, task: Task, fault: Fault) -> bool:
    """Return whether a fraud was proven, by whomever, or there is nothing left to take for it."""
    if fault.tag is None:
        return get_bond(kit.chain.view, task) == 0
    if is_proven(kit.chain.view, task.id, fault.epoch, fault.tag):
        return True
    scorers = find_scorers(kit.chain.view, task, fault.epoch, fault.tag)
    return task.phase in CLOSED_PHASES and not count_at_stake(kit.chain.view, task, fault.epoch, scorers)


def is_provable(kit: Kit, task: Task, fault: Fault) -> bool:
    """Return whether the log has what it needs to judge a fraud: the key, or a lie about the submission."""
    if fault.dataset is not None:
        return find_public_key(kit.chain.view, task, fault.dataset) is not None
    return fault.tag is not None and bool(find_scorers(kit.chain.view, task, fault.epoch, fault.tag))


async def prove_fault(kit: Kit, fault: Fault) -> None:
    """Show the piece on the log. Raises `BlobUnavailable` when the blob is gone, here and everywhere."""
    task = kit.get_task(fault.task)
    if fault.dataset is not None:
        piece, path = await bring_piece(kit, get_dataset(task, fault.dataset).blob, fault.index)
        await send_proof(kit, fault, ProveBadPiece(fault.task, fault.dataset, fault.index, piece, path))
        kit.report(task, f"proved that piece {fault.index} of dataset {fault.dataset.name} does not decrypt")
        return
    assert fault.tag is not None, "a fault is about a dataset or a submission"
    submission = get_submission(kit.chain.view, fault.task, fault.epoch, fault.tag)
    assert submission is not None, "a fault is about a submission on the log"
    piece, path = await bring_piece(kit, submission.blob, fault.index)
    payload = ProveWrongVerdict(fault.task, fault.epoch, fault.tag, fault.index, piece, path)
    await send_proof(kit, fault, payload)
    kit.report(task, f"proved that {fault.tag.hex()[:8]} is no model, though it was scored")


async def bring_piece(kit: Kit, blob: BlobId, index: int) -> tuple[bytes, tuple[bytes, ...]]:
    """Return a piece of a blob with its Merkle path; raises `BlobUnavailable`."""
    if not kit.blobs.has(blob):
        await kit.source.fetch_blob(blob)
    return await trio.to_thread.run_sync(load_piece, kit, blob, index)


async def send_proof(kit: Kit, fault: Fault, payload: ProveBadPiece | ProveWrongVerdict) -> None:
    """Send a proof, and once only: it was refused since another came first, or will be refused again."""
    try:
        await kit.sender.apply(payload)
    except ReceiptRefused as error:
        log.warning("a proof was refused", reason=error.message)
    kit.diary.forget_fault(fault)


def load_piece(kit: Kit, blob: BlobId, index: int) -> tuple[bytes, tuple[bytes, ...]]:
    """Return a piece of a held blob with its Merkle path; reads the whole blob. Raises `BlobMissing`."""
    leaves, found = [], b""
    with kit.blobs.path(blob).open("rb") as file:
        for number, piece in enumerate(iter(lambda: file.read(PIECE_BYTES), b"")):
            leaves.append(merkle_leaf(piece))
            found = piece if number == index else found
    return found, merkle_path(merkle_levels(leaves), index)
