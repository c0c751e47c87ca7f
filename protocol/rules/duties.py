"""What an account should do now, read from the state alone: also the whole answer after a restart.

A duty says what, never how: participants perform it, and repeat it until the state no longer lists it.
"""

from collections.abc import Callable, Iterator

from protocol.rules.alliance.duties import AllianceDuty, get_alliance_duties
from protocol.rules.arena.records import (
    Epoch,
    Juror,
    Member,
    Phase,
    Task,
    get_epoch,
    get_member,
    get_sheet,
    get_submission,
    scan_active_tasks,
    scan_tasks_of_creator,
)
from protocol.state import StateView
from protocol.transactions import DatasetName, Role
from protocol.types import Bytes32, Count, Record


class AttestDatasets(Record):
    """Fetch both encrypted datasets of a task, then say so."""

    task: Count


class EnterSubmission(Record):
    """Train a model and enter it under the pseudonym of this epoch."""

    task: Count
    epoch: Count


class OpenOwnSubmission(Record):
    """Reveal the key of what was entered."""

    task: Count
    epoch: Count
    tag: Bytes32


class ClaimOwnSubmission(Record):
    """Own up to what was entered."""

    task: Count
    epoch: Count
    tag: Bytes32


class ReleaseDatasetKey(Record):
    """Hand out the key of the epoch's dataset: sealed to the drawn validators, or in clear for B."""

    task: Count
    epoch: Count
    dataset: DatasetName
    drawn: tuple[Juror, ...]


class PublishDatasetKey(Record):
    """Publish a dataset's key after the task."""

    task: Count
    dataset: DatasetName


class ScoreSubmissions(Record):
    """Evaluate the epoch's opened submissions and commit to the scores."""

    task: Count
    epoch: Count


class RevealOwnScores(Record):
    """Show the scores that were committed to."""

    task: Count
    epoch: Count


Duty = (
    AttestDatasets
    | EnterSubmission
    | OpenOwnSubmission
    | ClaimOwnSubmission
    | ReleaseDatasetKey
    | PublishDatasetKey
    | ScoreSubmissions
    | RevealOwnScores
    | AllianceDuty
)

# Gives the pseudonym of the account for (task, epoch): its secret, which the state does not know.
TagOf = Callable[[int, int], bytes]


def get_duties(state: StateView, address: bytes, tag_of: TagOf) -> list[Duty]:
    """Return everything the account should do now, by task and then by alliance."""
    duties: list[Duty] = [
        PublishDatasetKey(task.id, dataset)
        for task in scan_tasks_of_creator(state, address)
        if task.phase is Phase.FINISHED
        for dataset, key in zip(DatasetName, task.published, strict=True)
        if key is None
    ]
    for task in scan_active_tasks(state):
        if task.creator == address:
            duties.extend(creator_duties(state, task))
            continue
        member = get_member(state, task.id, address)
        if member is None:
            continue
        if member.role is Role.TRAINER:
            duties.extend(trainer_duties(state, task, address, tag_of))
        else:
            duties.extend(validator_duties(state, task, address, member))
    duties.extend(get_alliance_duties(state, address))
    return duties


def creator_duties(state: StateView, task: Task) -> Iterator[Duty]:
    """Yield what the task's creator should do while it runs."""
    if task.phase is Phase.ANSWER:
        yield PublishDatasetKey(task.id, DatasetName.A)
    if task.phase not in (Phase.OPEN, Phase.REDRAW):
        return
    epoch = get_epoch(state, task.id, task.epoch)
    if epoch.is_drawn and not epoch.is_key_released:
        dataset = DatasetName.B if task.is_last_epoch() else DatasetName.A
        yield ReleaseDatasetKey(task.id, task.epoch, dataset, epoch.panel())


def trainer_duties(state: StateView, task: Task, address: bytes, tag_of: TagOf) -> Iterator[Duty]:
    """Yield what a trainer with a seat in the current epoch should do."""
    if task.phase not in (Phase.SUBMIT, Phase.OPEN, Phase.CLAIM) or not has_seat(
        get_epoch(state, task.id, task.epoch), address
    ):
        return
    tag = tag_of(task.id, task.epoch)
    submission = get_submission(state, task.id, task.epoch, tag)
    match task.phase:
        case Phase.SUBMIT if submission is None:
            yield EnterSubmission(task.id, task.epoch)
        case Phase.OPEN if submission is not None and submission.key is None:
            yield OpenOwnSubmission(task.id, task.epoch, tag)
        case Phase.CLAIM if submission is not None and submission.key is not None and submission.author is None:
            yield ClaimOwnSubmission(task.id, task.epoch, tag)


def has_seat(epoch: Epoch, address: bytes) -> bool:
    """Return whether a trainer is in the ring of an epoch."""
    return any(seat.address == address for seat in epoch.seats)


def validator_duties(state: StateView, task: Task, address: bytes, member: Member) -> Iterator[Duty]:
    """Yield what a validator should do: attest once, then score and reveal when it was drawn."""
    if not member.is_attested:
        yield AttestDatasets(task.id)
    if task.phase not in (Phase.SCORE, Phase.ANSWER, Phase.REVEAL):
        return
    epoch = get_epoch(state, task.id, task.epoch)
    if not epoch.is_on_panel(address):
        return
    sheet = get_sheet(state, task.id, task.epoch, address)
    # Who complained waits for the key.
    is_waiting = epoch.clear_key is None and address in epoch.complaints
    if task.phase in (Phase.SCORE, Phase.ANSWER) and sheet is None and not is_waiting:
        yield ScoreSubmissions(task.id, task.epoch)
    elif task.phase is Phase.REVEAL and sheet is not None and sheet.entries is None:
        yield RevealOwnScores(task.id, task.epoch)
