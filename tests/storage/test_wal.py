"""The write-ahead log keeps what was synced, cuts what was not, and never confuses the two."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage import wal
from storage.errors import Corrupted, StorageError
from storage.wal import WriteAheadLog

PAYLOADS = [bytes([i]) * (i * 37 % 300 + 1) for i in range(1, 20)]

APPEND_FOR_EVER = """
import sys
from pathlib import Path
from storage.wal import WriteAheadLog
log = WriteAheadLog(Path(sys.argv[1]))
number = 0
while True:
    for _ in range(3):
        log.append(number.to_bytes(4, "big") * 50)
        number += 1
    log.sync()
    print(number, flush=True)
    if number % 30 == 0:
        log.rotate([(number - 1).to_bytes(4, "big") * 50])
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the log of a test lies."""
    return tmp_path / "consensus.wal"


def write_log(path: Path, payloads: list[bytes]) -> list[int]:
    """Append the payloads and return the file offset at which each record ends."""
    log = WriteAheadLog(path)
    ends = []
    for payload in payloads:
        log.append(payload)
        ends.append(path.stat().st_size)
    log.sync()
    log.close()
    return ends


def test_returns_records_after_reopening(path: Path) -> None:
    """What was appended is there again, in order, and appending goes on."""
    write_log(path, PAYLOADS)
    log = WriteAheadLog(path)
    log.append(b"")
    assert log.records() == [*PAYLOADS, b""]
    assert log.torn_bytes == 0
    assert log.size_bytes == path.stat().st_size
    assert path.stat().st_mode & 0o777 == 0o600


def test_rotation_keeps_only_what_is_asked(path: Path) -> None:
    """After a rotation the file begins with the kept records and takes new ones."""
    write_log(path, PAYLOADS)
    log = WriteAheadLog(path)
    log.rotate([b"last signed"])
    log.append(b"next")
    log.close()
    assert WriteAheadLog(path).records() == [b"last signed", b"next"]
    assert os.listdir(path.parent) == [path.name]


@pytest.mark.parametrize("leftover", [b"", b"half a file"])
def test_crash_before_rename_keeps_the_old_file(path: Path, leftover: bytes) -> None:
    """A rotation that stopped before its rename never happened."""
    write_log(path, PAYLOADS)
    path.with_name(path.name + ".new").write_bytes(leftover)
    assert WriteAheadLog(path).records() == PAYLOADS
    assert os.listdir(path.parent) == [path.name]


def test_torn_tail_is_cut_at_every_length(path: Path) -> None:
    """A file that stops anywhere inside its last record loses that record only, says so, and is usable again."""
    ends = write_log(path, PAYLOADS)
    whole = path.read_bytes()
    for size in range(ends[-2] + 1, ends[-1]):
        path.write_bytes(whole[:size])
        log = WriteAheadLog(path)
        assert log.torn_bytes == size - ends[-2]
        log.append(b"after")
        assert log.records() == [*PAYLOADS[:-1], b"after"]
        log.close()


@pytest.mark.parametrize("zeros_from", [-1, 0, 700])
def test_unwritten_sectors_are_a_torn_tail(path: Path, zeros_from: int) -> None:
    """Zeros up to the end of the file, from the start of a sector in the last record or before it, are cut."""
    ends = write_log(path, [*PAYLOADS, b"\x07" * 2000])
    data = bytearray(path.read_bytes())
    if zeros_from < 0:
        data += bytes(5000)
        kept = [*PAYLOADS, b"\x07" * 2000]
    else:
        first = -(-(ends[-2] + zeros_from) // wal.SECTOR_BYTES) * wal.SECTOR_BYTES if zeros_from else ends[-2]
        data[first:] = bytes(len(data) - first)
        kept = PAYLOADS
    path.write_bytes(data)
    log = WriteAheadLog(path)
    assert log.records() == kept
    assert log.torn_bytes > 0


def test_damage_hides_behind_no_torn_tail(path: Path) -> None:
    """An altered record in the middle is refused even when the end of the file was never written."""
    ends = write_log(path, [*PAYLOADS, b"\x07" * 2000])
    data = bytearray(path.read_bytes())
    data[ends[3] + wal._RECORD_HEADER_BYTES] ^= 1
    data[-1000:] = bytes(1000)
    path.write_bytes(data)
    with pytest.raises(Corrupted, match=f"offset {ends[3]}: record 4"):
        WriteAheadLog(path)


def test_every_altered_byte_is_refused_and_located(path: Path) -> None:
    """One flipped bit anywhere in the file, the last record included, names the offset and what to run."""
    ends = write_log(path, PAYLOADS)
    starts = [0, wal._FILE_HEADER_BYTES, *ends]
    whole = path.read_bytes()
    for position in range(len(whole)):
        data = bytearray(whole)
        data[position] ^= 1 << position % 8
        path.write_bytes(data)
        with pytest.raises(Corrupted) as caught:
            WriteAheadLog(path)
        start = max(start for start in starts if start <= position)
        assert caught.value.where == f"{path} at offset {start}"
        assert "flocknode db repair" in str(caught.value)


def test_missing_and_repeated_records_are_refused(path: Path) -> None:
    """Whole records that vanished from the middle, or stand twice, are damage."""
    ends = write_log(path, PAYLOADS)
    whole = path.read_bytes()
    for data in (whole[: ends[2]] + whole[ends[3] :], whole[: ends[2]] + whole[ends[1] :]):
        path.write_bytes(data)
        with pytest.raises(Corrupted, match=f"offset {ends[2]}"):
            WriteAheadLog(path)


def test_failed_write_ends_the_log_until_it_is_opened_again(path: Path) -> None:
    """After a refused write nothing is appended behind the half record; opening again cuts it."""
    write_log(path, PAYLOADS)
    log = WriteAheadLog(path)
    log.append(b"kept")
    descriptor, log._descriptor = log._descriptor, os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(StorageError, match="No space left"):
        log.append(b"refused")
    os.close(log._descriptor)
    log._descriptor = descriptor
    for act in (lambda: log.append(b"x"), log.sync, lambda: log.rotate([])):
        with pytest.raises(StorageError, match="failed before"):
            act()
    log.close()
    assert WriteAheadLog(path).records() == [*PAYLOADS, b"kept"]


def test_size_is_limited(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full file refuses, and takes records again after a rotation."""
    monkeypatch.setattr(wal, "MAX_FILE_BYTES", 1000)
    log = WriteAheadLog(path)
    log.append(bytes(900))
    with pytest.raises(StorageError, match="exceed 1000 bytes"):
        log.append(bytes(900))
    log.rotate([])
    log.append(b"again")
    assert log.records() == [b"again"]


