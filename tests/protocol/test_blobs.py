"""Names of blobs and proofs of their runs."""

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.blobs import (
    MAX_BLOB_BYTES,
    MAX_PROOF_HASHES,
    PIECE_BYTES,
    RUN_BYTES,
    BlobId,
    RunProof,
    RunTree,
    blob_root,
    compute_blob_id,
    piece_count,
    run_bytes,
    run_root,
    run_starts,
    verify_run,
)
from protocol.codec import decode, encode
from protocol.crypto import merkle_leaf, merkle_root
from protocol.errors import InvalidProof, Malformed

LENGTHS = [0, 1, PIECE_BYTES, PIECE_BYTES + 1, RUN_BYTES - 1, RUN_BYTES, RUN_BYTES + 1, 5 * RUN_BYTES + 3 * PIECE_BYTES]


def make_bytes(length: int) -> bytes:
    """Return `length` bytes that differ from piece to piece."""
    return hashlib.shake_128(b"blob").digest(length)


def cut_runs(data: bytes) -> list[bytes]:
    """Return the runs of a blob."""
    return [data[at : at + RUN_BYTES] for at in range(0, len(data), RUN_BYTES)]


@pytest.mark.parametrize("length", LENGTHS)
def test_root_over_runs_is_the_rfc_6962_root_over_pieces(length: int) -> None:
    """Hashing by runs changes nothing: the root is the one over all pieces."""
    data = make_bytes(length)
    pieces = [data[at : at + PIECE_BYTES] for at in range(0, length, PIECE_BYTES)]
    assert compute_blob_id(data) == BlobId(merkle_root([merkle_leaf(piece) for piece in pieces]), length)
    assert len(pieces) == piece_count(length)
    assert sum(run_bytes(length, first) for first in run_starts(length)) == length


def test_root_of_few_pieces_by_hand() -> None:
    """Known answers written out with SHA-256 alone: no piece, one piece, three pieces."""
    a, b, c = b"a" * PIECE_BYTES, b"b" * PIECE_BYTES, b"c"

    def leaf(data: bytes) -> bytes:
        return hashlib.sha256(b"\x00" + data).digest()

    def node(left: bytes, right: bytes) -> bytes:
        return hashlib.sha256(b"\x01" + left + right).digest()

    assert compute_blob_id(b"").root == hashlib.sha256(b"").digest()
    assert compute_blob_id(c).root == leaf(c)
    assert compute_blob_id(a + b + c).root == node(node(leaf(a), leaf(b)), leaf(c))


@pytest.mark.parametrize("length", LENGTHS)
def test_every_run_proves_itself_and_no_other_place(length: int) -> None:
    """A run verifies with its proof at its own place only."""
    data = make_bytes(length)
    blob, runs = compute_blob_id(data), cut_runs(data)
    roots = [run_root(run) for run in runs]
    assert blob_root(roots) == blob.root
    for index, first in enumerate(run_starts(length)):
        proof = RunTree(roots).prove(first)
        assert verify_run(blob, first, runs[index], proof) == roots[index]
        for wrong in (first + 1, first + 16, first - 16, -16):
            with pytest.raises(InvalidProof):
                verify_run(blob, wrong, runs[index], proof)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 3 * RUN_BYTES - 1), st.integers(0, 7))
def test_any_altered_bit_of_a_run_is_refused(position: int, bit: int) -> None:
    """One flipped bit anywhere makes the run it lies in invalid."""
    data = bytearray(b"\x5a" * (3 * RUN_BYTES))
    blob = compute_blob_id(bytes(data))
    roots = [run_root(run) for run in cut_runs(bytes(data))]
    data[position] ^= 1 << bit
    index = position // RUN_BYTES
    with pytest.raises(InvalidProof):
        verify_run(blob, index * 16, cut_runs(bytes(data))[index], RunTree(roots).prove(index * 16))


def test_wrong_proofs_and_lengths_are_refused() -> None:
    """Proofs that are too short, too long or altered, and runs of another length, are refused."""
    data = make_bytes(3 * RUN_BYTES)
    blob, runs = compute_blob_id(data), cut_runs(data)
    proof = RunTree([run_root(run) for run in runs]).prove(16)
    for wrong in (proof[:-1], (*proof, bytes(32)), (bytes(32), *proof[1:]), proof[::-1], ()):
        with pytest.raises(InvalidProof):
            verify_run(blob, 16, runs[1], wrong)
    for run in (b"", runs[1][:-1], runs[1] + b"x"):
        with pytest.raises(InvalidProof):
            verify_run(blob, 16, run, proof)
    with pytest.raises(InvalidProof):
        verify_run(BlobId(blob.root, blob.length - 1), 16, runs[1], RunTree([run_root(run) for run in runs]).prove(32))


def test_limits_hold_on_the_wire() -> None:
    """A name beyond the longest blob, and a proof deeper than its tree, are malformed."""
    assert decode(encode(BlobId(bytes(32), MAX_BLOB_BYTES)), BlobId).length == MAX_BLOB_BYTES
    with pytest.raises(Malformed):
        decode(encode([bytes(32), MAX_BLOB_BYTES + 1]), BlobId)
    assert MAX_PROOF_HASHES == 16
    with pytest.raises(Malformed):
        decode(encode([bytes(32)] * (MAX_PROOF_HASHES + 1)), RunProof)
