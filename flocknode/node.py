"""The daemon: builds its parts, runs them in one nursery, and lets go of them in reverse.

Everything that touches the world is made here and handed to the parts as an argument: the clock, fresh randomness, the
database, the sockets. The parts know each other only through what they are given.
"""

import os
import random
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

import structlog
import trio
from msgspec import Struct

from flocknode import logs
from flocknode.account import AccountKey
from flocknode.blob_keeper import BlobKeeper
from flocknode.chain import Chain
from flocknode.config import Config, load_config
from flocknode.errors import KeyLocked
from flocknode.founding import load_document
from flocknode.home import Home
from flocknode.inbox import Inbox, encode_transactions
from flocknode.keystore import load_consensus_seed, load_peer_seed, load_vrf_secret
from flocknode.logs import LogOutput
from flocknode.mempool import Mempool
from flocknode.network import Network, PeerId, Topic
from flocknode.outgoing import Outgoing
from flocknode.participants.diary import Diary
from flocknode.participants.kit import Kit
from flocknode.participants.performer import Performer
from flocknode.participants.sender import Sender
from flocknode.processes import raise_file_limit, share_one_heap
from flocknode.proofs import ProofVerifier
from flocknode.relay.courier import Courier
from flocknode.relay.last_hop import Publisher
from flocknode.relay.mix import Mix
from flocknode.replica import Replica, ReplicaKeys
from flocknode.replica.journal import Forgotten
from flocknode.rounds import Rounds
from flocknode.rpc.events import EventHub, make_log_methods
from flocknode.rpc.server import RpcServer
from flocknode.surroundings import ChainSurroundings
from flocknode.systemd import Notifier
from flocknode.telling import follow_catch_up, remember_events, tell_peer, tell_step
from flocknode.trainings import Trainings
from flocknode.verification.service import LogVerifier
from flocknode.waiting import describe_calm, describe_jobs
from flocknode.work import Works
from flocknode.worker import Worker
from protocol.codec import decode, encode, prepare_decoders
from protocol.errors import Malformed
from protocol.rules.alliance.records import get_participant, scan_active_alliances
from protocol.rules.arena.records import get_member, scan_active_tasks
from storage.blobs import BlobStore
from storage.database import Database
from storage.lock import HomeLock
from storage.log import ChainStore
from storage.notes import Notes
from storage.wal import WriteAheadLog, replace_log

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
    outgoing: Outgoing
    replica: Replica
    kit: Kit
    mix: Mix
    performer: Performer
    rounds: Rounds
    keeper: BlobKeeper
    verifier: LogVerifier
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

    def describe_cause(self) -> str:
        """Return why the node makes progress or not, then what each task and alliance of its account waits for."""
        chain, head = self.chain, self.chain.head
        jobs = describe_jobs(
            chain.view,
            chain.params,
            self.kit.address,
            name=chain.name_of,
            works=self.kit.works.list(),
            now_ms=wall_clock_ms(),
        )
        calm = describe_calm(head.height + 1, pending=len(self.mempool))
        return "; ".join([self.replica.status().cause or calm, *jobs])


async def run(home: Home, passphrase: str | None = None, console_form: logs.ConsoleForm = "text") -> None:
    """Run the daemon of a home until it is told to stop or cancelled.

    The passphrase opens the account's key; without one, a key that needs one stays locked. Raises `WrongPassphrase`.
    """
    share_one_heap()
    raise_file_limit()
    config = load_config(home)
    load_document(home.genesis_file)
    # The lock comes first: a second daemon must not touch the first one's log file.
    with HomeLock(home.path):
        hub = EventHub()
        output = logs.configure(
            level=config.log.level,
            console=sys.stderr,
            file=home.log_file,
            listener=lambda line: hub.publish("logs", line),
            console_form=console_form,
        )
        try:
            with open_node(home, config, hub, output) as node:
                if passphrase is not None:
                    await node.kit.account.unlock(passphrase)
                await run_parts(node)
        finally:
            log.info("stopped")
            output.close()


@contextmanager
def open_node(home: Home, config: Config, hub: EventHub, output: LogOutput) -> Iterator[Node]:
    """Build all parts on a locked home; the database and the write-ahead log are closed at the end."""
    document = load_document(home.genesis_file)
    database = Database(home.database)
    try:
        chain = Chain(document, ChainStore(database))
        wal = open_journal(home, chain.head.height)
        try:
            yield build_node(home, config, hub, output, chain, database, wal)
        finally:
            wal.close()
    finally:
        database.close()


