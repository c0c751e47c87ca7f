"""Events on their way from the node to subscribers of the socket: never blocks the node, never grows without end.

A subscriber that resumes first reads the past of its topics, then goes over to what happens: between the last look at
the past and the first live event nothing can come, for both happen in one step of the loop.
"""

import itertools
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from typing import TYPE_CHECKING, Protocol

import trio

from flocknode.errors import NotReady
from flocknode.rpc.history import History, MemoryHistory
from flocknode.rpc.records import (
    MAX_TAIL,
    Count,
    Event,
    Level,
    LogLine,
    LogTail,
    Subscription,
    Topic,
    Unsubscribed,
)

if TYPE_CHECKING:
    from flocknode.logs import LogOutput
    from flocknode.rpc.dispatch import Handler

# Events that may wait for one subscriber before it is cut off.
MAX_WAITING_EVENTS = 1000
MAX_SUBSCRIPTIONS = 256


class Subscriber:
    """One reader of some topics. `positions` say, by topic, where in its past a reader that resumes begins."""

    def __init__(self, hub: "EventHub", topics: Iterable[Topic], positions: dict[Topic, int]) -> None:
        self._hub = hub
        self._positions = positions
        # The topics whose events come as they happen.
        self.live = {topic for topic in topics if topic not in positions}
        self.is_replaying = bool(positions)
        self.sender, self._receiver = trio.open_memory_channel[tuple[Topic, Event]](MAX_WAITING_EVENTS)

    async def events(self) -> AsyncGenerator[tuple[Topic, Event], None]:
        """Yield (topic, event); ends when the subscriber lagged and was cut off, or was unsubscribed.

        Raises `HistoryGone` when it lagged behind the past that is remembered.
        """
        while behind := [topic for topic in self._positions if self._is_behind(topic)]:
            for topic in behind:
                async with aclosing(self._replay(topic)) as past:
                    async for event in past:
                        yield topic, event
        # No other task runs between the look above and the next line.
        self.live.update(self._positions)
        self.is_replaying = False
        async for topic, event in self._receiver:
            if not self._is_known(topic, event):
                yield topic, event

    async def _replay(self, topic: Topic) -> AsyncGenerator[Event, None]:
        # Whatever comes later has no lower position, so all before it is in these pages.
        end = self._hub.histories[topic].next_position()
        pages = self._hub.histories[topic].pages(self._positions[topic])
        try:
            while page := await trio.to_thread.run_sync(next, pages, None):
                for position, event in page:
                    yield event
                    self._positions[topic] = position + 1
            self._positions[topic] = max(self._positions[topic], end)
        finally:
            pages.close()

    def _is_behind(self, topic: Topic) -> bool:
        return self._positions[topic] < self._hub.histories[topic].next_position()

    def _is_known(self, topic: Topic, event: Event) -> bool:
        """Return whether a live event was among those of the past already."""
        if topic not in self._positions:
            return False
        position = self._hub.histories[topic].position_of(event)
        return position is not None and position < self._positions[topic]


class EventHub:
    """Hands each event to the subscribers of its topic; one that lags is cut off instead of waited for."""

    def __init__(self) -> None:
        # The past of those topics that have one.
        self.histories: dict[Topic, History] = {}
        self._subscribers: list[Subscriber] = []
        self._token = trio.lowlevel.current_trio_token() if _is_on_loop() else None

    def subscribe(
        self, topics: Iterable[Topic], *, from_height: int | None = None, from_line: int | None = None
    ) -> Subscriber:
        """Return a subscriber that receives the events from now on, or of some topics those since a height or line.

        Raises `HistoryGone` when the past of a topic does not reach so far back.
        """
        if len(self._subscribers) >= MAX_SUBSCRIPTIONS:
            raise NotReady(f"{MAX_SUBSCRIPTIONS} subscriptions are open already")
        self._token = trio.lowlevel.current_trio_token()
        positions = {}
        for topic in topics:
            start = from_line if topic == "logs" else from_height
            if start is not None and topic in self.histories:
                positions[topic] = self.histories[topic].find(start)
        subscriber = Subscriber(self, topics, positions)
        self._subscribers.append(subscriber)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """End a subscription; ending it twice is fine."""
        subscriber.sender.close()
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)

    def publish(self, topic: Topic, event: Event) -> None:
        """Remember an event, and give it to its subscribers. Callable from any thread."""
        if not _is_on_loop():
            if self._token is not None:
                self._token.run_sync_soon(self.publish, topic, event)
            return
        history = self.histories.get(topic)
        if isinstance(history, MemoryHistory):
            history.append(event)
        for subscriber in [one for one in self._subscribers if topic in one.live]:
            try:
                subscriber.sender.send_nowait((topic, event))
            except trio.WouldBlock:
                self.unsubscribe(subscriber)


def _is_on_loop() -> bool:
    try:
        trio.lowlevel.current_trio_token()
    except RuntimeError:
        return False
    return True


class Subscribable(Protocol):
    """The connection of a caller, as far as subscriptions need it."""

    def subscribe(
        self, number: int, topics: tuple[Topic, ...], *, from_height: int | None, from_line: int | None
    ) -> int:
        """Begin to send events under a subscription's number, and return the number."""

    def unsubscribe(self, number: int) -> bool:
        """End a subscription and return whether there was one."""


_numbers = itertools.count(1)


async def subscribe(
    connection: Subscribable,
    *,
    topics: tuple[Topic, ...],
    from_height: Count | None = None,
    from_line: Count | None = None,
) -> Subscription:
    """Begin to send this connection the events of some topics, as notifications `events.event`.

    With `from_height`, blocks, rounds and tasks begin with the events since that height; with `from_line`, the log
    begins with that line's number.
    """
    number = connection.subscribe(next(_numbers), topics, from_height=from_height, from_line=from_line)
    return Subscription(subscription=number)


async def unsubscribe(connection: Subscribable, *, subscription: Count) -> Unsubscribed:
    """End a subscription of this connection."""
    return Unsubscribed(was_subscribed=connection.unsubscribe(subscription))


def make_log_methods(output: "LogOutput") -> "dict[str, Handler]":
    """Return the methods that read the daemon's log."""

    async def tail(*, lines: Count = 100, level: Level = "info") -> LogTail:
        """Return the newest lines of the log that are at least as important as `level`."""
        found: list[LogLine] = output.tail(min(lines, MAX_TAIL), level)
        return LogTail(lines=tuple(found), next=output.next_position())

    return {"logs.tail": tail}
