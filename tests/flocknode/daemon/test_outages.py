"""Four daemons as processes: two of them down, the third back, and one restored from an older copy of its home."""

import json
import shutil
import signal
import time

import msgspec
import pytest
import trio

from devnet.daemon import Daemon
from devnet.evidence import find_contradictions, read_messages
from devnet.homes import HOST, choose_ports
from flocknode.config import make_config, save_config
from flocknode.founding import create_home, make_genesis, save_document
from flocknode.home import Home
from flocknode.keystore import load_public_keys
from flocknode.replica.journal import Entry, Signed
from flocknode.rpc.client import open_client
from flocknode.rpc.records import NodeStatus
from protocol.codec import decode
from storage.wal import read_records

NAMES = ("ada", "bea", "cleo", "dora")
WAIT_S = 90
POLL_S = 0.1


class Flock:
    """The daemons by name."""

    def __init__(self, folder):
        homes = {name: Home(folder / name) for name in NAMES}
        for home in homes.values():
            create_home(home, genesis=None, port=None, bootstrap=(), name=None, passphrase=None)
        document = make_genesis(
            list(homes.values()), preset="devnet", name="t", balance_units=10**13, bond_units=10**12
        )
        # Blocks without transactions come often, so that there are many heights to stop at.
        params = msgspec.structs.replace(document.params, idle_block_ms=300)
        ports = choose_ports(dict.fromkeys(NAMES, 0))
        peers = {name: load_public_keys(home).peer_id for name, home in homes.items()}
        addresses = {name: f"/ip4/{HOST}/tcp/{ports[name]}/p2p/{peers[name]}" for name in NAMES}
        for name, home in homes.items():
            save_document(home.genesis_file, msgspec.structs.replace(document, params=params))
            others = tuple(address for other, address in addresses.items() if other != name)
            save_config(home, make_config(name=name, port=ports[name], bootstrap=others))
        self.homes = homes
        self.daemons = {name: Daemon(name, home, folder / f"{name}.out") for name, home in homes.items()}

    async def start(self, *names):
        for name in names:
            self.daemons[name].start()
        for name in names:
            await self.daemons[name].wait_ready()

    async def kill(self, *names):
        for name in names:
            self.daemons[name].kill()
            await self.daemons[name].wait()

    async def status(self, name):
        async with open_client(self.homes[name]) as client:
            return await client.call("node.status", NodeStatus)

    async def until(self, name, is_so):
        """Return the first status of a daemon for which something is so."""
        status = None
        with trio.move_on_after(WAIT_S):
            while True:
                status = await self.status(name)
                if is_so(status):
                    return status
                await trio.sleep(POLL_S)
        raise AssertionError(f"{name} after {WAIT_S} s: {status}")

    async def wait_for_height(self, height, *names):
        for name in names:
            await self.until(name, lambda status: status.height >= height)

    def logged(self, name, event):
        """Return the lines of a daemon's log file with this event."""
        lines = self.homes[name].log_file.read_text().splitlines()
        return [line for line in map(json.loads, lines) if line["event"] == event]

    def signed_heights(self, name):
        """Return the heights at which a stopped daemon signed since its log was begun anew or restored."""
        entries = [decode(payload, Entry) for payload in read_records(self.homes[name].journal)[0]]
        return {entry.message.height for entry in entries if isinstance(entry, Signed)}


@pytest.fixture
async def flock(tmp_path):
    flock = Flock(tmp_path)
    try:
        yield flock
    finally:
        with trio.CancelScope(shield=True):
            await flock.kill(*NAMES)


async def test_n4f2_two_down_one_back_and_a_restored_backup(flock, tmp_path):
    """The cause stands in the log and the status; one back is enough; old memory signs nothing until it is outdated."""
    await flock.start(*NAMES)
    await flock.wait_for_height(2, *NAMES)
    await flock.daemons["dora"].stop()
    backup = tmp_path / "backup"
    shutil.copytree(flock.homes["dora"].path, backup)
    await flock.start("dora")
    await flock.wait_for_height((await flock.status("ada")).height + 3, *NAMES)

    await flock.kill("bea", "cleo")
    stalled = await flock.until("ada", lambda status: status.cause != "" and "missing" in status.cause)
    assert stalled.cause == "power online 50 % (need > 66.7 %)  missing bea, cleo"
    began = time.monotonic()
    while not (waiting := [line for line in flock.logged("ada", "waiting") if "bea, cleo" in line["fields"]["cause"]]):
        assert time.monotonic() < began + WAIT_S
        await trio.sleep(POLL_S)
    assert len(waiting) == 1, "one line says why"
    height = (await flock.status("ada")).height
    await flock.start("bea")
    await flock.wait_for_height(height + 3, "ada", "bea", "dora")

    await flock.kill("bea")
    await flock.until("ada", lambda status: status.round == 0 and "50 %" in status.cause)
    # Long enough for both to have prevoted in the round that cannot end.
    await trio.sleep(3)
    height = (await flock.status("ada")).height
    await flock.kill("dora")
    shutil.rmtree(flock.homes["dora"].path)
    shutil.copytree(backup, flock.homes["dora"].path)
    await flock.start("dora")
    told = f"signs nothing until height {height + 1} commits"
    await flock.until("dora", lambda status: told in status.cause)
    await flock.start("bea")
    await trio.sleep(3)
    assert (await flock.status("bea")).height == height, "two of the three that are up sign"
    await flock.start("cleo")
    await flock.wait_for_height(height + 6, *NAMES)
    assert "signs nothing" not in (await flock.status("dora")).cause

    for name in NAMES:
        await flock.daemons[name].stop()
        assert flock.daemons[name].status in (0, -signal.SIGKILL), name
    assert max(flock.signed_heights("dora")) > height + 1, "it signs again"
    assert height + 1 not in flock.signed_heights("dora")
    assert find_contradictions([message for home in flock.homes.values() for message in read_messages(home)]) == []
