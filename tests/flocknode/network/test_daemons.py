"""Four real daemons among peers who send garbage, say nothing, or are of another chain; and two daemons on one port."""

import itertools
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio

from devnet.daemon import Daemon
from devnet.homes import choose_ports
from flocknode.config import make_config, save_config
from flocknode.errors import Exit
from flocknode.founding import create_home, load_document, make_genesis, save_document
from flocknode.home import Home
from flocknode.keystore import load_public_keys
from flocknode.network import blobs, exchange, gossip, sync
from flocknode.network.addresses import parse_address
from flocknode.network.errors import PeerUnreachable, StreamLost
from flocknode.network.host import Connection
from flocknode.network.messages import PROTOCOL_VERSION, Hello
from flocknode.network.streams import frame
from flocknode.rpc.client import open_client
from flocknode.rpc.records import ChainHead, NodeStatus, Outcome, PeerList
from protocol.genesis import genesis_digest

NAMES = ("alice", "bob", "carol", "dave")
SOMEBODY = "0b" * 32
GARBAGE = b"\x00\x00\x00\x05hello"
# How long things may take where four daemons and other tests share two cores.
PATIENCE_S = 60.0


class Flock:
    """Daemons with homes that know each other, on one chain."""

    def __init__(self, folder: Path) -> None:
        self.daemons = [Daemon(name, Home(folder / name), folder / f"{name}.out") for name in NAMES]
        homes = [daemon.home for daemon in self.daemons]
        for home in homes:
            create_home(home, genesis=None, port=None, bootstrap=(), name=None, passphrase=None)
        document = make_genesis(homes, preset="devnet", name="t", balance_units=10**15, bond_units=10**12)
        ports = choose_ports(dict.fromkeys(NAMES, 0))
        for home, name in zip(homes, NAMES, strict=True):
            save_document(home.genesis_file, document)
            others = tuple(self.address(other, ports) for other in homes if other is not home)
            save_config(home, make_config(name=name, port=ports[name], bootstrap=others))
        self.addresses = [self.address(home, ports) for home in homes]
        self.chain = genesis_digest(document)

    def address(self, home: Home, ports: dict[str, int]) -> str:
        return f"/ip4/127.0.0.1/tcp/{ports[home.path.name]}/p2p/{load_public_keys(home).peer_id}"

    async def ask(self, daemon: Daemon, method: str, result, **params):
        async with open_client(daemon.home) as client:
            return await client.call(method, result, **params)

    async def until_peers(self, condition) -> None:
        """Wait until a condition on what each daemon says of its peers holds for all of them."""
        with trio.fail_after(PATIENCE_S):
            for daemon in self.daemons:
                while not condition(await self.ask(daemon, "node.peers", PeerList)):  # noqa: ASYNC110
                    await trio.sleep(0.1)


@pytest.fixture
async def flock(tmp_path: Path) -> AsyncIterator[Flock]:
    flock = Flock(tmp_path)
    try:
        for daemon in flock.daemons:
            daemon.start()
        for daemon in flock.daemons:
            await daemon.wait_ready()
        await flock.until_peers(lambda found: len(found.peers) == len(NAMES) - 1)
        yield flock
    finally:
        for daemon in flock.daemons:
            daemon.kill()
            with trio.CancelScope(shield=True):
                await daemon.wait()


async def send_garbage(connection: Connection, chain: bytes) -> None:
    """Link like an honest peer, then send nonsense on every protocol."""
    stream = await connection.open_stream(gossip.PROTOCOL)
    await stream.write(frame(Hello(PROTOCOL_VERSION, chain, b"i" * 32, b"", 0, None)))
    await stream.read_frame(4096)
    # The first of them may end the connection.
    with suppress(PeerUnreachable, StreamLost):
        for protocol in (sync.PROTOCOL, blobs.PROTOCOL, exchange.PROTOCOL, gossip.PROTOCOL):
            await (await connection.open_stream(protocol)).write(GARBAGE)
        await stream.write(GARBAGE)


async def pay_on(flock: Flock, stop: trio.Event, counts: list[int]) -> None:
    """Have transfers committed, by one daemon after the other, until told to stop."""
    for daemon in itertools.cycle(flock.daemons):
        if stop.is_set():
            return
        outcome = await flock.ask(daemon, "tx.transfer", Outcome, to=SOMEBODY, amount_units=1)
        assert outcome.status == "included"
        counts.append(outcome.height)


