"""The signed log of this node: the ledger's rules joined with the storage that keeps what they decide.

Owned by one task, the replica; everybody else reads `head` and `view`. No networking, no voting.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property

import gmpy2
import structlog

from flocknode.task_events import describe_changes, encode_event
from protocol import crypto, ledger
from protocol.blocks import Block, Head, Receipt, block_id, check_body
from protocol.codec import encode
from protocol.genesis import GenesisDocument, genesis_digest, genesis_head, make_genesis_state
from protocol.ledger import Applied, ChainState
from protocol.params import Params
from protocol.rules.voters import Voters, get_voters
from protocol.state import Commitment, MemoryState, StateView
from protocol.tendermint.messages import Commit
from protocol.tendermint.proposer import Priorities
from protocol.tendermint.replicas import ReplicaSet
from storage.errors import Corrupted
from storage.log import ChainStore

log = structlog.get_logger()

# Executions kept between a proposal's check and its commit; rounds rarely see more than two proposals.
MAX_CHECKED_BLOCKS = 8
ADDRESS_DIGITS = 8


class WrongGenesis(Exception):
    """The database in the home belongs to another chain than the genesis document."""


class Chain:
    """The log up to `head`, the state after it, and the replica set that votes on the next height."""

    def __init__(self, document: GenesisDocument, store: ChainStore) -> None:
        """Continue the stored log, or begin it. Raises `WrongGenesis`, `Corrupted` or `InvalidGenesis`."""
        self.document = document
        self.store = store
        if store.load_head() is None:
            initialise_store(document, store)
        self._state = load_chain_state(document, store)
        self._checked: dict[bytes, Applied] = {}
        self._voters = get_voters(self.view)
        self._names = {account.address: account.name for account in document.accounts}

    @cached_property
    def id(self) -> bytes:
        """The chain's 32-byte identity: the digest of its genesis document."""
        return genesis_digest(self.document)

    @property
    def head(self) -> Head:
        """The newest committed height."""
        return self._state.head

    @property
    def view(self) -> StateView:
        """The state after the head."""
        return self._state.view

    @property
    def state(self) -> ChainState:
        """What the next block continues."""
        return self._state

    @contextmanager
    def freeze(self) -> Iterator[ChainState]:
        """Give the newest state to another thread: blocks that are committed meanwhile do not change it."""
        commitment = self._state.commitment
        with self.store.freeze() as reader:
            head = reader.load_head()
            assert head is not None, "the store was initialised"
            yield ChainState(chain=self.id, params=self.params, head=head, view=reader.view, commitment=commitment)

    @property
    def params(self) -> Params:
        """The constants of the rules."""
        return self.document.params

    @property
    def voters(self) -> Voters:
        """The replica sets around the next height."""
        return self._voters

    @property
    def replicas(self) -> ReplicaSet:
        """Who votes on the next height."""
        return self._voters.current

    @property
    def priorities(self) -> Priorities:
        """Whose turn it is to propose at the next height."""
        return self._voters.priorities

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
        """Return a valid block for the next height, with those of the transactions that may stand in it."""
        return ledger.build_block(
            self._state,
            transactions=transactions,
            commit=commit,
            time_ms=time_ms,
            round=round,
            proposer=proposer,
            beacon_proof=ledger.prove_beacon(self._state, beacon_secret, randomness),
        )

    def check_block(self, block: Block) -> Applied:
        """Return what the block does, without doing it; raises `InvalidBlock`. Asking again costs nothing."""
        identity = block_id(block.header)
        # The id names the header alone, so what is remembered under it holds only for the body that the header names.
        check_body(block)
        applied = self._checked.get(identity)
        if applied is None:
            applied = ledger.apply_block(self._state, block)
            while len(self._checked) >= MAX_CHECKED_BLOCKS:
                del self._checked[next(iter(self._checked))]
            self._checked[identity] = applied
        return applied

    def commit_block(self, block: Block, commit: Commit, applied: Applied) -> None:
        """Append a decided block and its changes in one durable batch, and move on to the next height."""
        before, after = self._state.commitment.buckets, applied.commitment.buckets
        changed = [index for index in range(len(after)) if after[index] is not before[index]]
        told = describe_changes(self.view, applied.changes, height=applied.head.height, name=self.name_of)
        self.store.commit(
            block,
            commit,
            applied.receipts,
            changes=applied.changes,
            buckets={index: crypto.multiset_bytes(after[index]) for index in changed},
            head=applied.head,
            events=[encode_event(event) for event in told],
        )
        self._state = ChainState(
            chain=self.id,
            params=self.params,
            head=applied.head,
            view=self.store.view,
            commitment=applied.commitment,
        )
        self._voters = get_voters(self.view)
        self._checked.clear()

    def is_block_due(self, now_ms: int) -> bool:
        """Return whether a block without transactions would do something now."""
        return ledger.is_block_due(self.view, now_ms)

    def has_task_events(self, height: int) -> bool:
        """Return whether something became of a task at a height."""
        return any(place[0] == height for place, _ in self.store.load_task_events((height, 0), 1))

    def name_of(self, address: bytes) -> str:
        """Return what the genesis document calls an account, else the first digits of its address; for people."""
        return self._names.get(address) or address.hex()[:ADDRESS_DIGITS]

    def find_altered_buckets(self) -> list[int]:
        """Return the buckets whose stored records do not have the hash that this node computed when it wrote them."""
        actual = Commitment().update(MemoryState(), dict(self.view.scan(b"")))
        expected = self._state.commitment.buckets
        return [index for index, bucket in enumerate(actual.buckets) if bucket != expected[index]]

    def load_block(self, height: int) -> Block | None:
        """Return a committed block."""
        return self.store.load_block(height)

    def load_commit(self, height: int) -> Commit | None:
        """Return the commit that made a block final."""
        return self.store.load_commit(height)

    def load_receipts(self, height: int) -> tuple[Receipt, ...] | None:
        """Return what became of the transactions of a committed block, in their order."""
        return self.store.load_receipts(height)

    def load_pair(self, height: int) -> bytes | None:
        """Return the encoding of (block, commit) at a height, for a peer that catches up; None where the log ends."""
        block, commit = self.store.load_block(height), self.store.load_commit(height)
        return None if block is None or commit is None else encode((block, commit))

    def find_receipt(self, transaction: bytes) -> tuple[int, int, Receipt] | None:
        """Return (height, index, receipt) of a transaction on the log, by its id.

        None also where the log lacks the receipts, which `log verify` locates: whoever waits for one asks again, and
        it is no reason to stop replicating.
        """
        with self.store.freeze() as reader:
            place = reader.find_transaction(transaction)
            if place is None:
                return None
            receipts = reader.load_receipts(place[0])
        if receipts is None:
            log.error("a transaction stands on the log without its receipts", height=place[0], head=self.head.height)
            return None
        return place[0], place[1], receipts[place[1]]


def initialise_store(document: GenesisDocument, store: ChainStore) -> None:
    """Write the genesis state into an empty store."""
    state = make_genesis_state(document)
    commitment = Commitment().update(MemoryState(), state.records)
    buckets = [crypto.multiset_bytes(bucket) for bucket in commitment.buckets]
    store.initialise(genesis_head(document, commitment), state.records, buckets)


def load_chain_state(document: GenesisDocument, store: ChainStore) -> ChainState:
    """Return the stored state; raises `WrongGenesis` or `Corrupted` when it is not this chain's, or not its own."""
    head = store.load_head()
    assert head is not None, "the store was initialised"
    commitment = Commitment([gmpy2.mpz(int.from_bytes(bucket, "little")) for bucket in store.load_buckets()])
    if commitment.root() != head.state_root:
        raise Corrupted("state buckets", "they do not have the root that the head names")
    first = store.load_block(1)
    chain = genesis_digest(document)
    if (head.block_id if first is None else first.header.chain) != chain:
        raise WrongGenesis("the database belongs to another chain than genesis.json")
    return ChainState(chain=chain, params=document.params, head=head, view=store.view, commitment=commitment)
