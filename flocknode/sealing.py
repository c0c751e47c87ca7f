"""Datasets and weights under a key: a file in clear becomes an encrypted blob and back, piece by piece.

What a piece is, `protocol.sealed_pieces` says; here are files and streams of them.
"""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from nacl import utils

from protocol.blobs import PIECE_BYTES
from protocol.sealed_pieces import CLEAR_BYTES, KEY_BYTES, open_piece, seal_piece

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer as Buffer

# Progress is told every so many pieces, which is 4 MiB.
REPORTED_PIECES = 64


# Called with the bytes that are done.
Report = Callable[[int], object]


def make_key() -> bytes:
    """Return a fresh key. One key encrypts one file only: nonces repeat from file to file."""
    return utils.random(KEY_BYTES)


class SealedStream(io.RawIOBase):
    """Reads as the bytes of the encrypted blob of a file in clear, in constant memory and without a copy on the disk.

    Equal keys and files give equal bytes. `report` hears now and then how many bytes of the file are done.
    """

    def __init__(self, clear: BinaryIO, key: bytes, report: Report = lambda done: None) -> None:
        super().__init__()
        self._clear = clear
        self._key = key
        self._report = report
        self._index = 0
        self._sealed = memoryview(b"")

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: "Buffer", /) -> int:
        """Fill a buffer with what comes next, and return how much that is; 0 at the end."""
        if not self._sealed:
            self._sealed = memoryview(self._seal_next())
        view = memoryview(buffer)
        count = min(len(view), len(self._sealed))
        view[:count], self._sealed = self._sealed[:count], self._sealed[count:]
        return count

    def _seal_next(self) -> bytes:
        piece = self._clear.read(CLEAR_BYTES)
        if not piece:
            return b""
        if self._index % REPORTED_PIECES == 0:
            self._report(self._index * CLEAR_BYTES + len(piece))
        self._index += 1
        return seal_piece(self._key, self._index - 1, piece)


def open_file(source: Path, target: Path, key: bytes, report: Report = lambda done: None) -> None:
    """Decrypt a blob's bytes into a file, which appears only if every piece authenticates; else `InvalidProof`.

    `report` hears now and then how many bytes are done.
    """
    partial = target.with_name(target.name + ".partial")
    try:
        with source.open("rb") as sealed, partial.open("wb") as clear:
            for index, piece in enumerate(iter(lambda: sealed.read(PIECE_BYTES), b"")):
                clear.write(open_piece(key, index, piece))
                if index % REPORTED_PIECES == 0:
                    report(index * PIECE_BYTES + len(piece))
        os.replace(partial, target)
    finally:
        partial.unlink(missing_ok=True)