def open_journal(home: Home, height: int) -> WriteAheadLog:
    """Return the write-ahead log; where it is missing beside a log with blocks, it notes what was lost with it."""
    if height > 0 and not home.journal.exists():
        log.warning("the write-ahead log is missing: this replica signs nothing until a newly made block commits")
        replace_log(home.journal, [encode(Forgotten(wall_clock_ms()))])
    return WriteAheadLog(home.journal)


def build_node(
    home: Home, config: Config, hub: EventHub, output: LogOutput, chain: Chain, database: Database, wal: WriteAheadLog
) -> Node:
    """Join the parts; nothing runs yet."""
    account, blobs, mempool = AccountKey(home), BlobStore(home.blobs), Mempool(chain.state)
    diary, outgoing = Diary(Notes(database)), Outgoing(lambda gathered: tell_transactions(network, gathered))
    inbox = Inbox(mempool, wall_clock_ms, lambda peer, change: tell_peer(hub, peer, change, len(network.peers)))
    keys = ReplicaKeys(load_consensus_seed(home), load_vrf_secret(home))
    surroundings = ChainSurroundings(
        chain, consensus_seed=keys.seed, account=account.address, memory_file=home.peers_file
    )
    network = make_network(home, config, surroundings, inbox, blobs)
    keeper = make_keeper(config, surroundings, network, blobs)
    replica = make_replica(chain, network, mempool, wal, keys, hub)
    remember_events(hub, chain, output)
    inbox.attach(replica, network.send)
    sender = make_sender(account, chain, mempool, outgoing, replica)
    rounds = Rounds(chain, hub=hub, address=sender.address)
    kit = Kit(
        chain=chain,
        account=account,
        sender=sender,
        diary=diary,
        blobs=blobs,
        outbox=BlobStore(home.outbox),
        courier=make_courier(account, chain, mempool, diary, network, config),
        source=keeper,
        worker=Worker(home.data / "scratch"),
        works=Works(hub),
        trainings=Trainings(),
        scratch=home.data / "scratch",
        alliances=home.alliances,
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
        outgoing=outgoing,
        replica=replica,
        kit=kit,
        mix=make_mix(home, kit, mempool, network, keeper),
        performer=Performer(kit, replica.wait_for_height),
        rounds=rounds,
        keeper=keeper,
        verifier=LogVerifier(document=chain.document, database=database, journal=home.journal),
        hub=hub,
        output=output,
        consensus_key=keys.key,
        started_ms=wall_clock_ms(),
    )


def make_network(
    home: Home, config: Config, surroundings: ChainSurroundings, inbox: Inbox, blobs: BlobStore
) -> Network:
    """Return the network of a home; a port that the system chose is kept for the next start, if it is free then."""
    chain = surroundings.chain
    return Network(
        chain=chain.id,
        peer_seed=load_peer_seed(home),
        listen_port=config.network.port or home.load_port(),
        may_move=config.network.port == 0,
        bootstrap=config.network.bootstrap,
        status=lambda: encode(chain.head.height),
        handler=inbox,
        blocks=chain,
        blobs=blobs,
        wall_clock=wall_clock_ms,
        surroundings=surroundings,
    )


def make_keeper(config: Config, surroundings: ChainSurroundings, network: Network, blobs: BlobStore) -> BlobKeeper:
    """Return what keeps the blobs of a home within their quota."""
    return BlobKeeper(
        blobs,
        network,
        quota_bytes=config.blobs.quota_bytes,
        pinned=surroundings.known_blobs,
        wall_clock=wall_clock_ms,
    )


def make_replica(
    chain: Chain,
    network: Network,
    mempool: Mempool,
    wal: WriteAheadLog,
    keys: ReplicaKeys,
    hub: EventHub,
) -> Replica:
    """Return this node's part in the consensus."""
    names = {account.address: account.name for account in chain.document.accounts}
    replica = Replica(
        chain=chain,
        network=network,
        transactions=mempool,
        log=wal,
        keys=keys,
        name_of=lambda member: names.get(member.account, member.key.hex()[:8]),
        wall_clock=wall_clock_ms,
        on_step=lambda: tell_step(hub, replica.status()),
    )
    return replica


