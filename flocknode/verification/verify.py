"""The whole verification, as a generator that says how far it is."""

from collections.abc import Iterator
from pathlib import Path

from flocknode.home import Home
from flocknode.rpc.log_records import Verification
from flocknode.verification.journal import check_journal
from flocknode.verification.records import compare_records
from flocknode.verification.replay import Replay
from flocknode.verification.report import Report
from protocol.genesis import GenesisDocument, genesis_digest
from storage.database import Database, Records
from storage.errors import Corrupted
from storage.log import LogReader


def verify_home(home: Home, document: GenesisDocument) -> Iterator[Verification]:
    """Verify a home that nobody else uses, which is the caller's to see to. The last item yielded is the verdict.

    Raises `StorageError` when the database cannot be opened for a reason other than damage.
    """
    report = Report()
    if home.database.is_dir():
        try:
            database = Database(home.database)
        except Corrupted as error:
            report.add_damage("database", error)
        else:
            try:
                yield from verify_log(document, database, report)
            finally:
                database.close()
    yield from finish(genesis_digest(document), home.journal, report)


def verify_snapshot(document: GenesisDocument, records: Records, journal: Path) -> Iterator[Verification]:
    """Verify a moment of a database that is in use. The last item yielded is the verdict."""
    report = Report()
    yield from verify_log(document, records, report)
    yield from finish(genesis_digest(document), journal, report)


def verify_log(document: GenesisDocument, records: Records, report: Report) -> Iterator[Verification]:
    """Verify what a database holds of the log and the state."""
    log = LogReader(records)
    try:
        head = log.load_head()
    except Corrupted as error:
        report.add_damage("head", error)
        return
    if head is None:
        if next(records.scan(b""), None) is not None:
            report.add("head", "head of the log", "missing")
        return
    report.target = head.height
    replay = Replay(document, log, report)
    for _ in replay.run(head.height):
        yield report.describe("running")
    # What the state should be is known only if all blocks could be executed.
    if report.height == head.height:
        for _ in compare_records(log, replay.state, replay.memory, report):
            yield report.describe("running")


def finish(chain: bytes, journal: Path, report: Report) -> Iterator[Verification]:
    """Verify the write-ahead log of a replica, and yield the verdict."""
    if journal.exists() or report.target:
        check_journal(chain, journal, report)
    yield report.describe()
