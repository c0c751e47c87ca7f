"""What the blocks of the log hold of a private round (white paper VI.H), once the state has let go of it.

Blocks are read from the newest that may hold it backwards, until all is found.
"""

from collections.abc import Collection, Iterator
from typing import Protocol

from protocol.alliance_acts import CommitUpdate, PublishAggregate
from protocol.blocks import Block, Receipt
from protocol.errors import NotFound
from protocol.params import Params
from protocol.rules.alliance.commitments import get_published, is_private, make_round_context
from protocol.rules.alliance.past import get_result, rewind
from protocol.rules.alliance.records import Alliance
from protocol.state import StateView
from protocol.transactions import SignedTransaction, open_transaction
from protocol.types import Address
from protocol.zk.aggregation import make_statement
from protocol.zk.knowledge import CommittedUpdate
from protocol.zk.proof_file import ProofFile, make_proof_file

Act = CommitUpdate | PublishAggregate


class BlockLog(Protocol):
    """The part of the chain that is read here."""

    @property
    def id(self) -> bytes:
        """The chain."""

    @property
    def params(self) -> Params:
        """The constants of the rules."""

    @property
    def view(self) -> StateView:
        """The state after the newest block."""

    def load_block(self, height: int) -> Block | None:
        """Return a committed block."""

    def load_receipts(self, height: int) -> tuple[Receipt, ...] | None:
        """Return what became of the transactions of a block."""


def find_publication(log: BlockLog, alliance: Alliance, round: int, *, newest: int) -> PublishAggregate:
    """Return what a round's aggregator published, which it did; `newest` is the height of a block at or after it.

    Reads at most the blocks of the round.
    """
    for _, act in scan_acts(log, alliance, round, newest):
        if isinstance(act, PublishAggregate):
            return act
    raise AssertionError("an aggregate in the state that is not on the log")


def find_commitments(
    log: BlockLog, alliance: Alliance, round: int, clients: Collection[Address], *, newest: int
) -> dict[Address, CommittedUpdate]:
    """Return what some clients, who did so, committed to in a round; in its last attempt, where it was run again."""
    updates: dict[Address, CommittedUpdate] = {}
    for sender, act in scan_acts(log, alliance, round, newest):
        if isinstance(act, CommitUpdate) and sender in clients:
            updates.setdefault(sender, act.update)
        if len(updates) == len(clients):
            break
    return updates


def make_round_proof(log: BlockLog, alliance: Alliance, round: int) -> ProofFile:
    """Return what shows to anybody that the sum of a settled round was proven. Raises `NotFound` when it has none."""
    result = get_result(log.view, alliance.id, round)
    then = alliance if result is None else rewind(log.view, alliance, round)
    published = get_published(log.view, then) if is_private(alliance) else None
    # A sum of masked updates opens what it must: it has no other proof.
    if result is None or published is None or published.proven is None or published.proven.proof is None:
        raise NotFound(f"round {round + 1} of alliance {alliance.id} has no proof: none was published, or it runs yet")
    # After a sum nobody publishes anything any more, so it is the newest.
    proven, weights = (
        find_publication(log, then, round, newest=result.settled_height).proven,
        published.proven.weighed(),
    )
    assert proven is not None, "an aggregate in the state that is not on the log"
    updates = find_commitments(log, then, round, weights, newest=result.settled_height)
    context = make_round_context(log.view, log.id, log.params, then)
    statement = make_statement(context, updates, weights)
    return make_proof_file(statement, proven.aggregation)


def scan_acts(log: BlockLog, alliance: Alliance, round: int, newest: int) -> Iterator[tuple[Address, Act]]:
    """Yield the commitments and the aggregate of a round, with their senders, the newest first."""
    earlier = get_result(log.view, alliance.id, round - 1) if round else None
    for height in range(newest, 0 if earlier is None else earlier.settled_height, -1):
        block, receipts = log.load_block(height), log.load_receipts(height)
        assert block is not None, "a height below the head without its block"
        assert receipts is not None, "a committed block without its receipts"
        for data, receipt in zip(block.transactions, receipts, strict=True):
            transaction = None if receipt.error else open_transaction(log.id, data)
            if not isinstance(transaction, SignedTransaction) or not isinstance(transaction.payload, Act):
                continue
            if (transaction.payload.alliance, transaction.payload.round) == (alliance.id, round):
                yield transaction.sender, transaction.payload
