"""Compares the stored state, its bucket hashes and the head with those of a replay, and looks for what is too much."""

import heapq
from collections.abc import Iterator
from itertools import groupby
from operator import itemgetter

from flocknode.verification.report import Report
from protocol.blocks import transaction_id
from protocol.crypto import multiset_bytes
from protocol.ledger import ChainState
from protocol.state import MemoryState, bucket_of
from storage import notes
from storage.errors import Corrupted
from storage.log import (
    BLOCK_PREFIX,
    COMMIT_PREFIX,
    EVENT_PREFIX,
    HEAD_KEY,
    HEIGHT_BYTES,
    INDEX_BYTES,
    RECEIPTS_PREFIX,
    TRANSACTION_PREFIX,
    LogReader,
    describe_key,
)
from storage.state import BUCKET_PREFIX, RECORD_PREFIX

# What the first byte of a state key says its record is.
TABLES = {
    b"A": "account",
    b"C": "score sheet",
    b"D": "delegation",
    b"E": "epoch",
    b"FA": "alliance",
    b"FN": "counter of alliances",
    b"FP": "participant of an alliance",
    b"FR": "round of an alliance",
    b"FU": "update",
    b"FV": "voter's sheet",
    b"Fa": "active alliance",
    b"Fc": "closing of an alliance",
    b"Fe": "proven sum",
    b"Fk": "commitment to an update",
    b"Fm": "mask key of a client",
    b"Fr": "result of a round",
    b"Fs": "units given to a pool",
    b"Fx": "sealed key of an update",
    b"G": "governance account",
    b"I": "standing of an account",
    b"K": "used VRF key",
    b"L": "earnings of a member that left",
    b"M": "member",
    b"N": "counter of tasks",
    b"O": "gallery of a task",
    b"P": "purse",
    b"R": "epoch result",
    b"S": "submission",
    b"T": "task",
    b"V": "voters",
    b"Y": "supply",
    b"a": "active task",
    b"b": "bonds that wait for proofs",
    b"c": "task of a creator",
    b"d": "delegator of a task",
    b"e": "emission",
    b"f": "givers to a task",
    b"g": "gift to a task",
    b"l": "delegation that leaves",
    b"m": "places",
    b"o": "first of a model",
    b"q": "trainers waiting for seats",
    b"s": "units given to a pot",
    b"u": "stake that unbonds",
    b"v": "vault",
    b"x": "fault that was proven",
    b"z": "delegation by size",
}
HEIGHTS = (BLOCK_PREFIX, COMMIT_PREFIX, RECEIPTS_PREFIX)
# How many records are checked between two reports of progress.
STRIDE = 4096


def compare_records(log: LogReader, state: ChainState, memory: MemoryState, report: Report) -> Iterator[None]:
    """Note every difference between what is stored and the state that the blocks lead to; yields now and then."""
    compare_head(log, state, report)
    compare_buckets(log, state, report)
    yield
    yield from compare_state(log, memory, report)
    yield from find_strays(log, state.head.height, report)


def compare_head(log: LogReader, state: ChainState, report: Report) -> None:
    """Compare the stored head."""
    stored = log.load_head()
    assert stored is not None, "it was read before"
    for name in stored.__struct_fields__:
        if getattr(stored, name) != getattr(state.head, name):
            report.add("head", "head of the log", f"its {name} is not what block {state.head.height} leads to")


def compare_buckets(log: LogReader, state: ChainState, report: Report) -> None:
    """Compare the stored bucket hashes."""
    try:
        stored = dict(log.records.scan(BUCKET_PREFIX))
    except Corrupted as error:
        report.add_damage("bucket", error)
        return
    for index, product in enumerate(state.commitment.buckets):
        found = stored.get(BUCKET_PREFIX + bytes([index]))
        report.records += 1
        if found != multiset_bytes(product):
            reason = "missing" if found is None else "its hash is not that of the state's records"
            report.add("bucket", f"state bucket {index}", reason, bucket=index)


def compare_state(log: LogReader, memory: MemoryState, report: Report) -> Iterator[None]:
    """Compare the stored state records."""
    stored = ((key, 0, value) for key, value in log.view.scan(b""))
    expected = ((key, 1, value) for key, value in memory.scan(b""))
    try:
        for count, (key, group) in enumerate(groupby(heapq.merge(stored, expected), key=itemgetter(0))):
            values = {source: value for _, source, value in group}
            report.records += 1
            if values.get(0) != values.get(1):
                reason = "missing" if 0 not in values else "too much" if 1 not in values else "altered"
                report.add("state", describe_state(key), reason, bucket=bucket_of(key), key=key)
            if count % STRIDE == 0:
                yield
    except Corrupted as error:
        report.add_damage("state", error)


def describe_state(key: bytes) -> str:
    """Return in words which record of the state a key names."""
    # No name of a table begins another.
    kind = TABLES.get(key[:1]) or TABLES.get(key[:2], "unknown record")
    return f"state record {key.hex()} ({kind}) in bucket {bucket_of(key)}"


def find_strays(log: LogReader, height: int, report: Report) -> Iterator[None]:
    """Note what the database holds beyond the log; so every stored byte is read, and with it its checksum."""
    indexed = 0
    try:
        for count, (key, _) in enumerate(log.records.scan(b"")):
            indexed += key.startswith(TRANSACTION_PREFIX)
            if not is_expected(key, height):
                report.add("stray", describe_key(key), "the log has no place for it")
            if count % STRIDE == 0:
                yield
    except Corrupted as error:
        report.add_damage("database", error)
    if indexed > report.transactions:
        yield from find_stray_index(log, report)


def is_expected(key: bytes, height: int) -> bool:
    """Return whether a database whose log ends at a height may have such a key."""
    prefix, rest = key[:1], key[1:]
    if prefix in HEIGHTS:
        return len(rest) == HEIGHT_BYTES and 1 <= int.from_bytes(rest, "big") <= height
    if prefix == EVENT_PREFIX:
        return len(rest) == HEIGHT_BYTES + INDEX_BYTES and int.from_bytes(rest[:HEIGHT_BYTES], "big") <= height
    return key == HEAD_KEY or prefix in (TRANSACTION_PREFIX, RECORD_PREFIX, BUCKET_PREFIX, notes.PREFIX)


def find_stray_index(log: LogReader, report: Report) -> Iterator[None]:
    """Note the index entries of transactions that the log does not hold."""
    for key, _ in log.records.scan(TRANSACTION_PREFIX):
        identity = key[len(TRANSACTION_PREFIX) :]
        try:
            place = log.find_transaction(identity)
            block = log.load_block(place[0]) if place is not None else None
        except Corrupted:
            place, block = None, None
        held = () if block is None else block.transactions
        if place is None or place[1] >= len(held) or transaction_id(held[place[1]]) != identity:
            report.add("index", describe_key(key), "the log does not hold this transaction")
        yield
