"""The append-only log in the database: height -> block, with what belongs to it, in one synced batch per block.

So a crash leaves the log, the state and the head of one and the same height. Which blocks are valid is decided
elsewhere; this module only refuses what could not be the next entry.
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

from protocol.blocks import Block, Head, Receipt, block_id, transaction_id
from protocol.codec import decode, encode
from protocol.crypto import integer_bytes
from protocol.errors import Malformed
from protocol.state import BUCKETS, StateView
from protocol.tendermint.messages import Commit
from protocol.types import Count, Height
from storage.database import Database
from storage.errors import Corrupted
from storage.state import StoredState, encode_changes, load_buckets

HEAD_KEY = b"h"
BLOCK_PREFIX = b"b"
COMMIT_PREFIX = b"c"
RECEIPTS_PREFIX = b"r"
TRANSACTION_PREFIX = b"t"

T = TypeVar("T")


class ChainStore:
    """The log of one chain and its newest state. One task writes; others may read meanwhile.

    `view` is the state after the head (`protocol.state.StateView`).
    """

    view: StateView

    def __init__(self, database: Database) -> None:
        self._database = database
        self._head = self._load(HEAD_KEY, Head, "head of the log")
        self.view = StoredState(database)

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
    ) -> None:
        """Append a block with its commit, receipts and changes of the state; all durable when this returns, or none.

        `changes` maps state keys to new values (None deletes), `buckets` the indices of changed buckets to their new
        384 bytes; `head` is the log after this block.
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
        batch.update(encode_changes(changes, buckets))
        self._database.write(batch)
        self._head = head

    def load_head(self) -> Head | None:
        """Return the newest committed head, or None before the genesis state is stored."""
        return self._head

    def load_block(self, height: int) -> Block | None:
        """Return the block of a height, or None where the log has none. Raises `Corrupted`."""
        return self._load_entry(BLOCK_PREFIX, height, Block, "block")

    def load_commit(self, height: int) -> Commit | None:
        """Return the commit that made the block of a height final, or None where the log has none."""
        return self._load_entry(COMMIT_PREFIX, height, Commit, "commit")

    def load_receipts(self, height: int) -> tuple[Receipt, ...] | None:
        """Return the receipts of a block, one per transaction in order, or None where the log has none."""
        return self._load_entry(RECEIPTS_PREFIX, height, tuple[Receipt, ...], "receipts")

    def find_transaction(self, transaction: bytes) -> tuple[int, int] | None:
        """Return (height, index in the block) of the transaction with this id, or None if the log does not hold it."""
        where = f"index entry of transaction {transaction.hex()}"
        return self._load(TRANSACTION_PREFIX + transaction, tuple[Height, Count], where)

    def load_buckets(self) -> tuple[bytes, ...]:
        """Return the 256 bucket hashes of the state after the head, 384 bytes each."""
        return load_buckets(self._database)

    def _check_next(self, block: Block, commit: Commit, receipts: Sequence[Receipt], head: Head) -> None:
        assert self._head is not None, "a log starts with its genesis state"
        assert head.height == block.header.height == commit.height == self._head.height + 1, "blocks come in order"
        assert block.header.previous_block == self._head.block_id, "the block continues another log"
        assert head.block_id == commit.block_id == block_id(block.header), "head and commit name the block"
        assert len(receipts) == len(block.transactions), "every transaction has a receipt"

    def _load_entry(self, prefix: bytes, height: int, kind: type[T], noun: str) -> T | None:
        """Return an entry of the log; one that is missing at or below the head is damage, not absence."""
        if self._head is None or not 0 < height <= self._head.height:
            return None
        entry = self._load(prefix + integer_bytes(height), kind, f"{noun} {height}")
        if entry is None:
            raise Corrupted(f"{self._database.path}, {noun} {height}", "missing")
        return entry

    def _load(self, key: bytes, kind: type[T], where: str) -> T | None:
        data = self._database.get(key)
        if data is None:
            return None
        try:
            return decode(data, kind)
        except Malformed as error:
            raise Corrupted(f"{self._database.path}, {where}", error.message) from error
