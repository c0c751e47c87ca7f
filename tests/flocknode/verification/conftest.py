"""A real log in a real home: an Arena epoch and transfers, executed, committed and journalled; copied for each test."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from flocknode.chain import Chain
from flocknode.founding import save_document
from flocknode.home import Home
from flocknode.replica.blocks import hold_block
from flocknode.replica.journal import Journal
from flocknode.rpc.log_records import Verification
from flocknode.verification.verify import verify_home
from protocol.codec import encode
from protocol.genesis import GenesisDocument
from protocol.tendermint.events import HeightStarted, VoteReceived
from protocol.tendermint.messages import VoteKind, sign_vote
from storage.database import Database
from storage.log import ChainStore
from storage.notes import Notes
from storage.wal import WriteAheadLog
from tests.arena_play import Play
from tests.ledger_driver import FML, Ledger, Person

MAX_ALTERED = 10_000


def play() -> Ledger:
    """Return a ledger on which an epoch was played, and some money moved."""
    ledger = Play(trainers=3, validators=3, epochs=2).begin().run_epoch().ledger
    for units in range(1, 6):
        ledger.transfer(ledger.people[0], ledger.people[1], units * FML)
        ledger.transfer(ledger.people[1], ledger.people[2], units)
        ledger.block()
    return ledger


def store_log(home: Home, ledger: Ledger) -> None:
    """Write a ledger's blocks into the database of a home, as a node does."""
    database = Database(home.database)
    chain = Chain(ledger.document, ChainStore(database))
    for block in ledger.blocks:
        chain.commit_block(block, ledger.sign_commit(block), chain.check_block(block))
    Notes(database).put(b"a salt", b"secret")
    database.close()


def write_journal(home: Home, ledger: Ledger, person: Person) -> None:
    """Write the journal of a replica that has voted on the next height."""
    wal = WriteAheadLog(home.journal)
    journal, block = Journal(wal), ledger.make_block()
    held = hold_block(block, encode(block))
    journal.note_input(HeightStarted(held.height))
    journal.note_block(held)
    for kind in VoteKind:
        vote = sign_vote(ledger.chain, person.consensus_seed, kind=kind, height=held.height, round=0, block_id=held.id)
        journal.note_signed(vote)
        journal.note_input(VoteReceived(vote))
    journal.sync()
    wal.close()


@pytest.fixture(scope="session")
def ledger() -> Ledger:
    """The ledger whose blocks are on the log."""
    return play()


@pytest.fixture(scope="session")
def original(ledger: Ledger, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home with a sound log; do not alter it."""
    home = Home(tmp_path_factory.mktemp("home"))
    home.create()
    save_document(home.genesis_file, ledger.document)
    store_log(home, ledger)
    write_journal(home, ledger, ledger.people[0])
    return home


@pytest.fixture
def home(original: Home, tmp_path: Path) -> Home:
    """A copy of the home, to be damaged."""
    shutil.copytree(original.path, tmp_path / "home")
    return Home(tmp_path / "home")


@pytest.fixture
def verify(ledger: Ledger) -> Callable[[Home], Verification]:
    """Return the function that verifies a home and returns the verdict."""
    return lambda home: last(verify_home(home, ledger.document))


def last(found: Iterator[Verification]) -> Verification:
    """Return the verdict."""
    *_, verdict = found
    return verdict


@contextmanager
def opened(home: Home) -> Iterator[Database]:
    """Open the database of a home for a while."""
    database = Database(home.database)
    try:
        yield database
    finally:
        database.close()


@pytest.fixture
def edit() -> Callable[[Home], object]:
    """Return the context manager that opens the database of a home."""
    return opened


@pytest.fixture
def document(ledger: Ledger) -> GenesisDocument:
    """The document of the chain."""
    return ledger.document
