"""The learning worker's process, seen from the node: started, asked, cancelled and mourned here.

One warm child, `python -m flocknode.learning`, spoken to over pipes. A job that is cancelled has a moment to end, or to
pause where it can: torch takes seconds to import, and who missed one step of a round should not miss the next one for
that. Then the child is killed. One that dies fails its job with the reason, and the next job starts another.
Jobs take turns in the order in which they came. A training that can be resumed gives way after a slice of time and goes
to the end of the line, so that hours of training for one task do not keep a validator from the scores of another.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import overload

import trio

from flocknode.errors import FlocknodeError
from flocknode.frames import (
    FRAME_LENGTH_BYTES,
    Failed,
    FromWorker,
    GiveWay,
    Hello,
    Job,
    Progress,
    Result,
    decode_answer,
    encode_frame,
    frame_length,
)
from flocknode.jobs import (
    Aggregated,
    AggregateUpdates,
    Baseline,
    Canonicalise,
    Canonicalised,
    DatasetSplit,
    Evaluate,
    Evaluated,
    MakeModel,
    MeasureBaseline,
    Paused,
    Quantised,
    QuantiseWeights,
    RowsSplit,
    Scored,
    ScoreModels,
    SplitDataset,
    SplitFile,
    SplitRows,
    Train,
    Trained,
    TrainUpdate,
    shorten,
)
from flocknode.masked_jobs import AddMasked, FindLiars, LiarsFound, MaskedAdded, MaskUpdate, UpdateMasked
from flocknode.private_jobs import (
    CheckReveals,
    Consulted,
    ConsultSum,
    Hidden,
    HideUpdate,
    ProveSum,
    RevealsChecked,
    SumProven,
)
from flocknode.processes import search_path

MAX_WAITING_JOBS = 16
# How long a training runs before it gives way to a job that waits.
SLICE_S = 2.0
HELLO_TIMEOUT_S = 30
# How long a job that was cancelled may take to end before its child is killed: about what importing torch into another
# takes on a busy machine, whose child of low priority also needs that long to come to the end of a step.
FINISH_S = 5.0
DEATH_TIMEOUT_S = 1
MAX_LOG_BYTES = 1024 * 1024
LAST_WORDS_BYTES = 4096
DEFAULT_MEMORY_BYTES = 8 * 1024**3


class JobFailed(FlocknodeError):
    """A job did not come to its result; the message says why. The worker can take the next one."""

    number = 130


class _ChildDied(Exception):
    """The pipe to the child ended."""


class _Child:
    """The running process and its pipes."""

    def __init__(self, log: Path, memory_bytes: int) -> None:
        command = [sys.executable, "-P", "-m", "flocknode.learning"]
        arguments = ["--parent", str(os.getpid()), "--memory-bytes", str(memory_bytes)]
        with log.open("ab") as stderr:
            # Not trio's own: it starts processes from a helper thread, and the child dies with the thread that made it.
            self.process = subprocess.Popen(
                [*command, *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=_child_environment(log.parent),
                process_group=0,
                bufsize=0,
            )
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        # Whether it has told of a job; and whether a frame to it was begun and not ended.
        self.is_warm = self.is_torn = False
        self._received = bytearray()
        self.requests = trio.lowlevel.FdStream(os.dup(self.process.stdin.fileno()))
        self.answers = trio.lowlevel.FdStream(os.dup(self.process.stdout.fileno()))
        self.process.stdin.close()
        self.process.stdout.close()

    async def send(self, job: Job | GiveWay) -> None:
        try:
            self.is_torn = True
            await self.requests.send_all(encode_frame(job))
            self.is_torn = False
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise _ChildDied from error

    async def receive(self) -> FromWorker:
        """Return the next frame; cancelled in it, what has come stays for the next call."""
        await self._fill(FRAME_LENGTH_BYTES)
        end = FRAME_LENGTH_BYTES + frame_length(bytes(self._received[:FRAME_LENGTH_BYTES]))
        await self._fill(end)
        answer = decode_answer(bytes(self._received[FRAME_LENGTH_BYTES:end]))
        del self._received[:end]
        self.is_warm = self.is_warm or not isinstance(answer, Hello)
        return answer

    async def _fill(self, length: int) -> None:
        while len(self._received) < length:
            try:
                piece = await self.answers.receive_some(length - len(self._received))
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                raise _ChildDied from error
            if not piece:
                raise _ChildDied
            self._received += piece

    async def wait(self) -> int:
        """Return the exit status of a process that closed its pipe; it is killed if that does not end it soon."""
        try:
            return await trio.to_thread.run_sync(self.process.wait, DEATH_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return await trio.to_thread.run_sync(self.process.wait)

    async def kill(self) -> None:
        """Kill the process, reap it, close the pipes."""
        with trio.CancelScope(shield=True):
            self.process.kill()
            await trio.to_thread.run_sync(self.process.wait)
            await self.requests.aclose()
            await self.answers.aclose()


class Worker:
    """The parent's side: one child, started when it is needed, one job at a time, the others waiting in line."""

    def __init__(self, scratch: Path, *, memory_bytes: int = DEFAULT_MEMORY_BYTES) -> None:
        """Keep the child's log and temporary files in `scratch`; the child may write `memory_bytes` of memory."""
        self._log = scratch / "worker.log"
        self._memory_bytes = memory_bytes
        self._child: _Child | None = None
        self._turn = trio.Lock()
        self._waiting = 0
        # Set once a cancelled job has ended, or its child.
        self._finished = trio.Event()
        self._finished.set()
        self._is_stopped = False

    @property
    def memory_bytes(self) -> int:
        """The memory that a job may write."""
        return self._memory_bytes

    @property
    def pid(self) -> int | None:
        """The child's process id while there is one."""
        return self._child.process.pid if self._child else None

    async def start(self) -> None:
        """Start the child if there is none, and return at its hello; it imports torch after that, by itself.

        Raises `JobFailed` when it does not come up.
        """
        async with self._turn:
            await self._get_child()

    @overload
    async def run(
        self, job: SplitDataset | SplitFile, on_progress: Callable[[Progress], None] | None = None
    ) -> DatasetSplit: ...

    @overload
    async def run(self, job: Train | TrainUpdate, on_progress: Callable[[Progress], None] | None = None) -> Trained: ...

    @overload
    async def run(self, job: Evaluate, on_progress: Callable[[Progress], None] | None = None) -> Evaluated: ...

    @overload
    async def run(self, job: MeasureBaseline, on_progress: Callable[[Progress], None] | None = None) -> Baseline: ...

    @overload
    async def run(self, job: Canonicalise, on_progress: Callable[[Progress], None] | None = None) -> Canonicalised: ...

    @overload
    async def run(
        self, job: MakeModel | QuantiseWeights, on_progress: Callable[[Progress], None] | None = None
    ) -> Quantised: ...

    @overload
    async def run(self, job: SplitRows, on_progress: Callable[[Progress], None] | None = None) -> RowsSplit: ...

    @overload
    async def run(self, job: AggregateUpdates, on_progress: Callable[[Progress], None] | None = None) -> Aggregated: ...

    @overload
    async def run(self, job: HideUpdate, on_progress: Callable[[Progress], None] | None = None) -> Hidden: ...

    @overload
    async def run(self, job: CheckReveals, on_progress: Callable[[Progress], None] | None = None) -> RevealsChecked: ...

    @overload
    async def run(self, job: ProveSum, on_progress: Callable[[Progress], None] | None = None) -> SumProven: ...

    @overload
    async def run(self, job: ConsultSum, on_progress: Callable[[Progress], None] | None = None) -> Consulted: ...

    @overload
    async def run(self, job: MaskUpdate, on_progress: Callable[[Progress], None] | None = None) -> UpdateMasked: ...

    @overload
    async def run(self, job: AddMasked, on_progress: Callable[[Progress], None] | None = None) -> MaskedAdded: ...

    @overload
    async def run(self, job: FindLiars, on_progress: Callable[[Progress], None] | None = None) -> LiarsFound: ...

    @overload
    async def run(self, job: ScoreModels, on_progress: Callable[[Progress], None] | None = None) -> Scored: ...

    async def run(self, job: Job, on_progress: Callable[[Progress], None] | None = None) -> Result:
        """Return the job's result; raise `JobFailed` if there is none. Cancelled, it has a moment to end.

        How long it may take is the caller's to say, with a cancel scope.
        """
        if self._waiting >= MAX_WAITING_JOBS:
            raise JobFailed(f"{MAX_WAITING_JOBS} jobs are waiting already")
        self._waiting += 1
        try:
            result: Result | None = None
            while result is None or isinstance(result, Paused):
                # The lock serves those who wait in their order: after a pause, everybody else comes first.
                async with self._turn:
                    result = await self._perform(job, on_progress or (lambda progress: None))
            return result
        finally:
            self._waiting -= 1

    async def stop(self) -> None:
        """Kill the child for good; the job that runs fails, and so do those that wait."""
        self._is_stopped = True
        await self._kill()

    async def _perform(self, job: Job, on_progress: Callable[[Progress], None]) -> Result:
        child = await self._get_child()
        self._shorten_log()
        is_usable = False
        slice_end: float | None = trio.current_time() + SLICE_S
        try:
            await child.send(job)
            while isinstance(answer := await child.receive(), Progress):
                on_progress(answer)
                if slice_end is not None and self._waiting > 1 and trio.current_time() >= slice_end:
                    await child.send(GiveWay())
                    slice_end = None
            is_usable = True
        except _ChildDied as error:
            raise JobFailed(await self._describe_death(child)) from error
        except trio.Cancelled:
            if not child.is_torn:
                is_usable = True
                self._finished = trio.Event()
                trio.lowlevel.spawn_system_task(self._finish, child)
            raise
        finally:
            if not is_usable:
                await self._kill()
        if isinstance(answer, Failed):
            raise JobFailed(answer.reason)
        assert not isinstance(answer, Hello), "the worker says hello once"
        return answer

    async def _finish(self, child: _Child) -> None:
        """Wait for the answer that nobody asks for any more, so that the child can take the next job; else kill it."""
        is_idle = False
        try:
            with trio.move_on_after(FINISH_S if child.is_warm else HELLO_TIMEOUT_S):
                await child.send(GiveWay())
                while isinstance(await child.receive(), Progress):
                    pass
                is_idle = True
        except _ChildDied:
            # Stopped meanwhile, or it crashed in a job of nobody's.
            is_idle = False
        if not is_idle and self._child is child:
            await self._kill()
        self._finished.set()

    async def _get_child(self) -> _Child:
        await self._finished.wait()
        if self._is_stopped:
            raise JobFailed("the learning worker was stopped")
        if self._child is not None and self._child.process.poll() is not None:
            # It died while it had nothing to do: no job's fault.
            await self._kill()
        if self._child is None:
            await self._start_child()
        assert self._child is not None
        return self._child

    async def _start_child(self) -> None:
        self._log.parent.mkdir(parents=True, exist_ok=True)
        self._child = child = _Child(self._log, self._memory_bytes)
        is_ready = False
        try:
            with trio.fail_after(HELLO_TIMEOUT_S):
                is_ready = isinstance(await child.receive(), Hello)
        except trio.TooSlowError as error:
            raise JobFailed(f"the learning worker did not come up within {HELLO_TIMEOUT_S} s") from error
        except _ChildDied as error:
            raise JobFailed(await self._describe_death(child)) from error
        finally:
            if not is_ready:
                await self._kill()

    async def _kill(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            await child.kill()

    async def _describe_death(self, child: _Child) -> str:
        status = await child.wait()
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - LAST_WORDS_BYTES))
            lines = log.read().decode(errors="replace").split("\n")
        last = next((line for line in reversed(lines) if line.strip()), "none")
        return shorten(f"the learning worker ended with status {status}; its last word: {last}")

    def _shorten_log(self) -> None:
        # The child appends, so what it prints next begins the file anew.
        if self._log.stat().st_size > MAX_LOG_BYTES:
            os.truncate(self._log, 0)


def _child_environment(scratch: Path) -> dict[str, str]:
    # One thread in every library.
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**os.environ, **threads, "PYTHONPATH": search_path(), "TMPDIR": str(scratch)}
