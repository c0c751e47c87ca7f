"""The one file that changes what libp2p does, and why. Everything else uses it as it is.

* A write to a connection must not be cancelled half way: Noise counts each encrypted message, so that a message which
  was counted and not sent leaves both sides deaf. And a peer that stopped reading must not hold a writer for ever.
* An exception that leaves a muxer's task ends the whole swarm, not one connection.
* The muxer buffers whatever a peer sends, beyond the window it was granted; and a window that has run out is looked at
  a hundred times a second, so that a stream which carries much wants a wide one from the start.
* The library logs through its own loggers and through the root logger, at levels that are not ours: a peer that hangs
  up is an everyday matter here.
"""

import logging
import os
from pathlib import Path
from typing import Any

import libp2p
import structlog
import trio
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.security.noise.io import MAX_PLAINTEXT_LENGTH
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux import yamux
from libp2p.stream_muxer.yamux.yamux import PROTOCOL_ID, Yamux

from flocknode.network.channel import Channel

# A connection whose peer takes nothing for so long is dead; longer than any honest pause of a loaded machine.
WRITE_STALL_S = 5.0
# What all streams of one connection may hold unread: a few full windows of 16 MiB.
MAX_UNREAD_BYTES = 64 * 1024 * 1024
# How long the rest of a frame may take after its header.
BODY_S = 60.0
# A frame that fills four Noise messages. The library's 64 KiB fill one and a bit, and wake a task on either side for
# each; a longer one would keep a vote waiting behind it on a slow line.
FRAME_BYTES = 4 * MAX_PLAINTEXT_LENGTH

log = structlog.get_logger("flocknode.network")

# Credit is returned when half a window was read, not with a frame of its own for every read (read at call time).
os.environ.setdefault("PY_YAMUX_RELEASE_ON_READ", "0")
yamux.MAX_MESSAGE_SIZE = FRAME_BYTES


class Muxer(Yamux):  # type: ignore[misc]  # libp2p has no types that mypy may follow
    """Yamux whose writes are whole or the connection's end, and whose failure is its own."""

    async def start(self) -> None:
        """Run until the connection ends."""
        try:
            await super().start()
        except Exception as error:  # noqa: BLE001  # frames of strangers decide what is raised here
            log.debug("connection failed", peer=str(self.peer_id), error=repr(error))
            await self._cleanup_on_error()

    async def _write_frame(self, data: bytes) -> None:
        async with self._write_lock:
            with trio.CancelScope(shield=True, deadline=trio.current_time() + WRITE_STALL_S) as scope:
                await self.secured_conn.write(data)
            if scope.cancelled_caught:
                await self.secured_conn.close()
                raise ConnectionClosedError(f"the peer read nothing for {WRITE_STALL_S} s", transport="tcp")

    async def _read_data_body(self, length: int) -> bytes:
        if length + sum(map(len, self.stream_buffers.values())) > MAX_UNREAD_BYTES:
            await self.secured_conn.close()
            raise ConnectionClosedError("the peer sends more than it may", transport="tcp")
        with trio.fail_after(BODY_S):
            body: bytes = await self.secured_conn.read(length)
        return body


class Muxers(MuxerMultistream):  # type: ignore[misc]
    """Agrees on yamux and takes our class for it; the library's own choice ignores the class it was given."""

    def __init__(self) -> None:
        super().__init__({PROTOCOL_ID: Muxer})

    async def new_conn(self, conn: Any, peer_id: Any) -> Muxer:
        """Return the muxer for a secured connection. Raises the library's `MultiselectError`."""
        await self.select_transport(conn)
        return Muxer(Channel(conn), peer_id, is_initiator=conn.is_initiator)


class _ToOurLog(logging.Handler):
    """Passes the library's records on at debug level."""

    def emit(self, record: logging.LogRecord) -> None:
        log.debug("libp2p", message=record.getMessage(), level_there=record.levelname)


class _NotOfLibrary(logging.Filter):
    """Refuses records that the library writes to the root logger."""

    _folder = str(Path(libp2p.__file__).parent)

    def filter(self, record: logging.LogRecord) -> bool:
        return not record.pathname.startswith(self._folder)


def quiet_library() -> None:
    """Keep the library off stderr. Safe to call twice."""
    logger = logging.getLogger("libp2p")
    logger.handlers[:] = [_ToOurLog(logging.WARNING)]
    logger.propagate = False
    root = logging.getLogger()
    if not any(isinstance(existing, _NotOfLibrary) for existing in root.filters):
        root.addFilter(_NotOfLibrary())


async def widen_window(stream: Any, window_bytes: int) -> None:
    """Let the peer send so many bytes on a muxed stream before they are read, instead of the first 256 KiB."""
    async with stream.window_lock:
        more = window_bytes - stream.target_recv_window
        stream.target_recv_window += more
        stream.recv_window += more
    await stream.send_window_update(more)
