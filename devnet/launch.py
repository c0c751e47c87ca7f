"""Runs something with a folder's daemons, and lets none outlive it: one launcher per folder, Ctrl-C, SIGTERM."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import trio

from devnet.errors import DevnetError
from devnet.flock import Flock
from devnet.state import State
from storage.errors import HomeLocked
from storage.lock import HomeLock

# What the shell expects of a program that Ctrl-C ended.
INTERRUPTED = 130


@dataclass
class Launch:
    """What runs until it is done or told to stop, and the exit code in the latter case."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    code_if_stopped: int = INTERRUPTED


Main = Callable[[Launch], Awaitable[int]]


@contextmanager
def hold(state: State) -> Iterator[None]:
    """Be the only launcher of a folder. Raises `DevnetError` when another one is."""
    state.path.mkdir(parents=True, exist_ok=True)
    try:
        lock = HomeLock(state.path)
    except HomeLocked as error:
        raise DevnetError(
            f"the devnet in {state.path} is already running",
            help="See `python -m devnet status`; stop it with Ctrl-C there or `python -m devnet down` here.",
        ) from error
    with lock:
        yield


def run_held(main: Main) -> int:
    """Run until `main` returns its exit code; Ctrl-C and SIGTERM cancel the scope of the launch that it is given."""
    return trio.run(_run_until_signal, main)


async def _run_until_signal(main: Main) -> int:
    launch, code = Launch(), None
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals, unwrapped():
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_cancel_at_signal, signals, launch.scope)
            with launch.scope:
                code = await main(launch)
            nursery.cancel_scope.cancel()
    return launch.code_if_stopped if code is None else code


async def _cancel_at_signal(signals: AsyncIterator[int], scope: trio.CancelScope) -> None:
    async for _ in signals:
        scope.cancel()


@asynccontextmanager
async def running(flock: Flock, tell: Callable[[str], None]) -> AsyncIterator[trio.Nursery]:
    """Give a nursery for the time that the daemons run; at its end they are stopped. A further Ctrl-C kills them."""
    try:
        with unwrapped():
            async with trio.open_nursery() as nursery:
                yield nursery
                nursery.cancel_scope.cancel()
    finally:
        tell("Stopping the daemons; Ctrl-C kills them.")
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as stopping:
                stopping.start_soon(_kill_at_signal, flock)
                await flock.stop()
                stopping.cancel_scope.cancel()


async def _kill_at_signal(flock: Flock) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _ in signals:
            flock.kill()


@contextmanager
def unwrapped() -> Iterator[None]:
    """Raise a failure as itself, not in the groups of nurseries that it came through."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
            error = error.exceptions[0]
        if error is group:
            raise
        raise error from None
