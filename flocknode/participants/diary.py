"""What an account must remember to repeat a step: keys, salts, proofs and scores are drawn once and saved first.

Private to the node; the log knows only what was sent.
"""

from typing import TypeVar

from flocknode.jobs import FilePath, Seed, TrainSettings
from protocol.alliance_acts import PublishAggregate
from protocol.blobs import BlobId
from protocol.codec import decode, encode
from protocol.crypto import integer_bytes
from protocol.models import MetricValue
from protocol.transactions import DatasetName, ScoreEntry, Submit
from protocol.types import Bytes32, Count, Record
from protocol.zk.knowledge import CommittedUpdate
from storage.notes import Notes

T = TypeVar("T", bound=Record)

PRIVATE = b"private"
INTEGER_BYTES = 8


class TrainingPlan(Record):
    """How this node trains for a task: on which of its files, with which settings, and from what.

    With a warm start, each epoch begins with the best model published until then, never with this node's own last one:
    that would say whose the new one is.
    """

    dataset: FilePath
    settings: TrainSettings
    warm_start: bool


class DatasetKey(Record):
    """The key of an evaluation dataset that this account created."""

    key: Bytes32


class EnteredSubmission(Record):
    """A submission as it was, or is about to be, sent; a second proof would be other bytes."""

    payload: Submit
    key: Bytes32


class Route(Record):
    """The relays, by consensus key, that a submission or its opening was handed to, and in which shuffle of them.

    A node that starts again takes the same ones: each further relay would be one more that has seen its sender.
    """

    shuffle: Count
    paths: tuple[tuple[Bytes32, ...], ...]


class CommittedScores(Record):
    """The scores behind a commitment."""

    salt: Bytes32
    entries: tuple[ScoreEntry, ...]


class OwnSplit(Record):
    """The two files that this node cut its data for an alliance into, once, and the seed of that and of training."""

    train: FilePath
    test: FilePath
    seed: Seed


class TrainedUpdate(Record):
    """What this node trained for a round of an alliance."""

    blob: BlobId


class CastVote(Record):
    """The scores behind the commitment of an alliance's voter, as its `RevealVote` will say them."""

    salt: Bytes32
    best: MetricValue
    scores: tuple[MetricValue | None, ...]
    aggregate: BlobId | None


class Sealed(Record):
    """The blob in which this node sealed its update to one aggregator, once it did, and the blob's key."""

    blob: BlobId | None
    key: Bytes32


class MaskedUpdate(Record):
    """What this node commits to in an attempt at a masked round, and the secret of the masks of that attempt alone."""

    update: CommittedUpdate
    secret: Bytes32


class HeldUpdate(Record):
    """A hidden update, sealed or masked, that lies in this home's store, own or another's."""

    blob: BlobId


class Fault(Record):
    """A piece that convicts: of a dataset, found in an epoch, or of the submission with this tag."""

    task: Count
    epoch: Count
    dataset: DatasetName | None
    tag: Bytes32 | None
    index: Count


