"""A bounded queue with priorities between a task that must not wait and one that may."""

from collections import deque
from typing import Generic, TypeVar

import trio

from flocknode.network.messages import Topic

T = TypeVar("T")

MAX_ITEMS = 8192
MAX_BYTES = 16 * 1024 * 1024


class Mailbox(Generic[T]):
    """Items of all topics, the most urgent topic first, in order within one.

    Overflow drops the least urgent first, and of those the oldest; `dropped` counts what was lost that way.
    """

    def __init__(self, *, max_items: int = MAX_ITEMS, max_bytes: int = MAX_BYTES) -> None:
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._lanes: tuple[deque[tuple[T, int]], ...] = tuple(deque() for _ in Topic)
        self._items = 0
        self._bytes = 0
        self._filled = trio.Event()
        self.dropped = 0

    def __len__(self) -> int:
        return self._items

    @property
    def is_short(self) -> bool:
        """Whether little waits: the box is far from overflowing."""
        return 8 * self._items < self._max_items and 8 * self._bytes < self._max_bytes

    def put(self, topic: Topic, item: T, size: int) -> list[T]:
        """Add an item of `size` bytes, and return what was dropped for it; never waits."""
        self._lanes[topic].append((item, size))
        self._items += 1
        self._bytes += size
        dropped: list[T] = []
        while self._items > self._max_items or self._bytes > self._max_bytes:
            dropped.append(self._pop(next(lane for lane in reversed(self._lanes) if lane)))
        self.dropped += len(dropped)
        if self._items:
            self._filled.set()
        return dropped

    async def take(self, max_bytes: int) -> list[T]:
        """Wait for an item; return it and those behind it that fit into `max_bytes` together with it."""
        await self._filled.wait()
        items: list[T] = []
        taken = 0
        for lane in self._lanes:
            while lane and (not items or taken + lane[0][1] <= max_bytes):
                taken += lane[0][1]
                items.append(self._pop(lane))
        if not self._items:
            self._filled = trio.Event()
        return items

    def clear(self) -> list[T]:
        """Remove all items and return them."""
        items = [self._pop(lane) for lane in self._lanes for _ in range(len(lane))]
        self._filled = trio.Event()
        return items

    def _pop(self, lane: "deque[tuple[T, int]]") -> T:
        item, size = lane.popleft()
        self._items -= 1
        self._bytes -= size
        return item
