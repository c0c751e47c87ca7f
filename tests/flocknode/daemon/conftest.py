"""A daemon as its users meet it: a real process, a replica that decides alone, an account under a passphrase."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest

from flocknode import sealed_key
from flocknode.founding import create_home, make_genesis, save_document
from flocknode.home import Home
from flocknode.rpc.call import call
from tests.daemon_task import connect

ROOT = Path(__file__).parents[3]
PASSPHRASE = "correct horse battery staple"
START_S = 60


class Daemon:
    """A home with its process, if one runs."""

    def __init__(self, home):
        self.home = home
        self.output = home.path / "output"
        self.process = None

        # What is in the environment of its process, and where that looks for modules before anywhere else.
        self.environment = {}
        self.path = ""
        self.passphrase = PASSPHRASE
        self.passphrase_file = home.path / "passphrase"

    def start(self, *arguments, **environment):
        """Start the process and return once it answers."""
        words = [sys.executable, "-m", "flocknode", "node", "--home", str(self.home.path), *arguments]
        path = os.pathsep.join(filter(None, (self.path, str(ROOT))))
        env = {**os.environ, "PYTHONPATH": path, **self.environment, **environment}
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=env)
        deadline = time.monotonic() + START_S
        while not self.home.find_socket().exists():
            assert self.process.poll() is None, self.output.read_text()
            assert time.monotonic() < deadline, self.output.read_text()
            time.sleep(0.02)
        return self

    def stop(self):
        """Ask the process to stop; return its exit code and how long it took."""
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30), time.monotonic() - began

    def kill(self):
        """End the process at once, if one runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()

    def run(self, command, *more):
        """Run the command line on the home: (exit code, stdout, stderr)."""
        words = [sys.executable, "-m", "flocknode", *command.split(), *map(str, more), "--home", str(self.home.path)]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60, env=env
        )
        return done.returncode, done.stdout, done.stderr

    def call(self, method, result=object, **params):
        return call(self.home, method, result, **params)


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """A home with an account under a passphrase, and a chain that it can decide on alone."""
    home = Home(tmp_path_factory.mktemp("daemon") / "alice")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sealed_key, "OPERATIONS", 1)
        patch.setattr(sealed_key, "MEMORY_BYTES", 8192)
        create_home(home, genesis=None, port=None, bootstrap=(), name=None, passphrase=PASSPHRASE)
    document = make_genesis(
        [home], preset="devnet", name="t", balance_units=10**13, bond_units=10**12, governance=home.path.name
    )
    save_document(home.genesis_file, document)
    return home.path


@pytest.fixture
def daemon(template, tmp_path):
    """A copy of the template; whatever runs on it at the end is killed."""
    shutil.copytree(template, tmp_path / "alice")
    daemon = Daemon(Home(tmp_path / "alice"))
    write_private(daemon.passphrase_file, PASSPHRASE + "\n")
    yield daemon
    daemon.kill()


@pytest.fixture(name="write_private")
def write_private_fixture():
    """Give the function that writes a file that others cannot read."""
    return write_private


def write_private(path, text):
    path.touch(mode=0o600)
    path.write_text(text)


@pytest.fixture
def make_daemon():
    """Give the function that makes a daemon of a home."""
    return Daemon


@pytest.fixture
def make_flock(tmp_path):
    """Give the function that makes daemons, by name, of one chain whose first decides its blocks; all end killed.

    `with_passphrases` locks each account under one of its own; `params` are those of the chain that differ.
    """
    made = []

    def make(names, *, level="info", balance_units=10**13, with_passphrases=False, **params):
        daemons = {name: Daemon(Home(tmp_path / name)) for name in names}
        made.extend(daemons.values())
        for name, daemon in daemons.items():
            daemon.passphrase = f"the passphrase of {name}"
            passphrase = daemon.passphrase if with_passphrases else None
            create_home(daemon.home, genesis=None, port=None, bootstrap=(), name=None, passphrase=passphrase)
            if with_passphrases:
                write_private(daemon.passphrase_file, daemon.passphrase + "\n")
        homes = [daemon.home for daemon in made]
        document = make_genesis(homes, preset="devnet", name="t", balance_units=balance_units, bond_units=10**12)
        params = msgspec.structs.replace(document.params, **params)
        connect(daemons, msgspec.structs.replace(document, params=params), level=level)
        return daemons

    yield make
    for daemon in made:
        daemon.kill()
