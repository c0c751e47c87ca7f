"""Past events, for subscribers that resume: where those of a topic are kept, and how far back they reach."""

from collections import deque
from collections.abc import Generator, Sequence
from typing import Protocol

from flocknode.errors import HistoryGone
from flocknode.rpc.records import AllianceEvent, BlockEvent, Event, PeerEvent, RoundEvent, TaskEvent, WorkEvent

# Events of one topic that are kept in memory.
MAX_REMEMBERED = 4096
PAGE_EVENTS = 200

# Events with their positions, in order.
Page = Sequence[tuple[int, Event]]


class History(Protocol):
    """The past of one topic: each event has a position, and they grow."""

    def next_position(self) -> int:
        """Return the lowest position that an event which comes from now on can have."""

    def find(self, start: int) -> int:
        """Return the position of the first event at or after a height or line. Raises `HistoryGone`."""

    def pages(self, position: int) -> Generator[Page, None, None]:
        """Yield the events from a position on that there are now, page by page; may be iterated in a thread.

        Raises `HistoryGone` when the first of them is not there any more.
        """

    def position_of(self, event: Event) -> int | None:
        """Return the position of an event that comes live, or None if none comes twice."""


class MemoryHistory:
    """The newest events of a topic. `first_height` is the height of the first event that it will hold."""

    def __init__(self, first_height: int) -> None:
        self._first_height = first_height
        self._events: deque[Event] = deque()
        self._first_position = 0

    def append(self, event: Event) -> None:
        """Remember an event, and forget the oldest one if there are too many."""
        self._events.append(event)
        if len(self._events) > MAX_REMEMBERED:
            # Others of its height may still be there, but not all.
            self._first_height = height_of(self._events.popleft()) + 1
            self._first_position += 1

    def next_position(self) -> int:
        """Return the position that the next event will have."""
        return self._first_position + len(self._events)

    def find(self, start: int) -> int:
        """Return the position of the first event at or after a height. Raises `HistoryGone`."""
        if start < self._first_height:
            raise HistoryGone(
                f"events of this topic are remembered from height {self._first_height} on",
                have=self._first_height,
                need=start,
            )
        before = sum(1 for event in self._events if height_of(event) < start)
        return self._first_position + before

    def pages(self, position: int) -> Generator[Page, None, None]:
        """Yield the events from a position on that there are now. Raises `HistoryGone`."""
        if position < self._first_position:
            raise HistoryGone("the reader was too slow", have=self._first_height)
        events = list(enumerate(self._events, self._first_position))[position - self._first_position :]
        return (events[start : start + PAGE_EVENTS] for start in range(0, len(events), PAGE_EVENTS))

    def position_of(self, event: Event) -> int | None:
        """Return None: an event is remembered and sent in one step."""


def height_of(event: Event) -> int:
    """Return the height that an event belongs to."""
    match event:
        case BlockEvent() | RoundEvent() | TaskEvent() | AllianceEvent():
            return event.height
        case PeerEvent() | WorkEvent() | _:
            raise AssertionError(f"{type(event).__name__} belongs to no height")
