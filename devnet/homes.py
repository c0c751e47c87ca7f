"""Makes the homes of seven nodes that know each other's addresses, one chain for them, and their data."""

import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from devnet.applications import SPLIT_SEED, Application
from devnet.cast import BALANCE_FML, BOND_FML, CAST, GOVERNANCE
from devnet.state import State
from flocknode.config import load_config, make_config, save_config
from flocknode.founding import create_home, make_genesis, save_document
from flocknode.jobs import DatasetName, DatasetPart, SplitDataset
from flocknode.keystore import load_public_keys
from flocknode.worker import Worker
from protocol.types import UNITS_PER_FML

HOST = "127.0.0.1"


def create_homes(state: State) -> None:
    """Create all homes and the chain's document, which is the last file to appear."""
    state.create()
    homes = [state.home(actor.name) for actor in CAST]
    for home in homes:
        # Keys in clear: the daemons must open them by themselves, and the money is a game's.
        create_home(home, genesis=None, port=None, bootstrap=(), name=None, passphrase=None)
    document = make_genesis(
        homes,
        preset="devnet",
        name="devnet",
        balance_units=BALANCE_FML * UNITS_PER_FML,
        bond_units=BOND_FML * UNITS_PER_FML,
        governance=GOVERNANCE,
    )
    for home in homes:
        save_document(home.genesis_file, document)
    connect_homes(state)
    save_document(state.genesis_file, document)


def connect_homes(state: State) -> None:
    """Give each home a port of its own and the addresses of all others.

    Ports that are free stay as they are; one that somebody else took in the meantime is chosen anew.
    """
    known = {actor.name: load_config(state.home(actor.name)).network.port for actor in CAST}
    ports = choose_ports(known)
    for actor in CAST:
        home = state.home(actor.name)
        others = tuple(address_of(state, name, port) for name, port in ports.items() if name != actor.name)
        save_config(home, make_config(name=actor.name, port=ports[actor.name], bootstrap=others))


def choose_ports(known: Mapping[str, int]) -> dict[str, int]:
    """Return a free port for each name: the known one (0 is none) where it is free."""
    ports = {}
    with ExitStack() as held:
        for name, port in known.items():
            listener = _bind(port) or _bind(0)
            assert listener is not None, "the system has a free port"
            held.enter_context(listener)
            ports[name] = listener.getsockname()[1]
    return ports


def address_of(state: State, name: str, port: int) -> str:
    """Return the multiaddress of a home at a port."""
    return f"/ip4/{HOST}/tcp/{port}/p2p/{load_public_keys(state.home(name)).peer_id}"


async def split_data(state: State, applications: Iterable[Application]) -> None:
    """Cut datasets into both evaluation sets and a private part for each trainer. Raises `JobFailed`."""
    missing = {
        one.dataset: one.rows
        for one in applications
        if not all(state.dataset(one.dataset, part).is_file() for part in one.rows)
    }
    if not missing:
        return
    with TemporaryDirectory() as scratch:
        worker = Worker(Path(scratch))
        try:
            for name, rows in missing.items():
                await worker.run(make_split(name, rows, state.data / name))
        finally:
            await worker.stop()


def make_split(
    name: DatasetName, weights: Mapping[str, int], directory: Path, *, seed: int = SPLIT_SEED
) -> SplitDataset:
    """Return the job that cuts a dataset."""
    parts: Sequence[DatasetPart] = [DatasetPart(name, weight) for name, weight in weights.items()]
    job = SplitDataset(name=name, seed=seed, parts=tuple(parts), directory=str(directory.absolute()))
    return msgspec.convert(msgspec.to_builtins(job), SplitDataset)


def _bind(port: int) -> socket.socket | None:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    # As the daemon will: what lingers of an earlier connection does not hold the port.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
    except OSError:
        listener.close()
        return None
    return listener
