"""Verification of the proof of rows: somebody knows an opening of every one of many commitments (`transcript.py`).

With N rows, N + 1 accepting answers to independent challenges open every row, so a prover who cannot open one passes
with a probability of about 2^-128; and z, masked by u, tells nothing of any row.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from protocol.errors import InvalidProof
from protocol.zk.folding import folded_bytes, verify_vector
from protocol.zk.group import POINT_BYTES, Point, decode_point, multiply
from protocol.zk.parameters import MAX_WIDTH, Generators
from protocol.zk.transcript import Transcript

# A proof of the widest rows has 1,136 bytes.
RowsProof = Annotated[bytes, Meta(max_length=POINT_BYTES + folded_bytes(MAX_WIDTH + 1))]


def rows_proof_bytes(width: int) -> int:
    """Return the exact length of a proof about rows of this width, however many they are."""
    return POINT_BYTES + folded_bytes(width + 1)


def verify_rows(transcript: Transcript, table: Generators, rows: Sequence[Point], proof: bytes) -> None:
    """Return if the proof shows that its author knew openings of all rows; raise `InvalidProof` otherwise.

    The transcript has absorbed the rows and whatever else the proof is bound to.
    """
    expected = POINT_BYTES + folded_bytes(len(table.points))
    if len(proof) != expected:
        raise InvalidProof(f"a proof of {len(proof)} bytes, {expected} are needed")
    mask = decode_point(proof[:POINT_BYTES])
    transcript.absorb("mask", proof[:POINT_BYTES])
    target = mask + multiply(rows, transcript.challenges("rows", len(rows)))
    verify_vector(transcript, table.points, target, proof[POINT_BYTES:])
