"""Encrypted blobs, piece by piece: what makes one piece, shown with its Merkle path and the key, a proof of fraud.

Each piece of the blob, 64 KiB as in its Merkle tree, is one secret box (XSalsa20-Poly1305) of 65,520 bytes in clear
whose nonce is the piece's index. The order and number of the pieces are what the blob's root says.
"""

from collections.abc import Sequence

from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from protocol.blobs import PIECE_BYTES, BlobId, piece_count
from protocol.crypto import merkle_leaf, verify_merkle_path
from protocol.errors import InvalidProof

KEY_BYTES = SecretBox.KEY_SIZE
CLEAR_BYTES = PIECE_BYTES - SecretBox.MACBYTES
# The depth of the tree over the pieces of the longest blob.
MAX_PATH_HASHES = 20


def seal_piece(key: bytes, index: int, clear: bytes) -> bytes:
    """Return a piece of an encrypted blob: at most 65,520 bytes in clear become 16 more."""
    assert len(clear) <= CLEAR_BYTES, f"a piece holds {CLEAR_BYTES} bytes, not {len(clear)}"
    return SecretBox(key).encrypt(clear, _nonce(index)).ciphertext


def open_piece(key: bytes, index: int, sealed: bytes) -> bytes:
    """Return a piece in clear; raise `InvalidProof` if it does not authenticate under the key at this index."""
    try:
        return SecretBox(key).decrypt(sealed, _nonce(index))
    except (CryptoError, ValueError) as error:
        raise InvalidProof(f"piece {index} does not authenticate under the key", piece=index) from error


def verify_piece(blob: BlobId, index: int, piece: bytes, path: Sequence[bytes]) -> None:
    """Return if these bytes are a piece of the blob; raise `InvalidProof` otherwise."""
    verify_merkle_path(merkle_leaf(piece), index, piece_count(blob.length), path, blob.root)


def clear_length(blob: BlobId) -> int:
    """Return how many bytes in clear an encrypted blob holds, in pieces that all authenticate."""
    return max(0, blob.length - piece_count(blob.length) * SecretBox.MACBYTES)


def sealed_length(clear_bytes: int) -> int:
    """Return how many bytes an encrypted blob of so many bytes in clear has."""
    return clear_bytes + -(-clear_bytes // CLEAR_BYTES) * SecretBox.MACBYTES


def _nonce(index: int) -> bytes:
    return index.to_bytes(SecretBox.NONCE_SIZE, "big")
