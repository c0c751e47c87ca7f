"""The append-only log in the database: height -> block, with what belongs to it, in one synced batch per block.

So a crash leaves the log, the state and the head of one and the same height. Which blocks are valid is decided
elsewhere; this module only refuses what could not be the next entry.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from itertools import islice
from typing import TypeVar

from protocol.blocks import Block, Head, Receipt, block_id, transaction_id
from protocol.codec import decode, encode
from protocol.crypto import integer_bytes
from protocol.errors import Malformed
from protocol.state import BUCKETS, StateView, bucket_of
from protocol.tendermint.messages import Commit
from protocol.types import Count, Height
from storage.database import Database, Records
from storage.errors import Corrupted
from storage.state import StoredState, encode_changes, load_buckets

HEAD_KEY = b"h"
BLOCK_PREFIX = b"b"
COMMIT_PREFIX = b"c"
RECEIPTS_PREFIX = b"r"
TRANSACTION_PREFIX = b"t"
EVENT_PREFIX = b"e"

ENTRIES = {BLOCK_PREFIX: "block", COMMIT_PREFIX: "commit", RECEIPTS_PREFIX: "receipts"}
HEIGHT_BYTES = 8
INDEX_BYTES = 4

# Where an event of a task is stored: its height, and its index there.
TaskEventPlace = tuple[int, int]

T = TypeVar("T")


class LogReader:
    """The log as a database holds it, each entry decoded; nothing is taken for granted of what should be there.

    `view` is the state after the head (`protocol.state.StateView`).
    """

    view: StateView

    def __init__(self, records: Records) -> None:
        self.records = records
        self.view = StoredState(records)

    def load_head(self) -> Head | None:
        """Return the newest committed head, or None before the genesis state is stored. Raises `Corrupted`."""
        return self._load(HEAD_KEY, Head)

    def load_block(self, height: int) -> Block | None:
        """Return the block of a height, or None where the log has none. Raises `Corrupted`."""
        return self._load_entry(BLOCK_PREFIX, height, Block)

    def load_commit(self, height: int) -> Commit | None:
        """Return the commit that made the block of a height final, or None where the log has none."""
        return self._load_entry(COMMIT_PREFIX, height, Commit)

    def load_receipts(self, height: int) -> tuple[Receipt, ...] | None:
        """Return the receipts of a block, one per transaction in order, or None where the log has none."""
        return self._load_entry(RECEIPTS_PREFIX, height, tuple[Receipt, ...])

    def find_transaction(self, transaction: bytes) -> tuple[int, int] | None:
        """Return (height, index in the block) of the transaction with this id, or None if the log does not hold it."""
        return self._load(TRANSACTION_PREFIX + transaction, tuple[Height, Count])

    def load_buckets(self) -> tuple[bytes, ...]:
        """Return the 256 bucket hashes of the state after the head, 384 bytes each."""
        return load_buckets(self.records)

    def _load_entry(self, prefix: bytes, height: int, kind: type[T]) -> T | None:
        return self._load(prefix + integer_bytes(height), kind)

    def _load(self, key: bytes, kind: type[T]) -> T | None:
        try:
            data = self.records.get(key)
            return None if data is None else decode(data, kind)
        except Corrupted as error:
            raise Corrupted(f"{self.records.path}, {describe_key(key)}", error.reason) from error
        except Malformed as error:
            raise Corrupted(f"{self.records.path}, {describe_key(key)}", error.message) from error


class ChainStore(LogReader):
    """The log of one chain and its newest state. One task writes; others may read meanwhile."""

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._database = database
        self._head = super().load_head()

    @contextmanager
    def freeze(self) -> Iterator[LogReader]:
        """Give the log as it is now, whatever is appended meanwhile: single reads of the log itself see two heights."""
        with closing(self._database.snapshot()) as snapshot:
            yield LogReader(snapshot)

    def initialise(self, head: Head, state_records: Mapping[bytes, bytes], buckets: Sequence[bytes]) -> None:
        """Store the genesis state: the head of height 0, all state records, all 256 buckets. Only in an empty store."""
        assert self._head is None, "the store has a genesis state already"
        assert head.height == 0, "the genesis state is the head of height 0"
        assert len(buckets) == BUCKETS, "the genesis state has all buckets"
        batch: dict[bytes, bytes | None] = {HEAD_KEY: encode(head)}
        batch.update(encode_changes(state_records, dict(enumerate(buckets))))
        self._database.write(batch)
        self._head = head

    def commit(
        self,
        block: Block,
        commit: Commit,
        receipts: Sequence[Receipt],
        *,
        changes: Mapping[bytes, bytes | None],
        buckets: Mapping[int, bytes],
        head: Head,
        events: Sequence[bytes] = (),
    ) -> None:
        """Append a block with its commit, receipts and changes of the state; all durable when this returns, or none.

        `changes` maps state keys to new values (None deletes), `buckets` the indices of changed buckets to their new
        384 bytes; `head` is the log after this block, `events` tell people what it did to tasks.
        """
        self._check_next(block, commit, receipts, head)
        height = integer_bytes(head.height)
        batch: dict[bytes, bytes | None] = {
            HEAD_KEY: encode(head),
            BLOCK_PREFIX + height: encode(block),
            COMMIT_PREFIX + height: encode(commit),
            RECEIPTS_PREFIX + height: encode(tuple(receipts)),
        }
        for index, transaction in enumerate(block.transactions):
            batch[TRANSACTION_PREFIX + transaction_id(transaction)] = encode((head.height, index))
        for index, event in enumerate(events):
            batch[event_key((head.height, index))] = event
        batch.update(encode_changes(changes, buckets))
        self._database.write(batch)
        self._head = head

    def append_task_event(self, event: bytes, place: TaskEventPlace) -> None:
        """Store an event that no block brought, at the place that `next_task_event` named."""
        self._database.write({event_key(place): event})

    def next_task_event(self) -> TaskEventPlace:
        """Return the place of the next event at the newest height."""
        assert self._head is not None, "a log starts with its genesis state"
        height = self._head.height
        return height, sum(1 for _ in self._database.scan(EVENT_PREFIX + integer_bytes(height)))

    def load_task_events(self, start: TaskEventPlace, limit: int) -> list[tuple[TaskEventPlace, bytes]]:
        """Return the first so many events from a place on, in order."""
        with closing(self._database.scan(EVENT_PREFIX, event_key(start))) as found:
            return [(event_place(key), event) for key, event in islice(found, limit)]

    def load_head(self) -> Head | None:
        """Return the newest committed head, or None before the genesis state is stored."""
        return self._head

    def _check_next(self, block: Block, commit: Commit, receipts: Sequence[Receipt], head: Head) -> None:
        assert self._head is not None, "a log starts with its genesis state"
        assert head.height == block.header.height == commit.height == self._head.height + 1, "blocks come in order"
        assert block.header.previous_block == self._head.block_id, "the block continues another log"
        assert head.block_id == commit.block_id == block_id(block.header), "head and commit name the block"
        assert len(receipts) == len(block.transactions), "every transaction has a receipt"

    def _load_entry(self, prefix: bytes, height: int, kind: type[T]) -> T | None:
        """Return an entry of the log; one that is missing at or below the head is damage, not absence."""
        if self._head is None or not 0 < height <= self._head.height:
            return None
        entry = super()._load_entry(prefix, height, kind)
        if entry is None:
            raise Corrupted(f"{self._database.path}, {describe_key(prefix + integer_bytes(height))}", "missing")
        return entry


def event_key(place: TaskEventPlace) -> bytes:
    """Return the key that the event at a place is stored under."""
    height, index = place
    return EVENT_PREFIX + integer_bytes(height) + index.to_bytes(INDEX_BYTES, "big")


def event_place(key: bytes) -> TaskEventPlace:
    """Return the place of the event that is stored under a key."""
    rest = key.removeprefix(EVENT_PREFIX)
    return int.from_bytes(rest[:HEIGHT_BYTES], "big"), int.from_bytes(rest[HEIGHT_BYTES:], "big")


def describe_key(key: bytes) -> str:
    """Return in words what the record under a key of the database is."""
    rest = key[1:]
    match key[:1]:
        case prefix if prefix in ENTRIES and len(rest) == HEIGHT_BYTES:
            return f"{ENTRIES[prefix]} {int.from_bytes(rest, 'big')}"
        case b"h" if not rest:
            return "head of the log"
        case b"t":
            return f"index entry of transaction {rest.hex()}"
        case b"s":
            return f"state record {rest.hex()} in bucket {bucket_of(rest)}"
        case b"m" if len(rest) == 1:
            return f"state bucket {rest[0]}"
        case b"e":
            return f"event of a task at height {event_place(key)[0]}"
        case b"n":
            return "note of a participant"
        case _:
            return f"record {key.hex()}"
