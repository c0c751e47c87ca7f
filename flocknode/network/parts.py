"""Bytes that come in parts and are taken in others, copied once."""

from collections import deque


class Parts:
    """A queue of bytes; its length is how many wait."""

    def __init__(self) -> None:
        self._parts: deque[memoryview] = deque()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, data: bytes) -> None:
        """Add bytes at the end."""
        self._parts.append(memoryview(data))
        self._length += len(data)

    def take(self, count: int) -> bytes:
        """Remove and return the first bytes, of which there must be so many."""
        assert count <= self._length, f"{count} of {self._length} bytes"
        self._length -= count
        taken = []
        while count > 0:
            part = self._parts.popleft()
            if len(part) > count:
                self._parts.appendleft(part[count:])
                part = part[:count]
            taken.append(part)
            count -= len(part)
        return b"".join(taken)

    def clear(self) -> None:
        """Forget what waits."""
        self._parts.clear()
        self._length = 0