def test_acknowledging_and_rotating_reach_the_disk_in_order(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`sync` flushes the file; `rotate` flushes the new file, then renames it, then flushes the folder."""
    log = WriteAheadLog(path)
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def record_fsync(descriptor: int) -> None:
        calls.append(f"fsync {Path(os.readlink(f'/proc/self/fd/{descriptor}')).name}")
        fsync(descriptor)

    def record_replace(old: Path, new: Path) -> None:
        calls.append(f"rename {old.name} {new.name}")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", record_fsync)
    monkeypatch.setattr(os, "replace", record_replace)
    log.append(b"vote")
    log.sync()
    log.rotate([b"vote"])
    log.append(b"vote")
    log.sync()
    name, new = path.name, f"{path.name}.new"
    assert calls == [f"fsync {name}", f"fsync {new}", f"rename {new} {name}", f"fsync {path.parent.name}", calls[0]]


@pytest.mark.parametrize("seed", [1, 2])
def test_kill_loses_nothing_that_was_synced(path: Path, seed: int) -> None:
    """SIGKILL in the middle of appending and rotating: every acknowledged record is there, in order."""
    print("seed", seed)
    command = [sys.executable, "-c", APPEND_FOR_EVER, str(path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2])
    assert process.stdout is not None
    for _ in range(random.Random(seed).randrange(20, 60)):
        acknowledged = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    acknowledged = max([acknowledged, *map(int, process.stdout.read().split())])
    process.wait()
    process.stdout.close()
    numbers = [int.from_bytes(payload[:4], "big") for payload in WriteAheadLog(path).records()]
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert numbers[-1] >= acknowledged - 1
