"""All daemons together: started and stopped as one, and asked over RPC whichever of them lives."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from devnet.cast import CAST
from devnet.daemon import Daemon
from devnet.errors import DevnetError
from devnet.state import State
from flocknode.errors import ConnectionLost, NotRunning
from flocknode.rpc.client import open_client
from flocknode.rpc.records import NodeStatus

R = TypeVar("R")

# How long a question goes round while no daemon answers it, and the pause between two rounds.
ASK_S = 60.0
ASK_AGAIN_S = 0.2


class Flock:
    """The daemons of a devnet, by name."""

    def __init__(self, state: State, daemons: dict[str, Daemon] | None = None) -> None:
        """Take the cast's daemons, or others that have homes in the folder."""
        self.state = state
        self.daemons = daemons or {
            actor.name: Daemon(actor.name, state.home(actor.name), state.output(actor.name)) for actor in CAST
        }

    async def start(self) -> dict[str, NodeStatus]:
        """Start all daemons; return what each first answers. Raises `DaemonFailed`."""
        for daemon in self.daemons.values():
            daemon.output.unlink(missing_ok=True)
            daemon.start()
        found: dict[str, NodeStatus] = {}

        async def wait(daemon: Daemon) -> None:
            found[daemon.name] = await daemon.wait_ready()

        await _for_each(list(self.daemons.values()), wait)
        return {name: found[name] for name in self.daemons}

    async def stop(self) -> None:
        """Stop all daemons cleanly, those that take too long with force."""
        async with trio.open_nursery() as nursery:
            for daemon in self.daemons.values():
                nursery.start_soon(daemon.stop)

    def kill(self) -> None:
        """End all daemons at once."""
        for daemon in self.daemons.values():
            daemon.kill()

    def find(self, who: str) -> Daemon:
        """Return a daemon by its name or its number, which counts from 0. Raises `DevnetError`."""
        if who.isdecimal() and int(who) < len(CAST):
            return self.daemons[CAST[int(who)].name]
        if who in self.daemons:
            return self.daemons[who]
        raise DevnetError(
            f"there is no node {who!r}", help=f"Nodes: {', '.join(self.daemons)}, or 0 to {len(CAST) - 1}."
        )

    async def ask(self, name: str, method: str, result: type[R], /, **params: object) -> R:
        """Return what one daemon answers. Raises `RpcError`, or `NotRunning` or `ConnectionLost` when it is down."""
        async with open_client(self.daemons[name].home) as client:
            return await client.call(method, result, **params)

    async def ask_any(self, method: str, result: type[R], /, *, first: str = "", **params: object) -> R:
        """Return what a living daemon answers, `first` if it can; waits for one. Raises `RpcError` or `DevnetError`."""
        order = sorted(self.daemons, key=lambda name: name != first)
        with trio.move_on_after(ASK_S):
            while True:
                for name in order:
                    try:
                        return await self.ask(name, method, result, **params)
                    except (NotRunning, ConnectionLost):
                        continue
                await trio.sleep(ASK_AGAIN_S)
        raise DevnetError(f"no daemon answered {method} within {ASK_S:.0f} s")

    async def ask_all(self, method: str, result: type[R], /, **params: object) -> dict[str, R]:
        """Return what every daemon answers, by name; those that are down are missing."""
        found: dict[str, R] = {}

        async def ask(daemon: Daemon) -> None:
            try:
                found[daemon.name] = await self.ask(daemon.name, method, result, **params)
            except (NotRunning, ConnectionLost):
                return

        await _for_each(list(self.daemons.values()), ask)
        return {name: found[name] for name in self.daemons if name in found}

    async def watch(self, on_death: Callable[[Daemon], None]) -> None:
        """Tell of each daemon that ends although it should run, until cancelled."""
        async with trio.open_nursery() as nursery:
            for daemon in self.daemons.values():
                nursery.start_soon(_watch_one, daemon, on_death)


async def _watch_one(daemon: Daemon, on_death: Callable[[Daemon], None]) -> None:
    while True:
        await daemon.wait()
        if daemon.is_wanted and daemon.pid is None:
            daemon.is_wanted = False
            on_death(daemon)
        await trio.sleep(ASK_AGAIN_S)


async def _for_each(daemons: list[Daemon], do: Callable[[Daemon], Awaitable[None]]) -> None:
    """Do something for all at once; the first failure ends the others, and is raised alone."""
    try:
        async with trio.open_nursery() as nursery:
            for daemon in daemons:
                nursery.start_soon(do, daemon)
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None
