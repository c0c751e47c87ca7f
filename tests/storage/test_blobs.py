"""Content-addressed files: verified on the way in and on the way out, resumed after a restart."""

import io
import os
import random
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from protocol.blobs import PIECE_BYTES, RUN_BYTES, BlobId, RunTree, compute_blob_id, run_root, verify_run
from protocol.errors import InvalidProof
from storage import blobs as blobs_module
from storage.blobs import BlobStore
from storage.errors import BlobMissing, Corrupted, StorageError

LENGTHS = [0, 1, PIECE_BYTES, RUN_BYTES, RUN_BYTES + 1, 3 * RUN_BYTES + 70_000]
DATA = random.Random(1).randbytes(3 * RUN_BYTES + 70_000)
BLOB = compute_blob_id(DATA)

FETCH_RUNS = """
import sys
from pathlib import Path
from protocol.blobs import BlobId, run_starts
from storage.blobs import BlobStore
source, target = BlobStore(Path(sys.argv[1])), BlobStore(Path(sys.argv[2]))
(blob,) = source.list()
partial = target.open_partial(blob)
for first in partial.missing_runs()[1:]:
    partial.write_run(first, *source.read_run(blob, first))
print("written", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def source(tmp_path: Path) -> BlobStore:
    """Return a store that holds the blob."""
    store = BlobStore(tmp_path / "source")
    assert store.put(DATA) == BLOB
    return store


@pytest.fixture
def target(tmp_path: Path) -> BlobStore:
    """Return an empty store."""
    return BlobStore(tmp_path / "target")


def fetch(source: BlobStore, target: BlobStore, runs: Sequence[int]) -> None:
    """Move some runs from one store to the other."""
    with target.open_partial(BLOB) as partial:
        for first in runs:
            partial.write_run(first, *source.read_run(BLOB, first))


def alter(path: Path, position: int) -> None:
    """Flip one bit of a file."""
    with path.open("r+b") as file:
        file.seek(position)
        byte = file.read(1)[0]
        file.seek(position)
        file.write(bytes([byte ^ 1]))


@pytest.mark.parametrize("length", LENGTHS)
def test_what_is_put_is_read(tmp_path: Path, length: int) -> None:
    """Bytes and streams get the same name, are listed, and every run proves itself."""
    store = BlobStore(tmp_path)
    blob = store.put(DATA[:length])
    assert blob == compute_blob_id(DATA[:length]) == store.put(io.BytesIO(DATA[:length]))
    assert store.has(blob)
    assert store.list() == (blob,)
    assert store.read(blob) == DATA[:length] == store.path(blob).read_bytes()
    for number, run in enumerate(store.iterate(blob)):
        data, proof = store.read_run(blob, number * 16)
        assert data == run
        verify_run(blob, number * 16, data, proof)
    assert sorted(os.listdir(tmp_path)) == [str(blob), f"{blob}.runs"]


def test_stream_with_short_reads(tmp_path: Path) -> None:
    """A pipe that hands out less than it is asked for gives the same blob."""

    class Trickle(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(size or 0, 50_001))

    assert BlobStore(tmp_path).put(Trickle(DATA)) == BLOB


def test_absent_blobs_and_runs_are_missing(source: BlobStore, target: BlobStore) -> None:
    """What is not here is said to be missing, whatever a peer asks for."""
    assert not target.has(BLOB)
    assert target.list() == ()
    for act in (lambda: target.path(BLOB), lambda: target.read(BLOB), lambda: target.read_run(BLOB, 0)):
        with pytest.raises(BlobMissing):
            act()
    for first in (-16, 1, 17, 64, 2**60):
        with pytest.raises(BlobMissing):
            source.read_run(BLOB, first)


def test_limits_are_refused(source: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source longer than a blob may be leaves nothing behind; a blob too long for memory is not read at once."""
    monkeypatch.setattr(blobs_module, "MAX_READ_BYTES", 1000)
    with pytest.raises(StorageError, match="too long"):
        source.read(BLOB)
    monkeypatch.setattr(blobs_module, "MAX_BLOB_BYTES", RUN_BYTES)
    with pytest.raises(StorageError, match="at most"):
        source.put(DATA + b"x")
    assert source.list() == (BLOB,)
    assert len(os.listdir(source.path(BLOB).parent)) == 2


