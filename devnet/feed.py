"""What all daemons tell, merged into one stream: each keeps a subscription open, whatever happens to its daemon."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import trio

from devnet.flock import Flock
from flocknode.errors import ConnectionLost, NotRunning
from flocknode.rpc.call import convert_job_event, convert_result
from flocknode.rpc.client import open_client
from flocknode.rpc.records import BlockEvent, JobEvent, LogLine, Notification, TaskEvent

MAX_WAITING = 2000
MAX_REMEMBERED = 4096
RECONNECT_S = 0.2
# What a node does for a task by itself; all other phases are of the task, and every node tells them alike.
WORK = "work"

Happening = BlockEvent | JobEvent | LogLine


class Told(NamedTuple):
    """What one daemon told."""

    name: str
    event: Happening


class Feed:
    """The merged stream: run it, and receive from `events`. A daemon that is down is tried again and again."""

    def __init__(self, flock: Flock) -> None:
        self._flock = flock
        self._sender, self.events = trio.open_memory_channel[Told](MAX_WAITING)

    async def run(self) -> None:
        """Listen to all daemons until cancelled."""
        async with self._sender, trio.open_nursery() as nursery:
            for name in self._flock.daemons:
                nursery.start_soon(self._listen, name)

    async def _listen(self, name: str) -> None:
        while True:
            try:
                await self._listen_once(name)
            except (NotRunning, ConnectionLost):
                await trio.sleep(RECONNECT_S)

    async def _listen_once(self, name: str) -> None:
        async with open_client(self._flock.daemons[name].home) as client:
            async for notification in await client.subscribe(["blocks", "tasks", "logs"]):
                event = read_event(notification)
                if event is not None:
                    await self._sender.send(Told(name, event))
        raise ConnectionLost(f"{name} ended the subscription")


def read_event(notification: Notification) -> Happening | None:
    """Return the event of a notification; None when it says only that the reader lags."""
    match notification.topic:
        case "blocks":
            return convert_result(notification.event, BlockEvent)
        case "tasks":
            return convert_job_event(notification.event)
        case "logs":
            return convert_result(notification.event, LogLine)
        case _:
            return None


class Observer:
    """Reads the feed: shows what is told, notes the first block, and passes on what becomes of tasks.

    The phases of a task come once each, whoever tells them first, with that node's name.
    """

    def __init__(self, feed: Feed, show: Callable[[Told], None]) -> None:
        self._feed = feed
        self._show = show
        self._first = FirstOnly()
        self._followers: list[trio.MemorySendChannel[Told]] = []
        self.first_block = trio.Event()

    async def run(self) -> None:
        """Read until cancelled."""
        async for told in self._feed.events:
            self._show(told)
            match told.event:
                case BlockEvent():
                    self.first_block.set()
                case TaskEvent(task=task, epoch=epoch, phase=phase) if phase != WORK:
                    if self._first.is_new((task, epoch, phase)):
                        for follower in self._followers:
                            await follower.send(told)

    @contextmanager
    def follow(self) -> Iterator[trio.MemoryReceiveChannel[Told]]:
        """Receive the phases of tasks from now on; whoever follows reads, or the feed waits."""
        sender, receiver = trio.open_memory_channel[Told](MAX_WAITING)
        self._followers.append(sender)
        try:
            yield receiver
        finally:
            self._followers.remove(sender)
            receiver.close()


async def phases_of(told: trio.MemoryReceiveChannel[Told], *tasks: int) -> AsyncIterator[tuple[str, TaskEvent]]:
    """Yield (node that told, event) for some tasks until all of them are over."""
    running = set(tasks)
    async for name, event in told:
        assert isinstance(event, TaskEvent)
        if event.task not in running:
            continue
        yield name, event
        if event.phase in ("finished", "expired"):
            running.remove(event.task)
        if not running:
            return


class FirstOnly:
    """Tells whether something is heard for the first time; remembers a bounded number of things."""

    def __init__(self) -> None:
        self._heard: OrderedDict[Hashable, None] = OrderedDict()

    def is_new(self, thing: Hashable) -> bool:
        """Return whether this is the first time, and remember it."""
        if thing in self._heard:
            return False
        self._heard[thing] = None
        if len(self._heard) > MAX_REMEMBERED:
            self._heard.popitem(last=False)
        return True


def shared_part(line: LogLine) -> Hashable:
    """Return what makes a log line the same on every node, or None for one that is a node's own."""
    fields = line.fields
    match line.event:
        case "block":
            return "block", fields["height"]
        case "round" if fields["phase"] != WORK:
            return "round", tuple(fields.get(key) for key in ("task", "alliance", "epoch", "round", "phase"))
        case "waiting":
            return "waiting", fields["height"], fields["round"]
        case _:
            return None
