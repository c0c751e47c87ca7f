"""Frauds that a single piece of a blob proves: data that does not decrypt, and scores of what cannot be a model.

What the ledger can decide of a verdict is one direction of it. A piece that does not authenticate, or a header that is
not the declared architecture's, makes a submission invalid for everybody, so whoever scored it lied. That a submission
is valid shows only when it runs: a wrong "invalid" is evidence for an audit, and costs nothing here.
"""

from collections.abc import Iterable

from protocol.crypto import integer_bytes
from protocol.errors import AlreadyDone, InvalidProof, Malformed, NotEligible, NotFound, OutOfBounds
from protocol.models import ModelSpec, get_shapes
from protocol.rules import purses
from protocol.rules.arena.keys import get_bond, get_dataset, get_published
from protocol.rules.arena.records import (
    PROVEN,
    Submission,
    Task,
    get_epoch,
    get_submission,
    get_task,
    scan_sheets,
)
from protocol.rules.arena.settlement import find_bonds, slash_creator, slash_stake
from protocol.rules.context import Context
from protocol.rules.jobs import Mark
from protocol.sealed_pieces import clear_length, open_piece, verify_piece
from protocol.state import Overlay, StateView
from protocol.tensor_files import LENGTH_BYTES, check_shapes, parse_header, read_header_length
from protocol.transactions import DatasetName, ProveBadPiece, ProveWrongVerdict, Verdict


def prove_bad_piece(state: Overlay, context: Context, sender: bytes, payload: ProveBadPiece) -> None:
    """Show a piece of a dataset that does not authenticate under the key that its creator made public."""
    task = get_task(state, payload.task)
    key = find_public_key(state, task, payload.dataset)
    if key is None:
        raise NotEligible("the key of this dataset is not public")
    if get_bond(state, task) == 0:
        raise AlreadyDone("the creator has nothing left to lose")
    verify_piece(get_dataset(task, payload.dataset).blob, payload.index, payload.piece, payload.path)
    if authenticates(key, payload.index, payload.piece):
        raise OutOfBounds("the piece authenticates under the key")
    slash_creator(state, context, task)


def find_public_key(state: StateView, task: Task, name: DatasetName) -> bytes | None:
    """Return a dataset's key if the log has it in clear."""
    published = get_published(task, name)
    if published is None and name is DatasetName.B and task.is_last_epoch():
        return get_epoch(state, task.id, task.epoch).clear_key
    return published


def authenticates(key: bytes, index: int, piece: bytes) -> bool:
    """Return whether a piece decrypts under a key."""
    try:
        open_piece(key, index, piece)
    except InvalidProof:
        return False
    return True


def prove_wrong_verdict(state: Overlay, context: Context, sender: bytes, payload: ProveWrongVerdict) -> None:
    """Show that a submission cannot be a model of the task: everybody who scored it loses its stake there.

    That may be long after: what has left the role or the task since is taken as long as it unbonds.
    """
    task = get_task(state, payload.task)
    submission = get_submission(state, task.id, payload.epoch, payload.tag)
    if submission is None or submission.key is None:
        raise NotFound("there is no opened submission of this tag")
    if is_proven(state, task.id, payload.epoch, payload.tag):
        raise AlreadyDone("this is proven")
    verify_piece(submission.blob, payload.index, payload.piece, payload.path)
    if not is_no_model(task.spec.model, submission, payload.index, payload.piece):
        raise OutOfBounds("the piece does not show that the submission is invalid")
    liars = find_scorers(state, task, payload.epoch, payload.tag)
    if not liars:
        raise NotEligible("nobody revealed a score for it")
    if not count_at_stake(state, task, payload.epoch, liars):
        raise NotEligible("who scored it has nothing left to lose: it is taken or returned")
    PROVEN.put(state, Mark(), integer_bytes(task.id), integer_bytes(payload.epoch), payload.tag)
    for address in liars:
        slash_stake(state, context, task, address, context.params.fraud_slash_millionths, epoch=payload.epoch)


def count_at_stake(state: StateView, task: Task, epoch: int, operators: Iterable[bytes]) -> int:
    """Return what can still be taken from validators for what they did in an epoch, in units."""
    bonds = (purse for operator in operators for purse in find_bonds(state, task, operator, epoch=epoch))
    return sum(purses.get_units(state, purse) for purse in bonds)


def is_proven(state: StateView, task: int, epoch: int, tag: bytes) -> bool:
    """Return whether it was shown already that a submission is no model."""
    return PROVEN.get(state, integer_bytes(task), integer_bytes(epoch), tag) is not None


def is_no_model(model: ModelSpec, submission: Submission, index: int, piece: bytes) -> bool:
    """Return whether a piece shows that a submission is no model of this architecture, whatever the other pieces hold.

    Either it does not authenticate, or it is the first and holds a whole header that cannot be.
    """
    assert submission.key is not None, "only opened submissions are judged"
    try:
        clear = open_piece(submission.key, index, piece)
    except InvalidProof:
        return True
    if index != 0:
        return False
    file_bytes, shapes = clear_length(submission.blob), get_shapes(model)
    try:
        header_bytes = read_header_length(clear, file_bytes)
        header = clear[LENGTH_BYTES:][:header_bytes]
        if len(header) == header_bytes:
            tensors = parse_header(header, file_bytes)
            if shapes is not None:
                check_shapes(tensors, shapes)
    except Malformed:
        return True
    return False


def find_scorers(state: StateView, task: Task, epoch: int, tag: bytes) -> list[bytes]:
    """Return the validators that revealed a score for a submission, sorted."""
    return [
        validator
        for validator, sheet in scan_sheets(state, task.id, epoch)
        for entry in sheet.entries or ()
        if entry.tag == tag and entry.verdict is Verdict.SCORED
    ]
