"""Entries of a log that storage accepts, made without rules or keys; used by tests and by the processes they kill."""

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from protocol.blocks import Block, Head, Header, Receipt, block_id, transaction_id
from protocol.state import BUCKETS
from protocol.tendermint.messages import Commit, CommitSignature
from storage.database import Database
from storage.log import ChainStore

REPOSITORY = Path(__file__).parents[2]
GENESIS = Head(0, b"\x11" * 32, 0, b"\x22" * 32, b"\x33" * 32)


class Entry(NamedTuple):
    """All that one height writes."""

    block: Block
    commit: Commit
    receipts: tuple[Receipt, ...]
    changes: dict[bytes, bytes | None]
    buckets: dict[int, bytes]
    head: Head


def make_entry(previous: Head, *, records: int = 20, transactions: int = 3) -> Entry:
    """Return the entry after `previous`; the same height always has the same bytes."""
    height = previous.height + 1
    rng = random.Random(height)
    body = tuple(rng.randbytes(180) for _ in range(transactions))
    digests = [rng.randbytes(32) for _ in range(7)]
    header = Header(
        b"\x11" * 32, height, height * 1000, 0, digests[0], previous.block_id, *digests[1:7], rng.randbytes(96)
    )
    block = Block(header, None, body)
    commit = Commit(height, 0, block_id(header), (CommitSignature(digests[0], rng.randbytes(64)),))
    receipts = tuple(Receipt(transaction_id(transaction), 0, "") for transaction in body)
    changes: dict[bytes, bytes | None] = {b"r%06d" % rng.randrange(10_000): rng.randbytes(100) for _ in range(records)}
    changes[b"height"] = b"%d" % height
    buckets = {rng.randrange(BUCKETS): rng.randbytes(384) for _ in range(3)}
    head = Head(height, block_id(header), header.time_ms, rng.randbytes(32), rng.randbytes(32))
    return Entry(block, commit, receipts, changes, buckets, head)


def open_store(path: Path) -> tuple[Database, ChainStore]:
    """Return the store at a path, with a genesis state."""
    database = Database(path)
    store = ChainStore(database)
    if store.load_head() is None:
        store.initialise(GENESIS, {b"genesis": b"yes"}, [i.to_bytes(384, "big") for i in range(BUCKETS)])
    return database, store


def append(store: ChainStore, count: int) -> list[Entry]:
    """Commit the next `count` entries and return them."""
    entries = []
    for _ in range(count):
        head = store.load_head()
        assert head is not None
        entry = make_entry(head)
        store.commit(
            entry.block, entry.commit, entry.receipts, changes=entry.changes, buckets=entry.buckets, head=entry.head
        )
        entries.append(entry)
    return entries


def append_for_ever(path: str) -> None:
    """Commit entries until killed, printing each height once it is acknowledged."""
    _, store = open_store(Path(path))
    while True:
        append(store, 1)
        sys.stdout.write(f"{store.load_head().height}\n")  # type: ignore[union-attr]
        sys.stdout.flush()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Return an empty database."""
    database = Database(tmp_path / "db")
    yield database
    database.close()


@pytest.fixture
def store(database: Database) -> ChainStore:
    """Return a log that holds a genesis state only."""
    store = ChainStore(database)
    store.initialise(GENESIS, {b"genesis": b"yes"}, [i.to_bytes(384, "big") for i in range(BUCKETS)])
    return store


@pytest.fixture
def append_entries() -> Callable[[ChainStore, int], list[Entry]]:
    """Return the function that commits the next entries."""
    return append


@pytest.fixture
def next_entry() -> Callable[[Head], Entry]:
    """Return the function that makes the entry after a head."""
    return make_entry


@pytest.fixture
def reopen(tmp_path: Path) -> Callable[[], tuple[Database, ChainStore]]:
    """Return the function that opens the database of this test again."""
    return lambda: open_store(tmp_path / "db")


@pytest.fixture
def repository() -> Path:
    """Return the folder from which a child process can import the packages."""
    return REPOSITORY
