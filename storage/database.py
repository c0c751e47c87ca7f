"""LevelDB as the rest of the program sees it: checked reads, ordered scans, and atomic batches that are on the disk
when `write` returns.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import plyvel

from storage.errors import Corrupted, StorageError
from storage.leveldb_log import check_logs


class Database:
    """One LevelDB folder. Threads may share it; processes may not, which the home lock sees to."""

    def __init__(self, path: Path) -> None:
        """Open the database, creating it when there is none. Raises `Corrupted` or `StorageError`."""
        self.path = path
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        check_logs(path)
        with self._errors():
            self._db = plyvel.DB(str(path), create_if_missing=True, paranoid_checks=True)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None. Raises `Corrupted` when the stored bytes were altered."""
        with self._errors(key):
            value: bytes | None = self._db.get(key, verify_checksums=True)
        return value

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the records whose key starts with `prefix`, sorted by key, as they were when `scan` was called.

        Raises `Corrupted` when stored bytes were altered. LevelDB's plain iterator ends in silence at a damaged last
        block; the raw one reports its status at every step.
        """
        with self._errors():
            iterator = self._db.raw_iterator(verify_checksums=True)
        return self._iterate(iterator, prefix)

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Apply all changes or none, durably; None deletes. Raises `StorageError` when the disk refuses."""
        with self._errors():
            with self._db.write_batch(transaction=True, sync=True) as batch:
                for key, value in changes.items():
                    if value is None:
                        batch.delete(key)
                    else:
                        batch.put(key, value)

    def close(self) -> None:
        """Release the folder; open scans end."""
        self._db.close()

    def _iterate(self, iterator: "plyvel._plyvel.RawIterator", prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        try:
            with self._errors(prefix):
                iterator.seek(prefix)
                while iterator.valid():
                    key, value = iterator.item()
                    if not key.startswith(prefix):
                        break
                    yield key, value
                    iterator.next()
        finally:
            iterator.close()

    @contextmanager
    def _errors(self, key: bytes | None = None) -> Iterator[None]:
        try:
            yield
        except plyvel.CorruptionError as error:
            place = "" if key is None else f", at or after key {key.hex()}"
            raise Corrupted(f"{self.path}{place}", _message(error)) from error
        except plyvel.Error as error:
            raise StorageError(f"{self.path}: {_message(error)}") from error


def _message(error: Exception) -> str:
    """Return LevelDB's own words, which plyvel hands on as bytes."""
    text = error.args[0] if error.args else error
    return text.decode(errors="replace") if isinstance(text, bytes) else str(text)
