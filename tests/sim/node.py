"""One simulated node: the real chain, mempool and replica on a disk that outlives them, until the power goes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from flocknode.chain import Chain
from flocknode.mempool import Mempool
from flocknode.network import PeerUnreachable, Topic
from flocknode.replica import Replica, ReplicaKeys
from protocol.errors import ProtocolError
from protocol.genesis import GenesisDocument
from storage.log import ChainStore
from tests.sim.cast import START_MS, Person
from tests.sim.disk import Disk, PowerCut
from tests.sim.judge import SafetyViolated
from tests.sim.mutants import Mutator

if TYPE_CHECKING:
    from tests.sim.world import World

# What a disk or a thread takes, by chance.
WORK_S = (0.0, 0.0, 0.001, 0.004)


class SimulatedNode:
    """A node of a world. The parts are None while it is off."""

    def __init__(self, world: "World", name: str, person: Person, document: GenesisDocument) -> None:
        self.world = world
        self.name = name
        self.person = person
        self.keys = ReplicaKeys(person.consensus_seed, person.beacon_secret)
        self.key = person.key
        self.disk = Disk(world.folder, name)
        self.disk.on_commit = self._on_commit
        self.skew_ms = 0
        self.forgets = False
        self.mutator: Mutator | None = None
        self.chain: Chain | None = None
        self.replica: Replica | None = None
        self.mempool: Mempool | None = None
        self.height = 0
        self._document = document
        self._scope = trio.CancelScope()
        self._is_committing = False

    @property
    def is_on(self) -> bool:
        return self.replica is not None

    def wall_clock(self) -> int:
        return START_MS + round(trio.current_time() * 1000) + self.skew_ms

    async def live(self) -> None:
        """Start, and run until the power goes; then lose what was not synced."""
        if self.is_on:
            return
        self._scope = trio.CancelScope()
        try:
            with self._scope:
                self._assemble()
                assert self.replica is not None
                async with trio.open_nursery() as nursery:
                    await nursery.start(self.replica.run)
                    self._meet()
        except* PowerCut:
            pass
        finally:
            self._leave()

    def cut_power(self) -> None:
        """Stop at once."""
        self._scope.cancel()

    def _assemble(self) -> None:
        log = self.disk.open_log()
        self.chain = Chain(self._document, ChainStore(self.disk.database))
        self.mempool = Mempool(self.chain.state)
        self.replica = Replica(
            chain=self.chain,
            network=Port(self),
            transactions=self.mempool,
            log=log,
            keys=self.keys,
            wall_clock=self.wall_clock,
            randomness=self.world.dice.randbytes,
            offload=self._offload,
        )
        self.height = self.chain.head.height

    async def _offload(self, function: Callable[..., object], *arguments: object) -> object:
        await trio.sleep(self.world.dice.choice(WORK_S))
        return function(*arguments)

    def _meet(self) -> None:
        for other in self.world.running():
            if other is not self and other.replica is not None and self.replica is not None:
                other.replica.peer_joined(self.name)
                self.replica.peer_joined(other.name)

    def _leave(self) -> None:
        self.chain = self.replica = self.mempool = None
        self.disk.lose_power(self.world.dice)
        if self.forgets:
            self.disk.wipe()
        for other in self.world.running():
            if other.replica is not None:
                other.replica.peer_left(self.name)
        self.world.see_end(self)

    def _on_commit(self) -> None:
        """A batch is durable: whatever happens now, the node will come back with it."""
        store = ChainStore(self.disk.database)
        head = store.load_head()
        assert head is not None
        if head.height > self.height:
            commit = store.load_commit(head.height)
            assert commit is not None
            self.height = head.height
            self.world.see_commit(self, head, commit)

    def submit(self, data: bytes) -> None:
        """Take a transaction as from this node's own account."""
        if self.mempool is None or self.replica is None:
            return
        try:
            self.mempool.add(data)
        except ProtocolError:
            return
        self.replica.notice_transaction()


class Port:
    """One node's access to the simulated network (`flocknode.replica.ReplicaNetwork`)."""

    def __init__(self, node: SimulatedNode) -> None:
        self._node = node

    @property
    def peers(self) -> list[str]:
        return [other.name for other in self._node.world.running() if other is not self._node]

    def publish(self, topic: Topic, payload: bytes) -> None:
        for name in self.peers:
            self.send(name, topic, payload)

    def send(self, peer: str, topic: Topic, payload: bytes) -> None:
        node = self._node
        if not node.is_on:
            return
        assert topic is Topic.CONSENSUS, "a replica speaks of nothing else"
        log = node.disk.log
        assert log is not None, "a running node has a log"
        node.world.judge.see_sent(node.name, node.key, payload, is_durable=log.synced_bytes == log.size_bytes)
        if node.mutator is not None:
            payload = node.mutator.alter(payload)
        node.world.carry(node, peer, payload)

    def blame(self, peer: str, reason: str) -> None:
        if self._node.world.by_name[peer].mutator is None:
            raise SafetyViolated(f"{self._node.name} blames {peer} for an honest answer: {reason}")

    async def fetch_blocks(self, peer: str, first_height: int, count: int) -> list[bytes]:
        world = self._node.world
        await trio.sleep(world.dice.uniform(0.002, 0.05))
        source = world.by_name[peer]
        if source.chain is None or not (world.hears(self._node, source) and world.hears(source, self._node)):
            raise PeerUnreachable("gone")
        if source.mutator is not None and world.dice.random() < 0.3:
            return [world.dice.randbytes(100)]
        pairs = (source.chain.load_pair(height) for height in range(first_height, first_height + count))
        return [pair for pair in pairs if pair is not None]
