"""Yamux: many streams over one encrypted connection, each with a window of its own (hashicorp/yamux, spec.md).

The bytes are those of the specification. The library's muxer copies every byte three times, spells out each frame for
a log that nobody reads, looks at a window that has run out a hundred times a second and believes a peer that exceeds
it: half of what a blob cost. Here a writer that has no window waits for it, and a peer that has none is hung up on.
"""

import struct
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
import trio
from libp2p.abc import IMuxedConn
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.stream_muxer.exceptions import (
    MuxedConnError,
    MuxedConnUnavailable,
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamError,
    MuxedStreamReset,
)

from flocknode.network.channel import MAX_MESSAGE_BYTES, Channel
from flocknode.network.parts import Parts

# Version, kind, flags, number of the stream, length or value; big endian.
HEADER = struct.Struct("!BBHII")
DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8

# What a peer may send on a stream before it is read.
WINDOW_BYTES = 256 * 1024
# A frame that fills four Noise messages; a longer one would keep a vote waiting behind it on a slow line.
FRAME_BYTES = 4 * MAX_MESSAGE_BYTES - HEADER.size
# Streams in one direction of a connection, answers that wait to be written to it.
MAX_STREAMS = 64
MAX_ANSWERS = 256
# A connection whose peer takes nothing for so long is dead; longer than any honest pause of a loaded machine.
WRITE_STALL_S = 5.0
# A stream may rest longer: who sends more than it may is read slowly.
STREAM_STALL_S = 30.0

log = structlog.get_logger("flocknode.network")


class MuxedStream:
    """One stream of a muxer, for one reader and one writer at a time.

    It stands for a `libp2p.abc.IMuxedStream` and is none: the library asks no stream for its class, and of that
    interface never calls what would set deadlines. Whoever reads or writes sets them with trio's scopes.
    """

    def __init__(self, muxer: "Muxer", number: int) -> None:
        self.muxed_conn = muxer
        self.stream_id = number
        self._window = self._may_receive = self._may_send = WINDOW_BYTES
        self._received = Parts()
        # What the reader waits for.
        self._wanted = 1
        self._has_ended = self._is_closed = self._is_reset = False
        self._reading = trio.lowlevel.ParkingLot()
        self._writing = trio.lowlevel.ParkingLot()

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come or go."""
        return self._is_reset or (self._has_ended and self._is_closed)

    async def read(self, n: int | None = None) -> bytes:
        """Return up to `n` bytes, or what there is, at least one. Raises `MuxedStreamError` at the end."""
        received = await self.receive(1)
        data = received.take(len(received) if n is None else min(n, len(received)))
        received.extend(self._received)
        self._received = received
        return data

    async def receive(self, least: int) -> Parts:
        """Return all that has come, once it is so many bytes or the stream ends. Raises `MuxedStreamError` after it.

        A reader that wants more than half a window must ask for that first, for only what was read makes room.
        """
        self._wanted = min(least, self._window // 2)
        while len(self._received) < self._wanted and not self._has_ended and not self._is_reset:
            await self._reading.park()
        if self._is_reset:
            raise MuxedStreamReset("the peer gave the stream up, or the connection is gone")
        if not self._received:
            raise MuxedStreamEOF("the peer has ended the stream")
        await self._make_room()
        received, self._received = self._received, Parts()
        return received

    async def write(self, data: bytes) -> None:
        """Send bytes as the peer makes room for them. Raises `MuxedStreamError` when it does not, or hung up."""
        view = memoryview(data)
        while view:
            await self._wait_for_room()
            part, view = view[: min(self._may_send, FRAME_BYTES)], view[min(self._may_send, FRAME_BYTES) :]
            self._may_send -= len(part)
            await self.muxed_conn.send(DATA, 0, self.stream_id, len(part), part)

    async def widen(self, window_bytes: int) -> None:
        """Let the peer send so many bytes before they are read."""
        more = window_bytes - self._window
        self._window += more
        self._may_receive += more
        await self.muxed_conn.send(WINDOW_UPDATE, 0, self.stream_id, more)

    async def close(self) -> None:
        """Say that nothing more follows; what the peer still sends may be read."""
        if not self._is_closed and not self._is_reset:
            self._is_closed = True
            self.muxed_conn.forget(self)
            await self.muxed_conn.send(WINDOW_UPDATE, FIN, self.stream_id, 0)

    async def reset(self) -> None:
        """Give the stream up in both directions."""
        if not self.is_over:
            self.end(is_reset=True)
            await self.muxed_conn.send(WINDOW_UPDATE, RST, self.stream_id, 0)

    def deliver(self, part: memoryview) -> None:
        """Take bytes from the peer. Raises `MuxedConnError` when it may not send so many."""
        self._may_receive -= len(part)
        if self._may_receive < 0 or self._has_ended:
            raise MuxedConnError(f"stream {self.stream_id}: bytes beyond the window or the end")
        self._received.append(part)
        if len(self._received) >= self._wanted:
            self._reading.unpark_all()

    def make_room(self, count: int) -> None:
        """Note that the peer takes so many bytes more."""
        self._may_send += count
        self._writing.unpark_all()

    def end(self, *, is_reset: bool) -> None:
        """Note that the peer sends nothing more, or that the stream is given up."""
        self._has_ended = True
        self._is_reset = self._is_reset or is_reset
        self.muxed_conn.forget(self)
        self._reading.unpark_all()
        self._writing.unpark_all()

    async def _wait_for_room(self) -> None:
        if not self._may_send:
            with trio.move_on_after(STREAM_STALL_S):
                while not self._may_send and not self._is_reset and not self._is_closed:
                    await self._writing.park()
        if self._is_closed:
            raise MuxedStreamClosed("the stream is closed for writing")
        if self._is_reset:
            raise MuxedStreamReset("the peer gave the stream up, or the connection is gone")
        if not self._may_send:
            raise MuxedStreamError(f"the peer read nothing of the stream for {STREAM_STALL_S} s")

    async def _make_room(self) -> None:
        """Let the peer send as much again as is read now, in steps of half a window."""
        room = self._window - self._may_receive
        if room >= self._window // 2 and not self._has_ended:
            self._may_receive += room
            await self.muxed_conn.send(WINDOW_UPDATE, 0, self.stream_id, room)

    def get_remote_address(self) -> Any:
        """Return host and port of the connection's other end."""
        return self.muxed_conn.get_remote_address()


