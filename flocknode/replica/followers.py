"""How the rest of the node follows the log: by waiting for a height, or by reading every commit in order."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import trio

from protocol.blocks import Block
from protocol.ledger import Applied
from protocol.tendermint.messages import Commit

MAX_FOLLOWERS = 128
# A reader that is so many blocks behind is cut off.
MAX_LAG_BLOCKS = 1024


@dataclass(frozen=True)
class Committed:
    """A block that was just appended, what made it final, and what it did."""

    block: Block
    commit: Commit
    applied: Applied


class Followers:
    """All who follow. Telling them never waits."""

    def __init__(self, height: int) -> None:
        self.height = height
        self._changed = trio.Event()
        self._channels: list[trio.MemorySendChannel[Committed]] = []

    async def wait_for_height(self, height: int) -> None:
        """Return once the log has reached a height."""
        while self.height < height:
            await self._changed.wait()

    @contextmanager
    def follow(self) -> Iterator[trio.MemoryReceiveChannel[Committed]]:
        """Give every commit from now on; the channel ends when its reader lags `MAX_LAG_BLOCKS` behind."""
        assert len(self._channels) < MAX_FOLLOWERS, "too many followers"
        sender, receiver = trio.open_memory_channel[Committed](MAX_LAG_BLOCKS)
        self._channels.append(sender)
        try:
            with receiver:
                yield receiver
        finally:
            self._drop(sender)

    def tell(self, committed: Committed) -> None:
        """Pass a commit on."""
        self.height = committed.block.header.height
        self._changed.set()
        self._changed = trio.Event()
        for channel in list(self._channels):
            try:
                channel.send_nowait(committed)
            except (trio.WouldBlock, trio.BrokenResourceError):
                self._drop(channel)

    def _drop(self, channel: trio.MemorySendChannel[Committed]) -> None:
        channel.close()
        if channel in self._channels:
            self._channels.remove(channel)
