"""Yamux: streams share a connection, each at its reader's pace, and what breaks the rules ends the connection."""

import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
import trio
import trio.testing
from libp2p.stream_muxer.exceptions import (
    MuxedConnUnavailable,
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamError,
    MuxedStreamReset,
)
from libp2p.stream_muxer.yamux.yamux import Yamux

from flocknode.network.channel import Channel
from flocknode.network.muxer import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    HEADER,
    MAX_ANSWERS,
    MAX_STREAMS,
    PING,
    STREAM_STALL_S,
    SYN,
    WINDOW_BYTES,
    WINDOW_UPDATE,
    Muxer,
)

BYTES = random.Random(6).randbytes(3 * WINDOW_BYTES)


def make_library_muxer(channel: Channel, peer: Any) -> Yamux:
    return Yamux(channel, peer, is_initiator=channel.is_initiator)


@pytest.fixture(params=["ours", "library dials", "library accepts"])
def kinds(request) -> tuple[Any, Any]:
    return {
        "ours": (Muxer, Muxer),
        "library dials": (make_library_muxer, Muxer),
        "library accepts": (Muxer, make_library_muxer),
    }[request.param]


@pytest.fixture
async def any_pair(sessions, nursery: trio.Nursery, kinds: tuple[Any, Any]) -> AsyncIterator[tuple[Any, Any]]:
    """Two muxers on one connection, one of them perhaps the library's."""
    async with sessions() as (dialled, accepted, _):
        first, second = kinds[0](Channel(dialled), "second"), kinds[1](Channel(accepted), "first")
        nursery.start_soon(first.start)
        nursery.start_soon(second.start)
        yield first, second


@pytest.fixture
async def pair(sessions, nursery: trio.Nursery) -> AsyncIterator[tuple[Muxer, Muxer]]:
    async with sessions() as (dialled, accepted, _):
        first, second = Muxer(Channel(dialled), "second"), Muxer(Channel(accepted), "first")
        nursery.start_soon(first.start)
        nursery.start_soon(second.start)
        yield first, second


@pytest.fixture
async def stranger(sessions, nursery: trio.Nursery) -> AsyncIterator[tuple[Muxer, Channel]]:
    """A muxer, and the other end of its connection to write frames to by hand."""
    async with sessions() as (dialled, accepted, _):
        muxer = Muxer(Channel(accepted), "stranger")
        nursery.start_soon(muxer.start)
        yield muxer, Channel(dialled)


async def read_all(stream: Any) -> bytes:
    got = b""
    try:
        while True:
            got += await stream.read(100_000)
    except (MuxedStreamEOF, MuxedStreamReset):
        return got


async def write_and_close(stream: Any, data: bytes) -> None:
    await stream.write(data)
    await stream.close()


async def link(first: Any, second: Any) -> tuple[Any, Any]:
    """Return both ends of a new stream."""
    with trio.fail_after(60):
        opened = await first.open_stream()
        return opened, await second.accept_stream()


async def test_streams_of_both_ends_carry_bytes_both_ways_at_once(any_pair, autojump_clock) -> None:
    """Far more than a window on each, in order, with ours or the library's muxer at either end: it is yamux."""
    first, second = any_pair
    got: dict[str, bytes] = {}

    async def read(name: str, stream: Any) -> None:
        got[name] = await read_all(stream)

    async with trio.open_nursery() as nursery:
        for number, (opener, accepter) in enumerate([(first, second), (second, first), (first, second)]):
            opened, accepted = await link(opener, accepter)
            for name, writer, reader in (("there", opened, accepted), ("back", accepted, opened)):
                nursery.start_soon(write_and_close, writer, BYTES[number:])
                nursery.start_soon(read, f"{name} {number}", reader)
    assert got == {f"{name} {number}": BYTES[number:] for name in ("there", "back") for number in range(3)}


