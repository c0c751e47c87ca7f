"""What can be wrong with a node, looked for one thing after the other: machine, home, daemon. Changes nothing."""

import importlib.metadata
import os
import re
import resource
import shutil
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from msgspec import Struct

from flocknode import __version__
from flocknode.config import load_config
from flocknode.errors import FlocknodeError, NotRunning
from flocknode.founding import load_document
from flocknode.home import Home
from flocknode.keystore import is_sealed, load_public_keys
from flocknode.log_files import read_lines
from flocknode.processes import WANTED_FILES
from flocknode.rpc.call import call
from flocknode.rpc.records import NodeStatus
from protocol.errors import ProtocolError
from storage.errors import HomeLocked, StorageError
from storage.leveldb_log import check_logs
from storage.lock import HomeLock

PYTHONS = ((3, 11), (3, 12))
LITTLE_SPACE_BYTES = 5 * 1024**3
MIN_SPACE_BYTES = 512 * 1024**2
# A replica judges the time of a block by its own clock; so far ahead of it a head cannot be.
MAX_AHEAD_MS = 2_000
# Of the newest log, so many lines are searched for errors.
SEARCHED_LINES = 2_000
HOST = "127.0.0.1"

CheckState = Literal["ok", "warning", "failed"]


class Check(Struct, frozen=True):
    """One thing that was looked at; `help` says what to do, empty when all is well."""

    name: str
    state: CheckState
    found: str
    help: str = ""


class Checkup(Struct, frozen=True):
    """Everything that was looked at."""

    checks: tuple[Check, ...]


def examine(home: Home) -> Checkup:
    """Look at everything. What needs a home is left out where there is none."""
    checks = [check_python(), check_packages(), check_file_limit()]
    if not home.config_file.is_file():
        help_text = f"Create one with `flocknode init --home {home.path}`."
        return Checkup((*checks, Check("home", "failed", f"there is no node in {home.path}", help_text)))
    status, daemon = check_daemon(home)
    checks += [check_permissions(home), *check_files(home), check_space(home), daemon]
    checks += [check_clock(status), *check_log_file(home)]
    checks += [check_port(home), check_data(home)] if status is None else [check_peers(status), check_progress(status)]
    return Checkup(tuple(checks))


def check_python() -> Check:
    """Look at the version of Python."""
    found = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] not in PYTHONS:
        return Check("python", "failed", found, "Use Python 3.11 or 3.12.")
    return Check("python", "ok", found)


def check_packages() -> Check:
    """Look whether every package that flocknode needs is there, in a version that will do."""
    try:
        required = importlib.metadata.requires("flocknode") or []
    except importlib.metadata.PackageNotFoundError:
        return Check("packages", "warning", "flocknode is not installed, only imported", "Run ./devnet/setup.sh.")
    wrong = [text for text in map(_find_wrong, required) if text]
    if wrong:
        return Check("packages", "failed", ", ".join(wrong), "Install them anew: ./devnet/setup.sh.")
    return Check("packages", "ok", f"flocknode {__version__} and what it needs")


def _find_wrong(requirement: str) -> str | None:
    """Return what is wrong with an installed package, None if nothing is; extras are not needed to run."""
    found = re.match(r"([A-Za-z0-9._-]+)\s*([^;]*)", requirement)
    if found is None or "extra ==" in requirement:
        return None
    name, least = found[1], re.search(r">=\s*([0-9.]+)", found[2])
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return f"{name} is missing"
    if least is not None and _numbers(version) < _numbers(least[1]):
        return f"{name} {version} is older than {least[1]}"
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version.split("+")[0])[:3])


