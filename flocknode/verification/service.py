"""Verifies the log of a running daemon: one verification at a time, in a child, while consensus goes on."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

import structlog
import trio

from flocknode.processes import search_path
from flocknode.rpc.log_records import Verification
from flocknode.verification.pipe import FromChild, Said, Task, answer_question, read_frame, write_frame
from flocknode.verification.report import Report
from protocol.codec import encode
from protocol.genesis import GenesisDocument
from storage.database import Database, Snapshot

log = structlog.get_logger()


class LogVerifier:
    """The newest verification of a daemon's log: running, done, or none yet."""

    def __init__(self, *, document: GenesisDocument, database: Database, journal: Path) -> None:
        self._document = document
        self._database = database
        self._journal = journal
        self._wanted = trio.Event()
        self._ended = trio.Event()
        self._scope: trio.CancelScope | None = None
        self.newest = Report().describe("none", "no verification was asked for yet")

    def request(self) -> Verification:
        """Begin a verification up to the present head unless one is running; return how far it is."""
        if self.newest.state != "running":
            self.newest = Report().describe("running")
            self._ended = trio.Event()
            self._wanted.set()
        return self.newest

    async def wait(self) -> Verification:
        """Return what came of the verification that is running, or of the newest."""
        if self.newest.state == "running":
            await self._ended.wait()
        return self.newest

    def cancel(self) -> Verification:
        """Stop the verification that is running, if there is one; return how far it came."""
        if self._scope is not None:
            self._scope.cancel()
        return self.newest

    async def run(self) -> None:
        """Do what is requested, one after the other, until cancelled."""
        while True:
            await self._wanted.wait()
            self._wanted = trio.Event()
            verdict = Report().describe("stopped", "it was cancelled")
            with trio.CancelScope() as self._scope:
                verdict = await self._verify()
            self._scope = None
            self.newest = verdict
            self._tell()
            self._ended.set()

    async def _verify(self) -> Verification:
        process = start_child()
        snapshot = self._database.snapshot()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_kill_at_end, process)
                last = await trio.to_thread.run_sync(self._serve, process, snapshot)
                nursery.cancel_scope.cancel()
        finally:
            snapshot.close()
        if last is None or last.state == "running":
            return Report().describe("stopped", f"its process ended with status {process.returncode}")
        return last

    def _serve(self, process: "subprocess.Popen[bytes]", snapshot: Snapshot) -> Verification | None:
        """Return the last thing that the child said."""
        assert process.stdin is not None
        assert process.stdout is not None
        task = Task(document=encode(self._document), database=str(snapshot.path), journal=str(self._journal))
        last: Verification | None = None
        # A child that was killed in the middle of a frame ends the pipe, and that is all.
        with suppress(BrokenPipeError), process:
            write_frame(process.stdin, task)
            for last in serve(snapshot, process.stdout, process.stdin):
                if last.state == "running":
                    self.newest = last
        return last

    def _tell(self) -> None:
        found = self.newest
        match found.state:
            case "sound":
                log.info("the log is sound", height=found.target, duration_ms=found.duration_ms)
            case "broken":
                first = found.findings[0]
                log.error("the log is broken", place=first.place, reason=first.reason, findings=len(found.findings))
            case _:
                log.warning("the log was not verified", cause=found.cause)


def start_child() -> "subprocess.Popen[bytes]":
    """Start the process that verifies. From this thread, with which it dies."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "flocknode.verification", "--parent", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": search_path()},
        process_group=0,
    )


def serve(snapshot: Snapshot, questions: IO[bytes], answers: IO[bytes]) -> Iterator[Verification]:
    """Answer the child's questions until it is gone, and yield what it says."""
    while (message := read_frame(questions, FromChild)) is not None:  # type: ignore[arg-type]
        if isinstance(message, Said):
            yield message.verification
        else:
            write_frame(answers, answer_question(snapshot, message))


async def _kill_at_end(process: "subprocess.Popen[bytes]") -> None:
    try:
        await trio.sleep_forever()
    finally:
        process.kill()
