"""What the replica needs of the rest of the node: a log to append to, waiting transactions, and peers."""

from collections.abc import Collection, Sequence
from typing import Protocol

from flocknode.network.messages import PeerId, Topic
from protocol.blocks import Block, Head
from protocol.ledger import Applied, ChainState
from protocol.params import Params
from protocol.tendermint.messages import Commit
from protocol.tendermint.proposer import Priorities
from protocol.tendermint.replicas import ReplicaSet


class BlockLog(Protocol):
    """The signed log of this node. Only the replica changes it."""

    @property
    def id(self) -> bytes:
        """The chain's 32-byte identity."""

    @property
    def head(self) -> Head:
        """The newest committed height."""

    @property
    def params(self) -> Params:
        """The constants of the rules."""

    @property
    def state(self) -> ChainState:
        """What the next block continues."""

    @property
    def replicas(self) -> ReplicaSet:
        """Who votes on the next height."""

    @property
    def priorities(self) -> Priorities:
        """Whose turn it is to propose at the next height."""

    def build_block(
        self,
        *,
        transactions: Sequence[bytes],
        commit: Commit | None,
        time_ms: int,
        round: int,
        proposer: bytes,
        beacon_secret: bytes,
        randomness: bytes,
    ) -> Block:
        """Return a valid block for the next height."""

    def check_block(self, block: Block) -> Applied:
        """Return what the block does, without doing it. Raises `InvalidBlock`."""

    def commit_block(self, block: Block, commit: Commit, applied: Applied) -> None:
        """Append a decided block durably and move on to the next height."""

    def is_block_due(self, now_ms: int) -> bool:
        """Return whether a block without transactions would do something now."""

    def find_altered_buckets(self) -> Sequence[int]:
        """Return the buckets whose stored records are not those that this node wrote."""

    def has_task_events(self, height: int) -> bool:
        """Return whether the block at a height brought a task on, so that its state wants certifying."""

    def load_block(self, height: int) -> Block | None:
        """Return a committed block."""

    def load_commit(self, height: int) -> Commit | None:
        """Return the commit that made a block final."""


class PendingTransactions(Protocol):
    """The transactions that wait for a block."""

    def pick(self, max_bytes: int) -> list[bytes]:
        """Return what to put into a block."""

    def has_includable(self) -> bool:
        """Return whether a block made now would have a transaction."""

    def advance(self, state: ChainState, included: tuple[bytes, ...]) -> None:
        """Move on to the state after a block that included these."""


class ReplicaNetwork(Protocol):
    """Peers of the same chain. Nothing here waits but `fetch_blocks`."""

    @property
    def peers(self) -> Collection[PeerId]:
        """The connected peers."""

    def publish(self, topic: Topic, payload: bytes) -> None:
        """Broadcast a message."""

    def send(self, peer: PeerId, topic: Topic, payload: bytes) -> None:
        """Send a message to one peer."""

    def blame(self, peer: PeerId, reason: str) -> None:
        """Count against a peer that it sent what no honest one sends."""

    async def fetch_blocks(self, peer: PeerId, first_height: int, count: int) -> list[bytes]:
        """Return encoded (block, commit) pairs, unverified. Raises `NetworkError` when the peer does not deliver."""
