"""Content-addressed files: what is read is what was named, or an error; never the whole blob in memory by need.

A blob is a plain file named by its id, beside it a file of the roots of its runs (32 bytes per MiB), which prove any
run without hashing the rest. A blob appears under its name only when it is whole and on the disk.
"""

import io
import os
import re
import tempfile
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Lock
from typing import BinaryIO, NamedTuple

from protocol.blobs import (
    MAX_BLOB_BYTES,
    PIECE_BYTES,
    RUN_BYTES,
    BlobId,
    RunProof,
    RunTree,
    blob_root,
    run_bytes,
    run_root,
    run_starts,
)
from protocol.crypto import DIGEST_BYTES
from storage.errors import BlobMissing, Corrupted, StorageError
from storage.files import create_durably, sync_directory
from storage.partial_blobs import PartialBlob

# What `read` returns in one piece; longer blobs are read run by run.
MAX_READ_BYTES = 256 * 1024 * 1024
# Blobs whose trees are kept, 64 bytes a run: of the longest blob 4 MiB.
MAX_OPEN_TREES = 8

_BLOB_NAME = re.compile(r"([0-9a-f]{64})-(0|[1-9][0-9]{0,10})")
_BLOB_FILE = re.compile(_BLOB_NAME.pattern + r"(?:\.(?:runs|partial|partial-runs))?")


class StoredBlob(NamedTuple):
    """What one blob takes up on the disk, in bytes, and when it last grew, in seconds since the Unix epoch."""

    blob: BlobId
    size_bytes: int
    changed_s: float


