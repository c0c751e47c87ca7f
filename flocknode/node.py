"""The daemon: builds its parts, runs them in one nursery, and lets go of them in reverse.

Everything that touches the world is made here and handed to the parts as an argument: the clock, fresh randomness, the
database, the sockets. The parts know each other only through what they are given.
"""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
import trio

from flocknode import logs
from flocknode.chain import Chain
from flocknode.config import Config, load_config
from flocknode.founding import load_document
from flocknode.home import Home
from flocknode.inbox import Inbox, encode_transactions
from flocknode.keystore import load_account_seed, load_consensus_seed, load_peer_seed, load_vrf_secret
from flocknode.logs import LogOutput
from flocknode.mempool import Mempool
from flocknode.network import Network, PeerId, Topic
from flocknode.participants.diary import Diary
from flocknode.participants.kit import Kit
from flocknode.participants.performer import Performer
from flocknode.participants.sender import Sender
from flocknode.replica import Replica, ReplicaKeys
from flocknode.rounds import Rounds
from flocknode.rpc.events import EventHub, make_log_methods
from flocknode.rpc.server import RpcServer
from flocknode.worker import Worker
from protocol.codec import decode, encode
from protocol.errors import Malformed
from protocol.rules.arena.records import get_member, scan_active_tasks
from storage.blobs import BlobStore
from storage.database import Database
from storage.lock import HomeLock
from storage.log import ChainStore
from storage.notes import Notes
from storage.wal import WriteAheadLog

log = structlog.get_logger()


@dataclass(kw_only=True)
class Node:
    """The parts of a running daemon, for the RPC methods."""

    home: Home
    config: Config
    chain: Chain
    mempool: Mempool
    network: Network
    inbox: Inbox
    replica: Replica
    kit: Kit
    performer: Performer
    rounds: Rounds
    hub: EventHub
    output: LogOutput
    consensus_key: bytes
    started_ms: int
    stopping: trio.Event = field(default_factory=trio.Event)

    def peer_height(self, peer: PeerId) -> int | None:
        """Return the height that a peer last said it has."""
        info = self.network.peers.get(peer)
        try:
            return None if info is None else decode(info.status, int)
        except Malformed:
            return None

    def worker_state(self) -> str:
        """Return whether the learning worker runs, in words."""
        pid = self.kit.worker.pid
        return "not started: no role needs it" if pid is None else f"runs (pid {pid})"


async def run(home: Home) -> None:
    """Run the daemon of a home until it is told to stop or cancelled."""
    config = load_config(home)
    # The lock comes first: a second daemon must not touch the first one's log file.
    with HomeLock(home.path):
        hub = EventHub()
        output = logs.configure(
            level=config.log.level,
            console=sys.stderr,
            file=home.log_file,
            listener=lambda line: hub.publish("logs", line),
        )
        try:
            with open_node(home, config, hub, output) as node:
                await run_parts(node)
        finally:
            log.info("stopped")
            output.close()


@contextmanager
def open_node(home: Home, config: Config, hub: EventHub, output: LogOutput) -> Iterator[Node]:
    """Build all parts on a locked home; the database and the write-ahead log are closed at the end."""
    document = load_document(home.genesis_file)
    database = Database(home.data / "chain")
    try:
        wal = WriteAheadLog(home.data / "consensus.wal")
        try:
            yield build_node(home, config, hub, output, Chain(document, ChainStore(database)), Notes(database), wal)
        finally:
            wal.close()
    finally:
        database.close()


