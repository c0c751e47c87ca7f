"""What this node trained and trains for its tasks, as people ask for it: how far each is, and its loss over time.

Kept in memory, a bounded number of them: the log says what was entered, this is about how it came to be.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
import trio

from flocknode.frames import Progress
from flocknode.rpc.arena_records import LossPoint, TrainingRun, TrainingState
from flocknode.work import Advance
from protocol.rules.arena.records import Task

MAX_RUNS = 64
# Points of a loss curve; when there are more, every other one goes and the next are taken half as often.
MAX_POINTS = 128
# How often the log says how far a training is.
LOG_S = 10.0
MILLION = 10**6

log = structlog.get_logger()


@dataclass
class Run:
    """One training; `resumed_from` are the steps that an earlier process took, `start` the model that it began with."""

    task: int
    name: str
    epoch: int
    start: bytes | None
    started_ms: int
    state: TrainingState = "running"
    reason: str = ""
    done: int = 0
    total: int = 0
    resumed_from: int | None = None
    points: list[LossPoint] = field(default_factory=list)
    stride: int = 1

    def take(self, progress: Progress) -> None:
        """Note how far it is. After a pause it tells again where it was, without a loss."""
        if self.resumed_from is None:
            self.resumed_from = progress.done
        self.done, self.total = progress.done, progress.total
        newest = self.points[-1].step if self.points else 0
        if progress.loss_millionths is None or (self.points and progress.done < newest + self.stride):
            return
        self.points.append(LossPoint(step=progress.done, loss_millionths=progress.loss_millionths))
        if len(self.points) > MAX_POINTS:
            self.points = self.points[::2]
            self.stride = max(1, self.points[-1].step - self.points[-2].step)

    def note(self) -> str:
        """Return the newest loss in words."""
        return f"loss {self.points[-1].loss_millionths / MILLION:.4f}" if self.points else ""

    def describe(self) -> TrainingRun:
        """Return it for people and programs."""
        return TrainingRun(
            task=self.task,
            name=self.name,
            epoch=self.epoch,
            state=self.state,
            reason=self.reason,
            started_ms=self.started_ms,
            done=self.done,
            total=self.total,
            resumed_from=self.resumed_from or 0,
            start=None if self.start is None else self.start.hex(),
            losses=tuple(self.points),
        )


class Trainings:
    """The trainings of this process, oldest first."""

    def __init__(self) -> None:
        self._runs: list[Run] = []

    def list(self, task: int | None = None) -> tuple[TrainingRun, ...]:
        """Return all of them, or those for one task."""
        return tuple(run.describe() for run in self._runs if task in (None, run.task))

    @contextmanager
    def follow(self, task: Task, start: bytes | None) -> Iterator[Run]:
        """Give the record of a training; leaving the block ends it, with an error as failed."""
        run = Run(task.id, task.spec.name, task.epoch, start, time.time_ns() // MILLION)
        self._runs = [*self._runs[1 - MAX_RUNS :], run]
        try:
            yield run
            run.state = "done"
        except Exception as error:
            run.reason = str(error)
            raise
        finally:
            if run.state == "running":
                run.state = "failed"


class Teller:
    """Passes a training's progress on to its record, to its bar, and now and then to the log."""

    def __init__(self, run: Run, advance: Advance) -> None:
        self._run = run
        self._advance = advance
        self._next = trio.current_time() + LOG_S

    def __call__(self, progress: Progress) -> None:
        """Pass it on."""
        self._run.take(progress)
        self._advance(progress.done, progress.total, self._run.note())
        if trio.current_time() >= self._next:
            self._next = trio.current_time() + LOG_S
            log.info(
                "training",
                task=self._run.name,
                epoch=self._run.epoch + 1,
                steps=f"{progress.done} of {progress.total}",
                loss=self._run.note().removeprefix("loss ") or "unknown",
            )
