"""Calls functions at their time on trio's clock, and delivers messages by them: late, twice, out of order or never."""

import heapq
from collections.abc import Callable, Coroutine
from typing import Any

import trio


class Post:
    """One task that calls what is due, in the order of time and then of asking."""

    def __init__(self) -> None:
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._wait = trio.CancelScope()

    def call_at(self, time: float, function: Callable[[], None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (time, self._count, function))
        self._wait.deadline = min(self._wait.deadline, time)

    def call_later(self, delay_s: float, function: Callable[[], None]) -> None:
        self.call_at(trio.current_time() + delay_s, function)

    async def run(self) -> None:
        while True:
            deadline = self._due[0][0] if self._due else float("inf")
            with trio.CancelScope(deadline=deadline) as self._wait:
                await trio.sleep_forever()
            while self._due and self._due[0][0] <= trio.current_time():
                heapq.heappop(self._due)[2]()


def run_now(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine that does not wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        return stop.value
    coroutine.close()
    raise AssertionError("it waits")
