"""What the participants of this node must remember and the log must not show: keys, salts, scores.

Losing a note can cost a stake (a salt that was committed to must be revealed), so every write is synced.
"""

from collections.abc import Iterator

from storage.database import Database

PREFIX = b"n"


class Notes:
    """Private records of this node, apart from the replicated state in the same database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, key: bytes) -> bytes | None:
        """Return the note under a key, or None."""
        return self._database.get(PREFIX + key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set a note; it is on the disk when this returns."""
        self._database.write({PREFIX + key: value})

    def delete(self, key: bytes) -> None:
        """Forget a note; durable like `put`."""
        self._database.write({PREFIX + key: None})

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the notes whose key starts with `prefix`, sorted by key."""
        for key, value in self._database.scan(PREFIX + prefix):
            yield key[len(PREFIX) :], value
