"""Events on their way from the node to subscribers of the socket: never blocks the node, never grows without end."""

import itertools
from collections.abc import Iterable
from typing import TYPE_CHECKING, Protocol

import trio

from flocknode.errors import NotReady
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
    """One reader of some topics: iterate to receive (topic, event); the iteration ends when it was cut off."""

    def __init__(self, topics: Iterable[Topic]) -> None:
        self.topics = frozenset(topics)
        self.sender, self.receiver = trio.open_memory_channel[tuple[Topic, Event]](MAX_WAITING_EVENTS)


class EventHub:
    """Hands each event to the subscribers of its topic; one that lags is cut off instead of waited for."""

    def __init__(self) -> None:
        self._subscribers: list[Subscriber] = []
        self._token: trio.lowlevel.TrioToken | None = None

    def subscribe(self, topics: Iterable[Topic]) -> Subscriber:
        """Return a subscriber that receives the events published from now on."""
        if len(self._subscribers) >= MAX_SUBSCRIPTIONS:
            raise NotReady(f"{MAX_SUBSCRIPTIONS} subscriptions are open already")
        self._token = trio.lowlevel.current_trio_token()
        subscriber = Subscriber(topics)
        self._subscribers.append(subscriber)
        return subscriber

    def unsubscribe(self, subscriber: Subscriber) -> None:
        """End a subscription; ending it twice is fine."""
        subscriber.sender.close()
        if subscriber in self._subscribers:
            self._subscribers.remove(subscriber)

    def publish(self, topic: Topic, event: Event) -> None:
        """Give an event to its subscribers. Callable from any thread."""
        if not self._subscribers or self._token is None:
            return
        if not _is_on_loop():
            self._token.run_sync_soon(self.publish, topic, event)
            return
        for subscriber in [one for one in self._subscribers if topic in one.topics]:
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

    def subscribe(self, number: int, topics: tuple[Topic, ...]) -> int:
        """Begin to send events under a subscription's number, and return the number."""

    def unsubscribe(self, number: int) -> bool:
        """End a subscription and return whether there was one."""


_numbers = itertools.count(1)


async def subscribe(connection: Subscribable, *, topics: tuple[Topic, ...]) -> Subscription:
    """Begin to send this connection the events of some topics, as notifications `events.event`."""
    return Subscription(subscription=connection.subscribe(next(_numbers), topics))


async def unsubscribe(connection: Subscribable, *, subscription: Count) -> Unsubscribed:
    """End a subscription of this connection."""
    return Unsubscribed(was_subscribed=connection.unsubscribe(subscription))


def make_log_methods(output: "LogOutput") -> "dict[str, Handler]":
    """Return the methods that read the daemon's log."""

    async def tail(*, lines: Count = 100, level: Level = "info") -> LogTail:
        """Return the newest lines of the log that are at least as important as `level`."""
        found: list[LogLine] = output.tail(min(lines, MAX_TAIL), level)
        return LogTail(lines=tuple(found))

    return {"logs.tail": tail}
