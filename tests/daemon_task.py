"""A task on real daemons, each a process: their homes on one chain, what they send, and what is told of the task."""

import msgspec
import trio

from devnet.homes import HOST, choose_ports
from flocknode.config import make_config, save_config
from flocknode.founding import save_document
from flocknode.keystore import load_public_keys
from flocknode.rpc.arena_records import Submitted
from flocknode.rpc.client import open_client
from flocknode.rpc.records import TaskEvent


def connect(daemons, document, *, level):
    """Put the daemons' homes on one chain whose only replica, the first, decides its blocks, and log at a level."""
    document = msgspec.structs.replace(document, replicas=document.replicas[:1])
    ports = choose_ports(dict.fromkeys(daemons, 0))
    addresses = {
        name: f"/ip4/{HOST}/tcp/{ports[name]}/p2p/{load_public_keys(daemon.home).peer_id}"
        for name, daemon in daemons.items()
    }
    for name, daemon in daemons.items():
        save_document(daemon.home.genesis_file, document)
        others = tuple(address for other, address in addresses.items() if other != name)
        config = make_config(name=name, port=ports[name], bootstrap=others)
        # The one replica is also the only relay.
        network = msgspec.structs.replace(config.network, min_hops=1)
        log = msgspec.structs.replace(config.log, level=level)
        save_config(daemon.home, msgspec.structs.replace(config, network=network, log=log))


async def start(daemons):
    """Start all daemons at once, each with its passphrase if it has one."""
    async with trio.open_nursery() as nursery:
        for daemon in daemons.values():
            words = ("--passphrase-file", str(daemon.passphrase_file)) if daemon.passphrase_file.exists() else ()
            nursery.start_soon(trio.to_thread.run_sync, lambda daemon=daemon, words=words: daemon.start(*words))


async def reach(daemon, height):
    """Return once a daemon has a height."""
    async with open_client(daemon.home) as client:
        blocks = await client.subscribe(["blocks"], from_height=height)
        await blocks.receive()


async def act(daemon, method, height=0, **params):
    """Have a daemon send a transaction once it has a height, and return the block that it is in."""
    if height:
        await reach(daemon, height)
    async with open_client(daemon.home) as client:
        done = await client.call(method, Submitted, **params)
    assert done.outcome.status == "included", done.outcome
    return done.outcome.height


async def read_task(events, *, until=("finished", "expired")):
    """Return the events of a task up to the first of some phases, by default to its end."""
    told = []
    while not told or told[-1].phase not in until:
        told.append(msgspec.convert((await events.receive()).event, TaskEvent))
    return told
