"""The launcher's socket: what a second terminal may ask of a running devnet. Speaks like a daemon's socket does."""

import os
from collections.abc import Callable

import trio
from msgspec import Struct

from devnet.daemon import Daemon
from devnet.errors import DevnetError
from devnet.flock import Flock
from devnet.state import State
from flocknode.errors import HomeMissing, NotRunning
from flocknode.rpc.client import open_client
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.events import EventHub
from flocknode.rpc.server import RpcServer


class Done(Struct, frozen=True):
    """What was done: to which node, and the process of its daemon; no node: the launcher itself."""

    node: str | None
    pid: int


def make_server(flock: Flock, *, tell: Callable[[str], None], stop: Callable[[], None]) -> RpcServer:
    """Return the server of a running devnet; `tell` says on its screen what was done, `stop` ends it."""

    async def kill(*, node: str) -> Done:
        """End a daemon at once, as a crash would."""
        daemon = flock.find(node)
        pid = require_running(daemon)
        daemon.kill()
        await daemon.wait()
        tell(f"{daemon.name}'s daemon was killed (pid {pid})")
        return Done(daemon.name, pid)

    async def restart(*, node: str) -> Done:
        """Start a daemon again; one that runs is stopped first."""
        daemon = flock.find(node)
        await daemon.stop()
        daemon.start()
        status = await daemon.wait_ready()
        tell(f"{daemon.name}'s daemon runs again (pid {status.pid})")
        return Done(daemon.name, status.pid)

    async def down() -> Done:
        """Stop all daemons and the launcher."""
        await trio.lowlevel.checkpoint()
        stop()
        return Done(None, os.getpid())

    handlers: dict[str, Handler] = {"devnet.kill": kill, "devnet.restart": restart, "devnet.down": down}
    return RpcServer(flock.state.control.choose_socket(), handlers, EventHub())


def require_running(daemon: Daemon) -> int:
    """Return the daemon's process id; raises `DevnetError` when it does not run."""
    if daemon.pid is None:
        raise DevnetError(
            f"{daemon.name}'s daemon does not run", help=f"Start it: python -m devnet restart {daemon.name}"
        )
    return daemon.pid


async def order(state: State, method: str, **params: object) -> Done:
    """Ask the launcher of a folder to do something. Raises `RpcError`, or `DevnetError` when none runs."""
    try:
        async with open_client(state.control) as client:
            return await client.call(method, Done, **params)
    except (NotRunning, HomeMissing) as error:
        raise DevnetError(f"no devnet runs in {state.path}", help="Start it with ./devnet/run.") from error
