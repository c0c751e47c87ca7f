"""Frames on a libp2p stream: whole messages in, whole messages out. Knows nothing of what they mean."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

import structlog
import trio

from flocknode.network.errors import Misbehaviour, StreamLost
from flocknode.network.parts import Parts
from protocol.codec import decode, encode
from protocol.errors import Malformed

T = TypeVar("T")

LENGTH_BYTES = 4
# How long closing or resetting may take when the rest of the node is being stopped.
CLOSE_S = 0.5
# Points for bytes that are no message at all: a peer that sends them is refused at once.
MALFORMED_POINTS = 100

log = structlog.get_logger("flocknode.network")


def frame(record: object) -> bytes:
    """Return a record as it goes over a stream: length, then canonical bytes."""
    return frame_of(encode(record))


def frame_of(body: bytes) -> bytes:
    """Return encoded bytes behind their length."""
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


class Stream:
    """A libp2p stream that speaks frames. Everything the library raises on it becomes `StreamLost`."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self._unread = Parts()
        self._is_open = True

    async def write(self, data: bytes) -> None:
        """Send bytes. Raises `StreamLost`; a peer that stopped reading is given up after seconds."""
        try:
            await self._raw.muxed_stream.write(data)
        except Exception as error:
            raise StreamLost(f"writing failed: {error!r}") from error

    async def widen(self, window_bytes: int) -> None:
        """Let the peer send so many bytes ahead of what is read here. Raises `StreamLost`."""
        try:
            await self._raw.muxed_stream.widen(window_bytes)
        except Exception as error:
            raise StreamLost(f"writing failed: {error!r}") from error

    async def read_frame(self, max_bytes: int) -> bytes:
        """Return the next frame's body.

        Raises `StreamLost` at the end of the stream and `Misbehaviour` for a frame longer than `max_bytes`.
        """
        length = int.from_bytes(await self.read_exactly(LENGTH_BYTES), "big")
        if length > max_bytes:
            raise Misbehaviour(f"a frame of {length} bytes, at most {max_bytes} are allowed", points=MALFORMED_POINTS)
        return await self.read_exactly(length)

    async def read_record(self, kind: type[T], max_bytes: int) -> T:
        """Return the next frame as a record. Raises as `read_frame`, and `Misbehaviour` for anything else."""
        record: T = parse(await self.read_frame(max_bytes), kind, max_bytes)
        return record

    async def drain(self) -> None:
        """Read and forget until the other side ends the stream, which raises `StreamLost`."""
        while True:
            await self._read(1)
            self._unread.clear()

    async def close(self) -> None:
        """Say that nothing more follows; what was written still arrives, unless the stream is lost already."""
        if self._is_open:
            self._is_open = False
            try:
                await self._raw.close()
            except Exception as error:  # noqa: BLE001  # the library raises much here, and there is nothing left to do
                log.debug("stream not closed", error=repr(error))

    async def reset(self) -> None:
        """Give the stream up in both directions; works while the caller is being cancelled, and always ends."""
        self._is_open = False
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_S):
            await self._raw.reset()

    @asynccontextmanager
    async def closing(self) -> AsyncIterator["Stream"]:
        """Close the stream at the end of the block, or reset it when the block fails."""
        try:
            yield self
            await self.close()
        except BaseException:
            await self.reset()
            raise

    async def read_exactly(self, count: int) -> bytes:
        """Return the next bytes. Raises `StreamLost` when the stream ends before."""
        while len(self._unread) < count:
            await self._read(count - len(self._unread))
        return self._unread.take(count)

    async def _read(self, least: int) -> None:
        try:
            self._unread.extend(await self._raw.muxed_stream.receive(least))
        except Exception as error:
            raise StreamLost(f"reading failed: {error!r}") from error


def parse(body: bytes, kind: Any, max_bytes: int) -> Any:
    """Return a frame's body as a record. Raises `Misbehaviour` for anything but the canonical bytes of one."""
    try:
        return decode(body, kind, max_bytes=max_bytes)
    except Malformed as error:
        raise Misbehaviour(f"malformed message: {error}", points=MALFORMED_POINTS) from error