class Diary:
    """The saved steps of one account, by task and epoch, and by alliance and round."""

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

    def save_route(self, kind: bytes, task: int, epoch: int, route: Route) -> None:
        """Keep the way of a submission (`submit`) or of its opening (`open`)."""
        self._save(b"route" + kind + integer_bytes(task) + integer_bytes(epoch), route)

    def load_route(self, kind: bytes, task: int, epoch: int) -> Route | None:
        """Return the way that was chosen last."""
        return self._load(b"route" + kind + integer_bytes(task) + integer_bytes(epoch), Route)

    def save_fault(self, fault: Fault) -> None:
        """Keep a fraud until it is proven."""
        self._save(b"fault" + encode(fault), fault)

    def load_faults(self) -> list[Fault]:
        """Return the frauds that are not proven yet."""
        return [decode(value, Fault) for _, value in self._notes.scan(b"fault")]

    def forget_fault(self, fault: Fault) -> None:
        """Drop a fraud that needs no proof any more."""
        self._notes.delete(b"fault" + encode(fault))

    def save_scores(self, task: int, epoch: int, scores: CommittedScores) -> None:
        """Keep the scores of an epoch."""
        self._save(b"scores" + integer_bytes(task) + integer_bytes(epoch), scores)

    def load_scores(self, task: int, epoch: int) -> CommittedScores | None:
        """Return the scores made for an epoch."""
        return self._load(b"scores" + integer_bytes(task) + integer_bytes(epoch), CommittedScores)

    def save_split(self, alliance: int, split: OwnSplit) -> None:
        """Keep where the own data for an alliance lies."""
        self._save(b"split" + integer_bytes(alliance), split)

    def load_split(self, alliance: int) -> OwnSplit | None:
        """Return where the own data for an alliance lies, if this node cut it."""
        return self._load(b"split" + integer_bytes(alliance), OwnSplit)

    def save_update(self, alliance: int, round: int, blob: BlobId) -> None:
        """Keep which blob was trained for a round."""
        self._save(b"update" + integer_bytes(alliance) + integer_bytes(round), TrainedUpdate(blob))

    def load_update(self, alliance: int, round: int) -> BlobId | None:
        """Return which blob was trained for a round."""
        saved = self._load(b"update" + integer_bytes(alliance) + integer_bytes(round), TrainedUpdate)
        return None if saved is None else saved.blob

    def save_vote(self, alliance: int, round: int, vote: CastVote) -> None:
        """Keep the scores of a round."""
        self._save(b"vote" + integer_bytes(alliance) + integer_bytes(round), vote)

    def load_vote(self, alliance: int, round: int) -> CastVote | None:
        """Return the scores made for a round."""
        return self._load(b"vote" + integer_bytes(alliance) + integer_bytes(round), CastVote)

    # --- private rounds: forgotten once the round is over

    def save_hidden(self, alliance: int, round: int, update: CommittedUpdate) -> None:
        """Keep what this node commits to in a private round."""
        self._save(_private(alliance, round) + b"update", update)

    def load_hidden(self, alliance: int, round: int) -> CommittedUpdate | None:
        """Return what this node commits to in a private round; another proof would be other bytes."""
        return self._load(_private(alliance, round) + b"update", CommittedUpdate)

    def save_sealed(self, alliance: int, round: int, aggregator: bytes, sealed: Sealed) -> None:
        """Keep how the update was sealed to an aggregator."""
        self._save(_private(alliance, round) + b"sealed" + aggregator, sealed)

    def load_sealed(self, alliance: int, round: int, aggregator: bytes) -> Sealed | None:
        """Return how the update was sealed to an aggregator, if it was."""
        return self._load(_private(alliance, round) + b"sealed" + aggregator, Sealed)

    def save_sum(self, alliance: int, round: int, payload: PublishAggregate) -> None:
        """Keep the proven sum of a round."""
        self._save(_private(alliance, round) + b"sum", payload)

    def load_sum(self, alliance: int, round: int) -> PublishAggregate | None:
        """Return the sum that this node proved in a round."""
        return self._load(_private(alliance, round) + b"sum", PublishAggregate)

    def save_masked(self, alliance: int, round: int, attempt: int, made: MaskedUpdate) -> None:
        """Keep what this node commits to in an attempt at a masked round."""
        self._save(_private(alliance, round) + b"masked" + integer_bytes(attempt), made)

    def load_masked(self, alliance: int, round: int, attempt: int) -> MaskedUpdate | None:
        """Return what this node commits to in an attempt at a masked round."""
        return self._load(_private(alliance, round) + b"masked" + integer_bytes(attempt), MaskedUpdate)

    def save_held(self, alliance: int, round: int, blob: BlobId) -> None:
        """Keep that a hidden update of a private round lies in the store, or is about to."""
        self._save(_private(alliance, round) + b"held" + encode(blob), HeldUpdate(blob))

    def list_held(self, alliance: int, round: int) -> list[BlobId]:
        """Return the hidden updates of a private round that lie in the store."""
        return [decode(value, HeldUpdate).blob for _, value in self._notes.scan(_private(alliance, round) + b"held")]

    def list_private(self) -> set[tuple[int, int]]:
        """Return the alliance and the round of everything that is kept of private rounds."""
        start, end = len(PRIVATE), len(PRIVATE) + INTEGER_BYTES
        return {
            (int.from_bytes(key[start:end], "big"), int.from_bytes(key[end : end + INTEGER_BYTES], "big"))
            for key, _ in self._notes.scan(PRIVATE)
        }

    def forget_private(self, alliance: int, round: int) -> None:
        """Drop what is kept of a private round."""
        for key, _ in list(self._notes.scan(_private(alliance, round))):
            self._notes.delete(key)

    def _save(self, key: bytes, record: Record) -> None:
        self._notes.put(key, encode(record))

    def _load(self, key: bytes, kind: type[T]) -> T | None:
        value = self._notes.get(key)
        return None if value is None else decode(value, kind)


def _private(alliance: int, round: int) -> bytes:
    return PRIVATE + integer_bytes(alliance) + integer_bytes(round)
