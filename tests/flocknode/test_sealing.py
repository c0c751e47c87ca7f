"""Encrypted blobs: what was sealed comes back, and nothing else does."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flocknode.sealing import SealedStream, make_key, open_file
from protocol.blobs import PIECE_BYTES, piece_count
from protocol.errors import InvalidProof
from protocol.sealed_pieces import CLEAR_BYTES, open_piece, seal_piece, sealed_length

KEY = bytes(range(32))


def seal_file(clear: Path, sealed: Path, key: bytes, report: Callable[[int], object] = lambda done: None) -> None:
    """Write what the stream of a file reads as, in reads that do not end where pieces do."""
    with clear.open("rb") as source, sealed.open("wb") as target:
        shutil.copyfileobj(SealedStream(source, key, report), target, 10_007)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize("length", [0, 1, CLEAR_BYTES - 1, CLEAR_BYTES, CLEAR_BYTES + 1, 3 * CLEAR_BYTES + 7])
def test_a_file_comes_back(tmp_path: Path, length: int) -> None:
    """Sealing and opening return the same bytes; the sealed file has as many 64 KiB pieces as there were in clear."""
    clear, sealed, opened = tmp_path / "clear", tmp_path / "sealed", tmp_path / "opened"
    clear.write_bytes(bytes(i % 251 for i in range(length)))
    seal_file(clear, sealed, KEY)
    open_file(sealed, opened, KEY)
    assert opened.read_bytes() == clear.read_bytes()
    assert piece_count(sealed.stat().st_size) == -(-length // CLEAR_BYTES)
    assert sealed.stat().st_size == sealed_length(length) == length + 16 * -(-length // CLEAR_BYTES)


def _flip(sealed: bytes) -> bytes:
    return sealed[:-1] + bytes([sealed[-1] ^ 1])


def _swap(sealed: bytes) -> bytes:
    return sealed[PIECE_BYTES : 2 * PIECE_BYTES] + sealed[:PIECE_BYTES] + sealed[2 * PIECE_BYTES :]


def _cut(sealed: bytes) -> bytes:
    return sealed[: 2 * PIECE_BYTES + 5]


@pytest.mark.parametrize("damage", [_flip, _swap, _cut])
def test_damage_is_found_and_leaves_no_file(tmp_path: Path, damage: object) -> None:
    """A flipped bit, swapped pieces and a cut piece are refused naming the piece, and nothing appears."""
    assert callable(damage)
    clear, sealed, opened = tmp_path / "clear", tmp_path / "sealed", tmp_path / "opened"
    clear.write_bytes(bytes(2 * CLEAR_BYTES + 100))
    seal_file(clear, sealed, KEY)
    sealed.write_bytes(damage(sealed.read_bytes()))
    with pytest.raises(InvalidProof) as refusal:
        open_file(sealed, opened, KEY)
    assert refusal.value.data["piece"] == (0 if damage is _swap else 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["clear", "sealed"]


def test_sealing_and_opening_tell_how_far_they_are(tmp_path: Path) -> None:
    """Every 64 pieces the bytes that are done are told, which never go back nor beyond the file."""
    clear, sealed, opened = tmp_path / "clear", tmp_path / "sealed", tmp_path / "opened"
    clear.write_bytes(bytes(130 * CLEAR_BYTES))
    for work, source, target in ((seal_file, clear, sealed), (open_file, sealed, opened)):
        told: list[int] = []
        work(source, target, KEY, told.append)
        assert len(told) == 3
        assert told == sorted(told)
        assert told[0] > 0
        assert told[-1] <= source.stat().st_size


def test_a_wrong_key_opens_nothing(tmp_path: Path) -> None:
    """Fresh keys differ, and one does not open what another sealed."""
    piece = seal_piece(KEY, 3, b"weights")
    with pytest.raises(InvalidProof):
        open_piece(make_key(), 3, piece)
    with pytest.raises(InvalidProof):
        open_piece(KEY, 2, piece)
    assert open_piece(KEY, 3, piece) == b"weights"


@given(st.binary(max_size=64), st.integers(0, 2**40))
def test_strangers_bytes_are_refused_cleanly(noise: bytes, index: int) -> None:
    """Whatever arrives as a piece is refused as a proof, never with another error."""
    with pytest.raises(InvalidProof):
        open_piece(KEY, index, noise)
