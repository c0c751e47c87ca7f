"""Bytes that come in parts and are taken in others, copied once."""

from collections import deque

# Many small parts are made one: each costs some 200 bytes beside its own.
MAX_PARTS = 1024


class Parts:
    """A queue of bytes; its length is how many wait."""

    def __init__(self) -> None:
        self._parts: deque[memoryview] = deque()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, data: bytes | memoryview) -> None:
        """Add bytes at the end."""
        if len(self._parts) >= MAX_PARTS:
            self._parts = deque([memoryview(b"".join(self._parts))])
        self._parts.append(memoryview(data))
        self._length += len(data)

    def extend(self, other: "Parts") -> None:
        """Add at the end what waits in another queue."""
        self._parts.extend(other._parts)
        self._length += len(other)

    def take(self, count: int) -> bytes:
        """Remove and return the first bytes, of which there must be so many."""
        assert count <= self._length, f"{count} of {self._length} bytes"
        taken = []
        while count > 0:
            taken.append(self.take_part(count))
            count -= len(taken[-1])
        return b"".join(taken)

    def take_part(self, most: int) -> memoryview:
        """Remove and return the first bytes, up to so many and at least one, as they came; there must be some."""
        part = self._parts.popleft()
        if len(part) > most:
            self._parts.appendleft(part[most:])
            part = part[:most]
        self._length -= len(part)
        return part

    def clear(self) -> None:
        """Forget what waits."""
        self._parts.clear()
        self._length = 0
