"""Daemons as processes: none outlives its launcher, one launcher per folder, and a failed start shows why."""

import os
import select
import signal
import subprocess
import sys

import pytest
import trio

from devnet.daemon import LAST_LINES, LIFELINE, Daemon
from devnet.errors import DaemonFailed, DevnetError
from devnet.homes import create_homes
from devnet.launch import hold
from devnet.state import State

# Starts a sleeper the way daemons are started, says its pid, and waits to be killed.
LAUNCHER = """
import os, subprocess, sys, time
sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
lifeline = [sys.executable, "-I", "-S", sys.argv[1], str(os.getpid()), *sleeper]
print(subprocess.Popen(lifeline, process_group=0).pid, flush=True)
time.sleep(600)
"""


def test_a_daemon_dies_with_its_launcher():
    """When the launcher is killed, which no handler can survive, the kernel ends the command that it started."""
    with subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(LIFELINE)], stdout=subprocess.PIPE, text=True
    ) as launcher:
        assert launcher.stdout is not None
        descriptor = os.pidfd_open(int(launcher.stdout.readline()))
        launcher.kill()
    # Readable once the process has ended.
    ended, _, _ = select.select([descriptor], [], [], 10)
    os.close(descriptor)
    assert ended


async def test_a_failed_start_shows_the_last_lines(tmp_path):
    """A daemon that cannot start is named, with what it printed last."""
    state = State(tmp_path / "devnet")
    create_homes(state)
    state.home("alice").config_file.write_text("version = 1\nflavour = 'plum'\n")
    daemon = Daemon("alice", state.home("alice"), state.output("alice"))
    daemon.start()
    with pytest.raises(DaemonFailed) as caught:
        await daemon.wait_ready()
    assert caught.value.name == "alice"
    assert 0 < len(caught.value.last_lines) <= LAST_LINES
    assert "config.toml" in "\n".join(caught.value.last_lines)


async def test_a_killed_daemon_is_known_to_be_dead(tmp_path):
    """After SIGKILL the process is gone, its end is known, and it can be started again."""
    state = State(tmp_path / "devnet")
    create_homes(state)
    daemon = Daemon("alice", state.home("alice"), state.output("alice"))
    for _ in range(2):
        daemon.start()
        assert daemon.pid is not None
        daemon.kill()
        with trio.fail_after(10):
            await daemon.wait()
        assert daemon.pid is None
        assert daemon.status == -signal.SIGKILL


def test_a_second_launcher_is_refused(tmp_path):
    """While a launcher holds the folder, another one is told that the devnet is already running."""
    state = State(tmp_path / "devnet")
    with hold(state), pytest.raises(DevnetError, match="already running"), hold(state):
        pass
    with hold(state):
        pass
