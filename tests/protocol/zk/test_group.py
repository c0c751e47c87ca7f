"""The curve: known answers, and everything that the library would let through."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from py_arkworks_bls12381 import G1Point

from protocol.errors import InvalidProof
from protocol.zk import group

KNOWN: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "bls12381.json").read_text())
POINTS = [group.hash_to_point(bytes([index])) for index in range(4)]
CANONICAL_INFINITY = b"\xc0" + bytes(47)
# (0, 2): of order 3 on the curve, so in the group's complement.
ORDER_THREE = b"\x80" + bytes(47)
FIELD = 0x1A0111EA397FE69A4B1BA7B6434BACD764774B84F38512BF6730D2A0F6B0F6241EABFFFEB153FFFFB9FEFFFFFFFFAAAB

scalars = st.integers(0, group.ORDER - 1)


@pytest.mark.parametrize("case", KNOWN["hash_to_curve"], ids=lambda case: case["message"][:8] or "empty")
def test_hashing_to_the_curve_is_rfc_9380(case: dict[str, str]) -> None:
    """Appendix J.9.1 of the RFC: messages hash to these coordinates under its own tag."""
    point = G1Point.hash_to_curve(case["message"].encode(), KNOWN["domain"].encode())
    assert point.to_xy_bytes_be().hex() == case["x"] + case["y"]


def test_our_tag_gives_other_points() -> None:
    """The domain separation tag is our own and names the suite."""
    assert group.DOMAIN.endswith(KNOWN["suite"])
    assert group.hash_to_point(b"abc") != G1Point.hash_to_curve(b"abc", KNOWN["domain"].encode())


def test_the_order_is_that_of_the_group() -> None:
    """r times any point is the identity, and (r - 1) times it its negative."""
    for point in POINTS:
        assert group.scale(point, group.ORDER - 1) + point == group.IDENTITY


def test_points_decode_to_what_was_encoded() -> None:
    """Each point, and the identity, has one encoding, which decodes to it."""
    data = group.encode_points([*POINTS, group.IDENTITY])
    assert len(data) == 5 * group.POINT_BYTES
    assert list(group.decode_points(data)) == [*POINTS, group.IDENTITY]
    assert data.endswith(CANONICAL_INFINITY)


@pytest.mark.parametrize(
    "odd",
    [
        b"\xe0" + bytes(47),
        b"\xc0" + bytes(46) + b"\x01",
        b"\xc0" + b"\xff" * 47,
        b"\xff" * 48,
        b"\x40" + bytes(47),
    ],
    ids=["sign set", "last byte", "all behind the flag", "all ones", "uncompressed flag"],
)
def test_odd_encodings_of_infinity_are_refused(odd: bytes) -> None:
    """The library takes most of them for the identity; here there is one spelling."""
    with pytest.raises(InvalidProof):
        group.decode_point(odd)


@pytest.mark.parametrize(
    "data",
    [
        ORDER_THREE,
        b"\x80" + bytes(46) + b"\x04",
        b"\x80" + bytes(46) + b"\x01",
        bytes([0x80 | FIELD >> 376]) + (FIELD & (1 << 376) - 1).to_bytes(47, "big"),
        bytes(48),
        group.encode_point(POINTS[0])[:47],
        group.encode_point(POINTS[0]) + b"\0",
        b"",
    ],
    ids=["order 3", "outside the subgroup", "not on the curve", "x not reduced", "no flags", "short", "long", "empty"],
)
def test_what_is_no_point_of_the_group_is_refused(data: bytes) -> None:
    """On the curve is not enough: a point must have the prime order."""
    with pytest.raises(InvalidProof):
        group.decode_point(data)


def test_a_point_among_many_is_named() -> None:
    """Of several points the one that is none is named by its index."""
    with pytest.raises(InvalidProof, match="point 2") as caught:
        group.decode_points(group.encode_points(POINTS[:2]) + ORDER_THREE + group.encode_point(POINTS[2]))
    assert caught.value.data == {"point": 2}


def test_one_small_combination_would_not_check_the_subgroup() -> None:
    """Why every point is checked by itself: one of three multiples hides a point of order 3."""
    outside = G1Point.from_compressed_bytes_unchecked(ORDER_THREE) + POINTS[0]
    assert not outside.is_in_subgroup()
    hidden = [factor for factor in range(1, 10) if group.scale(outside, factor).is_in_subgroup()]
    assert hidden == [3, 6, 9]


@given(left=st.lists(scalars, min_size=4, max_size=4), right=st.lists(scalars, min_size=4, max_size=4))
def test_multiplication_is_linear(left: list[int], right: list[int]) -> None:
    """Sums of scalars give sums of points, whatever their size."""
    both = [(a + b) % group.ORDER for a, b in zip(left, right, strict=True)]
    assert group.multiply(POINTS, both) == group.multiply(POINTS, left) + group.multiply(POINTS, right)


def test_multiplication_is_what_repeated_addition_gives() -> None:
    """Small scalars, zero among them, and no points at all."""
    expected = POINTS[1] + POINTS[2] + POINTS[2] + POINTS[3] + POINTS[3] + POINTS[3]
    assert group.multiply(POINTS, [0, 1, 2, 3]) == expected
    assert group.multiply([], []) == group.IDENTITY


@pytest.mark.parametrize("count", [0, 3, 5])
def test_unequal_lengths_are_a_bug(count: int) -> None:
    """The library would cut the longer list in silence."""
    with pytest.raises(AssertionError, match="scalars for 4 points"):
        group.multiply(POINTS, [1] * count)


@pytest.mark.parametrize("value", [-1, group.ORDER, group.ORDER + 5, 2**256])
def test_scalars_out_of_range_are_a_bug(value: int) -> None:
    """The library would reduce them in silence."""
    with pytest.raises(AssertionError):
        group.multiply(POINTS[:1], [value])


@given(scalars)
def test_scalars_decode_to_what_was_encoded(value: int) -> None:
    """Every number below r, in 32 bytes."""
    assert group.decode_scalar(group.encode_scalar(value)) == value


@pytest.mark.parametrize("data", [group.ORDER.to_bytes(32, "big"), b"\xff" * 32, bytes(31), bytes(33), b""])
def test_scalars_that_are_not_canonical_are_refused(data: bytes) -> None:
    """From r on, and every other length."""
    with pytest.raises(InvalidProof):
        group.decode_scalar(data)
