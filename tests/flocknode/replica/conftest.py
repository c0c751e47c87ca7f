"""Replicas on a simulated clock: a toy chain that outlives crashes, the real write-ahead log, and an in-memory network.

The network loses and delays messages by a seed, and asserts at every message that leaves a replica that its key never
signed a contradicting one; at every commit, that all chains are one.
"""

import random
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from flocknode.network import PeerUnreachable, Topic, Verdict
from flocknode.replica import Replica, ReplicaKeys
from flocknode.replica.signer import position
from flocknode.replica.wire import BlockProposal, ConsensusMessage, VoteCast
from protocol import crypto
from protocol.blocks import Block, Head, Header, block_id, check_body, commit_digest, transactions_root
from protocol.codec import decode, encode
from protocol.errors import InvalidBlock
from protocol.params import DEVNET
from protocol.tendermint.messages import Commit
from protocol.tendermint.proposer import advance_priorities, initial_priorities, proposer_of
from protocol.tendermint.replicas import Replica as Member
from protocol.tendermint.replicas import make_replica_set, verify_commit
from storage.wal import WriteAheadLog

CHAIN = b"c" * 32
ZERO = bytes(32)
EPOCH_MS = 1_700_000_000_000
MAX_DELAY_S = 0.03


class ToyChain:
    """A log whose state root is a hash of all transactions so far. A transaction `bad...` makes a block invalid."""

    def __init__(self, replicas) -> None:
        self.id = CHAIN
        self.params = DEVNET
        self.replicas = replicas
        self.priorities = initial_priorities(replicas)
        self.head = Head(0, ZERO, EPOCH_MS - 1_000, crypto.hash_parts("toy"), ZERO)
        self.pairs: dict[int, tuple[Block, Commit]] = {}
        self.checks = 0
        self.builds_bad = False
        # Heights whose blocks change a phase, whatever is in them.
        self.phase_changes: set[int] = set()

    @property
    def state(self):
        return None

    def build_block(self, *, transactions, commit, time_ms, round, proposer, beacon_secret, randomness) -> Block:
        chosen = tuple(transactions) + ((b"bad",) if self.builds_bad else ())
        header = Header(
            self.id, self.head.height + 1, time_ms, round, proposer, self.head.block_id, commit_digest(commit),
            transactions_root(chosen), self.head.state_root, self.head.receipts_root, ZERO, ZERO, randomness,
        )  # fmt: skip
        return Block(header, commit, chosen)

    def check_block(self, block: Block):
        self.checks += 1
        header = block.header
        check_body(block)
        if (header.height, header.previous_block) != (self.head.height + 1, self.head.block_id):
            raise InvalidBlock("not the next block")
        if header.state_root != self.head.state_root:
            raise InvalidBlock("the header's state root is not what this node computed")
        if header.time_ms <= self.head.time_ms:
            raise InvalidBlock("not later than the block before")
        if header.proposer != proposer_of(self.replicas, self.priorities, header.round).key:
            raise InvalidBlock("another replica proposes in this round")
        if header.height > 1:
            verify_commit(self.id, block.previous_commit, self.replicas)
        if any(data.startswith(b"bad") for data in block.transactions):
            raise InvalidBlock("a bad transaction")
        root = crypto.hash_parts("toy", self.head.state_root, *block.transactions)
        head = Head(header.height, block_id(header), header.time_ms, root, ZERO)
        return SimpleNamespace(head=head, is_phase_changed=header.height in self.phase_changes)

    def commit_block(self, block: Block, commit: Commit, applied) -> None:
        assert block.header.height == self.head.height + 1
        self.pairs[block.header.height] = (block, commit)
        self.head = applied.head
        self.priorities = advance_priorities(self.replicas, self.priorities)

    def is_block_due(self, now_ms: int) -> bool:
        return False

    def has_task_events(self, height: int) -> bool:
        return height in self.phase_changes

    def find_altered_buckets(self) -> list[int]:
        return []

    def load_block(self, height: int) -> Block | None:
        return self.pairs[height][0] if height in self.pairs else None

    def load_commit(self, height: int) -> Commit | None:
        return self.pairs[height][1] if height in self.pairs else None