def build_node(
    home: Home, config: Config, hub: EventHub, output: LogOutput, chain: Chain, notes: Notes, wal: WriteAheadLog
) -> Node:
    """Join the parts; nothing runs yet."""
    names = {account.address: account.name for account in chain.document.accounts}
    blobs, mempool = BlobStore(home.blobs), Mempool(chain.state)
    inbox = Inbox(mempool, wall_clock_ms)
    network = make_network(home, config, chain, inbox, blobs)
    keys = ReplicaKeys(load_consensus_seed(home), load_vrf_secret(home))
    replica = Replica(
        chain=chain,
        network=network,
        transactions=mempool,
        log=wal,
        keys=keys,
        name_of=lambda member: names.get(member.account, member.key.hex()[:8]),
        wall_clock=wall_clock_ms,
    )
    inbox.attach(replica, network.send)
    sender = make_sender(home, chain, mempool, network, replica)
    rounds = Rounds(chain, hub=hub, address=sender.address, names=names)
    kit = Kit(
        chain=chain,
        sender=sender,
        diary=Diary(notes),
        blobs=blobs,
        source=network,
        worker=Worker(home.data / "scratch"),
        scratch=home.data / "scratch",
        seed=load_account_seed(home),
        randomness=os.urandom,
        report=rounds.report,
    )
    return Node(
        home=home,
        config=config,
        chain=chain,
        mempool=mempool,
        network=network,
        inbox=inbox,
        replica=replica,
        kit=kit,
        performer=Performer(kit, replica.wait_for_height),
        rounds=rounds,
        hub=hub,
        output=output,
        consensus_key=keys.key,
        started_ms=wall_clock_ms(),
    )


def make_network(home: Home, config: Config, chain: Chain, inbox: Inbox, blobs: BlobStore) -> Network:
    """Return the network of a home; a port that the system chose is kept for the next start."""
    return Network(
        chain=chain.id,
        peer_seed=load_peer_seed(home),
        listen_port=config.network.port or home.load_port(),
        bootstrap=config.network.bootstrap,
        status=lambda: encode(chain.head.height),
        handler=inbox,
        blocks=chain,
        blobs=blobs,
    )


def make_sender(home: Home, chain: Chain, mempool: Mempool, network: Network, replica: Replica) -> Sender:
    """Return the way of this account's transactions: to all peers, and to the own replica."""

    def broadcast(data: bytes) -> None:
        network.publish(Topic.TRANSACTIONS, encode_transactions((data,)))
        replica.notice_transaction()

    return Sender(
        chain,
        mempool,
        seed=load_account_seed(home),
        broadcast=broadcast,
        wait_for_height=replica.wait_for_height,
    )


def wall_clock_ms() -> int:
    """Return the time of day, in milliseconds since the Unix epoch."""
    return time.time_ns() // 10**6


async def run_parts(node: Node) -> None:
    """Start the parts in order; return when the node is told to stop."""
    from flocknode.rpc.methods import make_methods

    server = RpcServer(node.home.choose_socket(), {**make_methods(node), **make_log_methods(node.output)}, node.hub)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.network.run)
        node.home.save_port(int(node.network.address.split("/tcp/")[1].split("/")[0]))
        await nursery.start(server.run)
        log.info("started", name=node.config.name, pid=os.getpid(), address=node.network.address)
        await nursery.start(node.replica.run)
        nursery.start_soon(follow_blocks, node)
        nursery.start_soon(warm_worker, node)
        nursery.start_soon(node.performer.run)
        await node.stopping.wait()
        nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await node.kit.worker.stop()


async def follow_blocks(node: Node) -> None:
    """Tell people about every block."""
    with node.replica.followers.follow() as commits:
        async for committed in commits:
            node.rounds.observe(
                committed.block,
                committed.commit,
                duration_ms=max(0, wall_clock_ms() - committed.block.header.time_ms),
            )


async def warm_worker(node: Node) -> None:
    """Start the learning worker once this account has a role that will need it; torch takes seconds to import."""
    while not has_role(node):
        await node.replica.wait_for_height(node.chain.head.height + 1)
    await node.kit.worker.start()


def has_role(node: Node) -> bool:
    """Return whether the account trains or validates in a task that runs."""
    view, address = node.chain.view, node.kit.sender.address
    return any(get_member(view, task.id, address) is not None for task in scan_active_tasks(view))
