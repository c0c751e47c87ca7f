"""The log in LevelDB: append-only, all of a height or nothing."""

import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from protocol.blocks import transaction_id
from protocol.state import BUCKETS, MemoryState
from storage.database import Database
from storage.errors import Corrupted
from storage.log import BLOCK_PREFIX, ChainStore
from storage.state import BUCKET_PREFIX

Append = Callable[[ChainStore, int], list[Any]]
Reopen = Callable[[], tuple[Database, ChainStore]]

APPEND_FOR_EVER = """
import runpy, sys
runpy.run_path("tests/storage/conftest.py")["append_for_ever"](sys.argv[1])
"""


def check_contents(store: ChainStore, entries: list[Any]) -> None:
    """Assert that the store holds exactly these entries on top of the genesis state."""
    state = MemoryState({b"genesis": b"yes"})
    buckets = [i.to_bytes(384, "big") for i in range(BUCKETS)]
    for height, entry in enumerate(entries, start=1):
        assert store.load_block(height) == entry.block
        assert store.load_commit(height) == entry.commit
        assert store.load_receipts(height) == entry.receipts
        for index, transaction in enumerate(entry.block.transactions):
            assert store.find_transaction(transaction_id(transaction)) == (height, index)
        state.apply(entry.changes)
        for index, bucket in entry.buckets.items():
            buckets[index] = bucket
    assert store.load_head() == entries[-1].head
    assert list(store.view.scan(b"")) == list(state.scan(b""))
    assert list(store.load_buckets()) == buckets


def test_log_is_the_same_after_reopening(
    store: ChainStore, database: Database, append_entries: Append, reopen: Reopen
) -> None:
    """Blocks, commits, receipts, index, state, buckets and head are what was committed, now and after a restart."""
    entries = append_entries(store, 30)
    check_contents(store, entries)
    database.close()
    database, store = reopen()
    entries += append_entries(store, 5)
    check_contents(store, entries)
    database.close()


def test_absent_entries_are_none(store: ChainStore, database: Database, append_entries: Append) -> None:
    """Heights outside the log and unknown transactions are None, not errors."""
    append_entries(store, 2)
    assert [store.load_block(height) for height in (0, 3, -1)] == [None] * 3
    assert store.load_commit(3) is None
    assert store.load_receipts(3) is None
    assert store.find_transaction(bytes(32)) is None
    assert store.view.get(b"nothing") is None


def test_empty_store_has_no_head(database: Database) -> None:
    """Before the genesis state there is no head, no entry, and nothing can be appended."""
    store = ChainStore(database)
    assert store.load_head() is None
    assert store.load_block(1) is None


def test_deleted_state_records_are_gone(
    store: ChainStore, append_entries: Append, next_entry: Callable[[Any], Any]
) -> None:
    """A change to None removes the record of the state."""
    append_entries(store, 1)
    entry = next_entry(store.load_head())
    changes = {b"genesis": None, b"new": b"1"}
    store.commit(entry.block, entry.commit, entry.receipts, changes=changes, buckets={}, head=entry.head)
    assert store.view.get(b"genesis") is None
    assert list(store.view.scan(b"n")) == [(b"new", b"1")]


@pytest.mark.parametrize("what", ["height", "parent", "receipts", "commit", "head"])
def test_anything_but_the_next_block_is_refused(
    store: ChainStore, append_entries: Append, next_entry: Callable[[Any], Any], what: str
) -> None:
    """A gap, another parent, a missing receipt, or a commit or head of another block is a bug; nothing is stored."""
    append_entries(store, 2)
    head = store.load_head()
    assert head is not None
    entry = next_entry(head)
    match what:
        case "height":
            entry = next_entry(entry.head)
        case "parent":
            entry = next_entry(msgspec.structs.replace(head, block_id=bytes(32)))
        case "receipts":
            entry = entry._replace(receipts=entry.receipts[:-1])
        case "commit":
            entry = entry._replace(commit=msgspec.structs.replace(entry.commit, block_id=bytes(32)))
        case "head":
            entry = entry._replace(head=msgspec.structs.replace(entry.head, block_id=bytes(32)))
    with pytest.raises(AssertionError):
        store.commit(
            entry.block, entry.commit, entry.receipts, changes=entry.changes, buckets=entry.buckets, head=entry.head
        )
    assert store.load_head() == head


def test_genesis_is_stored_once(store: ChainStore) -> None:
    """A store that has a genesis state takes no other."""
    head = store.load_head()
    assert head is not None
    with pytest.raises(AssertionError):
        store.initialise(head, {}, [bytes(384)] * BUCKETS)


def test_missing_and_undecodable_entries_are_located(
    store: ChainStore, database: Database, append_entries: Append
) -> None:
    """An entry at or below the head that is gone or not a record is damage, named by its height."""
    append_entries(store, 3)
    database.write({BLOCK_PREFIX + (2).to_bytes(8, "big"): None, BLOCK_PREFIX + (1).to_bytes(8, "big"): b"\x90"})
    database.write({BUCKET_PREFIX + b"\x07": b"short"})
    with pytest.raises(Corrupted, match="block 2: missing"):
        store.load_block(2)
    with pytest.raises(Corrupted, match="block 1: not a valid record"):
        store.load_block(1)
    with pytest.raises(Corrupted, match="state bucket 7: 5 bytes"):
        store.load_buckets()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_kill_loses_nothing_that_was_acknowledged(
    tmp_path: Path, repository: Path, reopen: Reopen, next_entry: Callable[[Any], Any], seed: int
) -> None:
    """SIGKILL in the middle of batches: log, state and head agree, at or above what it acknowledged."""
    print("seed", seed)
    command = [sys.executable, "-c", APPEND_FOR_EVER, str(tmp_path / "db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=repository) as process:
        assert process.stdout is not None
        for _ in range(random.Random(seed).randrange(20, 80)):
            acknowledged = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
    database, store = reopen()
    head = store.load_head()
    assert head is not None
    assert acknowledged <= head.height <= acknowledged + 1
    assert store.view.get(b"height") == b"%d" % head.height
    entries: list[Any] = []
    previous = msgspec.structs.replace(head, height=0, block_id=b"\x11" * 32)
    for _ in range(head.height):
        entries.append(next_entry(previous))
        previous = entries[-1].head
    check_contents(store, entries)
    database.close()