class ToyTransactions:
    """A mempool that holds bytes; an endless one always has one more transaction."""

    def __init__(self) -> None:
        self.waiting: list[bytes] = []
        self.is_endless = False

    def pick(self, max_bytes: int) -> list[bytes]:
        return [b"tx"] if self.is_endless else list(self.waiting)

    def has_includable(self) -> bool:
        return self.is_endless or bool(self.waiting)

    def advance(self, state, included) -> None:
        self.waiting = [data for data in self.waiting if data not in included]


class CrashingLog(WriteAheadLog):
    """The real log; a power cut loses what was not synced. The fsync itself takes time, and its own tests see to it."""

    synced = 0

    def sync(self) -> None:
        self.synced = self.size_bytes

    def rotate(self, keep) -> None:
        super().rotate(keep)
        self.synced = self.size_bytes

    def cut_power(self) -> None:
        self.close()
        with self.path.open("r+b") as file:
            file.truncate(max(self.synced, 20))


async def run_inline(function: Callable[..., object], *arguments: object) -> object:
    """Run at once: threads and a simulated clock do not go together."""
    await trio.lowlevel.checkpoint()
    return function(*arguments)


class Node:
    """One participant: what survives a crash (chain, log file, keys), and the replica while it runs."""

    def __init__(self, world: "World", index: int, seed: bytes | None) -> None:
        self.world = world
        self.name = f"n{index}"
        self.keys = ReplicaKeys(seed, seed) if seed is not None else None
        self.chain = ToyChain(world.replicas)
        self.transactions = ToyTransactions()
        self.path: Path = world.folder / f"{self.name}.wal"
        self.skew_ms = 0
        self.replica: Replica | None = None
        self.log: CrashingLog | None = None
        self._scope = trio.CancelScope()
        self.fetch_blocks_answer: Callable[[int, int], list[bytes]] | None = None

    def wall_clock(self) -> int:
        return EPOCH_MS + round(trio.current_time() * 1000) + self.skew_ms

    async def start(self) -> None:
        self.log = CrashingLog(self.path)
        self.log.synced = self.log.size_bytes
        self._scope = trio.CancelScope()
        self.replica = Replica(
            chain=self.chain,
            network=Port(self.world, self),
            transactions=self.transactions,
            log=self.log,
            keys=self.keys,
            wall_clock=self.wall_clock,
            name_of=lambda member: f"r{self.world.keys.index(member.key)}",
            randomness=self.world.random.randbytes,
            offload=run_inline,
        )
        await self.world.nursery.start(self._run)
        for other in self.world.running():
            if other is not self:
                other.replica.peer_joined(self.name)
                self.replica.peer_joined(other.name)

    async def _run(self, *, task_status) -> None:
        with self._scope:
            await self.replica.run(task_status=task_status)

    def kill(self, *, cut_power: bool = False) -> None:
        """Stop at once. With `cut_power`, what was not synced is lost."""
        self._scope.cancel()
        self.replica = None
        if cut_power:
            self.log.cut_power()
        else:
            self.log.close()
        for other in self.world.running():
            other.replica.peer_left(self.name)

    @property
    def height(self) -> int:
        return self.chain.head.height


class Port:
    """One node's access to the network."""

    def __init__(self, world: "World", node: Node) -> None:
        self.world, self.node = world, node

    @property
    def peers(self):
        return [other.name for other in self.world.running() if other is not self.node]

    def publish(self, topic: Topic, payload: bytes) -> None:
        for other in self.world.running():
            if other is not self.node:
                self.send(other.name, topic, payload)

    def send(self, peer: str, topic: Topic, payload: bytes) -> None:
        assert topic is Topic.CONSENSUS
        self.world.check_honesty(self.node, payload)
        self.world.deliver(self.node, self.world.by_name[peer], payload)

    def blame(self, peer: str, reason: str) -> None:
        self.world.blamed.append((peer, reason))

    async def fetch_blocks(self, peer: str, first_height: int, count: int) -> list[bytes]:
        await trio.sleep(0.01)
        source = self.world.by_name[peer]
        if source.replica is None or self.world.cut(self.node, source):
            raise PeerUnreachable("gone")
        if source.fetch_blocks_answer is not None:
            return source.fetch_blocks_answer(first_height, count)
        heights = range(first_height, first_height + count)
        return [encode(source.chain.pairs[height]) for height in heights if height in source.chain.pairs]


