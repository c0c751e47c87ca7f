"""A damaged home after its repair: sound, with all that could be proved, the rest aside, and no way to sign twice."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from flocknode.home import Home
from flocknode.node import open_journal
from flocknode.repair import Repairer, finish_interrupted
from flocknode.replica.journal import Forgotten, Journal
from flocknode.rpc.log_records import Repair
from protocol.codec import encode
from protocol.crypto import integer_bytes
from storage.database import Database
from storage.log import BLOCK_PREFIX, COMMIT_PREFIX, HEAD_KEY, RECEIPTS_PREFIX, ChainStore
from storage.notes import Notes
from storage.state import BUCKET_PREFIX, RECORD_PREFIX
from storage.wal import WriteAheadLog, read_records

NOW_MS = 1_800_000_000_000


@pytest.fixture
def repair(verify, document) -> Callable[[Home], Repair]:
    """Return the function that does what `db repair` does."""

    def repaired(home: Home) -> Repair:
        finish_interrupted(home)
        repairer = Repairer(home, document, verify(home), NOW_MS)
        for _ in repairer.run():
            pass
        return repairer.result

    return repaired


def read_all(edit, home: Home) -> dict[bytes, bytes]:
    """Return every record of the database of a home."""
    with edit(home) as database:
        return dict(database.scan(b""))


def load_forgotten(home: Home) -> Forgotten | None:
    """Return what a starting replica learns of lost signatures."""
    wal = WriteAheadLog(home.journal)
    journal = Journal(wal)
    journal.recover(1)
    wal.close()
    return journal.forgotten


def load_note(home: Home) -> bytes | None:
    database = Database(home.database)
    note = Notes(database).get(b"a salt")
    database.close()
    return note


def load_height(home: Home) -> int:
    database = Database(home.database)
    height = ChainStore(database).load_head().height
    database.close()
    return height


def test_a_sound_home_stays_as_it_is(repair, home, edit):
    """Nothing is moved, nothing is written."""
    journal, records = home.journal.read_bytes(), read_all(edit, home)
    found = repair(home)
    assert found.was_sound
    assert (found.moved_to, found.moved, found.signs_after_ms) == (None, (), None)
    assert sorted(path.name for path in home.data.iterdir()) == ["chain", "consensus.wal"]
    assert home.journal.read_bytes() == journal
    assert read_all(edit, home) == records


@pytest.mark.parametrize("prefix", [HEAD_KEY, RECORD_PREFIX, BUCKET_PREFIX, RECEIPTS_PREFIX], ids=str)
def test_what_follows_from_the_blocks_needs_no_peer(repair, verify, home, edit, ledger, prefix):
    """Altered state, buckets, receipts or head: the own blocks give all of it again, and the replica's memory stays."""
    journal = home.journal.read_bytes()
    with edit(home) as database:
        database.write({next(iter(database.scan(prefix)))[0]: b"\x01"})
        damaged = dict(database.scan(b""))
    found = repair(home)
    assert (found.kept_height, found.kept_notes, found.signs_after_ms) == (len(ledger.blocks), 1, None)
    assert verify(home).state == "sound"
    assert load_height(home) == len(ledger.blocks)
    assert load_note(home) == b"secret"
    assert home.journal.read_bytes() == journal
    assert found.moved == (str(home.database),)
    aside = Database(Path(found.moved_to) / "chain")
    assert dict(aside.scan(b"")) == damaged, "what was damaged is kept as it was"
    aside.close()


@pytest.mark.parametrize(("height", "kept"), [(1, 0), (7, 6)])
def test_the_log_is_cut_before_the_first_wrong_block(repair, verify, home, edit, height, kept):
    """What comes after a wrong block comes from peers; the replica signs nothing before a new block has committed."""
    with edit(home) as database:
        database.write({BLOCK_PREFIX + integer_bytes(height): b"\x90"})
    found = repair(home)
    assert (found.kept_height, found.signs_after_ms) == (kept, NOW_MS)
    assert load_height(home) == kept
    assert verify(home).state == "sound"
    assert load_forgotten(home) == Forgotten(NOW_MS)
    assert load_note(home) == b"secret"
    assert sorted(path.name for path in Path(found.moved_to).iterdir()) == ["chain", "consensus.wal"]
    assert sorted(path.name for path in home.data.iterdir()) == ["chain", "consensus.wal", Path(found.moved_to).name]


def test_a_lost_commit_costs_no_block(repair, home, edit, ledger):
    """The next block carries a commit of its predecessor; only the head's exists once."""
    with edit(home) as database:
        database.write({COMMIT_PREFIX + integer_bytes(5): None})
    assert repair(home).kept_height == len(ledger.blocks)
    with edit(home) as database:
        database.write({COMMIT_PREFIX + integer_bytes(len(ledger.blocks)): None})
    assert repair(home).kept_height == len(ledger.blocks) - 1


