"""Work that is given up once the log does not wait for it any more."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from flocknode.errors import FlocknodeError
from protocol.errors import ProtocolError

T = TypeVar("T")

# How often it is looked whether the log still waits.
LOOK_S = 0.5


async def run_while(is_wanted: Callable[[], bool], act: Callable[[], Awaitable[T]]) -> T | None:
    """Return what an act comes to; None once nobody wants it any more, and then the act is cancelled.

    Raises what the act raises, if that is a `FlocknodeError` or a `ProtocolError`.
    """
    result: T | None = None
    failure: FlocknodeError | ProtocolError | None = None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_when_unwanted, is_wanted, nursery.cancel_scope)
        try:
            result = await act()
        except (FlocknodeError, ProtocolError) as error:
            # Raised outside of the nursery, which would wrap it into a group.
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return result


async def _cancel_when_unwanted(is_wanted: Callable[[], bool], scope: trio.CancelScope) -> None:
    while True:
        if not is_wanted():
            scope.cancel()
        await trio.sleep(LOOK_S)
