"""Commands that accuse, and that answer; a running daemon does all of this by itself when it is due."""

from typing import Literal

from flocknode.cli.accounts import NoWait
from flocknode.cli.options import Common
from flocknode.cli.sending import send_about_task
from flocknode.cli.text import parse_counted
from flocknode.errors import Exit, UsageError

DatasetName = Literal["a", "b"]


def complain(task: str, /, *, no_wait: NoWait = False, options: Common) -> Exit:
    """Say that the key which the creator sealed to this validator does not open dataset A.

    The creator must publish the key, which shows who is right: the creator loses its deposit, or this account its
    whole stake in the task.

    Parameters
    ----------
    task
        Name or number of the task.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    return send_about_task(options, "arena.complain", task=task, wait=not no_wait)


def publish_key(task: str, dataset: DatasetName, /, *, no_wait: NoWait = False, options: Common) -> Exit:
    """Publish the key of a dataset of one's own task: the answer to a complaint, or after the task has ended.

    Parameters
    ----------
    task
        Name or number of the task.
    dataset
        Which dataset: a or b.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    return send_about_task(options, "arena.publish_key", task=task, dataset=dataset, wait=not no_wait)


def prove_piece(task: str, dataset: DatasetName, piece: int, /, *, no_wait: NoWait = False, options: Common) -> Exit:
    """Show on the log that a piece of a dataset does not decrypt under its public key; the creator's deposit is taken.

    Parameters
    ----------
    task
        Name or number of the task.
    dataset
        Which dataset: a or b.
    piece
        Number of the piece of 64 KiB, from 0.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    _check_piece(piece)
    return send_about_task(options, "arena.prove_piece", task=task, dataset=dataset, piece=piece, wait=not no_wait)


def prove_verdict(
    task: str, pseudonym: str, /, *, epoch: int, piece: int = 0, no_wait: NoWait = False, options: Common
) -> Exit:
    """Show on the log that a submission cannot be a model of the task; the stakes of those who scored it are taken.

    Parameters
    ----------
    task
        Name or number of the task.
    pseudonym
        The submission's whole pseudonym, as `flocknode arena submissions --json` prints it.
    epoch
        The epoch it was entered for, counted from 1.
    piece
        Number of the piece of 64 KiB that shows it: the first holds the header, any other must not decrypt.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    _check_piece(piece)
    return send_about_task(
        options,
        "arena.prove_verdict",
        task=task,
        epoch=parse_counted(epoch, "epochs"),
        tag=pseudonym,
        piece=piece,
        wait=not no_wait,
    )


def _check_piece(piece: int) -> None:
    if piece < 0:
        raise UsageError("pieces count from 0")
