"""A queue of bytes: whatever parts they came in, they leave in order and in the parts that were asked for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flocknode.network.parts import MAX_PARTS, Parts


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


def test_parts_move_from_one_queue_to_another() -> None:
    """They stand behind those that wait there; a part is taken as it came, or as much of it as is asked for."""
    parts, more = Parts(), Parts()
    parts.append(b"one")
    more.append(b"two")
    parts.extend(more)
    assert len(parts) == 6
    assert [bytes(parts.take_part(most)) for most in (2, 5, 5)] == [b"on", b"e", b"two"]


def test_who_sends_bytes_one_by_one_takes_up_no_more_room_than_others() -> None:
    """A part costs more than a byte; a window full of them would be fifty megabytes."""
    parts = Parts()
    for number in range(5 * MAX_PARTS):
        parts.append(bytes([number % 256]))
    assert len(parts._parts) <= MAX_PARTS
    assert parts.take(len(parts)) == bytes(range(256)) * (5 * MAX_PARTS // 256)


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
