"""Seven real daemons, of which one relay dies: every submission gets to the log all the same, over three hops."""

import os
import re
import signal

import msgspec
import pytest
import trio

from devnet.daemon import Daemon
from devnet.homes import HOST, choose_ports
from flocknode.config import make_config, save_config
from flocknode.founding import create_home, make_genesis, save_document
from flocknode.home import Home
from flocknode.keystore import load_public_keys
from flocknode.relay import routes
from flocknode.rpc.arena_records import Submitted
from flocknode.rpc.client import open_client
from flocknode.rpc.records import NodeStatus, TaskEvent
from protocol.blobs import BlobId
from protocol.genesis import genesis_digest
from protocol.transactions import Submit
from tests.dataset_files import write_dataset

CREATOR, TRAINERS, VALIDATORS = "alice", ("bob", "carol", "dave"), ("erin", "frank", "grace")
NAMES = (CREATOR, *TRAINERS, *VALIDATORS)
TASK = 1
# How long things may take where seven daemons and other tests share two cores.
PATIENCE_S = 120


@pytest.fixture
async def flock(tmp_path):
    """Seven daemons, all of them replicas, by name; and the chain's id."""
    daemons = {name: Daemon(name, Home(tmp_path / name), tmp_path / f"{name}.out") for name in NAMES}
    for daemon in daemons.values():
        create_home(daemon.home, genesis=None, port=None, bootstrap=(), name=None, passphrase=None)
    homes = [daemon.home for daemon in daemons.values()]
    document = make_genesis(homes, preset="devnet", name="t", balance_units=10**14, bond_units=10**12)
    ports = choose_ports(dict.fromkeys(NAMES, 0))
    addresses = {
        name: f"/ip4/{HOST}/tcp/{ports[name]}/p2p/{load_public_keys(daemon.home).peer_id}"
        for name, daemon in daemons.items()
    }
    for name, daemon in daemons.items():
        save_document(daemon.home.genesis_file, document)
        others = tuple(address for other, address in addresses.items() if other != name)
        save_config(daemon.home, make_config(name=name, port=ports[name], bootstrap=others))
    try:
        for daemon in daemons.values():
            daemon.start()
        for daemon in daemons.values():
            await daemon.wait_ready()
        yield daemons, genesis_digest(document)
    finally:
        for daemon in daemons.values():
            daemon.kill()
            with trio.CancelScope(shield=True):
                await daemon.wait()


async def act(daemon, method, **params):
    """Have a daemon send a transaction, and see it applied."""
    async with open_client(daemon.home) as client:
        done = await client.call(method, Submitted, **params)
    assert done.outcome.status == "included", done.outcome


async def open_task(daemons, data):
    """Create a task, and have everybody take a role."""
    model = {
        "family": "linear",
        "model": {"inputs": [3], "outputs": [2]},
        "metric": "accuracy",
        "measure_baseline": False,
    }
    files = {"dataset_a": data, "dataset_b": data}
    await act(daemons[CREATOR], "arena.create", name="x", **model, **files, epochs=2, escrow_units=10**12)
    height = (await status_of(daemons[CREATOR])).height
    async with trio.open_nursery() as nursery:
        for name in (*TRAINERS, *VALIDATORS):
            own = {"task": str(TASK), "stake_units": 10**11, "role": "validator"}
            if name in TRAINERS:
                own |= {"role": "trainer", "dataset": data, "training": {"passes": 1, "seed": TRAINERS.index(name)}}
            nursery.start_soon(join, daemons[name], height, own)


async def join(daemon, height, params):
    """Take a role once the task is on the daemon's log."""
    while (await status_of(daemon)).height < height:  # noqa: ASYNC110  # the daemon decides
        await trio.sleep(0.1)
    await act(daemon, "arena.join", **params)


async def status_of(daemon):
    async with open_client(daemon.home) as client:
        return await client.call("node.status", NodeStatus)


async def wait_for_phase(events, phase):
    """Return once the task enters a phase, as a subscriber is told."""
    while True:
        event = msgspec.convert((await events.receive()).event, TaskEvent)
        assert event.phase != "expired"
        if event.phase == phase:
            return


def find_first_relay(daemons, chain):
    """Return the one daemon that all senders begin with: of four relays, one is in the first layer."""
    keys = {load_public_keys(daemons[name].home).consensus: name for name in (CREATOR, *VALIDATORS)}
    nothing = Submit(TASK, 0, bytes(32), bytes(32), BlobId(bytes(32), 1), bytes(32), b"")
    (first,), _, last = routes.make_layers(routes.name_seed(chain, nothing), sorted(keys), routes.HOPS, 0)
    assert len(last) == 2
    return keys[first]


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSTOP], ids=["killed", "stopped"])
async def test_submissions_arrive_over_three_hops_though_a_relay_dies(flock, tmp_path, blow) -> None:
    """The relay that everybody would begin with is gone, or takes connections and never answers; others do.

    No trainer's node passes anything on or publishes anything, and no submission reaches the log but through relays.
    """
    daemons, chain = flock
    data = str(write_dataset(tmp_path / "data", rows=40, columns=3).absolute())
    victim = find_first_relay(daemons, chain)
    with trio.fail_after(PATIENCE_S):
        async with open_client(daemons["bob"].home) as client:
            events = await client.subscribe(["tasks"], from_height=1)
            await open_task(daemons, data)
            await wait_for_phase(events, "submit")
            os.kill(daemons[victim].pid, blow)
            await wait_for_phase(events, "open")
        relayed = {name: (await status_of(daemon)).relaying for name, daemon in daemons.items() if name != victim}
    counts = {
        name: tuple(map(int, re.findall(r"(\d+) (?:passed on|published)", text))) for name, text in relayed.items()
    }
    assert {counts[name] for name in TRAINERS} == {(0, 0)}
    relays = [counts[name] for name in counts if name not in TRAINERS]
    assert sum(published for _, published in relays) >= len(TRAINERS)
    assert sum(passed_on for passed_on, _ in relays) >= 2 * len(TRAINERS), "each went over two hops before its last"
