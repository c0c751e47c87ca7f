"""Stops a long-running command cleanly when the process is asked to end."""

import signal
from collections.abc import Awaitable, Callable

import trio


async def run_until_signal(main: Callable[[], Awaitable[object]]) -> None:
    """Run `main` until it returns, or cancel it at SIGTERM or SIGINT; a second signal ends the process at once."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_at_signal, nursery.cancel_scope)
        await main()
        nursery.cancel_scope.cancel()


async def _cancel_at_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            # The handlers go back to what they were, so that impatience works.
            scope.cancel()
            return
