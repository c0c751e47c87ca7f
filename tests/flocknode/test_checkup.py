"""What `doctor` finds: each fault is planted, found, and comes with what to do about it."""

import resource
import shutil
import socket
import time
from collections import namedtuple

import pytest
import structlog

from flocknode import checkup, logs
from flocknode.checkup import check_clock, examine
from flocknode.errors import ConnectionLost
from flocknode.founding import create_home, make_genesis, save_document
from flocknode.home import Home
from storage.database import Database
from storage.lock import HomeLock


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A sound home whose daemon does not run."""
    home = Home(tmp_path / "alice")
    create_home(home, genesis=None, port=None, bootstrap=(), name=None, passphrase=None)
    save_document(
        home.genesis_file, make_genesis([home], preset="devnet", name="t", balance_units=10**12, bond_units=10**12)
    )
    return home


def find(home, name):
    """Return (state, what was found, what to do) of one check."""
    (check,) = [one for one in examine(home).checks if one.name == name]
    return check.state, check.found, check.help


def test_a_sound_home_has_nothing_but_a_daemon_to_start(home):
    """Nothing fails; what to do is to start the daemon."""
    checks = examine(home).checks
    assert [one.name for one in checks if one.state == "failed"] == []
    assert f"flocknode node --home {home.path}" in find(home, "daemon")[2]
    assert all(one.help for one in checks if one.state != "ok")
    assert len({one.name for one in checks}) == len(checks)


def test_no_home(tmp_path):
    """Where there is no node, the command that makes one is named, and nothing else is looked for."""
    assert find(Home(tmp_path / "none"), "home")[2] == f"Create one with `flocknode init --home {tmp_path / 'none'}`."


def test_the_wrong_python_and_packages(home, monkeypatch):
    """Another Python, and a package that is missing or too old, are failures."""
    monkeypatch.setattr(checkup.sys, "version_info", (3, 9, 1))
    assert find(home, "python")[:2] == ("failed", "3.9.1")
    monkeypatch.setattr(
        checkup.importlib.metadata,
        "requires",
        lambda _: ["trio>=99.1", "no-such-thing>=1", "pytest>=9; extra == 'dev'", "msgspec"],
    )
    state, found, _ = find(home, "packages")
    assert state == "failed"
    assert "is older than 99.1" in found
    assert "no-such-thing is missing" in found


def test_permissions(home):
    """A key and a home that others can read are named with the command that mends both."""
    (home.keys / "consensus.seed").chmod(0o640)
    home.path.chmod(0o755)
    state, _, help_text = find(home, "permissions")
    assert (state, help_text) == ("failed", f"Run `chmod go-rwx {home.path} {home.keys / 'consensus.seed'}`.")
    assert find(home, "keys")[0] == "failed"


def test_files(home):
    """A typo, a document that is none, no document, and a lost key are each found."""
    home.config_file.write_text(home.config_file.read_text().replace("port =", "prot ="))
    assert "`prot` - at `$.network`" in find(home, "config.toml")[1]
    home.genesis_file.write_text("{}")
    assert find(home, "genesis.json")[0] == "failed"
    home.genesis_file.unlink()
    assert "flocknode init --genesis FILE" in find(home, "genesis.json")[2]
    (home.keys / "peer.seed").unlink()
    assert "peer.seed is missing" in find(home, "keys")[1]


@pytest.mark.parametrize(("free", "state"), [(100 * 2**20, "failed"), (2**30, "warning"), (2**40, "ok")])
def test_space(home, monkeypatch, free, state):
    """A full disk fails, one that fills up is a warning."""
    usage = namedtuple("usage", "free")
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage(free))
    assert find(home, "disk")[0] == state


@pytest.mark.parametrize(
    ("hard", "state"), [(1024, "warning"), (4096, "ok"), (resource.RLIM_INFINITY, "ok")], ids=["few", "enough", "all"]
)
def test_open_files(home, monkeypatch, hard, state):
    """A hard limit below what a busy daemon opens is a warning; the soft one is none, for the daemon raises it."""
    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, hard))
    assert find(home, "open files")[0] == state


def test_the_port(home):
    """A port that somebody else has is found, with the command that chooses another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        home.save_port(taken.getsockname()[1])
        state, found, help_text = find(home, "port")
    assert (state, str(taken) is not None) == ("failed", True)
    assert f"port {home.load_port()} is taken" in found
    assert "flocknode config set network.port 0" in help_text
    assert find(home, "port")[0] == "ok"


def test_the_clock(home):
    """A clock that is behind the newest block is wrong."""

    class Status:
        time_ms = time.time_ns() // 10**6 + 60_000

    assert check_clock(Status).state == "failed"
    Status.time_ms -= 60_000
    assert check_clock(Status).state == "ok"


def test_errors_in_the_log(home):
    """Errors that the daemon wrote are counted and the last one shown."""
    output = logs.configure(level="info", file=home.log_file)
    structlog.get_logger().info("started")
    assert find(home, "log file")[0] == "ok"
    structlog.get_logger().error("the disk is on fire")
    output.close()
    structlog.reset_defaults()
    state, found, help_text = find(home, "log file")
    assert (state, "1 errors, the last: x the disk is on fire" in found) == ("warning", True)
    assert "flocknode log verify" in help_text


def test_damage_and_a_home_in_use(home):
    """A hidden record in the database is found; a home that another process holds is left alone."""
    database = Database(home.database)
    for number in range(20):
        database.write({b"key %d" % number: b"x" * 50})
    database.close()
    assert find(home, "data")[0] == "ok"
    (log,) = home.database.glob("*.log")
    data = bytearray(log.read_bytes())
    data[5] = 0xFF
    log.write_bytes(data)
    assert find(home, "data")[:1] == ("failed",)
    assert "flocknode db repair" in find(home, "data")[2]
    with HomeLock(home.path):
        assert find(home, "data")[0] == "warning"


def test_a_daemon_that_does_not_answer(home, monkeypatch):
    """A daemon that breaks off is a failure with its words."""

    def call(*_, **__):
        raise ConnectionLost("the daemon closed it")

    monkeypatch.setattr(checkup, "call", call)
    assert find(home, "daemon")[:2] == ("failed", "the daemon closed it")
