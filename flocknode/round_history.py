"""The past of the topic `rounds`: the newest steps from memory, and of heights before those the round that decided.

The steps of a height are nowhere written down for good; that a height was decided, and in which round, is on the log.
"""

from collections.abc import Generator, Iterator

from flocknode.chain import Chain
from flocknode.rpc.history import PAGE_EVENTS, MemoryHistory, Page, height_of
from flocknode.rpc.records import Event, RoundEvent

FIRST_HEIGHT = 1
# Positions of steps in memory lie above all heights, which are the positions of what the log says.
MEMORY_POSITIONS = 1 << 63


class RoundHistory(MemoryHistory):
    """Continues the memory of steps backwards with what the log says."""

    def __init__(self, chain: Chain) -> None:
        super().__init__(chain.head.height + 1)
        self._chain = chain
        self._first_position = MEMORY_POSITIONS

    def next_position(self) -> int:
        """Return the position of the next step; while there is none in memory, its height."""
        return super().next_position() if self._events else self._first_height

    def find(self, start: int) -> int:
        """Return the position of the first event at or after a height: the past is whole."""
        return super().find(start) if self._events and start >= self._first_height else max(start, FIRST_HEIGHT)

    def pages(self, position: int) -> Generator[Page, None, None]:
        """Yield the events from a position on that there are now. Raises `HistoryGone`."""
        if position >= MEMORY_POSITIONS:
            return super().pages(position)
        # Of a height that memory holds in part the log tells all that matters, once it is decided.
        end = min(self._first_height, self._chain.head.height + 1)
        forgotten = sum(1 for event in self._events if height_of(event) < end)
        return self._join(position, end, super().pages(self._first_position + forgotten))

    def _join(self, first: int, end: int, remembered: Generator[Page, None, None]) -> Generator[Page, None, None]:
        for start in range(first, end, PAGE_EVENTS):
            yield list(self._load(start, min(start + PAGE_EVENTS, end)))
        yield from remembered

    def _load(self, first: int, end: int) -> Iterator[tuple[int, Event]]:
        for height in range(first, end):
            commit = self._chain.load_commit(height)
            assert commit is not None, "a height before those in memory is on the log"
            yield height, RoundEvent(height=height, round=commit.round, step="decided", cause="")
