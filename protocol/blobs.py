"""Names of content-addressed bytes, and proofs that a part belongs to them. Pure: files and peers are elsewhere.

A blob is cut into pieces of 64 KiB; its root is the RFC 6962 Merkle root over them. Pieces travel in *runs* of 16,
named by the index of their first piece. As 16 is a power of two, the root over a run's pieces is a node of the blob's
tree, so that 32 bytes per run are all that must be kept to prove any run.
"""

from collections.abc import Sequence
from typing import Annotated

from msgspec import Meta

from protocol.crypto import merkle_leaf, merkle_levels, merkle_path, merkle_root, verify_merkle_path
from protocol.errors import InvalidProof
from protocol.types import Digest, Record

PIECE_BYTES = 64 * 1024
RUN_PIECES = 16
RUN_BYTES = RUN_PIECES * PIECE_BYTES
MAX_BLOB_BYTES = 64 * 1024**3
# The depth of the tree over the runs of the longest blob.
MAX_PROOF_HASHES = (MAX_BLOB_BYTES // RUN_BYTES - 1).bit_length()

# Sibling hashes from a run's node up to the blob's root, lowest first.
RunProof = Annotated[tuple[Digest, ...], Meta(max_length=MAX_PROOF_HASHES)]


class BlobId(Record):
    """The name of a blob: the Merkle root over its pieces, and its length in bytes."""

    root: Digest
    length: Annotated[int, Meta(ge=0, le=MAX_BLOB_BYTES)]

    def __str__(self) -> str:
        return f"{self.root.hex()}-{self.length}"


def piece_count(length: int) -> int:
    """Return how many pieces a blob of `length` bytes has; the last one may be shorter, an empty blob has none."""
    return -(-length // PIECE_BYTES)


def run_starts(length: int) -> range:
    """Return the index of the first piece of every run of a blob of `length` bytes."""
    return range(0, piece_count(length), RUN_PIECES)


def run_bytes(length: int, first_piece: int) -> int:
    """Return the length of the run that starts at `first_piece`: 1 MiB, but for the last run."""
    assert first_piece in run_starts(length), f"no run of a blob of {length} bytes starts at piece {first_piece}"
    return min(RUN_BYTES, length - first_piece * PIECE_BYTES)


def run_root(data: bytes) -> bytes:
    """Return the Merkle root over the pieces of one run."""
    view = memoryview(data)
    return merkle_root([merkle_leaf(view[at : at + PIECE_BYTES]) for at in range(0, len(data), PIECE_BYTES)])


def blob_root(run_roots: Sequence[bytes]) -> bytes:
    """Return the root of a blob, given the roots of all its runs in order."""
    return merkle_root(run_roots)


def compute_blob_id(data: bytes) -> BlobId:
    """Return the name of bytes that are in memory."""
    return BlobId(blob_root([run_root(data[at : at + RUN_BYTES]) for at in range(0, len(data), RUN_BYTES)]), len(data))


class RunTree:
    """The tree over the runs of one blob, made once and asked for every run."""

    def __init__(self, run_roots: Sequence[bytes]) -> None:
        self._levels = merkle_levels(run_roots)
        self.blob_root = merkle_root(self._levels[-1])

    def run_root(self, first_piece: int) -> bytes:
        """Return the root of the run that starts at `first_piece`."""
        return self._levels[0][first_piece // RUN_PIECES]

    def prove(self, first_piece: int) -> RunProof:
        """Return what proves the run that starts at `first_piece`."""
        return merkle_path(self._levels, first_piece // RUN_PIECES)


def verify_run(blob: BlobId, first_piece: int, data: bytes, proof: Sequence[bytes]) -> bytes:
    """Return the run's root if `data` is the run of the blob that starts at `first_piece`.

    Raises `InvalidProof` when the blob has no such run, or its bytes are others: the sender is at fault.
    """
    starts = run_starts(blob.length)
    if first_piece not in starts:
        raise InvalidProof(f"no run of blob {blob} starts at piece {first_piece}")
    if len(data) != run_bytes(blob.length, first_piece):
        raise InvalidProof(f"the run of blob {blob} at piece {first_piece} has another length than {len(data)} bytes")
    root = run_root(data)
    verify_merkle_path(root, first_piece // RUN_PIECES, len(starts), proof, blob.root)
    return root
