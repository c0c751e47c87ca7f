"""What a service manager hears, over the socket that it names in the environment."""

import os
import socket

import pytest
import structlog
import trio

from flocknode.systemd import MAX_STATUS_CHARACTERS, STATUS_S, Notifier


@pytest.fixture
def manager(tmp_path):
    """A manager's socket, and a function that returns what it heard."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)

        def hear():
            heard = []
            while True:
                try:
                    heard.append(listener.recv(4096).decode().split("\n"))
                except BlockingIOError:
                    return heard

        yield str(tmp_path / "notify"), hear


async def test_ready_then_alive_then_stopping(manager, nursery, autojump_clock):
    """Ready comes at once; signs of life at least twice in the allowed time; the end when it is told."""
    address, hear = manager
    notifier = Notifier({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "4000000", "WATCHDOG_PID": str(os.getpid())})
    nursery.start_soon(notifier.run, lambda: "height 3\nidle")
    await trio.testing.wait_all_tasks_blocked()
    assert hear() == [["READY=1", "STATUS=height 3 idle"]]
    await trio.sleep(8.5)
    assert hear() == [["WATCHDOG=1", "STATUS=height 3 idle"]] * 4
    notifier.tell("STOPPING=1")
    assert hear() == [["STOPPING=1"]]


@pytest.mark.parametrize("environment", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "1"}])
async def test_no_watchdog_no_sign_of_life(manager, nursery, autojump_clock, environment):
    """Where no watchdog waits for this process, only the status is kept current."""
    address, hear = manager
    nursery.start_soon(Notifier({"NOTIFY_SOCKET": address, **environment}).run, lambda: "x" * 999)
    await trio.sleep(STATUS_S * 1.5)
    assert hear() == [["READY=1", f"STATUS={'x' * MAX_STATUS_CHARACTERS}"], [f"STATUS={'x' * MAX_STATUS_CHARACTERS}"]]


async def test_an_abstract_socket_is_found(nursery):
    """An address that begins with @ names a socket that is no file."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(f"\0flocknode-test-{os.getpid()}")
        Notifier({"NOTIFY_SOCKET": f"@flocknode-test-{os.getpid()}"}).tell("READY=1")
        assert listener.recv(100) == b"READY=1"


async def test_without_a_manager_nothing_happens(tmp_path):
    """No address: silence. An address where nobody listens: a warning, and the daemon goes on."""
    with structlog.testing.capture_logs() as lines:
        await Notifier({}).run(lambda: "")
        assert lines == []
        Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).tell("READY=1")
    assert [line["log_level"] for line in lines] == ["warning"]
