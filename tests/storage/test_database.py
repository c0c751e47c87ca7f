"""LevelDB never returns other bytes than were written, and never fewer, without saying so."""

import random
import shutil
from pathlib import Path

import pytest

from storage.database import Database
from storage.errors import Corrupted, StorageError

RECORDS = 150


def fill(path: Path) -> dict[bytes, bytes | None]:
    """Write batches of which the newest lie in the second block of LevelDB's log; return all records."""
    rng = random.Random(1)
    database = Database(path)
    expected: dict[bytes, bytes | None] = {}
    for number in range(RECORDS):
        batch: dict[bytes, bytes | None] = {b"k%04d" % number: rng.randbytes(200), b"head": b"%04d" % number}
        database.write(batch)
        expected.update(batch)
    database.close()
    return expected


def read_all(path: Path) -> dict[bytes, bytes]:
    """Return all records of a database."""
    database = Database(path)
    try:
        return dict(database.scan(b""))
    finally:
        database.close()


def alter(path: Path, position: int, bit: int) -> None:
    """Flip one bit of a file."""
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1 << bit]))


def test_writes_are_read_back(database: Database) -> None:
    """Records are found by key and by prefix in order; None deletes."""
    database.write({b"a1": b"x", b"a2": b"y", b"b1": b"z", b"a": b""})
    database.write({b"a1": None, b"a3": b"w", b"missing": None})
    assert database.get(b"a1") is None
    assert database.get(b"a") == b""
    assert list(database.scan(b"a")) == [(b"a", b""), (b"a2", b"y"), (b"a3", b"w")]
    assert list(database.scan(b"\xff")) == []


def test_scan_sees_the_moment_it_was_called(database: Database) -> None:
    """Writes after the call of `scan` do not change what it yields."""
    database.write({b"a1": b"x"})
    records = database.scan(b"a")
    database.write({b"a1": None, b"a2": b"y"})
    assert list(records) == [(b"a1", b"x")]


def test_batch_is_all_or_nothing(database: Database) -> None:
    """A batch that cannot be encoded writes none of its records."""
    with pytest.raises(TypeError):
        database.write({b"a": b"x", b"b": "text"})  # type: ignore[dict-item]
    assert database.get(b"a") is None


def test_every_write_is_synced(database: Database) -> None:
    """LevelDB is asked to flush with each batch: what `write` acknowledged survives a power loss."""
    options: list[dict[str, bool]] = []

    class Recorder:
        """Hands on to LevelDB and notes the options of each batch."""

        def write_batch(self, **given: bool) -> object:
            options.append(given)
            return leveldb.write_batch(**given)

    leveldb, database._db = database._db, Recorder()
    database.write({b"a": b"x"})
    database._db = leveldb
    assert [given["sync"] for given in options] == [True]
    assert database.get(b"a") == b"x"


def test_second_opening_is_refused(database: Database) -> None:
    """LevelDB's own lock is an error of ours, with the folder in it."""
    with pytest.raises(StorageError, match=str(database.path)):
        Database(database.path)


@pytest.mark.parametrize("files", ["000003.log", "*.ldb"])
@pytest.mark.parametrize("seed", [1])
def test_altered_file_is_refused_or_harmless(tmp_path: Path, files: str, seed: int) -> None:
    """One flipped bit in LevelDB's log or in a table: an error that names the folder, or all records unchanged."""
    print("seed", seed)
    expected = fill(tmp_path / "db")
    if files == "*.ldb":
        # Opening moves the records from LevelDB's log into a table.
        Database(tmp_path / "db").close()
    file = next((tmp_path / "db").glob(files))
    rng = random.Random(seed)
    size = file.stat().st_size
    positions = [rng.randrange(size) for _ in range(60)] + [rng.randrange(size - 2000, size) for _ in range(60)]
    refused = 0
    for position in positions:
        copy = tmp_path / "copy"
        shutil.copytree(tmp_path / "db", copy)
        alter(copy / file.name, position, rng.randrange(8))
        try:
            assert read_all(copy) == expected, f"bit flipped at {position} of {file.name}"
        except StorageError as error:
            # An altered file offset makes the system call fail, and LevelDB calls that an I/O error.
            refused += str(copy) in str(error)
        shutil.rmtree(copy)
    assert refused > 100


def test_altered_table_is_refused_when_its_record_is_read(tmp_path: Path) -> None:
    """The database opens, other records are readable, and the one whose bytes changed is refused by get and scan."""
    expected = fill(tmp_path / "db")
    Database(tmp_path / "db").close()
    table = next((tmp_path / "db").glob("*.ldb"))
    value = expected[b"k0070"]
    assert value is not None
    alter(table, table.read_bytes().index(value), 0)
    database = Database(tmp_path / "db")
    assert database.get(b"k0001") == expected[b"k0001"]
    with pytest.raises(Corrupted, match="block checksum mismatch"):
        database.get(b"k0070")
    with pytest.raises(Corrupted):
        list(database.scan(b"k0070"))
    database.close()


def test_every_altered_length_in_the_last_log_block_is_refused(tmp_path: Path) -> None:
    """LevelDB would drop synced batches in silence here; each of these flips is found, with file and offset."""
    fill(tmp_path / "db")
    log = tmp_path / "db" / "000003.log"
    data = log.read_bytes()
    offset = 32768
    checked = 0
    while offset + 7 <= len(data):
        length = int.from_bytes(data[offset + 4 : offset + 6], "little")
        altered = bytearray(data)
        altered[offset + 5] ^= 0x40
        log.write_bytes(altered)
        with pytest.raises(Corrupted, match=f"offset {offset}"):
            Database(tmp_path / "db")
        offset += 7 + length
        checked += 1
    assert checked > 5


def test_torn_end_of_the_log_is_no_damage(tmp_path: Path) -> None:
    """A log that stops inside its last record opens, with all records but those of the last batch."""
    expected = fill(tmp_path / "db")
    log = tmp_path / "db" / "000003.log"
    whole = log.read_bytes()
    newest = expected.pop(b"k0149")
    assert newest is not None
    expected[b"head"] = b"0148"
    for number, size in enumerate((len(whole) - 1, whole.index(newest) + 5, whole.index(newest) - 20)):
        copy = tmp_path / f"copy{number}"
        shutil.copytree(tmp_path / "db", copy)
        (copy / log.name).write_bytes(whole[:size])
        assert read_all(copy) == expected
