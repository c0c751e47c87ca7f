"""Takes out of a damaged database what can still be read, from a copy: the original stays as it is."""

import shutil
from pathlib import Path

import plyvel

from storage.database import CheckedReads, Database
from storage.errors import Corrupted, StorageError
from storage.leveldb_log import erase_damage


def open_readable(path: Path, copy: Path) -> Database:
    """Return a database whose every record can be read: the one at `path`, or a copy that lost the damaged ones.

    The copy is made at `copy`, which is replaced; LevelDB's own repair drops from it what does not have its checksum.
    Raises `StorageError` when nothing can be opened, `OSError` when there is no room for the copy.
    """
    try:
        database = Database(path)
    except Corrupted:
        return open_salvaged(path, copy)
    if is_readable(database):
        return database
    database.close()
    return open_salvaged(path, copy)


def open_salvaged(path: Path, copy: Path) -> Database:
    """Return a copy of a damaged database, without the damaged records."""
    if copy.exists():
        shutil.rmtree(copy)
    shutil.copytree(path, copy)
    erase_damage(copy)
    try:
        # Only with paranoid checks does it look at the checksums of tables.
        plyvel.repair_db(str(copy), paranoid_checks=True)
    except plyvel.Error as error:
        raise StorageError(f"nothing can be read from {path}: {error}") from error
    return Database(copy)


def is_readable(records: CheckedReads) -> bool:
    """Return whether every record has its checksum."""
    try:
        for _ in records.scan(b""):
            pass
    except Corrupted:
        return False
    return True
