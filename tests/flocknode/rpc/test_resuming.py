"""Subscriptions that begin in the past: nothing is missed, nothing comes twice, and what is gone is said to be gone."""

import random
from contextlib import aclosing

import pytest
import structlog
import trio

from flocknode.errors import HistoryGone
from flocknode.rpc import events, history
from flocknode.rpc.client import open_client
from flocknode.rpc.history import MemoryHistory
from flocknode.rpc.jsonrpc import RpcError
from flocknode.rpc.records import BlockEvent, TaskEvent
from storage.errors import Corrupted

SEED = 20250717


def block(height):
    """Return the event of a block."""
    return BlockEvent(
        height=height,
        block="b" * 64,
        round=0,
        time_ms=1,
        proposer="a" * 64,
        transactions=1,
        signed=3,
        replicas=4,
        duration_ms=9,
    )


def task(height, text):
    """Return an event of a task."""
    return TaskEvent(height=height, index=0, task=1, name="digits", epoch=0, phase="score", text=text)


class Blocks:
    """A log that is written before its events are told, as a node's is."""

    def __init__(self, hub):
        self.hub = hub
        self.height = 0

    def next_position(self):
        return self.height + 1

    def find(self, start):
        return max(1, start)

    def pages(self, position):
        for first in range(position, self.height + 1, history.PAGE_EVENTS):
            yield [
                (height, block(height)) for height in range(first, min(first + history.PAGE_EVENTS, self.height + 1))
            ]

    def position_of(self, event):
        return event.height

    def commit(self):
        self.height += 1
        return lambda height=self.height: self.hub.publish("blocks", block(height))


@pytest.fixture
def blocks(served, monkeypatch):
    """The served hub with a past of blocks and tasks, in pages of three."""
    monkeypatch.setattr(history, "PAGE_EVENTS", 3)
    served.hub.histories["blocks"] = blocks = Blocks(served.hub)
    served.hub.histories["tasks"] = MemoryHistory(1)
    return blocks


@pytest.fixture
def without_threads(monkeypatch):
    """Read the past on the loop, so that a task that reads is no blocked one."""

    async def at_once(call, *arguments):
        await trio.lowlevel.checkpoint()
        return call(*arguments)

    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)


@pytest.fixture
def gone(served, monkeypatch):
    """An event that is set once a subscription has ended."""
    gone, unsubscribe = trio.Event(), served.hub.unsubscribe
    monkeypatch.setattr(served.hub, "unsubscribe", lambda subscriber: (unsubscribe(subscriber), gone.set()))
    return gone


async def read_slowly(served, subscriber):
    """Read events, while more happens after each of them than is remembered."""
    async with aclosing(subscriber.events()) as found:
        async for _, event in found:
            for height in range(event.height + 1, event.height + 6):
                served.hub.publish("tasks", task(height, "x"))


def raise_gone(*_):
    """Be overtaken."""
    raise HistoryGone("the reader was too slow")


async def heights_of(channel, count):
    """Return the heights of the next events."""
    return [(await channel.receive()).event["height"] for _ in range(count)]


async def test_the_past_comes_first_then_the_present(served, blocks):
    """From a height on, every block comes once and in order, whether it was committed before or after."""
    for _ in range(10):
        blocks.commit()()
    async with open_client(served.home) as client:
        channel = await client.subscribe(["blocks"], from_height=4)
        assert await heights_of(channel, 7) == list(range(4, 11))
        blocks.commit()()
        assert await heights_of(channel, 1) == [11]


async def test_a_block_on_the_log_that_is_told_later_comes_once(served, blocks):
    """The event of a block that was read from the log already is left out when it arrives."""
    tell = [blocks.commit() for _ in range(3)]
    async with open_client(served.home) as client:
        channel = await client.subscribe(["blocks"], from_height=1)
        assert await heights_of(channel, 3) == [1, 2, 3]
        await trio.testing.wait_all_tasks_blocked()
        for late in tell:
            late()
        blocks.commit()()
        assert await heights_of(channel, 1) == [4]


async def test_whatever_the_timing_nothing_is_missed_or_repeated(served, blocks):
    """Blocks committed and told at random moments while the past is read arrive as one unbroken sequence."""
    rng, untold = random.Random(SEED), []

    async def produce():
        while blocks.height < 200:
            untold.extend(blocks.commit() for _ in range(rng.randrange(4)))
            for _ in range(rng.randrange(len(untold) + 1)):
                untold.pop(0)()
            await trio.lowlevel.checkpoint()
        for tell in untold:
            tell()

    for _ in range(20):
        blocks.commit()()
    async with open_client(served.home) as client, trio.open_nursery() as nursery:
        nursery.start_soon(produce)
        channel = await client.subscribe(["blocks"], from_height=5)
        assert await heights_of(channel, 196) == list(range(5, 201)), f"seed {SEED}"


async def test_going_over_to_the_present_loses_nothing(blocks, without_threads):
    """The moment between past and present is tried in many orders of the tasks: no block is ever missing."""
    rng = random.Random(SEED)

    async def produce():
        for _ in range(12):
            blocks.commit()()
            for _ in range(rng.randrange(6)):
                await trio.lowlevel.checkpoint()

    for trial in range(100):
        subscriber = blocks.hub.subscribe(["blocks"], from_height=blocks.height + 1 - rng.randrange(3))
        first, last, found = subscriber._positions["blocks"], blocks.height + 12, []
        async with trio.open_nursery() as nursery, aclosing(subscriber.events()) as events_:
            nursery.start_soon(produce)
            async for _, event in events_:
                found.append(event.height)
                if event.height == last:
                    break
        blocks.hub.unsubscribe(subscriber)
        assert found == list(range(first, last + 1)), f"seed {SEED}, trial {trial}"


