"""What an account must remember to repeat a step: keys, salts, proofs and scores are drawn once and saved first.

Private to the node; the log knows only what was sent.
"""

from typing import TypeVar

from flocknode.jobs import FilePath, TrainSettings
from protocol.codec import decode, encode
from protocol.crypto import integer_bytes
from protocol.transactions import ScoreEntry, Submit
from protocol.types import Bytes32, Record
from storage.notes import Notes

T = TypeVar("T", bound=Record)


class TrainingPlan(Record):
    """How this node trains for a task: on which of its files, with which settings."""

    dataset: FilePath
    settings: TrainSettings


class DatasetKey(Record):
    """The key of an evaluation dataset that this account created."""

    key: Bytes32


class EnteredSubmission(Record):
    """A submission as it was, or is about to be, sent; a second proof would be other bytes."""

    payload: Submit
    key: Bytes32


class CommittedScores(Record):
    """The scores behind a commitment."""

    salt: Bytes32
    entries: tuple[ScoreEntry, ...]


class Diary:
    """The saved steps of one account, by task and epoch."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def save_plan(self, task: int, plan: TrainingPlan) -> None:
        """Keep how to train for a task."""
        self._save(b"plan" + integer_bytes(task), plan)

    def load_plan(self, task: int) -> TrainingPlan | None:
        """Return how to train for a task, if this node was told."""
        return self._load(b"plan" + integer_bytes(task), TrainingPlan)

    def save_dataset_key(self, root: bytes, key: bytes) -> None:
        """Keep the key of an encrypted dataset, named by the blob's root: the task has no id yet."""
        self._save(b"dataset" + root, DatasetKey(key))

    def load_dataset_key(self, root: bytes) -> bytes | None:
        """Return the key of an encrypted dataset of this account."""
        saved = self._load(b"dataset" + root, DatasetKey)
        return None if saved is None else saved.key

    def save_submission(self, task: int, epoch: int, entered: EnteredSubmission) -> None:
        """Keep a submission with its key."""
        self._save(b"submission" + integer_bytes(task) + integer_bytes(epoch), entered)

    def load_submission(self, task: int, epoch: int) -> EnteredSubmission | None:
        """Return the submission made for an epoch."""
        return self._load(b"submission" + integer_bytes(task) + integer_bytes(epoch), EnteredSubmission)

    def save_scores(self, task: int, epoch: int, scores: CommittedScores) -> None:
        """Keep the scores of an epoch."""
        self._save(b"scores" + integer_bytes(task) + integer_bytes(epoch), scores)

    def load_scores(self, task: int, epoch: int) -> CommittedScores | None:
        """Return the scores made for an epoch."""
        return self._load(b"scores" + integer_bytes(task) + integer_bytes(epoch), CommittedScores)

    def _save(self, key: bytes, record: Record) -> None:
        self._notes.put(key, encode(record))

    def _load(self, key: bytes, kind: type[T]) -> T | None:
        value = self._notes.get(key)
        return None if value is None else decode(value, kind)
