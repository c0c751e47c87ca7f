"""This node's own transactions on their way to its peers: the first leaves at once, what comes right after it together.

A message costs every node that it passes about as much as the check of a signature, whatever is in it.
"""

from collections.abc import Callable

import trio

# Messages of one node are so far apart, unless one is full.
GATHER_S = 0.02
# A message with so much in it leaves at once: peers check what is in it in one go.
FULL_BYTES = 16 * 1024


class Outgoing:
    """Gathers transactions. `publish` broadcasts some of them as one message."""

    def __init__(self, publish: Callable[[tuple[bytes, ...]], None]) -> None:
        self._publish = publish
        self._waiting: list[bytes] = []
        self._size_bytes = 0
        self._filled = trio.Event()

    def put(self, transaction: bytes) -> None:
        """Have a transaction sent; never waits."""
        self._waiting.append(transaction)
        self._size_bytes += len(transaction)
        if self._size_bytes >= FULL_BYTES:
            self._flush()
        else:
            self._filled.set()

    async def run(self) -> None:
        """Send what was put, until cancelled."""
        while True:
            await self._filled.wait()
            self._flush()
            await trio.sleep(GATHER_S)

    def _flush(self) -> None:
        waiting, self._waiting, self._size_bytes = tuple(self._waiting), [], 0
        self._filled = trio.Event()
        if waiting:
            self._publish(waiting)
