"""A queue of bytes: whatever parts they came in, they leave in order and in the parts that were asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flocknode.network.parts import Parts


@given(st.lists(st.binary(max_size=9)), st.lists(st.integers(0, 12)))
def test_bytes_leave_in_order_whatever_parts_they_came_in(came: list[bytes], asked: list[int]) -> None:
    """Nothing is lost, doubled or moved; the length says what is left."""
    parts, rest = Parts(), b"".join(came)
    for data in came:
        parts.append(data)
    for count in asked:
        count = min(count, len(rest))
        assert parts.take(count) == rest[:count]
        rest = rest[count:]
        assert len(parts) == len(rest)
    assert parts.take(len(parts)) == rest


def test_more_than_there_is_cannot_be_taken() -> None:
    """Asking for it is a bug, and takes nothing."""
    parts = Parts()
    parts.append(b"abc")
    with pytest.raises(AssertionError):
        parts.take(4)
    assert parts.take(3) == b"abc"


def test_what_is_forgotten_is_gone() -> None:
    """After clearing, bytes start anew."""
    parts = Parts()
    parts.append(b"old")
    parts.clear()
    parts.append(b"new")
    assert parts.take(3) == b"new"
    assert len(parts) == 0
