"""How far the log has come, for all who wait for it. Whoever follows reads the log itself, so that a slow one misses
nothing and keeps nobody else's memory busy."""

import trio


class Progress:
    """The height of the log. Advancing never waits."""

    def __init__(self, height: int) -> None:
        self.height = height
        self._changed = trio.Event()

    async def wait_for_height(self, height: int) -> None:
        """Return once the log has reached a height."""
        while self.height < height:
            await self._changed.wait()

    def advance(self, height: int) -> None:
        """Learn that the log has reached a height."""
        self.height = height
        self._changed.set()
        self._changed = trio.Event()