async def test_honest_daemons_go_on_whatever_peers_send_or_keep_to_themselves(flock, attack) -> None:
    """Blocks are committed all the while; who sends garbage and who says nothing is scored, refused and told of."""
    garbler, mute = await attack(b"g"), await attack(b"m")
    stop, heights = trio.Event(), []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pay_on, flock, stop, heights)
        for address in map(parse_address, flock.addresses):
            for _ in range(4):
                # A connection that says hello to nobody; at the same time one that says nothing but hello.
                await (await mute.host.dial(address)).open_stream(gossip.PROTOCOL)
            await send_garbage(await garbler.host.dial(address), flock.chain)
        bad = {garbler.host.peer, mute.host.peer}
        await flock.until_peers(lambda found: bad <= {refused.peer for refused in found.refused})
        committed = len(heights)
        with trio.fail_after(PATIENCE_S):
            while len(heights) < committed + 8:  # noqa: ASYNC110  # the daemons decide
                await trio.sleep(0.1)
        stop.set()
    await flock.until_peers(lambda found: [peer.score for peer in found.peers] == 3 * [100])
    await flock.until_peers(lambda found: not bad & {peer.peer for peer in found.peers})
    heads = [await flock.ask(daemon, "chain.head", ChainHead) for daemon in flock.daemons]
    assert min(head.height for head in heads) >= max(heights) - 1
    for daemon, address in zip(flock.daemons, map(parse_address, flock.addresses), strict=True):
        assert daemon.pid is not None
        told = daemon.output.read_text()
        assert all(f"peer refused  peer={peer}" in told for peer in bad)
        assert "malformed message" in told or "a frame of" in told
        assert "no hello within 5 s" in told
        assert "Traceback" not in told
        with trio.fail_after(PATIENCE_S):
            await (await garbler.host.dial(address)).wait_closed()


async def test_a_second_daemon_on_the_port_ends_with_what_to_do(tmp_path) -> None:
    """Exit code 1, the port named, the way out named, and no trace of code."""
    first, second = (Daemon(name, Home(tmp_path / name), tmp_path / f"{name}.out") for name in ("one", "two"))
    homes = [first.home, second.home]
    for home in homes:
        create_home(home, genesis=None, port=None, bootstrap=(), name=None, passphrase=None)
    document = make_genesis(homes, preset="devnet", name="t", balance_units=10**15, bond_units=10**12)
    port = choose_ports({"one": 0})["one"]
    for home in homes:
        save_document(home.genesis_file, document)
        save_config(home, make_config(name=home.path.name, port=port, bootstrap=()))
    try:
        first.start()
        assert (await first.wait_ready()).address.startswith(f"/ip4/127.0.0.1/tcp/{port}/")
        second.start()
        with trio.fail_after(PATIENCE_S):
            await second.wait()
        assert second.status == Exit.ERROR
        told = second.output.read_text()
        assert f"error: port {port} on 127.0.0.1 is taken by another process" in told
        assert "network.port" in told
        assert "Traceback" not in told
        assert (await first.wait_ready()).height >= 0
    finally:
        for daemon in (first, second):
            daemon.kill()
            await daemon.wait()


async def test_a_daemon_of_another_chain_is_told_so_with_what_to_do(tmp_path) -> None:
    """Both sides say it once, name genesis.json, and stay up."""
    one, two = (Daemon(name, Home(tmp_path / name), tmp_path / f"{name}.out") for name in ("one", "two"))
    ports = choose_ports({"one": 0, "two": 0})
    for daemon in (one, two):
        create_home(daemon.home, genesis=None, port=None, bootstrap=(), name=None, passphrase=None)
        document = make_genesis([daemon.home], preset="devnet", name="t", balance_units=10**15, bond_units=10**12)
        save_document(daemon.home.genesis_file, document)
    address = f"/ip4/127.0.0.1/tcp/{ports['one']}/p2p/{load_public_keys(one.home).peer_id}"
    save_config(one.home, make_config(name="one", port=ports["one"], bootstrap=()))
    save_config(two.home, make_config(name="two", port=ports["two"], bootstrap=(address,)))
    try:
        for daemon in (one, two):
            daemon.start()
        for daemon in (one, two):
            await daemon.wait_ready()
        with trio.fail_after(PATIENCE_S):
            while not all("no link" in daemon.output.read_text() for daemon in (one, two)):  # noqa: ASYNC110
                await trio.sleep(0.1)
        for daemon in (one, two):
            told = daemon.output.read_text()
            assert "another chain" in told
            assert "genesis.json" in told
            async with open_client(daemon.home) as client:
                assert (await client.call("node.status", NodeStatus)).peers == 0
        chains = {genesis_digest(load_document(daemon.home.genesis_file)).hex()[:16] for daemon in (one, two)}
        assert all(chain in one.output.read_text() for chain in chains)
    finally:
        for daemon in (one, two):
            daemon.kill()
            await daemon.wait()
