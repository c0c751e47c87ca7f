"""The proof of rows and its folding: complete, bound to all that was said, useless to who cannot open."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import InvalidProof
from protocol.zk import group
from protocol.zk.expansion import expand_scalars
from protocol.zk.folding import count_folds, folded_bytes, prove_vector, verify_vector
from protocol.zk.opening import Opening, commit
from protocol.zk.parameters import get_generators, make_parameters
from protocol.zk.proving import prove_rows
from protocol.zk.rows import rows_proof_bytes, verify_rows
from protocol.zk.transcript import Transcript
from tests.zk_round import filled

PARAMETERS = {width: make_parameters(width=width) for width in (3, 7, 15, 31)}
TABLE = get_generators(PARAMETERS[7])
ANSWER = [index * group.ORDER // 11 for index in range(8)]


def make_opening(values: list[int], width: int) -> Opening:
    """Return an opening of these values with blindings that depend on them."""
    count = -(-len(values) // width)
    return Opening(np.array(values, np.int32), tuple(expand_scalars("test", repr(values).encode(), count=count)))


def flip(data: bytes, bit: int) -> bytes:
    """Return the bytes with one bit changed."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def prove(openings: list[Opening], width: int = 7, *, said: bytes = b"said", randomness: str = "r") -> bytes:
    """Return a proof of openings over a transcript that has heard one thing."""
    transcript = Transcript("test")
    transcript.absorb("said", said)
    return prove_rows(transcript, get_generators(PARAMETERS[width]), openings, randomness=filled(randomness))


def verify(rows: list[group.Point], proof: bytes, width: int = 7, *, said: bytes = b"said") -> None:
    """Verify a proof about rows over a transcript that has heard one thing."""
    transcript = Transcript("test")
    transcript.absorb("said", said)
    verify_rows(transcript, get_generators(PARAMETERS[width]), rows, proof)


def rows_of(openings: list[Opening], width: int = 7) -> list[group.Point]:
    """Return the points of all openings."""
    return [point for opening in openings for point in group.decode_points(commit(PARAMETERS[width], opening))]


OPENINGS = [make_opening(list(range(20)), 7), make_opening([-5, 2**31 - 1, 0], 7)]
ROWS = rows_of(OPENINGS)
PROOF = prove(OPENINGS)


@settings(max_examples=30, deadline=None)
@given(
    width=st.sampled_from(sorted(PARAMETERS)),
    updates=st.lists(st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=1, max_size=40), min_size=1, max_size=3),
)
def test_what_is_known_can_be_proven(width: int, updates: list[list[int]]) -> None:
    """Any number of clients, rows and values, padding and zeros included, at every width; and its length is known."""
    openings = [make_opening(values, width) for values in updates]
    proof = prove(openings, width)
    assert len(proof) == rows_proof_bytes(width)
    verify(rows_of(openings, width), proof, width)


def test_lengths_depend_on_the_width_alone() -> None:
    """944 bytes at the chain's width: eight folds of two points, a mask, four scalars."""
    assert [count_folds(length) for length in (4, 8, 16, 1_024)] == [0, 1, 2, 8]
    assert rows_proof_bytes(1_023) == 48 + 8 * 96 + 4 * 32 == 944
    assert len(prove(OPENINGS[:1])) == len(PROOF)


@pytest.mark.parametrize("row", range(4))
def test_who_cannot_open_one_row_cannot_prove(row: int) -> None:
    """Of four rows all but one are known: no choice of randomness helps."""
    opening, other = OPENINGS
    values, small = opening.values.copy(), other.values.copy()
    if row < 3:
        values[7 * row] += 1
    else:
        small[0] += 1
    false = [opening._replace(values=values), other._replace(values=small)]
    for attempt in range(5):
        with pytest.raises(InvalidProof, match="does not belong"):
            verify(ROWS, prove(false, randomness=f"attempt {attempt}"))


def test_an_unknown_blinding_is_as_bad_as_an_unknown_value() -> None:
    """The right update with the wrong s does not prove."""
    false = [OPENINGS[0]._replace(blindings=(1, *OPENINGS[0].blindings[1:])), OPENINGS[1]]
    with pytest.raises(InvalidProof):
        verify(ROWS, prove(false))


