"""Turns this process into a command that dies with its launcher: `lifeline.py LAUNCHER_PID COMMAND...`.

Run as a file and without `site`, so that it costs milliseconds. The kernel keeps the wish across exec (man 2 prctl,
PR_SET_PDEATHSIG), and it is made here because code between fork and exec in a process with threads may hang.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> None:
    """Become the command. Does not return."""
    launcher, *command = arguments
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    # The launcher may have died before the call above, which then says nothing.
    if os.getppid() != int(launcher):
        sys.exit("the launcher is gone")
    os.execv(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
