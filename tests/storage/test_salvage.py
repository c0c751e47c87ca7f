"""Reading a database that is damaged, or that others write meanwhile, and saying where what lies."""

import random
from pathlib import Path

import pytest

from storage.database import Database
from storage.errors import Corrupted, StorageError
from storage.leveldb_log import BLOCK_BYTES, find_damage
from storage.log import BLOCK_PREFIX, COMMIT_PREFIX, HEAD_KEY, RECEIPTS_PREFIX, TRANSACTION_PREFIX, describe_key
from storage.notes import PREFIX
from storage.salvage import open_readable
from storage.state import BUCKET_PREFIX, RECORD_PREFIX

RECORDS = 400


def fill(path: Path) -> dict[bytes, bytes]:
    """Write records over several blocks of LevelDB's log and return them."""
    rng, database = random.Random(1), Database(path)
    expected = {b"k%04d" % number: rng.randbytes(300) for number in range(RECORDS)}
    for key, value in expected.items():
        database.write({key: value})
    database.close()
    return expected


def flip(path: Path, position: int) -> None:
    """Flip a bit of a file."""
    data = bytearray(path.read_bytes())
    data[position] ^= 8
    path.write_bytes(data)


def test_a_snapshot_is_one_moment(database: Database) -> None:
    """What is written or deleted later does not exist for it; a scan can begin anywhere."""
    database.write({b"a1": b"x", b"a2": b"y", b"b": b"z"})
    snapshot = database.snapshot()
    database.write({b"a1": None, b"a2": b"other", b"a3": b"new"})
    assert (snapshot.get(b"a1"), snapshot.get(b"a3")) == (b"x", None)
    assert list(snapshot.scan(b"a")) == [(b"a1", b"x"), (b"a2", b"y")]
    assert list(snapshot.scan(b"a", b"a1\x00")) == [(b"a2", b"y")]
    assert list(snapshot.scan(b"b", b"a")) == [(b"b", b"z")]
    snapshot.close()
    assert list(database.scan(b"a")) == [(b"a2", b"other"), (b"a3", b"new")]


@pytest.mark.parametrize("seed", range(10))
def test_damage_in_a_log_of_leveldb_is_located(tmp_path: Path, seed: int) -> None:
    """Any bit of any record: the error names the file and where the record begins."""
    print("seed", seed)
    fill(tmp_path / "db")
    path = tmp_path / "db" / "000003.log"
    position = random.Random(seed).randrange(path.stat().st_size - BLOCK_BYTES)
    find_damage(tmp_path / "db")
    flip(path, position)
    with pytest.raises(Corrupted) as caught:
        Database(tmp_path / "db")
    name, _, offset = caught.value.where.partition(" at offset ")
    # A damaged length leads on to where no record begins.
    assert name == str(path)
    assert position // BLOCK_BYTES == int(offset) // BLOCK_BYTES
    assert int(offset) <= position < int(offset) + 400


@pytest.mark.parametrize("files", ["*.log", "*.ldb"])
def test_salvage_keeps_what_has_its_checksum(tmp_path: Path, files: str) -> None:
    """One flipped bit costs a part of the records, changes none, and the original stays as it was."""
    expected = fill(tmp_path / "db")
    if files == "*.ldb":
        Database(tmp_path / "db").close()
    (path,) = [path for path in (tmp_path / "db").glob(files) if path.stat().st_size]
    flip(path, path.stat().st_size // 2)
    damaged = path.read_bytes()
    (tmp_path / "copy").mkdir()
    database = open_readable(tmp_path / "db", tmp_path / "copy")
    found = dict(database.scan(b""))
    database.close()
    assert database.path == tmp_path / "copy"
    assert 0 < len(found) < RECORDS
    assert found.items() <= expected.items()
    assert path.read_bytes() == damaged


def test_a_readable_database_needs_no_copy(tmp_path: Path) -> None:
    """Nothing is copied where nothing is damaged."""
    expected = fill(tmp_path / "db")
    database = open_readable(tmp_path / "db", tmp_path / "copy")
    assert dict(database.scan(b"")) == expected
    database.close()
    assert not (tmp_path / "copy").exists()


def test_what_cannot_be_salvaged_is_an_error(tmp_path: Path) -> None:
    """Noise instead of a database is told, not taken for an empty one."""
    fill(tmp_path / "db")
    (tmp_path / "db" / "CURRENT").write_bytes(b"MANIFEST-999999\n")
    for path in (tmp_path / "db").glob("*.log"):
        path.write_bytes(random.Random(1).randbytes(5000))
    try:
        database = open_readable(tmp_path / "db", tmp_path / "copy")
    except StorageError:
        return
    assert list(database.scan(b"")) == []
    database.close()


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (HEAD_KEY, "head of the log"),
        (BLOCK_PREFIX + (17).to_bytes(8, "big"), "block 17"),
        (COMMIT_PREFIX + (1).to_bytes(8, "big"), "commit 1"),
        (RECEIPTS_PREFIX + (256).to_bytes(8, "big"), "receipts 256"),
        (TRANSACTION_PREFIX + b"\x0a" * 32, "index entry of transaction " + "0a" * 32),
        (RECORD_PREFIX + b"Pb", "state record 5062 in bucket "),
        (BUCKET_PREFIX + b"\x07", "state bucket 7"),
        (PREFIX + b"salt", "note of a participant"),
        (BLOCK_PREFIX + b"short", "record 6273686f7274"),
    ],
)
def test_every_key_has_a_name(key: bytes, words: str) -> None:
    """Errors speak of blocks and records, not of keys."""
    assert describe_key(key).startswith(words)
