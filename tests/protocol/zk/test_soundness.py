"""What the proof of rows means: answers to several challenges open every row, and one answer tells nothing.

At width 3 nothing is folded, so a proof is the mask's point and the answer z itself.
"""

import numpy as np

from protocol.zk import group
from protocol.zk.expansion import expand_factors, expand_scalars
from protocol.zk.opening import Opening, commit
from protocol.zk.parameters import get_generators, make_parameters
from protocol.zk.proving import prove_rows
from protocol.zk.rows import verify_rows
from protocol.zk.transcript import Transcript
from tests.zk_round import filled

PARAMETERS = make_parameters(width=3)
TABLE = get_generators(PARAMETERS)
VALUES = [5, -7, 2**31 - 1, -1_000_000, 0, 42]
OPENING = Opening(np.array(VALUES, np.int32), tuple(expand_scalars("test", b"soundness", count=2)))
ROWS = group.decode_points(commit(PARAMETERS, OPENING))


class Programmed(Transcript):
    """A transcript whose first challenges somebody chose: what the random oracle may do in a proof of security."""

    def __init__(self, factors: list[int]) -> None:
        super().__init__("test")
        self._chosen = factors

    def challenges(self, label: str, count: int) -> list[int]:
        assert (label, count) == ("rows", len(self._chosen))
        return self._chosen


def read_answer(proof: bytes) -> list[int]:
    """Return z, the values' part and the blinding's."""
    return [int.from_bytes(proof[at : at + 32], "big") for at in range(48, len(proof), 32)]


def solve(matrix: list[list[int]], right: list[int]) -> list[int]:
    """Return the solution of a square system modulo r."""
    order, rows = group.ORDER, [[*line, value] for line, value in zip(matrix, right, strict=True)]
    for at in range(len(rows)):
        pivot = next(index for index in range(at, len(rows)) if rows[index][at])
        rows[at], rows[pivot] = rows[pivot], rows[at]
        inverse = pow(rows[at][at], -1, order)
        rows[at] = [value * inverse % order for value in rows[at]]
        for other in range(len(rows)):
            if other != at:
                factor = rows[other][at]
                rows[other] = [(a - factor * b) % order for a, b in zip(rows[other], rows[at], strict=True)]
    return [row[-1] for row in rows]


def test_answers_to_three_challenges_open_two_rows() -> None:
    """Asked again and again about one mask, a prover gives everything away: so whoever can answer, knows.

    It is also why a mask must never be used twice.
    """
    challenges = [expand_factors(filled(f"challenge {index}"), count=2) for index in range(3)]
    proofs = [
        prove_rows(Programmed(factors), TABLE, [OPENING], randomness=filled("one mask")) for factors in challenges
    ]
    assert len({proof[:48] for proof in proofs}) == 1
    for factors, proof in zip(challenges, proofs, strict=True):
        verify_rows(Programmed(factors), TABLE, ROWS, proof)
    matrix = [[1, *factors] for factors in challenges]
    columns = zip(*map(read_answer, proofs), strict=True)
    _, first, second = zip(*(solve(matrix, list(column)) for column in columns), strict=True)
    assert [*first[:3], *second[:3]] == [value % group.ORDER for value in VALUES]
    assert (first[3], second[3]) == OPENING.blindings


def test_who_chooses_the_challenge_needs_no_opening() -> None:
    """Challenge first, a proof can be made without any row: so it tells nothing but that it holds."""
    factors = expand_factors(filled("chosen before"), count=2)
    answer = expand_scalars("test", b"simulated", count=4)
    mask = group.multiply(TABLE.points, answer) - group.multiply(ROWS, factors)
    simulated = group.encode_point(mask) + group.encode_scalars(answer)
    verify_rows(Programmed(factors), TABLE, ROWS, simulated)
