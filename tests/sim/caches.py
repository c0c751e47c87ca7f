"""Pure functions of cryptography, remembered for all simulated nodes of a process: real results, each computed once."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import pytest

from protocol import crypto, vrf
from protocol.errors import ProtocolError

MAX_REMEMBERED = 20_000


def remember(function: Any) -> Any:
    """Return the function with its results and refusals remembered."""

    @lru_cache(maxsize=MAX_REMEMBERED)
    def outcome(arguments: tuple[Any, ...], options: tuple[tuple[str, Any], ...]) -> tuple[Any, ProtocolError | None]:
        try:
            return function(*arguments, **dict(options)), None
        except ProtocolError as error:
            return None, error

    def remembered(*arguments: Any, **options: Any) -> Any:
        result, error = outcome(arguments, tuple(options.items()))
        if error is not None:
            raise error.with_traceback(None)
        return result

    return remembered


PURE = (
    (crypto, "sign"),
    (crypto, "verify"),
    (crypto, "public_key"),
    (crypto, "multiset_element"),
    (vrf, "prove"),
    (vrf, "verify"),
)
REMEMBERED = [(module, name, remember(getattr(module, name))) for module, name in PURE]


@contextmanager
def shared_crypto() -> Iterator[None]:
    """Let all nodes of this process, in all its worlds, share what was signed, verified and hashed."""
    with pytest.MonkeyPatch.context() as patch:
        for module, name, remembered in REMEMBERED:
            patch.setattr(module, name, remembered)
        yield