class BlobStore:
    """The blobs in one folder. One store per folder, which the home lock sees to; threads may share it.

    Any method may raise `OSError` when the disk is full or refuses.
    """

    def __init__(self, directory: Path) -> None:
        """Open the folder, creating it when there is none, and remove what a crash left half done and useless."""
        self._directory = directory
        self._open_partials: set[BlobId] = set()
        self._trees: OrderedDict[BlobId, RunTree] = OrderedDict()
        self._lock = Lock()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for leftover in directory.glob("*.tmp"):
            leftover.unlink()
        for roots in directory.glob("*.partial-runs"):
            if not roots.with_suffix(".partial").exists():
                roots.unlink()

    def put(self, source: bytes | BinaryIO) -> BlobId:
        """Store bytes, or all that a binary file has left to read, and return their name; durable on return.

        Raises `StorageError` when the source is longer than a blob may be.
        """
        stream = io.BytesIO(source) if isinstance(source, bytes) else source
        descriptor, name = tempfile.mkstemp(suffix=".tmp", dir=self._directory)
        temporary = Path(name)
        try:
            with open(descriptor, "wb") as file:
                run_roots, length = _copy_runs(stream, file)
                file.flush()
                os.fsync(file.fileno())
            blob = BlobId(blob_root(run_roots), length)
            self._publish(blob, temporary, run_roots)
        finally:
            temporary.unlink(missing_ok=True)
        return blob

    def has(self, blob: BlobId) -> bool:
        """Return whether the blob is here as a whole, judged by the lengths of its files; reading checks the bytes."""
        return _has_length(self._file(blob), blob.length) and _has_length(
            self._roots_file(blob), len(run_starts(blob.length)) * DIGEST_BYTES
        )

    def path(self, blob: BlobId) -> Path:
        """Return the file that holds the blob's bytes, for a reader that checks them itself. Raises `BlobMissing`."""
        if not self.has(blob):
            raise BlobMissing(f"blob {blob} is not here")
        return self._file(blob)

    def read_run(self, blob: BlobId, first_piece: int) -> tuple[bytes, RunProof]:
        """Return the run of up to 1 MiB that starts at `first_piece`, and its proof.

        Raises `BlobMissing` when there is no such blob or run, `Corrupted` when the bytes on the disk were altered.
        """
        if first_piece not in run_starts(blob.length):
            raise BlobMissing(f"blob {blob} has no run at piece {first_piece}")
        tree = self._open_tree(blob)
        return self._load_run(blob, first_piece, tree), tree.prove(first_piece)

    def iterate(self, blob: BlobId) -> Iterator[bytes]:
        """Yield the blob's runs in order, each checked. Raises like `read_run`."""
        tree = self._open_tree(blob)
        for first_piece in run_starts(blob.length):
            yield self._load_run(blob, first_piece, tree)

    def read(self, blob: BlobId) -> bytes:
        """Return the whole blob, checked. Raises like `read_run`, and `StorageError` above `MAX_READ_BYTES`."""
        if blob.length > MAX_READ_BYTES:
            raise StorageError(f"blob {blob} is too long to be read at once")
        return b"".join(self.iterate(blob))

    def open_partial(self, blob: BlobId) -> PartialBlob:
        """Return the fetched part of a blob, empty or as an earlier attempt left it. Open at most once at a time."""
        with self._lock:
            assert blob not in self._open_partials, f"blob {blob} is being fetched already"
            self._open_partials.add(blob)
        try:
            return PartialBlob(
                blob,
                self._file(blob, ".partial"),
                publish=self._publish,
                on_close=lambda: self._open_partials.discard(blob),
            )
        except OSError:
            self._open_partials.discard(blob)
            raise

    def usage(self) -> tuple[StoredBlob, ...]:
        """Return everything that blobs take up here, whole and fetched in part, what came first at the front."""
        found: dict[BlobId, StoredBlob] = {}
        with os.scandir(self._directory) as entries:
            for entry in entries:
                match = _BLOB_FILE.fullmatch(entry.name)
                if match is None:
                    continue
                blob, status = BlobId(bytes.fromhex(match[1]), int(match[2])), entry.stat()
                known = found.get(blob, StoredBlob(blob, 0, status.st_mtime))
                size = known.size_bytes + 512 * status.st_blocks
                found[blob] = StoredBlob(blob, size, max(known.changed_s, status.st_mtime))
        return tuple(sorted(found.values(), key=lambda stored: stored.changed_s))

    def discard(self, blob: BlobId) -> bool:
        """Remove the blob, or the fetched part of it, unless it is being fetched; return whether it is gone."""
        with self._lock:
            if blob in self._open_partials:
                return False
            self.delete(blob)
        return True

    def delete(self, blob: BlobId) -> None:
        """Remove the blob, or the fetched part of it; nothing happens when there is neither."""
        assert blob not in self._open_partials, f"blob {blob} is being fetched"
        for suffix in ("", ".runs", ".partial", ".partial-runs"):
            self._file(blob, suffix).unlink(missing_ok=True)

    def list(self) -> tuple[BlobId, ...]:
        """Return the names of all blobs that are here as a whole, sorted by root."""
        matches = (_BLOB_NAME.fullmatch(name) for name in sorted(os.listdir(self._directory)))
        blobs = (BlobId(bytes.fromhex(match[1]), int(match[2])) for match in matches if match)
        return tuple(blob for blob in blobs if self.has(blob))

    def _file(self, blob: BlobId, suffix: str = "") -> Path:
        return self._directory / f"{blob}{suffix}"

    def _roots_file(self, blob: BlobId) -> Path:
        return self._file(blob, ".runs")

    def _publish(self, blob: BlobId, source: Path, run_roots: Sequence[bytes]) -> None:
        """Give a whole and synced file its name; the roots are there before it."""
        roots = b"".join(run_roots)
        create_durably(self._roots_file(blob), roots, temporary=source.with_suffix(".runs.tmp"))
        os.replace(source, self._file(blob))
        sync_directory(self._directory)

    def _open_tree(self, blob: BlobId) -> RunTree:
        """Return the blob's tree, kept for the next of its runs: to make it costs a hash for every run."""
        with self._lock:
            tree = self._trees.pop(blob, None) if self.has(blob) else None
        if tree is None:
            tree = self._load_tree(blob)
        with self._lock:
            self._trees[blob] = tree
            while len(self._trees) > MAX_OPEN_TREES:
                self._trees.popitem(last=False)
        return tree

    def _load_tree(self, blob: BlobId) -> RunTree:
        try:
            data = self._roots_file(blob).read_bytes()
        except FileNotFoundError as error:
            raise BlobMissing(f"blob {blob} is not here") from error
        roots = tuple(data[at : at + DIGEST_BYTES] for at in range(0, len(data), DIGEST_BYTES))
        tree = RunTree(roots)
        if len(roots) != len(run_starts(blob.length)) or tree.blob_root != blob.root:
            raise Corrupted(str(self._roots_file(blob)), "the roots of the runs do not lead to the blob's root")
        return tree

    def _load_run(self, blob: BlobId, first_piece: int, tree: RunTree) -> bytes:
        length, path = run_bytes(blob.length, first_piece), self._file(blob)
        try:
            with path.open("rb") as file:
                file.seek(first_piece * PIECE_BYTES)
                data = file.read(length)
        except FileNotFoundError as error:
            raise BlobMissing(f"blob {blob} is not here") from error
        if len(data) != length or run_root(data) != tree.run_root(first_piece):
            raise Corrupted(
                f"{path} at offset {first_piece * PIECE_BYTES}", "not the bytes that the blob's name stands for"
            )
        return data


def _copy_runs(source: BinaryIO, target: BinaryIO) -> tuple[list[bytes], int]:
    """Copy a stream and return the roots of its runs and its length in bytes."""
    run_roots: list[bytes] = []
    length = 0
    while run := _read_run(source):
        length += len(run)
        if length > MAX_BLOB_BYTES:
            raise StorageError(f"a blob is at most {MAX_BLOB_BYTES} bytes long")
        target.write(run)
        run_roots.append(run_root(run))
    return run_roots, length


def _read_run(source: BinaryIO) -> bytes:
    """Return the next full run of a stream, or what is left; a pipe may return less than it was asked for."""
    parts: list[bytes] = []
    wanted = RUN_BYTES
    while wanted and (part := source.read(wanted)):
        parts.append(part)
        wanted -= len(part)
    return b"".join(parts)


def _has_length(path: Path, length: int) -> bool:
    try:
        return path.stat().st_size == length
    except FileNotFoundError:
        return False
