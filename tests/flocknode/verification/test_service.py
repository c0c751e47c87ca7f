"""A daemon's log is verified by a child of the daemon, on the moment at which it was asked for."""

from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from flocknode.verification import service
from flocknode.verification.pipe import Get, Page, Scan, Value, answer_question, read_page
from flocknode.verification.service import LogVerifier
from storage.log import HEAD_KEY

WITHIN_S = 30


@pytest.fixture
def children(monkeypatch):
    """The processes that verifiers start."""
    started = []
    start = service.start_child
    monkeypatch.setattr(service, "start_child", lambda: started.append(start()) or started[-1])
    return started


@pytest.fixture
def verifying(home, edit, document):
    """Run a verifier on the database of the home."""

    @asynccontextmanager
    async def opened():
        with edit(home) as database:
            verifier = LogVerifier(document=document, database=database, journal=home.journal)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(verifier.run)
                yield verifier, database
                nursery.cancel_scope.cancel()

    return opened


async def wait_for(verifier):
    """Return the verdict."""
    with trio.fail_after(WITHIN_S):
        return await verifier.wait()


async def test_a_child_verifies_an_open_database(verifying, ledger):
    """The verdict comes from another process, and is the one that a stopped node gives."""
    async with verifying() as (verifier, _):
        assert verifier.newest.state == "none"
        assert verifier.request().state == "running"
        assert verifier.request() is verifier.newest, "one at a time"
        found = await wait_for(verifier)
    assert (found.state, found.height) == ("sound", len(ledger.blocks))
    assert found.records == len(ledger.state.records) + 256


async def test_it_sees_the_moment_it_was_asked_at(verifying):
    """What is written while it runs does not exist for it; the next verification sees it."""
    async with verifying() as (verifier, database):
        verifier.request()
        # The snapshot is taken when the verifier's task runs, and the child needs far longer to start than this.
        await trio.testing.wait_all_tasks_blocked(0.01)
        database.write({HEAD_KEY: b"ruined"})
        assert (await wait_for(verifier)).state == "sound"
        verifier.request()
        found = await wait_for(verifier)
        assert [finding.part for finding in found.findings] == ["head"]


async def test_cancelling_kills_the_child(verifying, children):
    """A verification can be stopped, and another one begun."""
    async with verifying() as (verifier, _):
        verifier.request()
        await trio.testing.wait_all_tasks_blocked(0.01)
        (child,) = children
        verifier.cancel()
        found = await wait_for(verifier)
        assert (found.state, found.cause) == ("stopped", "it was cancelled")
        assert child.returncode == -9
        verifier.request()
        assert (await wait_for(verifier)).state == "sound"


async def test_a_child_that_dies_is_told(verifying, children):
    """A killed child is no verdict."""
    async with verifying() as (verifier, _):
        verifier.request()
        await trio.testing.wait_all_tasks_blocked(0.01)
        (child,) = children
        child.kill()
        found = await wait_for(verifier)
    assert (found.state, found.cause) == ("stopped", "its process ended with status -9")


async def test_stopping_the_daemon_ends_the_child(verifying, children):
    """When the verifier's task is cancelled, its child goes with it."""
    async with verifying() as (verifier, _):
        verifier.request()
        await trio.testing.wait_all_tasks_blocked(0.01)
        (child,) = children
    assert child.returncode == -9


def test_a_scan_comes_in_pages(home, edit, monkeypatch):
    """Pages joined are the scan, however small they are."""
    monkeypatch.setattr("flocknode.verification.pipe.PAGE_BYTES", 1000)
    with edit(home) as database:
        pages, start = [], b"s"
        while not pages or not pages[-1].is_last:
            pages.append(read_page(database, Scan(b"s", start)))
            start = pages[-1].pairs[-1][0] + b"\x00" if pages[-1].pairs else start
        assert [pair for page in pages for pair in page.pairs] == list(database.scan(b"s"))
        assert len(pages) > 3
        assert answer_question(database, Get(b"nothing")) == Value(None)
        assert answer_question(database, Scan(b"zzz", b"zzz")) == Page((), True)