async def test_a_writer_waits_for_its_reader_and_holds_up_no_other_stream(pair, autojump_clock) -> None:
    """A window and no more is under way; another stream of the connection goes on; reading lets the writer go on."""
    slow, slow_end = await link(*pair)
    quick, quick_end = await link(*pair)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_and_close, slow, BYTES)
        await trio.testing.wait_all_tasks_blocked()
        await quick.write(b"overtakes")
        assert await quick_end.read(9) == b"overtakes"
        assert len(slow_end._received) == WINDOW_BYTES
        assert await read_all(slow_end) == BYTES


async def test_a_reader_may_want_more_at_once_than_a_window(pair, autojump_clock) -> None:
    """It gets it in steps: what was read makes room for more."""
    opened, accepted = await link(*pair)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(opened.write, BYTES)
        parts = await accepted.receive(len(BYTES))
        while len(parts) < len(BYTES):
            parts.extend(await accepted.receive(len(BYTES) - len(parts)))
    assert parts.take(len(BYTES)) == BYTES


async def test_a_window_may_be_widened(pair, autojump_clock) -> None:
    """Then so much more is sent before it is read."""
    opened, accepted = await link(*pair)
    await accepted.widen(len(BYTES))
    await trio.testing.wait_all_tasks_blocked()
    await opened.write(BYTES)
    await trio.testing.wait_all_tasks_blocked()
    assert len(accepted._received) == len(BYTES)


async def test_a_stream_that_nobody_reads_is_given_up_and_the_connection_is_not(pair, autojump_clock) -> None:
    """The writer's patience ends; other streams live."""
    opened, _ = await link(*pair)
    began = trio.current_time()
    with pytest.raises(MuxedStreamError, match="read nothing of the stream"):
        await opened.write(BYTES)
    assert trio.current_time() - began == pytest.approx(STREAM_STALL_S)
    other, other_end = await link(*pair)
    await other.write(b"lives")
    assert await other_end.read(5) == b"lives"


async def test_a_stream_closes_in_each_direction_by_itself(pair, autojump_clock) -> None:
    """After a close the other side reads the rest, learns of the end, and may still answer; then nothing is left."""
    opened, accepted = await link(*pair)
    await write_and_close(opened, b"question")
    with pytest.raises(MuxedStreamClosed):
        await opened.write(b"more")
    assert await read_all(accepted) == b"question"
    await write_and_close(accepted, b"answer")
    assert await read_all(opened) == b"answer"
    assert not pair[0]._streams
    assert not pair[1]._streams


async def test_a_reset_wakes_who_reads_and_who_writes(pair, autojump_clock) -> None:
    """Both ends of both directions see it at once, and the connection lives on."""
    raised: list[type[BaseException]] = []

    async def expect(job: Any, *arguments: Any) -> None:
        with pytest.raises(MuxedStreamReset) as caught:
            await job(*arguments)
        raised.append(caught.type)

    opened, accepted = await link(*pair)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(expect, opened.write, BYTES)
        nursery.start_soon(expect, opened.read, 1)
        await trio.testing.wait_all_tasks_blocked()
        await accepted.reset()
        with pytest.raises(MuxedStreamReset):
            await accepted.read(1)
    assert len(raised) == 2
    assert trio.current_time() == began
    assert not pair[0]._streams
    await link(*pair)


async def test_the_end_of_a_connection_ends_all_that_waits_for_it(pair, autojump_clock) -> None:
    """Readers, those who wait for a stream, and who would open one; the swarm is told once."""
    told: list[Muxer] = []

    async def tell() -> None:
        told.append(pair[0])

    pair[0].on_close = tell
    opened, _ = await link(*pair)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            with pytest.raises(MuxedStreamReset):
                await opened.read(1)

        @nursery.start_soon
        async def accept() -> None:
            with pytest.raises(MuxedConnUnavailable):
                await pair[0].accept_stream()

        await trio.testing.wait_all_tasks_blocked()
        await pair[1].close()
        await pair[0].event_closed.wait()
    await trio.testing.wait_all_tasks_blocked()
    with pytest.raises(MuxedConnUnavailable):
        await pair[0].open_stream()
    assert told == [pair[0]]


