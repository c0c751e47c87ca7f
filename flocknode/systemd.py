"""Tells the service manager how the daemon is doing: started, alive, stopping (sd_notify(3), systemd.service(5)).

Does nothing where no service manager asks for it, which it does through environment variables.
"""

import os
import socket
from collections.abc import Callable, Mapping

import structlog
import trio

log = structlog.get_logger()

# The status line is told so often, and as a sign of life at least twice in the time that the manager allows.
STATUS_S = 10.0
MAX_STATUS_CHARACTERS = 200


class Notifier:
    """The way to the service manager, if there is one. `environment` is that of the process."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        self._address = environment.get("NOTIFY_SOCKET", "")
        self._watchdog_s = _watchdog_s(environment)

    def tell(self, *assignments: str) -> None:
        """Send assignments such as READY=1; a manager that cannot be reached is warned of, and no reason to stop."""
        if not self._address:
            return
        # An address that begins with @ lies in the abstract namespace (unix(7)).
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK) as way:
                way.sendto("\n".join(assignments).encode(), address)
        except OSError as error:
            log.warning("the service manager does not hear", address=self._address, reason=str(error))

    async def run(self, status: Callable[[], str]) -> None:
        """Say that the daemon is ready, then that it is alive and what it does, until cancelled."""
        self.tell("READY=1", f"STATUS={_one_line(status())}")
        if not self._address:
            return
        period_s = STATUS_S if self._watchdog_s is None else min(STATUS_S, self._watchdog_s / 2)
        while True:
            await trio.sleep(period_s)
            signs = ["WATCHDOG=1"] if self._watchdog_s is not None else []
            self.tell(*signs, f"STATUS={_one_line(status())}")


def _watchdog_s(environment: Mapping[str, str]) -> float | None:
    """Return how long the manager waits for a sign of life, None when it does not wait for this process."""
    text, pid = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID", "")
    if not text.isdecimal() or int(text) == 0 or pid not in ("", str(os.getpid())):
        return None
    return int(text) / 1e6


def _one_line(text: str) -> str:
    return " ".join(text.split())[:MAX_STATUS_CHARACTERS]
