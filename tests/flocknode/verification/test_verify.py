"""Whatever is altered in a stored log is found, and the finding says where."""

import importlib
import pkgutil
import random
from pathlib import Path

import msgspec
import pytest

import protocol.rules
from flocknode.replica.journal import Signed
from flocknode.verification.records import TABLES
from protocol.blocks import Block, block_id, transaction_id, transactions_root
from protocol.codec import decode, encode
from protocol.crypto import integer_bytes
from protocol.state import Table, bucket_of
from protocol.tendermint.messages import Commit, VoteKind, sign_vote
from storage.errors import Corrupted
from storage.log import (
    BLOCK_PREFIX,
    COMMIT_PREFIX,
    HEAD_KEY,
    RECEIPTS_PREFIX,
    TRANSACTION_PREFIX,
    LogReader,
    describe_key,
    event_key,
)
from storage.state import BUCKET_PREFIX, RECORD_PREFIX
from storage.wal import WriteAheadLog, read_records, replace_log

PARTS = {
    HEAD_KEY: "head",
    BLOCK_PREFIX: "block",
    COMMIT_PREFIX: "commit",
    RECEIPTS_PREFIX: "receipts",
    TRANSACTION_PREFIX: "index",
    RECORD_PREFIX: "state",
    BUCKET_PREFIX: "bucket",
}


def flip(data: bytes, rng: random.Random) -> bytes:
    """Return the bytes with one bit flipped."""
    position = rng.randrange(len(data))
    return data[:position] + bytes([data[position] ^ 1 << rng.randrange(8)]) + data[position + 1 :]


def flip_in_file(path: Path, rng: random.Random) -> None:
    """Flip a bit of a file."""
    path.write_bytes(flip(path.read_bytes(), rng))


def read_all(edit, home) -> dict[bytes, bytes]:
    """Return every record of the database of a home."""
    with edit(home) as database:
        return dict(database.scan(b""))


def place_of(key: bytes) -> tuple[str, str]:
    """Return (part, how the place ends) of the finding that names a key."""
    part = PARTS[key[:1]]
    if part == "state":
        return part, f"in bucket {bucket_of(key[1:])}"
    return part, describe_key(key)


def test_a_sound_log_is_sound(verify, home, ledger):
    """An untouched log: every block, transaction and record was checked, and nothing was found."""
    found = verify(home)
    assert (found.state, found.findings) == ("sound", ())
    assert found.height == found.target == len(ledger.blocks)
    assert found.transactions == sum(len(block.transactions) for block in ledger.blocks)
    assert found.signatures == (2 * len(ledger.blocks) - 1) * len(ledger.people)
    assert found.records == len(ledger.state.records) + 256
    assert found.journal_records == 6


def test_a_home_without_a_log_is_sound(verify, home):
    """A node that never ran has nothing that could be broken."""
    for path in home.database.iterdir():
        path.unlink()
    home.database.rmdir()
    home.journal.unlink()
    assert verify(home).state == "sound"


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("prefix", PARTS, ids=PARTS.values())
def test_a_flipped_bit_in_a_record_is_located(verify, home, edit, prefix, seed):
    """One bit of any record, written past all checksums: the first finding names the record."""
    print("seed", seed)
    rng = random.Random(seed)
    with edit(home) as database:
        key = rng.choice([key for key, _ in database.scan(prefix)])
        database.write({key: flip(database.get(key), rng)})
    found = verify(home)
    assert found.state == "broken"
    part, place = place_of(key)
    first = found.findings[0]
    # A commit names its block: which of the two was altered can only be told by the signatures.
    assert first.part == part, first
    assert first.place.endswith(place), first
    assert first.reason


def test_whichever_block_is_altered_is_located(verify, home, edit, ledger):
    """One bit of each block in turn: the finding is that block, and the log counts as good up to the one before."""
    rng = random.Random(1)
    for height in range(1, len(ledger.blocks) + 1):
        key = BLOCK_PREFIX + integer_bytes(height)
        with edit(home) as database:
            whole = database.get(key)
            database.write({key: flip(whole, rng)})
        found = verify(home)
        assert (found.findings[0].part, found.findings[0].height, found.height) == ("block", height, height - 1)
        with edit(home) as database:
            database.write({key: whole})
    assert verify(home).state == "sound"


@pytest.mark.parametrize("prefix", [COMMIT_PREFIX, RECEIPTS_PREFIX, TRANSACTION_PREFIX, RECORD_PREFIX], ids=PARTS.get)
def test_every_altered_record_is_located(verify, home, edit, prefix):
    """One bit of every record of a kind at once, the head's commit aside, without which there is nothing to replay."""
    rng = random.Random(1)
    with edit(home) as database:
        keys = [key for key, _ in database.scan(prefix)]
        keys = keys[:-1] if prefix == COMMIT_PREFIX else keys
        database.write({key: flip(database.get(key), rng) for key in keys})
    found = verify(home)
    assert found.findings_left_out == 0
    places = [one.place for one in found.findings if one.part == PARTS[prefix]]
    assert len(keys) == len(places) > 10
    assert all(any(place.endswith(place_of(key)[1]) for place in places) for key in keys)


