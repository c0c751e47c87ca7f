"""Long work of a node, as people watch it: what runs, how far it is, how fast, and how long it will still take.

Training, evaluation, blob transfers and catching up report here; each report becomes an event of the topic `work`.
"""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

import trio

from flocknode.rpc.events import EventHub
from flocknode.rpc.records import WorkEvent, WorkKind, WorkState

# Of one piece of work, reports that come faster are dropped, but for the last.
MIN_INTERVAL_S = 0.2
MILLION = 10**6


class Advance(Protocol):
    """Hears how far a piece of work is."""

    def __call__(self, done: int, total: int, note: str = "", /) -> None:
        """Tell how much is done, how much there is in all, and what else there is to say, in a few words."""


@dataclass
class Item:
    """One piece of work; `began` is what its first report said was done already, which its rate does not count."""

    number: int
    kind: WorkKind
    subject: str
    unit: str
    began_at: float
    began: int | None = None
    done: int = 0
    total: int = 0
    note: str = ""
    told_at: float = float("-inf")

    def describe(self, state: WorkState, now: float) -> WorkEvent:
        """Return how far it is. The rate is the mean since it began; no time left is known before there is one."""
        elapsed_ms = max(1, int(1000 * (now - self.began_at)))
        gained = self.done - (self.began or 0)
        left = max(0, self.total - self.done)
        return WorkEvent(
            work=self.number,
            kind=self.kind,
            subject=self.subject,
            unit=self.unit,
            state=state,
            done=self.done,
            total=self.total,
            elapsed_ms=elapsed_ms,
            rate_millionths=gained * MILLION * 1000 // elapsed_ms,
            left_ms=left * elapsed_ms // gained if gained else None,
            note=self.note,
        )


class Works:
    """All work that is under way."""

    def __init__(self, hub: EventHub) -> None:
        self._hub = hub
        self._numbers = itertools.count(1)
        self._running: dict[int, Item] = {}

    def list(self) -> tuple[WorkEvent, ...]:
        """Return what is under way, oldest first."""
        now = trio.current_time()
        return tuple(item.describe("running", now) for item in self._running.values())

    @contextmanager
    def track(self, kind: WorkKind, subject: str, unit: str) -> Iterator[Advance]:
        """Give the function that reports how far the work is; leaving the block ends it, with an error as failed."""
        item = Item(next(self._numbers), kind, subject, unit, trio.current_time())
        self._running[item.number] = item
        state: WorkState = "failed"

        def advance(done: int, total: int, note: str = "", /) -> None:
            if item.began is None:
                item.began = done
            item.done, item.total, item.note = done, total, note
            now = trio.current_time()
            if now - item.told_at >= MIN_INTERVAL_S:
                item.told_at = now
                self._hub.publish("work", item.describe("running", now))

        try:
            yield advance
            state = "done"
        finally:
            del self._running[item.number]
            self._hub.publish("work", item.describe(state, trio.current_time()))
