"""Datasets and weights under a key: a file in clear becomes an encrypted blob and back, piece by piece.

Each piece of the blob, 64 KiB as in its Merkle tree, is one secret box (XSalsa20-Poly1305) of 65,520 bytes in clear
whose nonce is the piece's index. So a single piece, shown with its Merkle path and the released key, proves that it
does not authenticate (arena.md "Datasets"). The order and number of the pieces are what the blob's root says.
"""

import os
from pathlib import Path

from nacl import utils
from nacl.exceptions import CryptoError
from nacl.secret import SecretBox

from protocol.blobs import PIECE_BYTES
from protocol.errors import InvalidProof

KEY_BYTES = SecretBox.KEY_SIZE
CLEAR_BYTES = PIECE_BYTES - SecretBox.MACBYTES


def make_key() -> bytes:
    """Return a fresh key. One key encrypts one file only: nonces repeat from file to file."""
    return utils.random(KEY_BYTES)


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


def seal_file(source: Path, target: Path, key: bytes) -> None:
    """Encrypt a file into a blob's bytes, in constant memory. Equal keys and files give equal bytes."""
    with source.open("rb") as clear, target.open("wb") as sealed:
        for index, piece in enumerate(iter(lambda: clear.read(CLEAR_BYTES), b"")):
            sealed.write(seal_piece(key, index, piece))


def open_file(source: Path, target: Path, key: bytes) -> None:
    """Decrypt a blob's bytes into a file, which appears only if every piece authenticates; else `InvalidProof`."""
    partial = target.with_name(target.name + ".partial")
    try:
        with source.open("rb") as sealed, partial.open("wb") as clear:
            for index, piece in enumerate(iter(lambda: sealed.read(PIECE_BYTES), b"")):
                clear.write(open_piece(key, index, piece))
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)


def _nonce(index: int) -> bytes:
    return index.to_bytes(SecretBox.NONCE_SIZE, "big")