@pytest.mark.parametrize("prefix", PARTS, ids=PARTS.values())
def test_a_missing_record_is_located(verify, home, edit, prefix):
    """A record that is gone is a finding at its place."""
    with edit(home) as database:
        key = next(iter(database.scan(prefix)))[0]
        database.write({key: None})
    found = verify(home)
    assert found.state == "broken"
    assert found.findings[0].part == PARTS[prefix]
    assert found.findings[0].reason.startswith("missing")


@pytest.mark.parametrize(
    ("key", "part"),
    [
        (BLOCK_PREFIX + integer_bytes(999), "stray"),
        (COMMIT_PREFIX + integer_bytes(0), "stray"),
        (TRANSACTION_PREFIX + bytes(32), "index"),
        (RECORD_PREFIX + b"Pb" + bytes(32), "state"),
        (b"unknown", "stray"),
        (event_key((999, 0)), "stray"),
        (event_key((1, 0)) + b"x", "stray"),
    ],
)
def test_what_is_too_much_is_found(verify, home, edit, key, part):
    """Records that no block wrote: beyond the head, of no transaction, of no rule."""
    with edit(home) as database:
        database.write({key: encode((1, 0))})
    (finding,) = verify(home).findings
    assert finding.part == part


def alter_block(edit, home, height, **changes) -> None:
    """Replace fields of a block's header, or its transactions with a header that names them."""
    key = BLOCK_PREFIX + integer_bytes(height)
    with edit(home) as database:
        block = decode(database.get(key), Block)
        transactions = changes.pop("transactions", block.transactions)
        changes["transactions_root"] = transactions_root(transactions)
        header = msgspec.structs.replace(block.header, **changes)
        database.write({key: encode(Block(header, block.previous_commit, transactions))})


def test_a_block_that_nobody_signed_is_told_from_its_commit(verify, home, edit):
    """A block rewritten with matching roots: its commit is whole, so the finding is the block."""
    alter_block(edit, home, 3, transactions=())
    first = verify(home).findings[0]
    assert (first.part, first.height) == ("block", 3)
    assert "a quorum signed" in first.reason


def test_a_forged_chain_is_refused_at_its_signatures(verify, home, edit, ledger):
    """A block and a commit that name each other, signed by too few: the commit is the finding."""
    alter_block(edit, home, 3, time_ms=ledger.blocks[2].header.time_ms + 1)
    with edit(home) as database:
        block = LogReader(database).load_block(3)
        stored = LogReader(database).load_commit(3)
        forged = Commit(3, stored.round, block_id(block.header), stored.signatures)
        database.write({COMMIT_PREFIX + integer_bytes(3): encode(forged)})
    first = verify(home).findings[0]
    assert (first.part, first.height) == ("commit", 3)
    assert "signature" in first.reason


def test_a_commit_of_another_height_is_a_finding(verify, home, edit):
    """A valid commit at the wrong place, and the replay goes on with the commit in the next block."""
    with edit(home) as database:
        database.write({COMMIT_PREFIX + integer_bytes(4): database.get(COMMIT_PREFIX + integer_bytes(3))})
    found = verify(home)
    assert [(one.part, one.height) for one in found.findings] == [("commit", 4)]
    assert found.height == found.target


def test_a_block_that_only_a_forged_commit_makes_final_is_not_executed(verify, home, edit):
    """The stored commit is gone and the one in the next block has a wrong signature: the replay ends before."""
    key = BLOCK_PREFIX + integer_bytes(6)
    with edit(home) as database:
        block = decode(database.get(key), Block)
        first, *others = block.previous_commit.signatures
        forged = msgspec.structs.replace(first, signature=bytes(64))
        commit = msgspec.structs.replace(block.previous_commit, signatures=(forged, *others))
        database.write({key: encode(msgspec.structs.replace(block, previous_commit=commit))})
        database.write({COMMIT_PREFIX + integer_bytes(5): None})
    found = verify(home)
    assert [(one.part, one.height) for one in found.findings] == [("commit", 5)]
    assert found.height == 4