def make_sender(account: AccountKey, chain: Chain, mempool: Mempool, outgoing: Outgoing, replica: Replica) -> Sender:
    """Return the way of this account's transactions: to all peers, and to the own replica."""

    def broadcast(data: bytes) -> None:
        outgoing.put(data)
        replica.notice_transaction()

    return Sender(
        chain,
        mempool,
        account=account,
        broadcast=broadcast,
        wait_for_height=replica.wait_for_height,
    )


def tell_transactions(network: Network, gathered: tuple[bytes, ...]) -> None:
    """Broadcast some transactions."""
    network.publish(Topic.TRANSACTIONS, encode_transactions(gathered))


def make_courier(
    account: AccountKey, chain: Chain, mempool: Mempool, diary: Diary, network: Network, config: Config
) -> Courier:
    """Return the way of this account's submissions."""
    return Courier(
        chain=chain,
        mempool=mempool,
        address=account.address,
        diary=diary,
        network=network,
        wall_clock=wall_clock_ms,
        randomness=os.urandom,
        min_hops=config.network.min_hops,
    )


def make_mix(home: Home, kit: Kit, mempool: Mempool, network: Network, keeper: BlobKeeper) -> Mix:
    """Return this node as a relay of others' submissions."""
    publisher = Publisher(
        chain=kit.chain, mempool=mempool, blobs=kit.blobs, broadcast=kit.sender.submit, make_room=keeper.make_room
    )
    mix = Mix(
        seed=load_peer_seed(home),
        forward=network.pass_on,
        last_hop=publisher,
        wall_clock=wall_clock_ms,
        rng=random.SystemRandom(),
        scratch=str(home.data),
    )
    network.attach_relay(mix)
    return mix


def wall_clock_ms() -> int:
    """Return the time of day, in milliseconds since the Unix epoch."""
    return time.time_ns() // 10**6


async def run_parts(node: Node) -> None:
    """Start the parts in order; return when the node is told to stop."""
    from flocknode.rpc.methods import make_methods

    # All modules with records are there now, and no other thread is.
    prepare_decoders(Struct)
    notifier = Notifier()
    server = RpcServer(node.home.choose_socket(), {**make_methods(node), **make_log_methods(node.output)}, node.hub)
    async with trio.open_nursery() as nursery:
        await nursery.start(node.network.run)
        node.home.save_port(int(node.network.address.split("/tcp/")[1].split("/")[0]))
        await nursery.start(server.run)
        log.info("started", name=node.config.name, pid=os.getpid(), address=node.network.address)
        if node.kit.account.is_locked:
            log.warning("the account is locked, so its duties wait", help=KeyLocked.help)
        first_height = node.chain.head.height + 1
        await nursery.start(node.replica.run)
        nursery.start_soon(node.outgoing.run)
        nursery.start_soon(ProofVerifier(node.chain, node.mempool, node.replica.notice_transaction).run)
        nursery.start_soon(node.mix.run)
        nursery.start_soon(follow_blocks, node, first_height)
        nursery.start_soon(follow_catch_up, node.chain, node.replica, node.kit.works)
        nursery.start_soon(warm_worker, node)
        nursery.start_soon(node.performer.run)
        nursery.start_soon(node.verifier.run)
        nursery.start_soon(node.keeper.run)
        nursery.start_soon(notifier.run, lambda: f"height {node.chain.head.height}  {node.describe_cause()}")
        try:
            await node.stopping.wait()
        finally:
            notifier.tell("STOPPING=1")
        nursery.cancel_scope.cancel()
    with trio.CancelScope(shield=True):
        await node.kit.worker.stop()


async def follow_blocks(node: Node, first_height: int) -> None:
    """Tell people about every block from a height on."""
    for height in count(first_height):
        block, commit = await node.replica.read_commit(height)
        node.rounds.observe(block, commit, duration_ms=max(0, wall_clock_ms() - block.header.time_ms))


async def warm_worker(node: Node) -> None:
    """Start the learning worker once this account has a role that will need it; torch takes seconds to import."""
    while not has_role(node):
        await node.replica.wait_for_height(node.chain.head.height + 1)
    await node.kit.worker.start()


def has_role(node: Node) -> bool:
    """Return whether the account trains or judges in a task or an alliance that runs."""
    view, address = node.chain.view, node.kit.sender.address
    return any(get_member(view, task.id, address) is not None for task in scan_active_tasks(view)) or any(
        get_participant(view, alliance.id, address) is not None for alliance in scan_active_alliances(view)
    )
