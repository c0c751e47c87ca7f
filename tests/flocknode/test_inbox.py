"""What a message about transactions is worth, and what it leaves behind: faults are blamed, the rest is not."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from flocknode import mempool as module
from flocknode.inbox import Inbox, encode_transactions
from flocknode.mempool import Mempool
from flocknode.network import Topic, Verdict
from protocol.codec import decode, encode
from protocol.transactions import AnonymousTransaction, Submit
from tests.arena_play import Play


class ToyReplica:
    """Counts how often it is told that transactions wait."""

    def __init__(self) -> None:
        self.noticed = 0

    def notice_transaction(self) -> None:
        self.noticed += 1


class Node:
    """A task that takes submissions, a mempool on its chain, and the inbox before it."""

    def __init__(self) -> None:
        self.play = Play().begin()
        self.pool = Mempool(self.play.ledger.before)
        self.replica = ToyReplica()
        self.inbox = Inbox(self.pool, lambda: 0, lambda peer, change: None)
        self.inbox.attach(self.replica, lambda peer, topic, payload: None)

    async def hear(self, *transactions: bytes) -> Verdict:
        return await self.inbox.handle("peer", Topic.TRANSACTIONS, encode_transactions(transactions))

    def submissions(self) -> list[bytes]:
        """Return one per trainer, signed and proven, in no block."""
        ledger = self.play.ledger
        for person in self.play.trainers:
            ledger.submit(person, self.play.task, self.play.epoch)
        made, ledger.pending = list(ledger.pending), []
        return made

    def transfer(self) -> bytes:
        ledger = self.play.ledger
        ledger.transfer(self.play.stranger, self.play.creator, 1)
        made, ledger.pending = ledger.pending[-1], []
        return made


@pytest.fixture
def node() -> Node:
    return Node()


def alter(data: bytes, **changes) -> bytes:
    """Return a submission with other fields and the old proof."""
    return encode(AnonymousTransaction(replace(decode(data, AnonymousTransaction).payload, **changes)))


ALTERED: dict[str, tuple[Callable[[Submit], dict[str, object]], Verdict]] = {
    "a proof that is none": (lambda made: {"proof": made.proof[:-1] + bytes([made.proof[-1] ^ 1])}, Verdict.REJECT),
    "another blob under the proof": (lambda made: {"blob": replace(made.blob, length=7)}, Verdict.REJECT),
    "another key under the proof": (lambda made: {"key_commitment": bytes(32)}, Verdict.REJECT),
    "a wrong ring": (lambda made: {"ring": bytes(32)}, Verdict.IGNORE),
    "another epoch": (lambda made: {"epoch": 1}, Verdict.IGNORE),
    "no such task": (lambda made: {"task": 99}, Verdict.IGNORE),
}


@pytest.mark.parametrize("case", ALTERED)
async def test_a_submission_that_does_not_hold_waits_nowhere(node, case: str) -> None:
    """A proof that is wrong for its own ring is a fault; what depends on the state may be an honest mistake."""
    change, verdict = ALTERED[case]
    good = node.submissions()[0]
    bad = alter(good, **change(decode(good, AnonymousTransaction).payload))
    assert await node.hear(bad) is verdict
    assert (len(node.pool), node.replica.noticed) == (0, 0)
    assert await node.hear(good) is Verdict.ACCEPT
    assert (len(node.pool), node.replica.noticed) == (1, 1)


async def test_a_reused_tag_costs_nobody_and_replaces_nothing(node) -> None:
    """While a submission waits, and once it is on the log: the second of its pseudonym is ignored."""
    first = node.submissions()[0]
    second = alter(first, key_commitment=bytes(32))
    assert await node.hear(first) is Verdict.ACCEPT
    assert await node.hear(second) is Verdict.IGNORE
    assert node.pool.all_data() == [first]
    block = node.play.ledger.make_block(transactions=node.pool.pick(10**6))
    node.play.ledger.apply(block)
    node.pool.advance(node.play.ledger.before, block.transactions)
    for again in (first, second):
        assert await node.hear(again) is Verdict.IGNORE
    assert len(node.pool) == 0


async def test_a_full_mempool_blames_nobody_and_loses_nothing(node, monkeypatch) -> None:
    """What finds no room is ignored, what waits goes on waiting, and the sender may come again."""
    monkeypatch.setattr(module, "MAX_TRANSACTIONS", 1)
    first, second, _ = node.submissions()
    assert await node.hear(first) is Verdict.ACCEPT
    assert await node.hear(second) is Verdict.IGNORE
    assert node.pool.all_data() == [first]
    monkeypatch.setattr(module, "MAX_TRANSACTIONS", 2)
    assert await node.hear(second) is Verdict.ACCEPT


async def test_what_is_good_beside_a_fault_is_kept_and_told_of(node) -> None:
    """Its sender pays for the fault; the transaction before it is somebody's all the same."""
    good = node.transfer()
    assert await node.hear(good, b"\xc0") is Verdict.REJECT
    assert node.pool.all_data() == [good]
    assert node.replica.noticed == 1


async def test_a_known_transaction_is_passed_on_no_further(node) -> None:
    """A repetition is ignored, and a message with something new among it is not."""
    known, new = node.transfer(), node.submissions()[0]
    assert await node.hear(known) is Verdict.ACCEPT
    assert await node.hear(known) is Verdict.IGNORE
    assert await node.hear(known, new) is Verdict.ACCEPT
