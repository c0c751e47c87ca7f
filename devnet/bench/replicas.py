"""A few replicas on this machine: daemons of one chain that end with whoever asked for them."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import trio
from msgspec.structs import replace

from devnet.daemon import Daemon
from devnet.homes import HOST, choose_ports
from flocknode.config import make_config, save_config
from flocknode.founding import create_home, make_genesis, save_document
from flocknode.home import Home
from flocknode.keystore import load_public_keys
from flocknode.rpc.client import open_client
from flocknode.rpc.records import ChainHead
from protocol.types import UNITS_PER_FML

BALANCE_FML = 1_000_000
BOND_FML = 10_000
DEVNET_ITSELF: Mapping[str, int] = {}


def create_replicas(folder: Path, count: int, params: Mapping[str, int] = DEVNET_ITSELF) -> list[Home]:
    """Create the homes of so many replicas of one chain that know each other's addresses.

    `params` are what the chain's constants differ in from the devnet's.
    """
    homes = {f"n{number}": Home(folder / f"n{number}") for number in range(count)}
    for home in homes.values():
        create_home(home, genesis=None, port=None, bootstrap=(), name=None, passphrase=None)
    document = make_genesis(
        list(homes.values()),
        preset="devnet",
        name="bench",
        balance_units=BALANCE_FML * UNITS_PER_FML,
        bond_units=BOND_FML * UNITS_PER_FML,
    )
    document = replace(document, params=replace(document.params, **params))
    ports = choose_ports(dict.fromkeys(homes, 0))
    addresses = {
        name: f"/ip4/{HOST}/tcp/{ports[name]}/p2p/{load_public_keys(home).peer_id}" for name, home in homes.items()
    }
    for name, home in homes.items():
        save_document(home.genesis_file, document)
        others = tuple(address for other, address in addresses.items() if other != name)
        save_config(home, make_config(name=name, port=ports[name], bootstrap=others))
    return list(homes.values())


@asynccontextmanager
async def running_replicas(count: int) -> AsyncIterator[list[Daemon]]:
    """Give so many daemons that have committed their first block; they are stopped and removed at the end."""
    with TemporaryDirectory(prefix="flocknode-bench-") as folder:
        async with replicas_in(Path(folder), count) as daemons:
            yield daemons


@asynccontextmanager
async def replicas_in(
    folder: Path, count: int, params: Mapping[str, int] = DEVNET_ITSELF
) -> AsyncIterator[list[Daemon]]:
    """Give so many daemons with homes in a folder, once they have committed a block; they are stopped at the end."""
    homes = create_replicas(folder, count, params)
    daemons = [Daemon(home.path.name, home, folder / f"{home.path.name}.log") for home in homes]
    try:
        for daemon in daemons:
            daemon.start()
        for daemon in daemons:
            await daemon.wait_ready()
            await wait_for_height(daemon, 1)
        yield daemons
    finally:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for daemon in daemons:
                    nursery.start_soon(daemon.stop)


async def wait_for_height(daemon: Daemon, height: int) -> None:
    """Return once a daemon has committed a height."""
    async with open_client(daemon.home) as client:
        while (await client.call("chain.head", ChainHead)).height < height:  # noqa: ASYNC110 - another process decides
            await trio.sleep(0.05)
