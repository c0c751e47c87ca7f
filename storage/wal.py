"""The write-ahead log of consensus: what a replica must know again after a crash, before anything that depends on it
leaves the node.

A file of its own and not LevelDB, because a record that was synced here is never lost in silence. The file is

    magic (8) | first sequence (8) | CRC (4)                                                the file header
    length (4) | sequence (8) | CRC of the payload (4) | CRC of these 16 bytes (4) | payload        per record

with big-endian integers. A crash can only leave an unfinished end: a file that stops inside its last record, or that
holds zeros where sectors never reached the disk. Such a *torn tail* was never acknowledged by `sync` and is cut. Every
other mismatch is damage to records that may have been acknowledged, and is refused: the two checksums tell a record
that stops early from one whose length was altered. What the payloads mean is the caller's.
"""

import os
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

from storage.errors import Corrupted, StorageError
from storage.files import create_durably, write_all

MAGIC = b"flockwal"
MAX_RECORD_BYTES = 16 * 1024 * 1024
# Read into memory as a whole at the start; a height that stands still for a day writes about 40 MB.
MAX_FILE_BYTES = 512 * 1024 * 1024
SECTOR_BYTES = 512

_FILE_HEADER = struct.Struct(">8sQ")
_RECORD_HEADER = struct.Struct(">IQI")
_CHECKSUM = struct.Struct(">I")
_FILE_HEADER_BYTES = _FILE_HEADER.size + _CHECKSUM.size
_RECORD_HEADER_BYTES = _RECORD_HEADER.size + _CHECKSUM.size


