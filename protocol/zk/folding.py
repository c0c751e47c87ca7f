"""Knowledge of a long vector behind a point, in a short proof: halving (Bulletproofs; Attema and Cramer 2020).

The vector need not stay secret: whoever proves has masked it before. Steps 3 and 4 of `transcript.py`.
"""

from collections.abc import Sequence

from protocol.errors import InvalidProof
from protocol.zk.group import (
    ORDER,
    POINT_BYTES,
    SCALAR_BYTES,
    Point,
    decode_points,
    decode_scalar,
    encode_points,
    encode_scalars,
    multiply,
    scale,
)
from protocol.zk.transcript import Transcript

# Two folds more would add 192 bytes and save 96.
FINAL_LENGTH = 4


def count_folds(length: int) -> int:
    """Return how often a vector, whose length is a power of two from 4 on, is halved."""
    return (length // FINAL_LENGTH).bit_length() - 1


def folded_bytes(length: int) -> int:
    """Return the exact length of the proof about a vector."""
    return 2 * count_folds(length) * POINT_BYTES + FINAL_LENGTH * SCALAR_BYTES


def prove_vector(transcript: Transcript, bases: Sequence[Point], vector: Sequence[int]) -> bytes:
    """Return a proof that one knows the vector (scalars below r) behind <vector, bases>, which the transcript fixes."""
    proof = b""
    for _ in range(count_folds(len(vector))):
        half = len(vector) // 2
        low, high, low_bases, high_bases = vector[:half], vector[half:], bases[:half], bases[half:]
        crossed = encode_points((multiply(high_bases, low), multiply(low_bases, high)))
        factor = _absorb_fold(transcript, crossed)
        vector = [(a + factor * b) % ORDER for a, b in zip(low, high, strict=True)]
        bases = [scale(a, factor) + b for a, b in zip(low_bases, high_bases, strict=True)]
        proof += crossed
    return proof + encode_scalars(vector)


def verify_vector(transcript: Transcript, bases: Sequence[Point], target: Point, proof: bytes) -> None:
    """Return if the proof shows knowledge of a vector with <vector, bases> = target; raise `InvalidProof` otherwise.

    The bases are not folded: what each is multiplied with in the end is a product of challenges, so that one
    multiplication settles everything.
    """
    crossed, vector = _split(proof, len(bases))
    factors = [_absorb_fold(transcript, encode_points(pair)) for pair in crossed]
    # Of the points, from the last fold to the first: x of all later folds multiplies what came before.
    terms: list[tuple[Point, int]] = []
    scaling = 1
    for (left, right), factor in zip(reversed(crossed), reversed(factors), strict=True):
        terms += [(left, scaling), (right, factor * factor * scaling % ORDER)]
        scaling = scaling * factor % ORDER
        vector = [value * factor % ORDER for value in vector] + vector
    terms.append((target, scaling))
    points, scalars = zip(*terms, strict=True)
    if multiply([*bases, *points], [*vector, *(-scalar % ORDER for scalar in scalars)]) != Point.identity():
        raise InvalidProof("the proof does not belong to these commitments and this context")


def _absorb_fold(transcript: Transcript, crossed: bytes) -> int:
    transcript.absorb("fold", crossed[:POINT_BYTES], crossed[POINT_BYTES:])
    (factor,) = transcript.challenges("fold", 1)
    return factor


def _split(proof: bytes, length: int) -> tuple[list[tuple[Point, Point]], list[int]]:
    if len(proof) != folded_bytes(length):
        raise InvalidProof(f"a folded proof of {len(proof)} bytes, {folded_bytes(length)} are needed")
    end = len(proof) - FINAL_LENGTH * SCALAR_BYTES
    points = decode_points(proof[:end])
    scalars = [decode_scalar(proof[at : at + SCALAR_BYTES]) for at in range(end, len(proof), SCALAR_BYTES)]
    return list(zip(points[::2], points[1::2], strict=True)), scalars