async def test_streams_are_counted_in_each_direction(pair, autojump_clock) -> None:
    """One too many is refused here before it is asked for, and turned down there; closed ones make room."""
    first, second = pair
    streams = [await link(first, second) for _ in range(MAX_STREAMS)]
    with pytest.raises(MuxedStreamError, match="streams are open"):
        await first.open_stream()
    await link(second, first)
    for end in streams[0]:
        await end.close()
    await trio.testing.wait_all_tasks_blocked()
    await link(first, second)


async def test_a_stranger_that_opens_too_many_streams_is_turned_down_for_those(stranger, autojump_clock) -> None:
    """Each beyond the limit is reset at once; resetting and opening anew fills no queue without end."""
    muxer, channel = stranger
    for number in range(1, 2 * MAX_STREAMS + 4, 2):
        await channel.write(HEADER.pack(0, WINDOW_UPDATE, SYN, number, 0))
    flags = [HEADER.unpack(await channel.read(HEADER.size))[2] for _ in range(MAX_STREAMS + 2)]
    assert flags.count(ACK) == MAX_STREAMS
    assert not muxer.is_closed


async def test_a_ping_is_answered(stranger, autojump_clock) -> None:
    """With the number it came with."""
    _, channel = stranger
    await channel.write(HEADER.pack(0, PING, SYN, 0, 77))
    assert HEADER.unpack(await channel.read(HEADER.size)) == (0, PING, ACK, 0, 77)


OPEN = HEADER.pack(0, WINDOW_UPDATE, SYN, 1, 0)
FULL = WINDOW_BYTES + 1


@pytest.mark.parametrize(
    "frames",
    [
        pytest.param(HEADER.pack(1, DATA, 0, 1, 0), id="another version"),
        pytest.param(HEADER.pack(0, 9, 0, 1, 0), id="no kind"),
        pytest.param(HEADER.pack(0, GO_AWAY, 0, 0, 0), id="goodbye"),
        pytest.param(HEADER.pack(0, WINDOW_UPDATE, SYN, 2, 0), id="a stream of our numbers"),
        pytest.param(OPEN + OPEN, id="opened twice"),
        pytest.param(OPEN + HEADER.pack(0, DATA, 0, 1, FULL) + bytes(FULL), id="beyond the window"),
        pytest.param(
            OPEN + HEADER.pack(0, WINDOW_UPDATE, FIN, 1, 0) + HEADER.pack(0, DATA, 0, 1, 1) + b"x", id="after its end"
        ),
    ],
)
async def test_who_breaks_the_rules_is_hung_up_on(stranger, autojump_clock, frames: bytes) -> None:
    """Nothing is believed, and nothing is raised out of the muxer."""
    muxer, channel = stranger
    await channel.write(frames)
    with trio.fail_after(1):
        await muxer.event_closed.wait()


async def test_who_asks_and_does_not_read_the_answers_is_hung_up_on(stranger, autojump_clock) -> None:
    """So many answers wait for a connection that takes none, and not one more."""
    muxer, channel = stranger
    await muxer._write_lock.acquire()
    await channel.write((MAX_ANSWERS + 2) * HEADER.pack(0, PING, SYN, 0, 1))
    with trio.fail_after(1):
        await muxer.event_closed.wait()


async def test_bytes_for_a_stream_that_is_over_are_passed_over(stranger, autojump_clock) -> None:
    """They were under way when it was given up."""
    muxer, channel = stranger
    await channel.write(OPEN)
    stream = await muxer.accept_stream()
    await stream.reset()
    await channel.write(HEADER.pack(0, DATA, 0, 1, 5) + b"stale" + HEADER.pack(0, PING, SYN, 0, 5))
    kinds = [HEADER.unpack(await channel.read(HEADER.size))[1] for _ in range(3)]
    assert kinds == [WINDOW_UPDATE, WINDOW_UPDATE, PING]
    assert not muxer.is_closed