class World:
    """All nodes and what is between them."""

    def __init__(self, folder: Path, nursery: trio.Nursery, size: int, seed: int) -> None:
        self.folder, self.nursery = folder, nursery
        self.random = random.Random(seed)
        seeds = sorted((crypto.hash_parts("test", bytes([i])) for i in range(size)), key=crypto.public_key)
        self.keys = [crypto.public_key(seed) for seed in seeds]
        self.replicas = make_replica_set([Member(key, key, 1, key) for key in self.keys])
        self.loss = 0.0
        self.cut: Callable[[Node, Node], bool] = lambda sender, receiver: False
        self.verdicts: dict[Verdict, int] = defaultdict(int)
        self.signed: dict[tuple[bytes, tuple[int, int, int]], object] = {}
        self.blamed: list[tuple[str, str]] = []
        self.may_equivocate: set[bytes] = set()
        self.nodes = [Node(self, index, seed) for index, seed in enumerate(seeds)]
        self.by_name = {node.name: node for node in self.nodes}

    def add_follower(self) -> Node:
        node = Node(self, len(self.nodes), None)
        self.nodes.append(node)
        self.by_name[node.name] = node
        return node

    def running(self) -> list[Node]:
        return [node for node in self.nodes if node.replica is not None]

    async def start(self) -> None:
        for node in self.nodes:
            await node.start()

    def deliver(self, sender: Node, receiver: Node, payload: bytes) -> None:
        if self.random.random() >= self.loss and not self.cut(sender, receiver):
            self.nursery.start_soon(self._hand_over, sender, receiver, payload, self.random.uniform(0.001, MAX_DELAY_S))

    async def _hand_over(self, sender: Node, receiver: Node, payload: bytes, delay_s: float) -> None:
        await trio.sleep(delay_s)
        if receiver.replica is not None:
            self.verdicts[await receiver.replica.handle(sender.name, payload)] += 1

    def check_honesty(self, sender: Node, payload: bytes) -> None:
        """Assert that the sender's key signs one message per position, and that what it says is durable."""
        match decode(payload, ConsensusMessage):
            case VoteCast(message) | BlockProposal(message) if sender.keys and message.replica == sender.keys.key:
                known = self.signed.setdefault((message.replica, position(message)), message)
                assert known == message or message.replica in self.may_equivocate, f"{sender.name} contradicts itself"
                assert sender.log.synced == sender.log.size_bytes, "said before it was durable"

    def check_one_log(self) -> None:
        """Assert that all chains agree wherever they reach, byte for byte."""
        for height in range(1, max(node.height for node in self.nodes) + 1):
            blocks = {encode(node.chain.pairs[height][0]) for node in self.nodes if height in node.chain.pairs}
            assert len(blocks) == 1, f"{len(blocks)} blocks at height {height}"

    async def wait_for_height(self, height: int, *, within_s: float = 60, nodes: list[Node] | None = None) -> None:
        with trio.fail_after(within_s):
            for node in nodes if nodes is not None else self.running():
                await node.replica.wait_for_height(height)
        self.check_one_log()


@pytest.fixture
def open_world(tmp_path: Path) -> Iterator[Callable[..., object]]:
    """Make worlds of replicas that are not started yet; a test asks for `autojump_clock` too."""

    @asynccontextmanager
    async def opened(size: int = 4, *, seed: int = 1) -> AsyncIterator[World]:
        print(f"seed {seed}")
        worlds: list[World] = []
        try:
            async with trio.open_nursery() as nursery:
                worlds.append(World(tmp_path, nursery, size, seed))
                yield worlds[0]
                nursery.cancel_scope.cancel()
        finally:
            # Not before the last replica has ended: it may be about to write.
            for node in worlds[0].running():
                node.log.close()

    return opened