def test_a_proof_is_bound_to_what_was_said_and_to_the_rows() -> None:
    """Another context, rows in another order, a row less, a row more, a row replaced."""
    verify(ROWS, PROOF)
    with pytest.raises(InvalidProof):
        verify(ROWS, PROOF, said=b"sa1d")
    for rows in (ROWS[::-1], ROWS[:-1], [*ROWS, ROWS[0]], [*ROWS[:-1], ROWS[0]]):
        with pytest.raises(InvalidProof):
            verify(rows, PROOF)


def test_no_bit_of_a_proof_can_be_flipped() -> None:
    """Every bit of mask, crossed points and scalars counts."""
    for bit in range(8 * len(PROOF)):
        with pytest.raises(InvalidProof):
            verify(ROWS, flip(PROOF, bit))


@given(st.one_of(st.binary(max_size=300), st.binary(min_size=len(PROOF), max_size=len(PROOF))))
def test_garbage_is_refused_and_nothing_else(proof: bytes) -> None:
    """Whatever the bytes are, the answer is `InvalidProof`."""
    with pytest.raises(InvalidProof):
        verify(ROWS, proof)


def test_a_scalar_has_one_spelling() -> None:
    """The order added to a scalar of the answer verifies nowhere."""
    for start in range(len(PROOF) - 128, len(PROOF), 32):
        scalar = int.from_bytes(PROOF[start : start + 32], "big") + group.ORDER
        with pytest.raises(InvalidProof, match="canonical"):
            verify(ROWS, PROOF[:start] + scalar.to_bytes(32, "big") + PROOF[start + 32 :])


def test_masks_never_repeat() -> None:
    """With the same randomness another statement or another blinding means another mask, or z - z' would tell rows."""
    other = OPENINGS[1]._replace(blindings=(7,))
    proofs = [PROOF, prove(OPENINGS, said=b"more"), prove([OPENINGS[0], other]), prove(OPENINGS, randomness="s")]
    assert len({proof[:48] for proof in proofs}) == len(proofs)
    assert prove(OPENINGS) == PROOF


def test_the_mask_hides_the_rows() -> None:
    """Zeros and extremes are proven by answers that look alike: no scalar of one is small or zero."""
    for openings in ([make_opening([0] * 7, 7)], [make_opening([2**31 - 1] * 7, 7)]):
        answer = prove(openings)[-128:]
        assert all(int.from_bytes(answer[at : at + 32], "big") > 2**128 for at in range(0, 128, 32))


@pytest.mark.parametrize("length", [4, 8, 16])
def test_a_vector_is_proven_by_halves(length: int) -> None:
    """The folding alone, over as many bases as there are: one wrong element, or another target, is refused."""
    bases = get_generators(PARAMETERS[15]).points[:length]
    vector = (ANSWER + ANSWER)[:length]
    proof = prove_vector(Transcript("test"), bases, vector)
    assert len(proof) == folded_bytes(length)
    verify_vector(Transcript("test"), bases, group.multiply(bases, vector), proof)
    for changed in ([(vector[0] + 1) % group.ORDER, *vector[1:]], [*vector[:-1], (vector[-1] + 1) % group.ORDER]):
        with pytest.raises(InvalidProof):
            verify_vector(Transcript("test"), bases, group.multiply(bases, changed), proof)


def test_the_challenge_of_a_fold_comes_after_its_points() -> None:
    """Who knew x before, could choose L so that any vector seems to be behind any target."""
    bases, target = TABLE.points, group.hash_to_point(b"unknown")
    (factor,) = Transcript("test").challenges("fold", 1)
    folded = [group.scale(low, factor) + high for low, high in zip(bases[:4], bases[4:], strict=True)]
    right, vector = group.hash_to_point(b"anything"), [1, 2, 3, 4]
    left = group.multiply(folded, vector) - group.multiply([target, right], [factor, factor * factor % group.ORDER])
    forged = group.encode_points((left, right)) + group.encode_scalars(vector)
    with pytest.raises(InvalidProof, match="does not belong"):
        verify_vector(Transcript("test"), bases, target, forged)


def test_a_point_outside_the_subgroup_is_refused_in_a_proof() -> None:
    """As mask and as crossed point; both are read by the one strict decoder."""
    order_three = b"\x80" + bytes(47)
    for start in (0, 48, 96):
        with pytest.raises(InvalidProof, match="no point of the group"):
            verify(ROWS, PROOF[:start] + order_three + PROOF[start + 48 :])
