"""Puts a damaged home in order: moves what is broken aside, keeps what can be proved, lets peers give the rest.

Nothing is deleted. The new database begins with the own blocks up to the first that cannot be verified, executed anew,
and with the participants' notes; the next start fetches the following blocks from peers. The write-ahead log stays only
if it is whole and belongs to the new database's head. Otherwise this replica has lost its memory of what it signed, and
perhaps of what it is locked on; it then signs nothing until a block that was made after the repair has committed
(`flocknode.replica.signer`). No peer's word is needed for that, and none is believed: should nothing commit without
this replica, then nothing commits, which is safe.
"""

import itertools
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from flocknode.chain import Chain
from flocknode.home import Home
from flocknode.replica.journal import Entry, Forgotten, Held, Resumed, Signed, Taken, height_of
from flocknode.rpc.log_records import Finding, Repair, Verification
from flocknode.verification.replay import Replay
from flocknode.verification.report import Report
from protocol.blocks import Block
from protocol.codec import decode, encode
from protocol.genesis import GenesisDocument
from storage import notes, wal
from storage.database import Database
from storage.errors import StorageError
from storage.files import sync_directory
from storage.log import BLOCK_PREFIX, ChainStore, LogReader
from storage.salvage import open_readable

# So many notes are written in one batch.
NOTES_BATCH = 1000


class Repairer:
    """Repairs one locked home, once. `verdict` is that of a verification just made; `now_ms` since the Unix epoch."""

    def __init__(self, home: Home, document: GenesisDocument, verdict: Verification, now_ms: int) -> None:
        self._home = home
        self._document = document
        self._findings = verdict.findings
        self._now_ms = now_ms
        self._target = verdict.target
        self._new = home.data / "chain.new"
        self._unfinished = home.data / "chain.unfinished"
        self._aside = choose_aside(home, now_ms)
        self._moved: list[str] = []
        self.kept_height = verdict.height
        self.kept_notes = 0

    def run(self) -> Iterator[Verification]:
        """Repair what the verification found, if it found anything; yields how far the new database is."""
        if is_database_damaged(self._findings):
            yield from self._rebuild()
        is_journal_lost = self._is_journal_lost()
        if is_journal_lost:
            self._replace_journal()
        if self._new.exists():
            self._move_aside(self._home.database)
            self._new.rename(self._home.database)
            sync_directory(self._home.data)
        self.result = Repair(
            was_sound=not self._findings,
            moved_to=str(self._aside) if self._moved else None,
            moved=tuple(self._moved),
            kept_height=self.kept_height,
            kept_notes=self.kept_notes,
            signs_after_ms=self._now_ms if is_journal_lost else None,
            findings=self._findings,
        )

    # --- the database ------------------------------------------------------------------------------------------------

    def _rebuild(self) -> Iterator[Verification]:
        """Make a new database of what is provably good in the old one."""
        for leftover in (self._unfinished, self._new):
            if leftover.exists():
                shutil.rmtree(leftover)
        copy = self._home.data / "salvaged.tmp"
        source, target = self._open_source(copy), Database(self._unfinished)
        try:
            yield from self._copy_blocks(source, target)
            self.kept_notes = copy_notes(source, target)
        finally:
            target.close()
            source.close()
            if copy.exists():
                shutil.rmtree(copy)
        self._unfinished.rename(self._new)
        sync_directory(self._home.data)

    def _open_source(self, copy: Path) -> Database:
        try:
            return open_readable(self._home.database, copy)
        except StorageError:
            # Not even LevelDB's own repair finds anything: begin with nothing.
            if copy.exists():
                shutil.rmtree(copy)
            return Database(copy)

    def _copy_blocks(self, source: Database, target: Database) -> Iterator[Verification]:
        report, chain = Report(), Chain(self._document, ChainStore(target))
        report.target = self._target or count_blocks(source)
        for block, commit, applied in Replay(self._document, LogReader(source), report).run(report.target):
            chain.commit_block(block, commit, applied)
            yield report.describe("running")
        self.kept_height = chain.head.height

    # --- the write-ahead log -----------------------------------------------------------------------------------------

    def _is_journal_lost(self) -> bool:
        """Return whether the write-ahead log is damaged, or is of a height that the database no longer reaches."""
        if any(finding.part == "journal" for finding in self._findings):
            return True
        if not self._home.journal.exists():
            return False
        payloads, _ = wal.read_records(self._home.journal)
        return any(entry_height(payload) > self.kept_height + 1 for payload in payloads)

    def _replace_journal(self) -> None:
        if self._home.journal.exists():
            self._make_aside()
            shutil.copy2(self._home.journal, self._aside / self._home.journal.name)
            self._moved.append(str(self._home.journal))
        # In one step: at no time is there no log, or one that does not know that it forgot.
        wal.replace_log(self._home.journal, [encode(Forgotten(self._now_ms))])

    # --- the folder of what was damaged ------------------------------------------------------------------------------

    def _move_aside(self, path: Path) -> None:
        self._make_aside()
        path.rename(self._aside / path.name)
        self._moved.append(str(path))

    def _make_aside(self) -> None:
        self._aside.mkdir(mode=0o700, exist_ok=True)


def finish_interrupted(home: Home) -> None:
    """Put a new database into its place if a repair was interrupted after the old one was moved aside."""
    new = home.data / "chain.new"
    if new.exists() and not home.database.exists():
        new.rename(home.database)
        sync_directory(home.data)


def choose_aside(home: Home, now_ms: int) -> Path:
    """Return a folder that does not exist, named by the time."""
    stamp = time.strftime("damaged-%Y%m%d-%H%M%S", time.gmtime(now_ms / 1000))
    names = itertools.chain([stamp], (f"{stamp}-{number}" for number in itertools.count(2)))
    return next(path for path in map(home.data.joinpath, names) if not path.exists())


def is_database_damaged(findings: Sequence[Finding]) -> bool:
    """Return whether anything but the write-ahead log is broken."""
    return any(finding.part != "journal" for finding in findings)


def copy_notes(source: Database, target: Database) -> int:
    """Copy the participants' notes and return how many there are."""
    count, batch = 0, {}
    for key, value in source.scan(notes.PREFIX):
        batch[key], count = value, count + 1
        if len(batch) >= NOTES_BATCH:
            target.write(batch)
            batch = {}
    target.write(batch)
    return count


def count_blocks(source: Database) -> int:
    """Return how many blocks a database holds; those after a gap are of no use, which a replay finds."""
    return sum(1 for _ in source.scan(BLOCK_PREFIX))


def entry_height(payload: bytes) -> int:
    """Return the height that an entry of the write-ahead log is about."""
    entry: Entry = decode(payload, Entry)  # type: ignore[arg-type]
    match entry:
        case Signed(message):
            return message.height
        case Taken(event):
            return height_of(event)
        case Held(data):
            return decode(data, Block).header.height
        case Resumed(state):
            return state.height
        case Forgotten():
            return 0