def test_receipts_and_index_do_not_stop_the_replay(verify, home, edit, ledger):
    """What only stands beside the blocks is noted, and everything after it is checked all the same."""
    height = next(block.header.height for block in ledger.blocks if block.transactions)
    transaction = transaction_id(ledger.blocks[height - 1].transactions[0])
    with edit(home) as database:
        database.write(
            {
                RECEIPTS_PREFIX + integer_bytes(height): encode(()),
                TRANSACTION_PREFIX + transaction: encode((height + 1, 0)),
                HEAD_KEY: encode(msgspec.structs.replace(LogReader(database).load_head(), time_ms=1)),
            }
        )
    assert [one.part for one in verify(home).findings] == ["receipts", "index", "head"]


def test_another_genesis_document_is_found_at_the_first_block(home, document):
    """The log of one chain under the document of another breaks at block 1."""
    from flocknode.verification.verify import verify_home

    *_, found = verify_home(home, msgspec.structs.replace(document, name="other"))
    assert (found.findings[0].part, found.findings[0].height) == ("commit", 1)


def test_findings_are_bounded(verify, home, edit):
    """A log in ruins is told with the first findings and a count of the others."""
    with edit(home) as database:
        database.write({BUCKET_PREFIX + bytes([index]): b"" for index in range(256)})
    found = verify(home)
    assert len(found.findings) + found.findings_left_out == 256
    assert found.findings_left_out == 156


@pytest.mark.parametrize("files", ["*.log", "*.ldb", "MANIFEST-*", "CURRENT"])
@pytest.mark.parametrize("seed", range(8))
def test_a_flipped_bit_in_a_file_of_the_database_is_found_or_harmless(verify, home, edit, files, seed):
    """One bit of LevelDB's own files: the log is broken at a named place, or every record is what it was."""
    print("seed", seed)
    rng = random.Random(seed)
    expected = read_all(edit, home) if files == "*.ldb" else None
    path = next(path for path in sorted(home.database.glob(files)) if path.stat().st_size)
    flip_in_file(path, rng)
    try:
        found = verify(home)
    except Corrupted:
        raise AssertionError("damage is a finding, not an error") from None
    if found.state == "broken":
        assert all(one.place and one.reason for one in found.findings)
    else:
        assert found.height == found.target
        assert expected is None or read_all(edit, home) == expected


def test_a_flipped_bit_in_leveldbs_log_is_located_in_the_file(verify, home):
    """LevelDB says that a checksum does not match; the finding says in which file, at which offset."""
    (path,) = home.database.glob("*.log")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    (finding,) = verify(home).findings
    assert finding.part == "database"
    name, _, offset = finding.place.partition(" at offset ")
    assert name == str(path)
    # The record begins before the flipped byte; none is longer than a block of LevelDB's log.
    assert 0 <= len(data) // 2 - int(offset) < 32 * 1024


# --- the write-ahead log ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_in_the_journal_is_located(verify, home, seed):
    """One bit anywhere in the write-ahead log: a finding with the offset of its record."""
    print("seed", seed)
    rng = random.Random(seed)
    flip_in_file(home.journal, rng)
    (finding,) = verify(home).findings
    assert finding.part == "journal"
    assert f"{home.journal} at offset " in finding.place


def test_a_torn_journal_is_sound(verify, home):
    """An unfinished record at the end is what a crash leaves; verifying does not cut it."""
    with home.journal.open("ab") as file:
        file.write(b"\x00\x00\x01")
    data = home.journal.read_bytes()
    assert verify(home).state == "sound"
    assert home.journal.read_bytes() == data


def test_a_missing_journal_is_a_finding(verify, home):
    """A log without its write-ahead log has forgotten what was signed."""
    home.journal.unlink()
    (finding,) = verify(home).findings
    assert (finding.part, finding.reason) == ("journal", "cannot be read: No such file or directory")


def test_journal_entries_are_checked_beyond_their_checksums(verify, home, ledger):
    """A whole record that is none, a vote with a wrong signature, a block that is not one: each is found."""
    payloads, _ = read_records(home.journal)
    vote = sign_vote(bytes(32), bytes(32), kind=VoteKind.PREVOTE, height=1, round=0, block_id=None)
    bad = [b"\x90", encode(Signed(vote)), payloads[1][:-1] + b"x"]
    replace_log(home.journal, [*payloads, *bad])
    found = verify(home)
    assert [one.place.rpartition("record ")[2] for one in found.findings] == [
        f"{len(payloads) + index} of the file" for index in range(3)
    ]
    WriteAheadLog(home.journal).close()


def test_every_table_of_the_state_has_a_name():
    """A finding can say in words what kind of record was altered, whichever rule wrote it."""
    tables = {b"P"}
    for module in pkgutil.walk_packages(protocol.rules.__path__, "protocol.rules."):
        found = vars(importlib.import_module(module.name)).values()
        tables |= {value.prefix for value in found if isinstance(value, Table)}
    assert tables == set(TABLES)
