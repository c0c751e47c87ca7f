"""Four real daemons: a log is verified while it grows; one of them is damaged, repaired, and comes back."""

import socket
from contextlib import ExitStack, asynccontextmanager

import pytest
import trio

from devnet.daemon import Daemon
from flocknode.cli import app
from flocknode.config import make_config, save_config
from flocknode.errors import Exit
from flocknode.founding import create_home, make_genesis, save_document
from flocknode.home import Home
from flocknode.keystore import load_public_keys
from flocknode.rpc.client import open_client
from flocknode.rpc.log_records import Verification
from flocknode.rpc.records import NodeStatus, Outcome
from protocol.types import UNITS_PER_FML

NAMES = ("alice", "bob", "carol", "dave")
WITHIN_S = 90
POLL_S = 0.1


def free_ports(count):
    """Return ports that are free now."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]


def make_homes(folder):
    """Return the homes of four replicas that know each other."""
    homes = [Home(folder / name) for name in NAMES]
    for home in homes:
        create_home(home, genesis=None, port=None, bootstrap=(), name=None, passphrase=None)
    document = make_genesis(
        homes, preset="devnet", name="t", balance_units=1000 * UNITS_PER_FML, bond_units=1000 * UNITS_PER_FML
    )
    ports = free_ports(len(homes))
    addresses = [
        f"/ip4/127.0.0.1/tcp/{port}/p2p/{load_public_keys(home).peer_id}"
        for home, port in zip(homes, ports, strict=True)
    ]
    for home, port, own in zip(homes, ports, addresses, strict=True):
        save_document(home.genesis_file, document)
        others = tuple(address for address in addresses if address != own)
        save_config(home, make_config(name=home.path.name, port=port, bootstrap=others))
    return homes


@asynccontextmanager
async def running(daemons):
    """Run daemons for the time of a block; none outlives it."""
    try:
        for daemon in daemons:
            daemon.start()
        for daemon in daemons:
            await daemon.wait_ready()
        yield
    finally:
        with trio.CancelScope(shield=True):
            for daemon in daemons:
                await daemon.stop()


async def transfer(home, to, count):
    """Send money, one transfer after the other."""
    async with open_client(home) as client:
        for units in range(1, count + 1):
            done = await client.call("tx.transfer", Outcome, to=load_public_keys(to).account.hex(), amount_units=units)
            assert done.status == "included", done


async def wait_for(home, condition):
    """Return the status of a node once the condition holds for it."""
    async with open_client(home) as client:
        with trio.fail_after(WITHIN_S):
            while True:
                status = await client.call("node.status", NodeStatus)
                if condition(status):
                    return status
                await trio.sleep(POLL_S)


def damage(home):
    """Flip a byte in the middle of the largest file of a database, and one at the end of the write-ahead log."""
    largest = max(home.database.iterdir(), key=lambda path: path.stat().st_size)
    for path, position in ((largest, largest.stat().st_size // 2), (home.journal, home.journal.stat().st_size - 3)):
        data = bytearray(path.read_bytes())
        data[position] ^= 1
        path.write_bytes(data)


async def test_a_damaged_node_is_repaired_and_returns(tmp_path, capsys):
    """Verified while it runs; refused with a place when damaged; repaired; resynced from its peers; votes again."""
    homes = make_homes(tmp_path)
    daemons = [Daemon(name, home, tmp_path / f"{name}.out") for name, home in zip(NAMES, homes, strict=True)]
    dave = homes[3]
    async with running(daemons[:3]):
        async with running(daemons[3:]):
            await transfer(homes[0], dave, 5)
            async with open_client(dave) as client:
                found = await client.call("log.verify", Verification, wait=True)
            assert (found.state, found.height >= 5) == ("sound", True), found
            height = (await wait_for(dave, lambda status: status.height >= found.target)).height
        damage(dave)
        assert await run_command("--home", str(dave.path), "log", "verify") == Exit.ERROR
        shown = capsys.readouterr().out
        assert f"{dave.database}" in shown
        assert f"{dave.journal} at offset " in shown
        with pytest.raises(Exception, match="exit code 1"):
            async with running(daemons[3:]):
                pass
        assert "flocknode db repair" in daemons[3].output.read_text()
        assert await run_command("--home", str(dave.path), "db", "repair") == Exit.OK
        assert "nothing until a block made from now on" in capsys.readouterr().out
        async with running(daemons[3:]):
            await wait_for(dave, lambda status: status.height >= height)
            await transfer(homes[0], dave, 2)
            target = (await wait_for(homes[0], bool)).height
            status = await wait_for(
                dave, lambda status: status.height >= target and "signs nothing" not in status.cause
            )
            assert status.is_replica
            assert await run_command("--home", str(dave.path), "log", "verify") == Exit.OK
            assert capsys.readouterr().out.startswith("sound: ")
            # With carol gone, nothing commits without dave's vote.
            await daemons[2].stop()
            await transfer(homes[0], dave, 2)


async def run_command(*words):
    """Run a command as the terminal would, in a thread."""
    return await trio.to_thread.run_sync(app.run, list(words))