class Muxer(IMuxedConn):  # type: ignore[misc]  # libp2p has no types that mypy may follow
    """The streams of one connection. A frame is written whole, or the connection ends."""

    def __init__(self, channel: Channel, peer_id: Any) -> None:
        self.secured_conn = channel
        self.peer_id = peer_id
        self.event_started = trio.Event()
        self.event_closed = trio.Event()
        # Set by the swarm.
        self.on_close: Callable[[], Awaitable[None]] | None = None
        self._streams: dict[int, MuxedStream] = {}
        self._next_number = 1 if self.is_initiator else 2
        self._write_lock = trio.Lock()
        self._accepted, self._to_accept = trio.open_memory_channel[MuxedStream](MAX_STREAMS)
        self._answers, self._to_answer = trio.open_memory_channel[tuple[int, int, int, int]](MAX_ANSWERS)

    @property
    def is_initiator(self) -> bool:
        """Whether this end dialled."""
        return bool(self.secured_conn.is_initiator)

    @property
    def is_established(self) -> bool:
        """Whether streams may be opened."""
        return self.event_started.is_set() and not self.is_closed

    @property
    def is_closed(self) -> bool:
        """Whether the connection is gone."""
        return self.event_closed.is_set()

    async def start(self) -> None:
        """Run until the connection ends."""
        self.event_started.set()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._run, self._answer, nursery.cancel_scope)
            nursery.start_soon(self._run, self._read_frames, nursery.cancel_scope)
        await self.close()

    async def open_stream(self) -> MuxedStream:
        """Return a new stream. Raises the library's `MuxedConnUnavailable` and `MuxedStreamError`."""
        if self.is_closed:
            raise MuxedConnUnavailable("the connection is gone")
        if self._count(ours=True) >= MAX_STREAMS:
            raise MuxedStreamError(f"{MAX_STREAMS} streams are open")
        stream = self._streams[self._next_number] = MuxedStream(self, self._next_number)
        self._next_number += 2
        await self.send(WINDOW_UPDATE, SYN, stream.stream_id, 0)
        return stream

    async def accept_stream(self) -> MuxedStream:
        """Return the next stream that the peer opens. Raises `MuxedConnUnavailable` at the connection's end."""
        try:
            return await self._to_accept.receive()
        except trio.EndOfChannel as error:
            raise MuxedConnUnavailable("the connection is gone") from error

    async def close(self) -> None:
        """Hang up, without a farewell that would wait for a peer that may not read."""
        if self.is_closed:
            return
        self.event_closed.set()
        self._accepted.close()
        for stream in list(self._streams.values()):
            stream.end(is_reset=True)
        await self.secured_conn.close()
        if self.on_close is not None:
            await self.on_close()

    async def send(self, kind: int, flags: int, number: int, value: int, body: bytes | memoryview = b"") -> None:
        """Write a frame, whole: Noise counts each message, so that half of one leaves both sides deaf.

        Raises the library's `ConnectionClosedError`.
        """
        if self._write_lock.locked():
            await self._write_lock.acquire()
        else:
            # Unlike `acquire`, this costs no turn of the loop.
            self._write_lock.acquire_nowait()
        try:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + WRITE_STALL_S) as scope:
                await self.secured_conn.write(HEADER.pack(0, kind, flags, number, value), body)
            if scope.cancelled_caught:
                await self.secured_conn.close()
                raise ConnectionClosedError(f"the peer read nothing for {WRITE_STALL_S} s", transport="tcp")
        finally:
            self._write_lock.release()

    def forget(self, stream: MuxedStream) -> None:
        """Strike a stream off that is over."""
        if stream.is_over:
            self._streams.pop(stream.stream_id, None)

    async def _run(self, job: Callable[[], Awaitable[None]], connection: trio.CancelScope) -> None:
        """Do a part of the work; its failure is the connection's end, and would otherwise be the whole swarm's."""
        try:
            await job()
        except Exception as error:  # noqa: BLE001  # frames of strangers decide what is raised here
            log.debug("connection failed", peer=str(self.peer_id), error=repr(error))
        connection.cancel()

    async def _read_frames(self) -> None:
        """Take frames until the peer says goodbye, which raises as every end does."""
        while True:
            version, kind, flags, number, value = HEADER.unpack(await self.secured_conn.read(HEADER.size))
            if version or kind > PING:
                raise MuxedConnError(f"the peer left, or speaks something else: version {version}, kind {kind}")
            if kind == PING:
                if flags & SYN:
                    self._answers.send_nowait((PING, ACK, 0, value))
            else:
                if flags & SYN:
                    self._accept(number)
                await self._take(kind, flags, number, value)
            await trio.lowlevel.checkpoint()

    def _accept(self, number: int) -> None:
        """Take a stream that the peer opens, or turn it down."""
        if number in self._streams or number % 2 == self._next_number % 2:
            raise MuxedConnError(f"the peer opens stream {number}, which is open or not its to open")
        stream = MuxedStream(self, number)
        try:
            if self._count(ours=False) >= MAX_STREAMS:
                raise trio.WouldBlock
            self._accepted.send_nowait(stream)
        except trio.WouldBlock:
            self._answers.send_nowait((WINDOW_UPDATE, RST, number, 0))
        else:
            self._streams[number] = stream
            self._answers.send_nowait((WINDOW_UPDATE, ACK, number, 0))

    async def _take(self, kind: int, flags: int, number: int, value: int) -> None:
        """Take a frame of a stream; one that is over here may still get some."""
        stream = self._streams.get(number)
        if kind == DATA:
            while value:
                part = await self.secured_conn.receive(value)
                value -= len(part)
                if stream is not None and not stream.is_over:
                    stream.deliver(part)
        elif stream is not None:
            stream.make_room(value)
        if stream is not None and flags & (FIN | RST):
            stream.end(is_reset=bool(flags & RST))

    async def _answer(self) -> None:
        """Write what the reader of frames owes the peer; a reader that waited for room to write could wait for ever."""
        async for frame in self._to_answer:
            await self.send(*frame)

    def _count(self, *, ours: bool) -> int:
        return sum((number % 2 == self._next_number % 2) == ours for number in self._streams)

    def get_transport_addresses(self) -> Any:
        """Return the addresses of the connection below."""
        return self.secured_conn.get_transport_addresses()

    def get_connection_type(self) -> Any:
        """Return how the connection below reaches the peer."""
        return self.secured_conn.get_connection_type()

    def get_remote_address(self) -> Any:
        """Return host and port of the connection's other end."""
        return self.secured_conn.get_remote_address()
