"""Finds the damage that LevelDB overlooks in its own logs.

A LevelDB log (`*.log`, `MANIFEST-*`) is made of 32 KiB blocks of records: masked CRC-32C (4), length (2), type (1),
payload; little-endian (doc/log_format.md of LevelDB). With paranoid checks every mismatch is an error but one: in the
last block, a record whose length runs past the end of the file counts as torn by a crash, and it and all that follow
are dropped in silence. So one altered length byte would lose dozens of synced batches. It can be told from a torn
write: the checksum, which does not cover the length, still fits the payload at its true length.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

from storage.errors import Corrupted

BLOCK_BYTES = 32 * 1024

_HEADER = struct.Struct("<IHB")
_CASTAGNOLI = 0x82F63B78
_MASK_DELTA = 0xA282EAD8


def check_logs(directory: Path) -> None:
    """Return if no log of the closed database hides records. Raises `Corrupted` naming file and offset."""
    for path in sorted([*directory.glob("*.log"), *directory.glob("MANIFEST-*")]):
        check_last_block(path)


def check_last_block(path: Path) -> None:
    """Return if the last block of a log ends with its last whole record or with a truly torn one."""
    size = path.stat().st_size
    start = max(size - 1, 0) // BLOCK_BYTES * BLOCK_BYTES
    with path.open("rb") as file:
        file.seek(start)
        data = file.read(BLOCK_BYTES)
    position = 0
    while position + _HEADER.size <= len(data):
        checksum, length, kind = _HEADER.unpack_from(data, position)
        end = position + _HEADER.size + length
        where = f"{path} at offset {start + position}"
        if kind == 0 and length == 0 and any(data[position:]):
            raise Corrupted(where, "records follow an empty one, and LevelDB would skip them")
        if end > len(data) and _fits_any_length(data, position + _HEADER.size - 1, checksum):
            raise Corrupted(where, "the length of a whole record was altered, and LevelDB would drop what follows")
        position = end


def find_damage(directory: Path) -> None:
    """Return if every record of the logs has its checksum. Raises `Corrupted` naming file and offset of the first."""
    for path in sorted([*directory.glob("*.log"), *directory.glob("MANIFEST-*")]):
        for start, data in _read_blocks(path):
            position = _find_in_block(data)
            if position is not None:
                where = f"{path} at offset {start + position}"
                raise Corrupted(where, "a record of LevelDB's log does not have its checksum")


def erase_damage(directory: Path) -> None:
    """Fill with zeros, which LevelDB skips, what follows a damaged record in its block of a log.

    LevelDB's own repair does not look at the checksums of logs (db/repair.cc, ConvertLogToTable) and would take over
    altered records.
    """
    for path in sorted(directory.glob("*.log")):
        for start, data in list(_read_blocks(path)):
            position = _find_in_block(data)
            if position is not None:
                with path.open("r+b") as file:
                    file.seek(start + position)
                    file.write(bytes(len(data) - position))


def _read_blocks(path: Path) -> Iterator[tuple[int, bytes]]:
    with path.open("rb") as file:
        for start in range(0, path.stat().st_size, BLOCK_BYTES):
            yield start, file.read(BLOCK_BYTES)


def _find_in_block(data: bytes) -> int | None:
    """Return where the first record without its checksum begins in a block, or None."""
    position = 0
    while position + _HEADER.size <= len(data):
        checksum, length, kind = _HEADER.unpack_from(data, position)
        end = position + _HEADER.size + length
        if (kind == 0 and length == 0) or (end > len(data) and len(data) < BLOCK_BYTES):
            return None  # preallocated space, or a torn end
        if end > len(data) or _mask(_crc32c(data[position + _HEADER.size - 1 : end])) != checksum:
            return position
        position = end
    return None


def _crc32c(data: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _fits_any_length(data: bytes, kind_at: int, checksum: int) -> bool:
    """Return whether the masked checksum is that of the type byte and some number of the bytes behind it."""
    crc = 0xFFFFFFFF
    for byte in data[kind_at:]:
        crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
        if _mask(crc ^ 0xFFFFFFFF) == checksum:
            return True
    return False


def _mask(crc: int) -> int:
    """Return the form in which LevelDB stores a CRC (util/crc32c.h)."""
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _table_entry(index: int) -> int:
    for _ in range(8):
        index = index >> 1 ^ (_CASTAGNOLI if index & 1 else 0)
    return index


_TABLE = tuple(_table_entry(index) for index in range(256))
