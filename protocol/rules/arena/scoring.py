"""Handing out the dataset's key, and commit and reveal of scores (white paper V.D, V.E)."""

from msgspec.structs import replace

from protocol.blinding import dataset_key_hash, score_commitment
from protocol.crypto import SEALED_KEY_BYTES
from protocol.errors import AlreadyDone, NotEligible, OutOfBounds
from protocol.rules.arena.copies import get_gallery
from protocol.rules.arena.records import (
    Epoch,
    Phase,
    ScoreSheet,
    get_epoch,
    get_sheet,
    put_epoch,
    put_sheet,
    require_phase,
    scan_opened,
)
from protocol.rules.context import Context
from protocol.state import Overlay
from protocol.transactions import CommitScores, ReleaseKey, RevealScores


def release_key(state: Overlay, context: Context, sender: bytes, payload: ReleaseKey) -> None:
    """Hand out the key once the jurors are drawn: A's in one box for each, B's in clear."""
    task = require_phase(state, payload.task, payload.epoch, Phase.OPEN, Phase.REDRAW)
    epoch = get_epoch(state, task.id, task.epoch)
    if sender != task.creator:
        raise NotEligible("only the creator releases a task's keys")
    if not epoch.is_drawn:
        raise NotEligible("the validators of this epoch are not drawn yet")
    if epoch.is_key_released:
        raise AlreadyDone("the key is released")
    if task.is_last_epoch():
        check_clear_key(task.spec.dataset_b.key_hash, payload)
    else:
        check_sealed_keys(epoch, payload)
    put_epoch(state, task, replace(epoch, is_key_released=True, sealed=payload.sealed, clear_key=payload.clear))


def check_clear_key(key_hash: bytes, payload: ReleaseKey) -> None:
    """Return if the payload is B's key in clear; raises `OutOfBounds`."""
    if payload.sealed or payload.clear is None or dataset_key_hash(payload.clear) != key_hash:
        raise OutOfBounds("the last epoch needs dataset B's key in clear, matching its hash")


def check_sealed_keys(epoch: Epoch, payload: ReleaseKey) -> None:
    """Return if there is one box for each drawn validator; raises `OutOfBounds`. Their content shows at the end."""
    recipients = [entry.recipient for entry in payload.sealed]
    if payload.clear is not None or recipients != [juror.address for juror in epoch.panel()]:
        raise OutOfBounds("dataset A's key is sealed to each drawn validator, in the order of the draw")
    if any(len(entry.box) != SEALED_KEY_BYTES for entry in payload.sealed):
        raise OutOfBounds(f"a sealed key has {SEALED_KEY_BYTES} bytes")


def commit_scores(state: Overlay, context: Context, sender: bytes, payload: CommitScores) -> None:
    """Bind a drawn validator to scores that nobody else sees yet."""
    require_phase(state, payload.task, payload.epoch, Phase.SCORE, Phase.ANSWER)
    if not get_epoch(state, payload.task, payload.epoch).is_on_panel(sender):
        raise NotEligible("the account was not drawn to validate this epoch")
    if get_sheet(state, payload.task, payload.epoch, sender) is not None:
        raise AlreadyDone("the account has committed to its scores")
    put_sheet(state, payload.task, payload.epoch, sender, ScoreSheet(payload.commitment, None))


def reveal_scores(state: Overlay, context: Context, sender: bytes, payload: RevealScores) -> None:
    """Show the scores that were committed to: exactly one entry per opened submission."""
    require_phase(state, payload.task, payload.epoch, Phase.REVEAL)
    sheet = get_sheet(state, payload.task, payload.epoch, sender)
    if sheet is None or not get_epoch(state, payload.task, payload.epoch).is_on_panel(sender):
        raise NotEligible("the account did not commit to scores for this draw")
    if sheet.entries is not None:
        raise AlreadyDone("the account has revealed its scores")
    commitment = score_commitment(context.chain, payload.task, payload.epoch, sender, payload.salt, payload.entries)
    if commitment != sheet.commitment:
        raise OutOfBounds("the scores do not match the commitment")
    opened = [tag for tag, _ in scan_opened(state, payload.task, payload.epoch)]
    if [entry.tag for entry in payload.entries] != opened:
        raise OutOfBounds("a reveal has one entry per opened submission, and no other")
    known = {*opened, *(original.origin.tag for original in get_gallery(state, payload.task))}
    if any(entry.duplicate_of is not None and entry.duplicate_of not in known for entry in payload.entries):
        raise OutOfBounds("an entry duplicates a model that was neither opened now nor is in the gallery")
    put_sheet(state, payload.task, payload.epoch, sender, replace(sheet, entries=payload.entries))
