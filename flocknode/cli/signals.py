"""Stops a long-running command cleanly when the process is asked to end."""

import signal
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    # The stubs that libp2p brings stand before trio's own types.
    from trio_typing import TaskStatus


async def run_until_signal(main: Callable[[], Awaitable[object]]) -> None:
    """Run `main` until it returns, or cancel it at SIGTERM or SIGINT; a second signal ends the process at once."""
    async with trio.open_nursery() as nursery:
        await nursery.start(_cancel_at_signal, nursery.cancel_scope)
        await main()
        nursery.cancel_scope.cancel()


async def _cancel_at_signal(scope: trio.CancelScope, *, task_status: "TaskStatus[None]") -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            # The handlers go back to what they were, so that impatience works.
            scope.cancel()
            return