def check_file_limit() -> Check:
    """Look how many files a daemon may open here; it raises the soft limit by itself."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < WANTED_FILES:
        help_text = f"Raise it to {WANTED_FILES}: `ulimit -Hn` in a shell, LimitNOFILE= in a service of systemd."
        return Check("open files", "warning", f"at most {hard}", help_text)
    return Check("open files", "ok", "no limit" if hard == resource.RLIM_INFINITY else f"at most {hard}")


def check_permissions(home: Home) -> Check:
    """Look whether anybody else can read the home."""
    wide = [path for path in (home.path, home.keys) if stat.S_IMODE(path.stat().st_mode) & 0o077]
    wide += [path for path in home.keys.iterdir() if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if wide:
        names = " ".join(map(str, wide))
        return Check("permissions", "failed", f"others can read {names}", f"Run `chmod go-rwx {names}`.")
    return Check("permissions", "ok", "the home is its owner's alone")


def check_files(home: Home) -> Iterator[Check]:
    """Look at the files that the daemon needs to start."""
    yield _try("config.toml", "in order", lambda: load_config(home))
    if home.genesis_file.exists():
        yield _try("genesis.json", "in order", lambda: load_document(home.genesis_file))
    else:
        help_text = f"Add the chain's document: `flocknode init --genesis FILE --home {home.path}`."
        yield Check("genesis.json", "failed", "there is no chain yet", help_text)
    words = "the account's is under a passphrase" if is_sealed(home) else "the account's is in clear"
    yield _try("keys", words, lambda: load_public_keys(home))


def _try(name: str, found: str, look: Callable[[], object]) -> Check:
    try:
        look()
    except (FlocknodeError, ProtocolError) as error:
        return Check(name, "failed", error.message, error.help)
    except (StorageError, OSError) as error:
        return Check(name, "failed", str(error), getattr(error, "help", ""))
    return Check(name, "ok", found)


def check_space(home: Home) -> Check:
    """Look how much room the disk has."""
    free = shutil.disk_usage(home.path).free
    found = f"{free / 1024**3:.1f} GiB free"
    if free < MIN_SPACE_BYTES:
        return Check("disk", "failed", found, "Free some space: a node that cannot write stops.")
    return (
        Check("disk", "warning", found, "Free some space soon.")
        if free < LITTLE_SPACE_BYTES
        else Check("disk", "ok", found)
    )


def check_daemon(home: Home) -> tuple[NodeStatus | None, Check]:
    """Look whether the daemon answers; return its status if it does."""
    try:
        status = call(home, "node.status", NodeStatus)
    except NotRunning as error:
        return None, Check("daemon", "warning", "not running", error.help)
    except FlocknodeError as error:
        return None, Check("daemon", "failed", error.message, error.help or "Stop it and start it again.")
    locked = ", account locked" if status.is_locked else ""
    found = f"runs (pid {status.pid}), version {status.version}{locked}"
    if status.version != __version__:
        return status, Check("daemon", "warning", found, f"This command is version {__version__}: restart the daemon.")
    if status.is_locked:
        return status, Check("daemon", "warning", found, "Open the account with `flocknode keys unlock`.")
    return status, Check("daemon", "ok", found)


def check_clock(status: NodeStatus | None) -> Check:
    """Look whether the clock is plausible: not behind the newest block, and kept by somebody if the kernel knows."""
    now_ms = time.time_ns() // 10**6
    help_text = "Let the system keep it, such as with `timedatectl set-ntp true`."
    if status is not None and status.time_ms - now_ms > MAX_AHEAD_MS:
        return Check("clock", "failed", f"{status.time_ms - now_ms} ms behind the newest block", help_text)
    # systemd-timesyncd leaves this file behind once it has set the clock; other services leave nothing.
    is_kept = Path("/run/systemd/timesync/synchronized").exists()
    return Check("clock", "ok", "kept by timesyncd" if is_kept else "plausible; nothing says who keeps it")


def check_log_file(home: Home) -> Iterator[Check]:
    """Look for errors in the newest lines of the daemon's log."""
    newest = list(read_lines(home.log_file, 0))[-SEARCHED_LINES:]
    errors = [line for line in newest if line.level == "error"]
    if errors:
        help_text = "See `flocknode logs --level error`; `flocknode log verify` says whether the chain is whole."
        yield Check("log file", "warning", f"{len(errors)} errors, the last: {errors[-1].text}", help_text)
    elif newest:
        yield Check("log file", "ok", f"no errors in the newest {len(newest)} lines")


def check_port(home: Home) -> Check:
    """Look whether the port that the daemon will listen on is free."""
    port = home.load_port()
    try:
        port = load_config(home).network.port or port
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((HOST, port))
    except FlocknodeError as error:
        return Check("port", "failed", error.message, error.help)
    except OSError as error:
        help_text = "Stop the process that has it, or choose another with `flocknode config set network.port 0`."
        return Check("port", "failed", f"port {port} is taken: {os.strerror(error.errno or 0)}", help_text)
    return Check("port", "ok", f"port {port} is free" if port else "any: chosen at the first start")


def check_data(home: Home) -> Check:
    """Look for damage that shows without reading everything, while no daemon holds the home."""
    try:
        with HomeLock(home.path):
            if home.database.is_dir():
                check_logs(home.database)
    except HomeLocked as error:
        return Check("data", "warning", str(error.args[0]), error.help)
    except StorageError as error:
        return Check("data", "failed", str(error.args[0]), error.help)
    return Check("data", "ok", "no damage at first sight; `flocknode log verify` reads everything")


def check_peers(status: NodeStatus) -> Check:
    """Look whether anybody is connected."""
    if status.peers:
        return Check("peers", "ok", f"{status.peers} connected")
    help_text = "Name a node to dial: `flocknode config set network.bootstrap '[\"/ip4/...\"]'`, then restart."
    return Check("peers", "warning", "nobody is connected", help_text)


def check_progress(status: NodeStatus) -> Check:
    """Repeat why the node makes progress or does not."""
    return Check("progress", "ok", f"height {status.height}; {status.cause}")