@pytest.mark.parametrize("position", [0, PIECE_BYTES - 1, RUN_BYTES + 5, len(DATA) - 1])
def test_altered_byte_is_detected_on_read(source: BlobStore, position: int) -> None:
    """The altered run is refused with its offset, the others are still served."""
    alter(source.path(BLOB), position)
    damaged = position // RUN_BYTES
    with pytest.raises(Corrupted, match=f"offset {damaged * RUN_BYTES}"):
        source.read_run(BLOB, damaged * 16)
    with pytest.raises(Corrupted):
        source.read(BLOB)
    other = (damaged + 1) % 4
    assert source.read_run(BLOB, other * 16)[0] == DATA[other * RUN_BYTES : (other + 1) * RUN_BYTES]


@pytest.mark.parametrize("length", [0, RUN_BYTES, len(DATA) - 1])
def test_truncated_file_is_detected_on_read(source: BlobStore, length: int) -> None:
    """A shortened file is not a whole blob: reading raises, and it can be put again."""
    os.truncate(source.path(BLOB), length)
    assert not source.has(BLOB)
    assert source.list() == ()
    with pytest.raises(Corrupted):
        source.read(BLOB)
    with pytest.raises(Corrupted):
        source.read_run(BLOB, 48)
    source.put(DATA)
    assert source.read(BLOB) == DATA


def test_altered_roots_are_detected_on_read(source: BlobStore) -> None:
    """The roots beside a blob are checked against its name before they prove anything."""
    roots = source.path(BLOB).with_name(f"{BLOB}.runs")
    alter(roots, 33)
    with pytest.raises(Corrupted, match="runs"):
        source.read_run(BLOB, 0)
    os.truncate(roots, 64)
    assert not source.has(BLOB)
    with pytest.raises(Corrupted, match="runs"):
        source.read(BLOB)


@pytest.mark.parametrize("length", LENGTHS)
def test_blob_is_fetched_in_any_order(tmp_path: Path, target: BlobStore, length: int) -> None:
    """Runs written in any order and more than once become the blob, which is visible only when it is finished."""
    source = BlobStore(tmp_path / "source")
    blob = source.put(DATA[:length])
    partial = target.open_partial(blob)
    order = [*reversed(partial.missing_runs()), *partial.missing_runs()]
    for first in order:
        partial.write_run(first, *source.read_run(blob, first))
        assert not target.has(blob)
    partial.finish()
    assert target.read(blob) == DATA[:length]
    assert sorted(os.listdir(tmp_path / "target")) == [str(blob), f"{blob}.runs"]


def test_wrong_piece_is_refused_and_not_kept(source: BlobStore, target: BlobStore) -> None:
    """A run with one altered piece, of another place, or with another proof is refused and not kept."""
    data, proof = source.read_run(BLOB, 16)
    altered = bytearray(data)
    altered[5 * PIECE_BYTES] ^= 1
    with target.open_partial(BLOB) as partial:
        for first, run, path in [(16, bytes(altered), proof), (0, data, proof), (16, data, ()), (7, data, proof)]:
            with pytest.raises(InvalidProof):
                partial.write_run(first, run, path)
        assert partial.missing_runs() == (0, 16, 32, 48)


def test_fetch_resumes_after_restart(tmp_path: Path, source: BlobStore, target: BlobStore) -> None:
    """What was written before a restart is not fetched again."""
    fetch(source, target, [0, 32])
    target = BlobStore(tmp_path / "target")
    with target.open_partial(BLOB) as partial:
        assert partial.missing_runs() == (16, 48)
        for first in (16, 48):
            partial.write_run(first, *source.read_run(BLOB, first))
        partial.finish()
    assert target.read(BLOB) == DATA


