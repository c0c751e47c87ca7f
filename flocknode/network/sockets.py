"""TCP sockets as the library wants them, for one reader and one writer at a time."""

import trio
from libp2p.io.abc import ReadWriteCloser
from libp2p.io.exceptions import ConnectionClosedError

# What may wait in the kernel to be sent: about a frame. Trio's 16 KiB take a dozen turns of its loop for one.
UNSENT_BYTES = 256 * 1024


class Socket(ReadWriteCloser):  # type: ignore[misc]  # libp2p has no types that mypy may follow
    """A TCP connection without the library's locks, which cost a turn of the loop each: readers and writers above
    take turns as it is."""

    def __init__(self, stream: trio.SocketStream) -> None:
        stream.setsockopt(trio.socket.IPPROTO_TCP, trio.socket.TCP_NOTSENT_LOWAT, UNSENT_BYTES)
        self._stream = stream

    async def write(self, data: bytes) -> None:
        """Send bytes. Raises the library's `ConnectionClosedError`."""
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError(f"the connection is gone: {error}", transport="tcp") from error

    async def read(self, n: int | None = None) -> bytes:
        """Return up to `n` bytes, none at the end. Raises the library's `ConnectionClosedError`."""
        try:
            return bytes(await self._stream.receive_some(n))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise ConnectionClosedError(f"the connection is gone: {error}", transport="tcp") from error

    async def close(self) -> None:
        """Hang up."""
        await self._stream.aclose()

    def get_remote_address(self) -> tuple[str, int] | None:
        """Return host and port of the other end, or None when it is gone."""
        try:
            host, port = self._stream.socket.getpeername()[:2]
        except OSError:
            return None
        return str(host), int(port)
