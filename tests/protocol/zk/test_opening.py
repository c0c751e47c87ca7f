"""Commitments and what opens them: encodings, checks, sums."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol.errors import InvalidProof
from protocol.zk.commitment import aggregate_bytes, count_aggregate_rows, decode_commitment, reveal_bytes, row_count
from protocol.zk.group import ORDER, POINT_BYTES, encode_point, multiply
from protocol.zk.opening import (
    Opening,
    add_openings,
    blind,
    commit,
    decode_aggregate,
    decode_reveal,
    encode_opening,
    find_false_openings,
    opens,
)
from protocol.zk.parameters import MAX_VALUES, ZK_PARAMETERS, get_generators
from tests.zk_round import PARAMETERS, VALUES, filled, make_context, make_values, play

ROUND = play(5)
CHECK = filled("check")
values_32 = st.integers(-(2**31) + 1, 2**31 - 1)


def change_value(opening: Opening, index: int = 5) -> Opening:
    """Return the opening with one value off by one."""
    values = opening.values.copy()
    values[index] += 1
    return opening._replace(values=values)


def change_blinding(opening: Opening, row: int = 1) -> Opening:
    """Return the opening with one blinding off by one."""
    blindings = list(opening.blindings)
    blindings[row] = (blindings[row] + 1) % ORDER
    return opening._replace(blindings=tuple(blindings))


def swap_rows(opening: Opening) -> Opening:
    """Return the opening with its first two rows in the other order."""
    width, values = PARAMETERS.width, opening.values.copy()
    values[:width], values[width : 2 * width] = opening.values[width : 2 * width], opening.values[:width]
    first, second, *rest = opening.blindings
    return Opening(values, (second, first, *rest))


# --- COMMIT ----------------------------------------------------------------------------------------------------------


@settings(max_examples=30)
@given(values=st.lists(values_32, min_size=1, max_size=20), blinding=st.integers(0, ORDER - 1))
def test_a_commitment_is_what_the_formula_says(values: list[int], blinding: int) -> None:
    """Row by row, sum of w_j G_j and s H, for values of either sign and any size."""
    rows = row_count(PARAMETERS, len(values))
    opening = Opening(np.array(values, np.int32), (blinding,) * rows)
    padded = values + [0] * (rows * PARAMETERS.width - len(values))
    table = get_generators(PARAMETERS).points
    expected = b"".join(
        encode_point(multiply(table, [*(value % ORDER for value in padded[at : at + 7]), blinding]))
        for at in range(0, len(padded), 7)
    )
    assert commit(PARAMETERS, opening) == expected


def test_blindings_are_fresh_for_every_round_client_and_update() -> None:
    """Even with the same randomness nothing is blinded alike but the same update of the same client and round."""
    context, randomness = make_context(2), filled("randomness")
    first, second = context.keys
    variants = [
        blind(context, first, make_values(0), randomness=randomness),
        blind(context, first, make_values(1), randomness=randomness),
        blind(context, second, make_values(0), randomness=randomness),
        blind(replace(context, round=8), first, make_values(0), randomness=randomness),
        blind(context, first, make_values(0), randomness=filled("other")),
    ]
    assert len({blinding for opening in variants for blinding in opening.blindings}) == 5 * 3
    assert blind(context, first, make_values(0), randomness=randomness).blindings == variants[0].blindings


def test_equal_updates_have_unequal_commitments() -> None:
    """Nobody can tell from a commitment, not even by guessing the update."""
    context = make_context(2)
    openings = [blind(context, key, make_values(0), randomness=CHECK) for key in context.keys]
    assert commit(PARAMETERS, openings[0]) != commit(PARAMETERS, openings[1])


def test_the_least_int32_is_a_bug() -> None:
    """Values lie strictly between -2^31 and 2^31, and an update is as long as the model."""
    values = make_values(0)
    values[3] = -(2**31)
    with pytest.raises(AssertionError, match="values lie above"):
        blind(make_context(1), filled("key"), values, randomness=CHECK)
    with pytest.raises(AssertionError, match="for a model of 20"):
        blind(make_context(1), filled("key"), make_values(0, 19), randomness=CHECK)


@pytest.mark.parametrize(
    ("values", "rows"), [(1, 1), (1_023, 1), (1_024, 2), (100_000, 98), (460_800, 451), (MAX_VALUES, 513)]
)
def test_commitments_of_the_largest_updates_fit_a_transaction(values: int, rows: int) -> None:
    """Up to 2^19 values are 513 points, 24,624 bytes."""
    assert row_count(ZK_PARAMETERS, values) == rows
    assert rows * POINT_BYTES <= 24_624


@pytest.mark.parametrize("values", [0, MAX_VALUES + 1])
def test_no_values_and_too_many_are_refused(values: int) -> None:
    """And narrow rows of many values too, when their points fit no transaction."""
    with pytest.raises(InvalidProof, match="can be proven"):
        row_count(ZK_PARAMETERS, values)
    with pytest.raises(InvalidProof, match="too many for a commitment"):
        row_count(PARAMETERS, MAX_VALUES)


def test_a_commitment_of_another_length_is_refused() -> None:
    """A point too few, a point too many, and half a point."""
    commitment = ROUND.updates[0].commitment
    for data in (commitment[:-POINT_BYTES], commitment + commitment[:POINT_BYTES], commitment[:-1], b""):
        with pytest.raises(InvalidProof, match="3 points of 48 are needed"):
            decode_commitment(data, 3)


# --- REVEAL ----------------------------------------------------------------------------------------------------------


def test_what_a_client_reveals_decodes_to_it() -> None:
    """Values and blindings come back, and the length is the one known before."""
    for opening in ROUND.openings:
        data = encode_opening(opening)
        assert len(data) == reveal_bytes(PARAMETERS, VALUES) == 4 * VALUES + 3 * 32
        decoded = decode_reveal(PARAMETERS, VALUES, data)
        assert decoded.values.dtype == np.int32
        assert decoded.values.tolist() == opening.values.tolist()
        assert decoded.blindings == opening.blindings
        assert encode_opening(decoded) == data


def test_an_encoded_reveal_is_big_endian() -> None:
    """Four bytes a value, 32 a blinding, most significant first."""
    opening = Opening(np.array([-2, 258], np.int32), (3,))
    assert encode_opening(opening) == b"\xff\xff\xff\xfe" + b"\0\0\1\2" + bytes(31) + b"\3"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda data: data[:-1], "bytes"),
        (lambda data: data + b"\0", "bytes"),
        (lambda data: b"", "bytes"),
        (lambda data: data[:-32] + ORDER.to_bytes(32, "big"), "canonical"),
        (lambda data: b"\x80\0\0\0" + data[4:], "least allowed"),
    ],
    ids=["short", "long", "empty", "a blinding of r", "a value of -2^31"],
)
def test_a_malformed_reveal_is_refused(change: Callable[[bytes], bytes], reason: str) -> None:
    """Another length, a second spelling of a blinding, a value out of range."""
    with pytest.raises(InvalidProof, match=reason):
        decode_reveal(PARAMETERS, VALUES, change(encode_opening(ROUND.openings[0])))


def test_honest_openings_open() -> None:
    """All at once, and each by itself."""
    assert opens(PARAMETERS, ROUND.points, ROUND.openings, randomness=CHECK)
    assert find_false_openings(PARAMETERS, ROUND.points, ROUND.openings, randomness=CHECK) == ()
    assert find_false_openings(PARAMETERS, [], [], randomness=CHECK) == ()


@pytest.mark.parametrize("change", [change_value, change_blinding, swap_rows])
@pytest.mark.parametrize("liars", [(0,), (4,), (1, 3), (0, 1, 2, 3, 4)], ids=str)
def test_every_liar_is_found_and_nobody_else(change: Callable[[Opening], Opening], liars: tuple[int, ...]) -> None:
    """Whoever reveals something else than he committed to, in one value or one blinding, among whomever."""
    openings = [change(opening) if index in liars else opening for index, opening in enumerate(ROUND.openings)]
    assert find_false_openings(PARAMETERS, ROUND.points, openings, randomness=CHECK) == liars


def test_lies_that_cancel_are_found() -> None:
    """Two clients who lie in opposite directions: the product would open, neither commitment does."""
    first, second, *others = ROUND.openings
    up, down = first.values.copy(), second.values.copy()
    up[7] += 1
    down[7] -= 1
    openings = [first._replace(values=up), second._replace(values=down), *others]
    assert find_false_openings(PARAMETERS, ROUND.points, openings, randomness=CHECK) == (0, 1)


# --- SUM -------------------------------------------------------------------------------------------------------------


@given(st.lists(st.lists(values_32, min_size=3, max_size=3), min_size=1, max_size=4), st.data())
def test_the_sum_is_exact(updates: list[list[int]], data: st.DataObject) -> None:
    """Values are added as integers, whatever the weights are; blindings modulo r."""
    weight = st.integers(1, (2**32 - 1) // len(updates))
    weights = data.draw(st.lists(weight, min_size=len(updates), max_size=len(updates)))
    openings = [Opening(np.array(values, np.int32), (ORDER - 1 - index,)) for index, values in enumerate(updates)]
    total = add_openings(openings, weights)
    columns = zip(*updates, strict=True)
    assert total.values.tolist() == [sum(a * v for a, v in zip(weights, column, strict=True)) for column in columns]
    assert total.blindings == (sum(a * (ORDER - 1 - i) for i, a in enumerate(weights)) % ORDER,)


def test_weights_that_do_not_fit_are_a_bug() -> None:
    """The sum of all weights stays below 2^32, and none is zero."""
    for weights in ([2**31, 2**31], [0, 1], [-1, 2]):
        with pytest.raises(AssertionError):
            add_openings(ROUND.openings[:2], weights)


def test_an_aggregate_decodes_to_what_was_encoded() -> None:
    """Values of 64 bits of either sign."""
    total = add_openings(ROUND.openings, ROUND.weights)
    data = encode_opening(total)
    assert len(data) == aggregate_bytes(PARAMETERS, VALUES) == 8 * VALUES + 3 * 32
    decoded = decode_aggregate(PARAMETERS, VALUES, data)
    assert decoded.values.tolist() == total.values.tolist()
    assert decoded.blindings == total.blindings
    with pytest.raises(InvalidProof, match="needed for 20 values"):
        decode_aggregate(PARAMETERS, VALUES, data[:-8])


@pytest.mark.parametrize("values", [1, 6, 7, 8, 14, 15, 700])
def test_the_length_of_an_aggregate_tells_its_rows(values):
    """However many values the last row has."""
    assert count_aggregate_rows(PARAMETERS, aggregate_bytes(PARAMETERS, values)) == row_count(PARAMETERS, values)
