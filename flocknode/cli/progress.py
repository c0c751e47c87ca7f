"""Bars on stderr while a command waits for long work: on a terminal only, and never with --quiet or --json."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from flocknode.cli.options import Options
from flocknode.rpc.call import call
from flocknode.rpc.records import WorkEvent, WorkKind

if TYPE_CHECKING:
    from flocknode.rpc.client import Events

R = TypeVar("R")
Show = Callable[[WorkEvent], None]

MILLION = 10**6
# How long an answered call waits to hear that the work behind it has ended.
LAST_WORDS_S = 0.5


def has_bars(options: Options) -> bool:
    """Return whether somebody watches."""
    return sys.stderr.isatty() and not options.quiet and not options.json


@contextmanager
def show_bars(options: Options) -> Iterator[Show]:
    """Give the function that shows how far work is."""
    if not has_bars(options):
        yield lambda work: None
        return
    from rich.console import Console

    from flocknode.cli.bars import Bars

    with Bars(Console(stderr=True, highlight=False)) as bars:
        yield bars.show


def call_long(options: Options, method: str, result: type[R], /, **params: object) -> R:
    """Call a method that may take long, and show what the daemon works on meanwhile, such as encrypting a dataset."""
    if not has_bars(options):
        return call(options.home, method, result, **params)
    import trio

    return trio.run(partial(_call_watching, options, method, result, params))


async def _call_watching(options: Options, method: str, result: type[R], params: dict[str, object]) -> R:
    import trio

    from flocknode.rpc.client import open_client

    async with open_client(options.home) as client:
        with show_bars(options) as show:
            async with trio.open_nursery() as nursery:
                watch = Watch(show)
                nursery.start_soon(watch.run, await client.subscribe(["work"]))
                found = await client.call(method, result, **params)
                with trio.move_on_after(LAST_WORDS_S):
                    await watch.wait_ended()
                nursery.cancel_scope.cancel()
    return found


class Watch:
    """Shows the work that the daemon tells of, and knows when all of it has ended."""

    def __init__(self, show: Show) -> None:
        import trio

        self._show = show
        self._running: set[int] = set()
        self._ended = trio.Event()

    async def run(self, events: "Events") -> None:
        """Show what comes until it stops coming."""
        from flocknode.rpc.call import convert_result

        async for notification in events:
            if notification.topic == "work":
                work = convert_result(notification.event, WorkEvent)
                self._show(work)
                self._note(work)

    async def wait_ended(self) -> None:
        """Return once there was work and none of it runs any more: the answer to a call may overtake its last word."""
        await self._ended.wait()

    def _note(self, work: WorkEvent) -> None:
        import trio

        if work.state == "running":
            self._running.add(work.work)
            if self._ended.is_set():
                self._ended = trio.Event()
        else:
            self._running.discard(work.work)
            if not self._running:
                self._ended.set()


class Clock:
    """Makes events of work that this process does itself; it began when the clock was made."""

    def __init__(self, kind: WorkKind, subject: str, unit: str) -> None:
        self._kind = kind
        self._subject = subject
        self._unit = unit
        self._began_at = time.monotonic()

    def describe(self, done: int, total: int) -> WorkEvent:
        """Return how far the work is."""
        elapsed_ms = max(1, int(1000 * (time.monotonic() - self._began_at)))
        return WorkEvent(
            work=0,
            kind=self._kind,
            subject=self._subject,
            unit=self._unit,
            state="running",
            done=done,
            total=total,
            elapsed_ms=elapsed_ms,
            rate_millionths=done * MILLION * 1000 // elapsed_ms,
            left_ms=(total - done) * elapsed_ms // done if done else None,
        )
