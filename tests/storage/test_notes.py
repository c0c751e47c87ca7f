"""Notes of participants."""

from storage.database import Database
from storage.notes import Notes


def test_notes_live_apart_and_survive(database: Database) -> None:
    """Notes are found by key and prefix without their place in the database, and after a restart."""
    database.write({b"other": b"x", b"n": b"y"})
    notes = Notes(database)
    notes.put(b"task1/salt", b"1")
    notes.put(b"task1/key", b"2")
    notes.put(b"task2/key", b"3")
    notes.delete(b"task2/key")
    database.close()
    notes = Notes(Database(database.path))
    assert notes.get(b"task1/salt") == b"1"
    assert notes.get(b"task2/key") is None
    assert list(notes.scan(b"task1/")) == [(b"task1/key", b"2"), (b"task1/salt", b"1")]