class WriteAheadLog:
    """One append-only checked file. `sync` may run in a thread while another appends; `rotate` runs alone.

    `torn_bytes` is the length of the tail that was cut when the file was opened; 0 after an orderly end.
    """

    torn_bytes: int

    def __init__(self, path: Path) -> None:
        """Open the log, creating it when there is none. Raises `Corrupted` for damage before the tail."""
        self.path = path
        self._temporary = path.with_name(path.name + ".new")
        self._temporary.unlink(missing_ok=True)
        if not path.exists():
            create_durably(path, _encode_file(0, ()), temporary=self._temporary)
        payloads, first_sequence, size_bytes = _decode_file(path, path.read_bytes())
        self._sequence = first_sequence + len(payloads)
        self._failed = False
        self._descriptor = self._open()
        self.torn_bytes = os.fstat(self._descriptor).st_size - size_bytes
        self.size_bytes = size_bytes
        if self.torn_bytes:
            os.ftruncate(self._descriptor, size_bytes)
            os.fsync(self._descriptor)

    def records(self) -> list[bytes]:
        """Return the payloads in the file, oldest first, read and checked again."""
        return _decode_file(self.path, self.path.read_bytes())[0]

    def append(self, payload: bytes) -> None:
        """Add a record. It survives a crash only once `sync` has returned.

        Raises `StorageError` when the disk refuses or the file is full; the log then takes no more records, since what
        follows an unfinished one could never be told from damage. Opening it again cuts the unfinished record.
        """
        self._check_usable()
        if self.size_bytes + _RECORD_HEADER_BYTES + len(payload) > MAX_FILE_BYTES:
            raise StorageError(f"{self.path} would exceed {MAX_FILE_BYTES} bytes")
        record = _encode_record(self._sequence, payload)
        try:
            write_all(self._descriptor, record)
        except OSError as error:
            self._fail(error)
        self._sequence += 1
        self.size_bytes += len(record)

    def sync(self) -> None:
        """Return once everything appended before the call is on the disk.

        Raises `StorageError` when it is not; never retried, because the kernel drops what it failed to write.
        """
        self._check_usable()
        try:
            os.fsync(self._descriptor)
        except OSError as error:
            self._fail(error)

    def rotate(self, keep: Sequence[bytes]) -> None:
        """Start over with the kept records only, durably and all at once: a crash leaves the old file or the new one.

        Sequence numbers go on, so that no two records of a log ever share one.
        """
        self._check_usable()
        content = _encode_file(self._sequence, keep)
        try:
            create_durably(self.path, content, temporary=self._temporary)
            replaced, self._descriptor = self._descriptor, self._open()
            os.close(replaced)
        except OSError as error:
            self._fail(error)
        self._sequence += len(keep)
        self.size_bytes = len(content)

    def close(self) -> None:
        """Release the file. Does not sync."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _open(self) -> int:
        return os.open(self.path, os.O_WRONLY | os.O_APPEND)

    def _check_usable(self) -> None:
        assert self._descriptor >= 0, "the write-ahead log is closed"
        if self._failed:
            raise StorageError(f"{self.path} failed before and takes no more records until it is opened again")

    def _fail(self, error: OSError) -> None:
        self._failed = True
        raise StorageError(f"{self.path} cannot be written: {error.strerror}") from error


def read_records(path: Path) -> tuple[list[bytes], int]:
    """Return (payloads, bytes of the torn tail) of a log, without opening it. Raises `Corrupted` or `OSError`.

    Of a log that another process writes, a record that is being appended looks like a torn tail.
    """
    data = path.read_bytes()
    payloads, _, size_bytes = _decode_file(path, data)
    return payloads, len(data) - size_bytes


def replace_log(path: Path, payloads: Sequence[bytes]) -> None:
    """Put a new log with these records into the place of another that nobody has open, durably and all at once."""
    create_durably(path, _encode_file(0, payloads), temporary=path.with_name(path.name + ".new"))


def _with_checksum(header: bytes) -> bytes:
    return header + _CHECKSUM.pack(zlib.crc32(header))


def _has_checksum(header: bytes) -> bool:
    return header == _with_checksum(header[: -_CHECKSUM.size])


def _encode_record(sequence: int, payload: bytes) -> bytes:
    assert len(payload) <= MAX_RECORD_BYTES, "the record is longer than the log allows"
    return _with_checksum(_RECORD_HEADER.pack(len(payload), sequence, zlib.crc32(payload))) + payload


def _encode_file(first_sequence: int, payloads: Sequence[bytes]) -> bytes:
    header = _with_checksum(_FILE_HEADER.pack(MAGIC, first_sequence))
    return header + b"".join(_encode_record(first_sequence + i, payload) for i, payload in enumerate(payloads))


def _decode_file(path: Path, data: bytes) -> tuple[list[bytes], int, int]:
    """Return (payloads, first sequence, bytes before the torn tail). Raises `Corrupted` for damage before the tail."""
    header = data[:_FILE_HEADER_BYTES]
    # The header is renamed into place with the file, so it is never torn.
    if len(header) < _FILE_HEADER_BYTES or not _has_checksum(header) or not header.startswith(MAGIC):
        raise Corrupted(f"{path} at offset 0", "the file header is damaged")
    first_sequence = _FILE_HEADER.unpack_from(header)[1]
    payloads: list[bytes] = []
    offset = _FILE_HEADER_BYTES
    while offset < len(data):
        expected_sequence = first_sequence + len(payloads)
        payload = _decode_record(data, offset, expected_sequence)
        if payload is None:
            if _is_torn(data, offset):
                break
            raise Corrupted(f"{path} at offset {offset}", f"record {expected_sequence} is damaged")
        payloads.append(payload)
        offset += _RECORD_HEADER_BYTES + len(payload)
    return payloads, first_sequence, offset


def _decode_record(data: bytes, offset: int, expected_sequence: int) -> bytes | None:
    """Return the payload of the record at an offset, or None if it is not whole."""
    header = data[offset : offset + _RECORD_HEADER_BYTES]
    if len(header) < _RECORD_HEADER_BYTES or not _has_checksum(header):
        return None
    length, sequence, checksum = _RECORD_HEADER.unpack_from(header)
    payload = data[offset + _RECORD_HEADER_BYTES : offset + _RECORD_HEADER_BYTES + length]
    if sequence != expected_sequence or len(payload) != length or zlib.crc32(payload) != checksum:
        return None
    return payload


def _is_torn(data: bytes, offset: int) -> bool:
    """Return whether the record at an offset, which is not whole, was left unfinished by a crash."""
    header = data[offset : offset + _RECORD_HEADER_BYTES]
    is_header_whole = len(header) == _RECORD_HEADER_BYTES and _has_checksum(header)
    length = _RECORD_HEADER.unpack_from(header)[0] if is_header_whole else 0
    record_end = offset + _RECORD_HEADER_BYTES + length
    if record_end > len(data):
        return True
    # Sectors that never reached the disk read as zeros, from inside this record up to the end of the file.
    zeros_from = len(data.rstrip(b"\x00"))
    first_empty_sector = -(-zeros_from // SECTOR_BYTES) * SECTOR_BYTES
    return zeros_from <= offset or first_empty_sector < record_end
