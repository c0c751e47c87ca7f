"""Lines out of a byte stream, none longer than the limit."""

import trio

from flocknode.rpc.jsonrpc import MAX_LINE_BYTES

CHUNK_BYTES = 64 * 1024


class LineTooLong(Exception):
    """The other end sent more than the limit without a newline."""


class LineReader:
    """Reads lines from a stream; the newline is cut off, empty lines are skipped."""

    def __init__(self, stream: trio.abc.ReceiveStream) -> None:
        self._stream = stream
        self._buffer = bytearray()

    async def next(self) -> bytes | None:
        """Return the next line, or None at the end of the stream. Raises `LineTooLong`."""
        while True:
            line = await self._next_or_empty()
            if line != b"":
                return line

    async def _next_or_empty(self) -> bytes | None:
        searched = 0
        while (end := self._buffer.find(b"\n", searched)) < 0:
            searched = len(self._buffer)
            if searched > MAX_LINE_BYTES:
                raise LineTooLong
            chunk = await self._stream.receive_some(CHUNK_BYTES)
            if not chunk:
                return None
            self._buffer += chunk
        if end > MAX_LINE_BYTES:
            raise LineTooLong
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        return line.strip()
