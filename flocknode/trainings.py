"""What this node trained and trains, as people ask for it: how far each is, and its loss over time.

Kept in memory, a bounded number of them: the log says what was entered, this is about how it came to be.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import structlog
import trio

from flocknode.frames import Progress
from flocknode.rpc.training_records import LossPoint, RoundTraining, TrainingRun, TrainingState
from flocknode.work import Advance
from protocol.rules.alliance.records import Alliance
from protocol.rules.arena.records import Task

MAX_RUNS = 64
# Points of a loss curve; when there are more, every other one goes and the next are taken half as often.
MAX_POINTS = 128
# How often the log says how far a training is.
LOG_S = 10.0
MILLION = 10**6
GIVEN_UP = "given up: its step closed before it was done"

log = structlog.get_logger()


@dataclass
class Run:
    """One training, for an epoch of a task or a round of an alliance.

    `resumed_from` are the steps that an earlier process took, `start` the model that it began with.
    """

    job: Task | Alliance
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

    def describe(self) -> dict[str, Any]:
        """Return it for people and programs, but for what it is for."""
        return {
            "name": self.job.spec.name,
            "state": self.state,
            "reason": self.reason,
            "started_ms": self.started_ms,
            "done": self.done,
            "total": self.total,
            "resumed_from": self.resumed_from or 0,
            "start": None if self.start is None else self.start.hex(),
            "losses": tuple(self.points),
        }

    def describe_place(self) -> dict[str, Any]:
        """Return what it is for, for the log."""
        if isinstance(self.job, Task):
            return {"task": self.job.spec.name, "epoch": self.job.epoch + 1}
        return {"alliance": self.job.spec.name, "round": self.job.round + 1}


class Trainings:
    """The trainings of this process, oldest first."""

    def __init__(self) -> None:
        self._runs: list[Run] = []

    def list_for_tasks(self, task: int | None = None) -> tuple[TrainingRun, ...]:
        """Return those for tasks, or for one of them."""
        return tuple(
            TrainingRun(task=run.job.id, epoch=run.job.epoch, **run.describe())
            for run in self._runs
            if isinstance(run.job, Task) and task in (None, run.job.id)
        )

    def list_for_alliances(self, alliance: int | None = None) -> tuple[RoundTraining, ...]:
        """Return those for alliances, or for one of them."""
        return tuple(
            RoundTraining(alliance=run.job.id, round=run.job.round, **run.describe())
            for run in self._runs
            if isinstance(run.job, Alliance) and alliance in (None, run.job.id)
        )

    @contextmanager
    def follow(self, job: Task | Alliance, start: bytes | None) -> Iterator[Run]:
        """Give the record of a training; leaving the block ends it, with an error as failed."""
        run = Run(job, start, time.time_ns() // MILLION)
        self._runs = [*self._runs[1 - MAX_RUNS :], run]
        try:
            yield run
            run.state = "done"
        except trio.Cancelled:
            run.reason = GIVEN_UP
            raise
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
                **self._run.describe_place(),
                steps=f"{progress.done} of {progress.total}",
                loss=self._run.note().removeprefix("loss ") or "unknown",
            )