def test_fetch_resumes_after_kill(tmp_path: Path, source: BlobStore, repository: Path) -> None:
    """SIGKILL of the process that fetches leaves what it wrote; the rest makes it whole."""
    command = [sys.executable, "-c", FETCH_RUNS, str(tmp_path / "source"), str(tmp_path / "target")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=repository) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "written\n"
        process.send_signal(signal.SIGKILL)
    target = BlobStore(tmp_path / "target")
    with target.open_partial(BLOB) as partial:
        assert partial.missing_runs() == (0,)
        partial.write_run(0, *source.read_run(BLOB, 0))
        partial.finish()
    assert target.read(BLOB) == DATA


@pytest.mark.parametrize("file", ["partial", "partial-runs"])
def test_damaged_part_is_fetched_again(tmp_path: Path, source: BlobStore, target: BlobStore, file: str) -> None:
    """A run that changed on the disk between two attempts, or whose root did, is missing again."""
    fetch(source, target, [0, 16, 32])
    alter(tmp_path / "target" / f"{BLOB}.{file}", RUN_BYTES + 9 if file == "partial" else 40)
    with target.open_partial(BLOB) as partial:
        assert partial.missing_runs() == (16, 48)


def test_foreign_part_with_its_own_roots_publishes_nothing(tmp_path: Path, target: BlobStore) -> None:
    """Bytes and roots that fit each other but not the name are dropped as a whole."""
    other = random.Random(2).randbytes(RUN_BYTES + 10)
    blob = BlobId(bytes(32), len(other))
    (tmp_path / "target" / f"{blob}.partial").write_bytes(other)
    roots = [run_root(other[:RUN_BYTES]), run_root(other[RUN_BYTES:])]
    (tmp_path / "target" / f"{blob}.partial-runs").write_bytes(b"".join(roots))
    with target.open_partial(blob) as partial:
        with pytest.raises(Corrupted):
            partial.finish()
        assert partial.missing_runs() == (0, 16)
    assert not target.has(blob)


def test_one_fetch_at_a_time(source: BlobStore, target: BlobStore) -> None:
    """Opening a part twice, finishing it early and deleting it meanwhile are bugs; after closing it is free again."""
    with target.open_partial(BLOB) as partial:
        for act in (lambda: target.open_partial(BLOB), partial.finish, lambda: target.delete(BLOB)):
            with pytest.raises(AssertionError):
                act()
    fetch(source, target, [0])


def test_delete_removes_all_files(tmp_path: Path, source: BlobStore, target: BlobStore) -> None:
    """Blobs and parts of blobs leave nothing behind; deleting what is not here is no error."""
    fetch(source, target, [0])
    for store in (source, target, target):
        store.delete(BLOB)
    assert os.listdir(tmp_path / "source") == os.listdir(tmp_path / "target") == []


def test_leftovers_of_a_crash_are_removed(tmp_path: Path, source: BlobStore) -> None:
    """Opening a store removes unfinished copies and notes about parts that became blobs; blobs and parts stay."""
    folder = tmp_path / "source"
    for name in ("tmpabc.tmp", "tmpabc.runs.tmp", f"{BLOB}.partial-runs"):
        (folder / name).write_bytes(b"x")
    other = compute_blob_id(b"other")
    BlobStore(folder).open_partial(other).close()
    kept = {str(BLOB), f"{BLOB}.runs", f"{other}.partial", f"{other}.partial-runs"}
    assert BlobStore(folder).list() == (BLOB,)
    assert set(os.listdir(folder)) == kept


def test_the_tree_over_the_runs_is_made_once(source: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Serving every run of a blob hashes its roots once, not once a run; only a few blobs are remembered."""
    made: list[int] = []

    class Counted(RunTree):
        def __init__(self, run_roots: Sequence[bytes]) -> None:
            made.append(len(run_roots))
            super().__init__(run_roots)

    monkeypatch.setattr(blobs_module, "RunTree", Counted)
    monkeypatch.setattr(blobs_module, "MAX_OPEN_TREES", 1)
    for first in (0, 16, 32, 48):
        source.read_run(BLOB, first)
    assert made == [4]
    source.read_run(source.put(DATA[:RUN_BYTES]), 0)
    source.read_run(BLOB, 0)
    assert made == [4, 1, 4]
