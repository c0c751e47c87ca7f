"""One daemon as a process: started, waited for, killed, stopped. What it does is its own affair; see `flock.py`."""

import compileall
import os
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path

import trio

from devnet.errors import DaemonFailed
from flocknode.errors import ConnectionLost, NotRunning
from flocknode.home import Home
from flocknode.rpc.client import open_client
from flocknode.rpc.records import NodeStatus

LIFELINE = Path(__file__).with_name("lifeline.py")
PACKAGES = Path(__file__).resolve().parent.parent
LAST_LINES = 20
# How long a daemon may take until it answers; importing its libraries takes seconds where seven start on two cores.
START_S = 60.0
POLL_S = 0.1
# How long a daemon may take to stop cleanly.
STOP_S = 10.0


def compile_packages() -> None:
    """Make byte code once, where that may be written, instead of seven times in daemons that start at one time."""
    for name in ("flocknode", "protocol", "storage"):
        compileall.compile_dir(PACKAGES / name, quiet=2)


class Daemon:
    """The process of one home. `is_wanted` says whether its end is a failure."""

    def __init__(self, name: str, home: Home, output: Path) -> None:
        self.name = name
        self.home = home
        self.output = output
        self.is_wanted = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while the daemon runs."""
        return self._process.pid if self._process is not None and self._process.poll() is None else None

    @property
    def status(self) -> int | None:
        """How the last process ended: its exit code, or minus the signal."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        """Start the process in a group of its own, so that Ctrl-C reaches the launcher alone."""
        assert self.pid is None, f"{self.name} runs already"
        self.is_wanted = True
        command = [sys.executable, "-P", "-m", "flocknode", "node", "--home", str(self.home.path.absolute())]
        with self.output.open("ab") as output:
            # Not trio's own: it starts processes from a helper thread, and the child would die with that thread.
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(LIFELINE), str(os.getpid()), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={**os.environ, "PYTHONPATH": _search_path()},
                process_group=0,
            )

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        self.is_wanted = False
        if self._process is not None:
            self._process.kill()

    async def wait(self) -> None:
        """Return once the process has ended."""
        if self._process is None or self._process.poll() is not None:
            return
        descriptor = os.pidfd_open(self._process.pid)
        try:
            await trio.lowlevel.wait_readable(descriptor)
        finally:
            os.close(descriptor)
        self._process.wait()

    async def stop(self) -> None:
        """Ask the process to stop and wait until it did; kill it when it takes too long."""
        self.is_wanted = False
        if self.pid is not None:
            os.kill(self.pid, signal.SIGTERM)
        with trio.move_on_after(STOP_S):
            await self.wait()
        self.kill()
        await self.wait()

    async def wait_ready(self) -> NodeStatus:
        """Return the daemon's first answer. Raises `DaemonFailed` when it ends, or does not answer in time."""
        with trio.move_on_after(START_S):
            while self.pid is not None:
                try:
                    async with open_client(self.home) as client:
                        return await client.call("node.status", NodeStatus)
                except (NotRunning, ConnectionLost):
                    await trio.sleep(POLL_S)
        if self.pid is None:
            raise self.failure(f"{self.name}'s daemon {describe_end(self.status)}")
        raise self.failure(f"{self.name}'s daemon did not answer within {START_S:.0f} s")

    def failure(self, message: str) -> DaemonFailed:
        """Return the error that shows what the daemon printed last."""
        return DaemonFailed(message, name=self.name, last_lines=read_last_lines(self.output))


def describe_end(status: int | None) -> str:
    """Return in words how a process ended."""
    if status is not None and status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with exit code {status}"


def read_last_lines(path: Path) -> list[str]:
    """Return the last lines of a file of text; none of a missing one."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=LAST_LINES)]


def _search_path() -> str:
    # The same packages as here, whatever the working directory is.
    return os.pathsep.join(filter(None, [str(PACKAGES), os.environ.get("PYTHONPATH", "")]))