async def test_several_topics_resume_together(served, blocks):
    """Tasks are remembered by height; both pasts come before the present, and a topic without one is live at once."""
    for height in range(1, 5):
        blocks.commit()()
        served.hub.publish("tasks", task(height, f"t{height}"))
    async with open_client(served.home) as client:
        channel = await client.subscribe(["blocks", "tasks", "rounds"], from_height=3)
        found = [await channel.receive() for _ in range(4)]
        assert [(one.topic, one.event["height"]) for one in found] == [
            ("blocks", 3),
            ("blocks", 4),
            ("tasks", 3),
            ("tasks", 4),
        ]
        served.hub.publish("tasks", task(5, "t5"))
        assert (await channel.receive()).event["text"] == "t5"


async def test_what_is_forgotten_is_told_with_where_the_past_begins(served, blocks, gone, monkeypatch):
    """A height before what is remembered is an error of its own that carries the first height that is there."""
    monkeypatch.setattr(history, "MAX_REMEMBERED", 3)
    for height in (1, 2, 2, 3, 3):
        served.hub.publish("tasks", task(height, "x"))
    async with open_client(served.home) as client:
        with pytest.raises(RpcError) as caught:
            await client.subscribe(["tasks"], from_height=2)
        assert (caught.value.kind, caught.value.code) == ("HistoryGone", HistoryGone.number)
        assert caught.value.data == {"have": 3, "need": 2}
        channel = await client.subscribe(["tasks"], from_height=3)
        assert await heights_of(channel, 2) == [3, 3]
    await gone.wait()
    assert served.hub._subscribers == []


async def test_a_long_past_does_not_count_as_lag(served, blocks, without_threads, monkeypatch):
    """A reader of the past is waited for; only what happens afterwards may pile up no further than the bound."""
    monkeypatch.setattr(events, "MAX_WAITING_EVENTS", 3)
    for _ in range(100):
        blocks.commit()
    async with open_client(served.home) as client:
        channel = await client.subscribe(["blocks"], from_height=1)
        for _ in range(50):
            blocks.commit()()
            await trio.lowlevel.checkpoint()
        assert await heights_of(channel, 150) == list(range(1, 151))
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(20):
            blocks.commit()()
        topics = []
        while "lagged" not in topics:
            topics.append((await channel.receive()).topic)
    assert len(topics) < 20


async def test_a_subscriber_that_leaves_in_the_past_leaves_nothing(served, blocks, gone):
    """Closing the connection while the past is read ends the subscription and its reading."""
    for _ in range(5_000):
        blocks.commit()
    async with open_client(served.home) as client:
        channel = await client.subscribe(["blocks"], from_height=1)
        await channel.receive()
    await gone.wait()
    assert served.hub._subscribers == []


async def test_a_past_that_cannot_be_read_ends_the_connection_alone(served, blocks):
    """Damage on the disk closes the connection of who asked, and is in the log; the server goes on."""

    def pages(position):
        yield [(1, block(1))]
        raise Corrupted("block 2", "bad checksum")

    blocks.commit()
    blocks.commit()
    blocks.pages = pages
    with structlog.testing.capture_logs() as lines:
        async with open_client(served.home) as client:
            channel = await client.subscribe(["blocks"], from_height=1)
            assert await heights_of(channel, 1) == [1]
            with pytest.raises(trio.EndOfChannel):
                await channel.receive()
    assert ["bad checksum" in line.get("reason", "") for line in lines] == [True]
    async with open_client(served.home) as client:
        assert await client.call("t.add", int, left=1) == 2


def test_memory_is_bounded():
    """The past of a topic holds so many events and no more."""
    past = MemoryHistory(1)
    for height in range(1, history.MAX_REMEMBERED + 100):
        past.append(task(height, "x"))
    first = past.find(100)
    assert sum(len(page) for page in past.pages(first)) == history.MAX_REMEMBERED
    assert past.find(history.MAX_REMEMBERED) == history.MAX_REMEMBERED - 1
    with pytest.raises(HistoryGone):
        past.pages(first - 1)


async def test_a_reader_that_memory_has_overtaken_is_told_that_it_lagged(served, blocks, without_threads, monkeypatch):
    """Who reads the past so slowly that what follows is forgotten gets no gap, but the word that it was cut off."""
    monkeypatch.setattr(history, "MAX_REMEMBERED", 3)
    for height in (1, 2):
        served.hub.publish("tasks", task(height, "x"))
    subscriber = served.hub.subscribe(["tasks"], from_height=1)
    with pytest.raises(HistoryGone):
        await read_slowly(served, subscriber)
    served.hub.unsubscribe(subscriber)
    async with open_client(served.home) as client:
        monkeypatch.setattr(MemoryHistory, "pages", raise_gone)
        channel = await client.subscribe(["tasks"], from_height=served.hub.histories["tasks"]._first_height)
        assert (await channel.receive()).topic == "lagged"
