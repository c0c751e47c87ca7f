"""What all tests share."""

import signal


def pytest_configure() -> None:
    """Take interrupts as a terminal would send them: started in the background, a shell has them ignored from birth.

    Processes that tests start would inherit that, and those that wait for Ctrl-C would never hear it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
