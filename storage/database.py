"""LevelDB as the rest of the program sees it: checked reads, ordered scans, and atomic batches that are on the disk
when `write` returns.
"""

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import plyvel

from storage.errors import Corrupted, StorageError
from storage.leveldb_log import check_logs, find_damage

# Written records are held in memory, twice as many while one half goes to a table: a quarter of LevelDB's own choice,
# which is tens of times what a block writes.
WRITE_BUFFER_BYTES = 1024 * 1024
# What was read is kept for the next reader, an eighth of LevelDB's own choice: the system caches the files anyway.
READ_CACHE_BYTES = 1024 * 1024


class Records(Protocol):
    """Read access to the records of a database, whichever process it is open in."""

    path: Path

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None. Raises `Corrupted` when the stored bytes were altered."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the records whose key starts with `prefix`, sorted by key. Raises `Corrupted` at altered ones."""


class CheckedReads:
    """The reads of a database as it is now, or of a moment of it, each checked against its checksum."""

    def __init__(self, path: Path, source: "plyvel.DB | plyvel._plyvel.Snapshot") -> None:
        self.path = path
        self._db = source

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None. Raises `Corrupted` when the stored bytes were altered."""
        with self._errors(key):
            value: bytes | None = self._db.get(key, verify_checksums=True)
        return value

    def scan(self, prefix: bytes, start: bytes = b"") -> Generator[tuple[bytes, bytes], None, None]:
        """Yield the records whose key starts with `prefix`, sorted by key, as they were when `scan` was called.

        Those before `start` are left out. Raises `Corrupted` when stored bytes were altered. LevelDB's plain iterator
        ends in silence at a damaged last block; the raw one reports its status at every step.
        """
        with self._errors():
            iterator = self._db.raw_iterator(verify_checksums=True)
        return self._iterate(iterator, prefix, max(prefix, start))

    def close(self) -> None:
        """Let go of what is read; open scans end."""
        self._db.close()

    def _iterate(
        self, iterator: "plyvel._plyvel.RawIterator", prefix: bytes, start: bytes
    ) -> Generator[tuple[bytes, bytes], None, None]:
        key = start
        try:
            iterator.seek(start)
            while iterator.valid():
                key, value = iterator.item()
                if not key.startswith(prefix):
                    break
                yield key, value
                iterator.next()
        except plyvel.Error as error:
            raise _as_ours(error, self.path, key) from error
        finally:
            iterator.close()

    @contextmanager
    def _errors(self, key: bytes | None = None) -> Iterator[None]:
        try:
            yield
        except plyvel.Error as error:
            raise _as_ours(error, self.path, key) from error


class Snapshot(CheckedReads):
    """A database as it was at one moment, whatever is written meanwhile. Close it before the database."""


class Database(CheckedReads):
    """One LevelDB folder. Threads may share it; processes may not, which the home lock sees to."""

    def __init__(self, path: Path) -> None:
        """Open the database, creating it when there is none. Raises `Corrupted` or `StorageError`."""
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_logs(path)
        try:
            super().__init__(path, _open(path))
        except plyvel.CorruptionError as error:
            # LevelDB does not say where.
            find_damage(path)
            raise _as_ours(error, path, None) from error
        except plyvel.Error as error:
            raise _as_ours(error, path, None) from error

    def snapshot(self) -> Snapshot:
        """Return the database as it is now."""
        return Snapshot(self.path, self._db.snapshot())

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Apply all changes or none, durably; None deletes. Raises `StorageError` when the disk refuses."""
        with self._errors():
            with self._db.write_batch(transaction=True, sync=True) as batch:
                for key, value in changes.items():
                    if value is None:
                        batch.delete(key)
                    else:
                        batch.put(key, value)


def _open(path: Path) -> "plyvel.DB":
    return plyvel.DB(
        str(path),
        create_if_missing=True,
        paranoid_checks=True,
        write_buffer_size=WRITE_BUFFER_BYTES,
        lru_cache_size=READ_CACHE_BYTES,
    )


def _as_ours(error: plyvel.Error, path: Path, key: bytes | None) -> StorageError:
    if not isinstance(error, plyvel.CorruptionError):
        return StorageError(f"{path}: {_message(error)}")
    place = "" if key is None else f", at or after key {key.hex()}"
    return Corrupted(f"{path}{place}", _message(error))


def _message(error: Exception) -> str:
    """Return LevelDB's own words, which plyvel hands on as bytes."""
    text = error.args[0] if error.args else error
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