def test_a_damaged_journal_is_replaced_and_the_log_stays(repair, verify, home, ledger):
    """The write-ahead log alone is damaged: the database is not touched, and the replica knows that it forgot."""
    data = bytearray(home.journal.read_bytes())
    data[-100] ^= 1
    home.journal.write_bytes(data)
    found = repair(home)
    assert (found.kept_height, found.signs_after_ms) == (len(ledger.blocks), NOW_MS)
    assert found.moved == (str(home.journal),)
    assert (Path(found.moved_to) / "consensus.wal").read_bytes() == bytes(data)
    assert read_records(home.journal)[0] == [encode(Forgotten(NOW_MS))]
    assert verify(home).state == "sound"
    assert repair(home).was_sound


def test_a_missing_journal_is_replaced(repair, home):
    """There is nothing to move, but what it knew is lost all the same."""
    home.journal.unlink()
    found = repair(home)
    assert (found.was_sound, found.moved, found.signs_after_ms) == (False, (), NOW_MS)
    assert load_forgotten(home) == Forgotten(NOW_MS)


@pytest.mark.parametrize("files", ["*.log", "*.ldb", "MANIFEST-*"])
@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_give_what_can_be_read(repair, verify, home, edit, ledger, files, seed):
    """A flipped byte in LevelDB's files: whatever it costs, the home is sound afterwards, the old files stay."""
    print("seed", seed)
    if files == "*.ldb":
        with edit(home):
            pass
    path = next(path for path in sorted(home.database.glob(files)) if path.stat().st_size)
    data = bytearray(path.read_bytes())
    data[random.Random(seed).randrange(len(data))] ^= 4
    path.write_bytes(data)
    found = repair(home)
    assert verify(home).state == "sound"
    assert found.was_sound or (Path(found.moved_to) / "chain" / path.name).read_bytes() == bytes(data)
    assert load_height(home) == found.kept_height
    if found.kept_height < len(ledger.blocks):
        assert load_forgotten(home) == Forgotten(NOW_MS)


def test_a_database_of_which_nothing_is_left_begins_anew(repair, verify, home):
    """Files full of noise: the log begins at genesis, and the replica does not sign what it may have signed before."""
    for path in home.database.iterdir():
        path.write_bytes(random.Random(1).randbytes(path.stat().st_size))
    found = repair(home)
    assert (found.kept_height, found.kept_notes, found.signs_after_ms) == (0, 0, NOW_MS)
    assert load_height(home) == 0
    assert verify(home).state == "sound"


@pytest.mark.parametrize("stop", ["copy2", "replace_log", "_move_aside", "rename"])
def test_an_interrupted_repair_can_be_repeated(repair, verify, home, edit, document, monkeypatch, stop):
    """Wherever a repair is cut off, another one ends with a sound home that still knows what it forgot."""
    with edit(home) as database:
        database.write({BLOCK_PREFIX + integer_bytes(7): b"\x90"})
    with monkeypatch.context() as patch:
        cut(patch, stop)
        with pytest.raises(InterruptedError):
            repair(home)
    repair(home)
    assert verify(home).state == "sound"
    assert load_height(home) == 6
    assert load_note(home) == b"secret"
    assert load_forgotten(home) is not None


def cut(patch: pytest.MonkeyPatch, stop: str) -> None:
    """Let a step of the repair fail: `rename` is the one that puts the new database into its place."""

    def fail(*arguments: object) -> None:
        raise InterruptedError(stop)

    if stop == "rename":
        rename = Path.rename
        patch.setattr(Path, "rename", lambda path, to: fail() if to.name == "chain" else rename(path, to))
        patch.setattr(Repairer, "_move_aside", lambda self, path: rename(path, path.with_name("elsewhere")))
    else:
        place = {"copy2": "flocknode.repair.shutil.copy2", "replace_log": "flocknode.repair.wal.replace_log"}
        patch.setattr(place.get(stop, f"flocknode.repair.Repairer.{stop}"), fail)


def test_a_daemon_that_finds_no_journal_beside_its_log_knows_what_it_lost(home):
    """Somebody removed the write-ahead log: the replica forgot. A node that never had a block forgot nothing."""
    open_journal(home, 9).close()
    assert load_forgotten(home) is None
    home.journal.unlink()
    open_journal(home, 0).close()
    assert load_forgotten(home) is None
    home.journal.unlink()
    open_journal(home, 9).close()
    assert load_forgotten(home) is not None
