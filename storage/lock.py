"""Holds a home for one process, so that two daemons never write the same files.

LevelDB has a lock of its own, but loses it when a process opens the same folder twice; this one is bound to the open
file and is given back by the kernel however the process ends.
"""

import fcntl
import os
import sys
from pathlib import Path
from types import TracebackType

from storage.errors import HomeLocked

LOCK_NAME = "flocknode.lock"
MAX_HOLDER_BYTES = 256


class HomeLock:
    """An exclusive hold on a home, from construction to `release`. Other processes read who holds it in the file."""

    def __init__(self, home: Path) -> None:
        """Take the hold of an existing folder at once. Raises `HomeLocked`, naming the process, when another has it."""
        self._descriptor = os.open(home / LOCK_NAME, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, MAX_HOLDER_BYTES, 0)
            os.close(self._descriptor)
            raise HomeLocked(home, *_decode_holder(holder)) from None
        program = Path(sys.argv[0]).name or Path(sys.executable).name
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()} {program}\n".encode()[:MAX_HOLDER_BYTES], 0)

    def release(self) -> None:
        """Give the home back. The file stays, for removing it could take the lock away from a process that waits."""
        if self._descriptor >= 0:
            os.ftruncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> "HomeLock":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.release()


def _decode_holder(data: bytes) -> tuple[int | None, str]:
    """Return (process id, program); no id while the holder has not written it yet."""
    number, _, program = data.decode(errors="replace").strip().partition(" ")
    return (int(number) if number.isdecimal() else None), program
