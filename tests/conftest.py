"""What all tests share."""

import logging
import signal
from collections.abc import Iterator

import pytest
import structlog


def pytest_configure() -> None:
    """Take interrupts as a terminal would send them: started in the background, a shell has them ignored from birth.

    Processes that tests start would inherit that, and those that wait for Ctrl-C would never hear it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def kept_logging() -> Iterator[None]:
    """Undo what a test does to the logs of this process, so that the next one sees all that is said."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)
