"""A home belongs to one process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from storage.errors import HomeLocked
from storage.lock import LOCK_NAME, HomeLock

TRY = """
import sys
from pathlib import Path
from storage.errors import HomeLocked
from storage.lock import HomeLock
try:
    HomeLock(Path(sys.argv[1]))
except HomeLocked as error:
    print(error.process_id)
    print(error)
else:
    print("taken", flush=True)
    sys.stdin.read()
"""


def start(home: Path, repository: Path) -> "subprocess.Popen[str]":
    """Start a process that takes the home and keeps it, or says who has it."""
    command = [sys.executable, "-c", TRY, str(home)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=repository)


def test_another_process_is_refused_and_told_who(tmp_path: Path, repository: Path) -> None:
    """A second process learns the number of the one that holds the home."""
    with HomeLock(tmp_path):
        out, _ = start(tmp_path, repository).communicate(timeout=20)
    assert out.splitlines()[0] == str(os.getpid())
    assert f"{tmp_path} is in use by process {os.getpid()} (" in out
    assert "--home" in out


def test_killed_holder_leaves_the_home_free(tmp_path: Path, repository: Path) -> None:
    """After SIGKILL of the holder the next one gets the home; before, it is refused with the holder's number."""
    holder = start(tmp_path, repository)
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "taken\n"
        with pytest.raises(HomeLocked) as caught:
            HomeLock(tmp_path)
        assert caught.value.process_id == holder.pid
        holder.send_signal(signal.SIGKILL)
    HomeLock(tmp_path).release()


def test_one_process_cannot_hold_a_home_twice(tmp_path: Path) -> None:
    """The second hold of one process is refused too, and the refused attempt does not break the first hold."""
    lock = HomeLock(tmp_path)
    for _ in range(2):
        with pytest.raises(HomeLocked, match=str(os.getpid())):
            HomeLock(tmp_path)
    lock.release()
    lock.release()
    HomeLock(tmp_path).release()


def test_holder_that_has_not_written_its_number_yet(tmp_path: Path) -> None:
    """An empty lock file that is held names no process, and is still refused."""
    with HomeLock(tmp_path):
        os.truncate(tmp_path / LOCK_NAME, 0)
        with pytest.raises(HomeLocked, match="in use by another process") as caught:
            HomeLock(tmp_path)
        assert caught.value.process_id is None
