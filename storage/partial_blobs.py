"""A blob on its way here: runs are verified as they arrive, survive a restart, and become a blob when all are there."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType

from protocol.blobs import PIECE_BYTES, RUN_PIECES, BlobId, blob_root, run_bytes, run_root, run_starts, verify_run
from protocol.crypto import DIGEST_BYTES
from storage.errors import Corrupted
from storage.files import write_all_at

# What may wait in memory to be written: a disk that keeps up with what comes has little left to do at the end.
SYNC_BYTES = 16 * 1024 * 1024

_MISSING = bytes(DIGEST_BYTES)


class PartialBlob:
    """Two files: the bytes at their places, and for each run its root once its bytes are written, zeros before.

    Nothing relies on being synced before `finish`: opening hashes what is there again, so a run that a crash lost or
    mangled simply is missing. Threads may write different runs at once.
    """

    def __init__(
        self,
        blob: BlobId,
        path: Path,
        *,
        publish: Callable[[BlobId, Path, Sequence[bytes]], None],
        on_close: Callable[[], None],
    ) -> None:
        """Open or create the files at `path` and beside it; `publish` names the finished file, `on_close` is told."""
        self.blob = blob
        self._path = path
        self._roots_path = path.with_suffix(".partial-runs")
        self._publish = publish
        self._on_close = on_close
        self._data = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        self._roots = os.open(self._roots_path, os.O_RDWR | os.O_CREAT, 0o600)
        self._is_open = True
        self._unsynced_bytes = 0
        self._starts = run_starts(blob.length)
        try:
            self._run_roots = self._load_run_roots()
            self._drop_altered_runs()
        except OSError:
            self.close()
            raise

    def missing_runs(self) -> tuple[int, ...]:
        """Return the index of the first piece of every run that is still to be fetched, in order."""
        return tuple(first for first, root in zip(self._starts, self._run_roots, strict=True) if root == _MISSING)

    def write_run(self, first_piece: int, data: bytes, proof: Sequence[bytes]) -> None:
        """Keep a run. Raises `InvalidProof`, and keeps nothing, when it is not the blob's: the sender is at fault."""
        root = verify_run(self.blob, first_piece, data, proof)
        write_all_at(self._data, data, first_piece * PIECE_BYTES)
        self._set_root(first_piece, root)
        self._unsynced_bytes += len(data)
        if self._unsynced_bytes >= SYNC_BYTES:
            self._unsynced_bytes = 0
            os.fdatasync(self._data)

    def finish(self) -> None:
        """Publish the blob once no run is missing: durable, all at once. Closes this object.

        Raises `Corrupted` when what an earlier attempt left is no part of the blob; all runs are missing then.
        """
        assert not self.missing_runs(), "runs are missing"
        os.fsync(self._data)
        if blob_root(self._run_roots) != self.blob.root:
            self._drop_runs(self._starts)
            raise Corrupted(str(self._path), "the runs of an earlier attempt belong to something else")
        self._publish(self.blob, self._path, self._run_roots)
        self._roots_path.unlink()
        self.close()

    def close(self) -> None:
        """Release the files and leave what was fetched for later."""
        if self._is_open:
            self._is_open = False
            os.close(self._data)
            os.close(self._roots)
            self._on_close()

    def __enter__(self) -> "PartialBlob":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _load_run_roots(self) -> list[bytes]:
        """Give both files their full length and return the roots of the runs written so far, zeros for the others."""
        length = len(self._starts) * DIGEST_BYTES
        os.ftruncate(self._data, self.blob.length)
        os.ftruncate(self._roots, length)
        stored = os.pread(self._roots, length, 0)
        return [stored[at : at + DIGEST_BYTES] for at in range(0, length, DIGEST_BYTES)]

    def _drop_altered_runs(self) -> None:
        """Mark as missing what no longer hashes to the root noted for it."""
        held = [first for first in self._starts if self._run_roots[first // RUN_PIECES] != _MISSING]
        self._drop_runs([first for first in held if self._hash_run(first) != self._run_roots[first // RUN_PIECES]])

    def _hash_run(self, first_piece: int) -> bytes:
        return run_root(os.pread(self._data, run_bytes(self.blob.length, first_piece), first_piece * PIECE_BYTES))

    def _drop_runs(self, starts: Sequence[int]) -> None:
        for first_piece in starts:
            self._set_root(first_piece, _MISSING)

    def _set_root(self, first_piece: int, root: bytes) -> None:
        write_all_at(self._roots, root, first_piece // RUN_PIECES * DIGEST_BYTES)
        self._run_roots[first_piece // RUN_PIECES] = root
