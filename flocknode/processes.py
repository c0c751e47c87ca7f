"""What the processes of a node have in common: those that it starts die with it and speak over pipes; memory."""

import ctypes
import os
import resource
import signal
import sys
from pathlib import Path
from typing import BinaryIO

PR_SET_PDEATHSIG = 1
# glibc's malloc.h.
M_ARENA_MAX = -8
# Tables of LevelDB (1,000), connections of peers (128) and of RPC clients (64), each twice, and blobs that are served.
WANTED_FILES = 4096


def die_with(parent: int) -> None:
    """Let the kernel kill this process when the thread that started it ends."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # The parent may have died before the call above, which then says nothing.
    if os.getppid() != parent:
        sys.exit("the parent is gone")


def share_one_heap() -> None:
    """Have all threads allocate from one heap, where the C library is glibc.

    By default each has its own and keeps the most that it ever held: a daemon then grows by megabytes over its first
    thousands of blocks, as one thread after the other writes them. Threads of Python take turns anyway.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_ARENA_MAX, 1)


def raise_file_limit() -> int:
    """Let this process open as many files as it may need, as far as the system allows; return how many those are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if hard == resource.RLIM_INFINITY else min(WANTED_FILES, hard)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def take_over_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Return (what was standard input, what was standard output); prints go to standard error from now on.

    So no library's print can break a frame.
    """
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return incoming, outgoing


def search_path() -> str:
    """Return a PYTHONPATH under which a child imports the same packages as here, whatever its working directory is."""
    root = str(Path(__file__).resolve().parent.parent)
    return os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
