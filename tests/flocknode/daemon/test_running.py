"""Starting, running locked, and stopping a real daemon; and what each way of failing says."""

import re
import select
import shutil
import socket
from contextlib import ExitStack, contextmanager, suppress

from flocknode.config import change_setting
from flocknode.errors import Exit
from flocknode.home import Home
from flocknode.log_files import read_lines
from flocknode.rpc.records import NodeStatus, Outcome
from tests.dataset_files import write_dataset

BOB = "0b" * 32
# Twice what a daemon may take, so that a busy machine does not fail the suite.
STOP_S = 4


@contextmanager
def ask_without_reading(home):
    """Have eight clients that sent what their sockets take and are being answered, while the block runs."""
    with ExitStack() as clients:
        for _ in range(8):
            client = clients.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            client.connect(str(home.find_socket()))
            client.setblocking(False)
            with suppress(BlockingIOError):
                while client.send(b'{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}\n'):
                    pass
            assert select.select([client], [], [], 10)[0], "no answer comes"
        yield


def test_a_locked_node_replicates_and_says_what_it_cannot_do(daemon, tmp_path, write_private):
    """Without its passphrase the node decides blocks; what needs the account ends with code 5 and the way out."""
    daemon.start()
    code, out, _ = daemon.run("status")
    assert (code, "locked: open it with `flocknode keys unlock`" in out) == (Exit.OK, True)
    code, out, err = daemon.run(f"tx transfer {BOB} 1")
    assert (code, out) == (Exit.LOCKED, "")
    assert "the account of this node is locked" in err
    assert "flocknode keys unlock" in err
    write_dataset(tmp_path / "data")
    creating = "arena create x --family linear --set inputs=1 --set outputs=2 --metric accuracy --escrow 1 --data-a {0}"
    code, _, _ = daemon.run(creating.format(tmp_path / "data"), "--data-b", tmp_path / "data")
    assert code == Exit.LOCKED
    assert not any(path.is_file() for path in daemon.home.blobs.rglob("*")), "nothing was sealed in vain"
    assert daemon.call("node.status", NodeStatus).height >= 1

    write_private(tmp_path / "wrong", "not the passphrase\n")
    code, _, err = daemon.run("keys unlock --passphrase-file", tmp_path / "wrong")
    assert (code, "the passphrase does not open" in err) == (Exit.LOCKED, True)
    code, _, err = daemon.run("keys unlock")
    assert (code, "--passphrase-file FILE" in err) == (Exit.LOCKED, True)
    code, out, _ = daemon.run("keys unlock --passphrase-file", daemon.passphrase_file)
    assert (code, out.startswith("unlocked ")) == (Exit.OK, True)
    code, out, _ = daemon.run(f"tx transfer {BOB} 1")
    assert (code, out.split()[:3]) == (Exit.OK, ["included", "in", "block"])
    assert not daemon.call("node.status", NodeStatus).is_locked
    code, out, _ = daemon.run("keys lock")
    assert (code, out.startswith("locked ")) == (Exit.OK, True)
    code, _, err = daemon.run(f"tx transfer {BOB} 1")
    assert (code, "flocknode keys unlock" in err) == (Exit.LOCKED, True)
    assert daemon.call("node.status", NodeStatus).is_locked


def test_what_cannot_start_says_why(daemon, make_daemon, tmp_path, write_private):
    """A second daemon on a home or on a port, a wrong passphrase and a typo in the settings each end at once."""
    daemon.start("--passphrase-file", str(daemon.passphrase_file))
    code, out, err = daemon.run("node")
    assert (code, out) == (Exit.ERROR, "")
    assert f"is in use by process {daemon.process.pid}" in err
    assert "Stop that process, or choose another folder with --home." in err

    other = make_daemon(Home(tmp_path / "other"))
    shutil.copytree(daemon.home.path, other.home.path, ignore=lambda *_: ["flocknode.sock", "data", "port"])
    for folder in (other.home.data, other.home.blobs):
        folder.mkdir(exist_ok=True)
    port = daemon.home.load_port()
    change_setting(other.home, "network.port", port)
    code, _, err = other.run("node")
    assert (code, re.search(rf"port {port} .*is taken by another process", err) is not None) == (Exit.ERROR, True)
    assert "network.port" in err.splitlines()[-1], "it says where the port is set"
    code, out, _ = other.run("doctor")
    assert (code, f"port {port} is taken" in out) == (Exit.ERROR, True)

    write_private(tmp_path / "wrong", "not the passphrase\n")
    code, _, err = other.run("node --passphrase-file", tmp_path / "wrong")
    assert (code, "the passphrase does not open" in err) == (Exit.LOCKED, True)
    (tmp_path / "wrong").chmod(0o644)
    code, _, err = other.run("node --passphrase-file", tmp_path / "wrong")
    assert (code, f"chmod 600 {tmp_path / 'wrong'}" in err) == (Exit.ERROR, True)

    text = other.home.config_file.read_text()
    other.home.config_file.write_text(text.replace("port =", "prot ="))
    code, _, err = other.run("node")
    assert (code, "`prot` - at `$.network`" in err) == (Exit.ERROR, True)
    assert daemon.process.poll() is None, "the first daemon goes on"


def test_a_stop_is_quick_and_told(daemon, tmp_path):
    """A service manager hears that the daemon is ready, alive and stopping; the stop takes no longer than it may.

    Not even for clients that ask for the longest answer, as often as they can, and read none.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(10)
        daemon.start(NOTIFY_SOCKET=str(tmp_path / "notify"), WATCHDOG_USEC="400000")
        assert manager.recv(1000).startswith(b"READY=1\nSTATUS=height ")
        assert manager.recv(1000).startswith(b"WATCHDOG=1\n")
        with ask_without_reading(daemon.home):
            code, seconds = daemon.stop()
        assert (code, seconds < STOP_S) == (0, True), seconds
        heard = b""
        while heard != b"STOPPING=1":
            heard = manager.recv(1000)
    assert not daemon.home.find_socket().exists()


def test_the_log_has_two_lines_a_block_at_most(daemon):
    """Blocks with transactions and without leave one line each at level info, and phases at most one more."""
    daemon.start("--passphrase-file", str(daemon.passphrase_file))
    for _ in range(5):
        daemon.call("tx.transfer", Outcome, to=BOB, amount_units=1)
    daemon.stop()
    events = [line.event for line in read_lines(daemon.home.log_file, 0) if line.level == "info"]
    blocks = events.count("block")
    assert blocks >= 5
    assert [event for event in events if event not in ("block", "started", "stopped")] == []
    form = r"\d\d:\d\d:\d\d \* block \d+  r\d+  \d+ txs  1/1 signed  \d+ ms"
    shown = daemon.output.read_text().splitlines()
    assert sum(1 for line in shown if re.fullmatch(form, line)) == blocks
