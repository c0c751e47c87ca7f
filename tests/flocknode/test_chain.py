"""The signed log of one node on a real database: it continues after a restart, and refuses what is not its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from flocknode.chain import Chain, WrongGenesis
from protocol import ledger as rules
from protocol.blocks import Block, commit_digest, transaction_id
from protocol.codec import encode
from protocol.crypto import integer_bytes
from protocol.errors import InvalidBlock
from protocol.rules import purses
from protocol.rules.arena.records import Phase
from protocol.rules.voters import get_voters
from protocol.tendermint.messages import Commit
from protocol.tendermint.proposer import proposer_of
from storage.database import Database
from storage.errors import Corrupted
from storage.log import RECEIPTS_PREFIX, ChainStore
from storage.state import BUCKET_PREFIX
from tests.arena_play import Play
from tests.ledger_driver import FML, Ledger, Person

ALICE, BOB, CAROL = Person("alice"), Person("bob"), Person("carol")
Open = Callable[[Ledger], Chain]


@pytest.fixture
def open_chain(tmp_path: Path) -> Iterator[Open]:
    """Open the chain of a ledger's document in the test's folder; opening again is a restart."""
    with ExitStack() as stack:

        def open_again(ledger: Ledger) -> Chain:
            stack.close()
            database = stack.enter_context(closing(Database(tmp_path / "data")))
            return Chain(ledger.document, ChainStore(database))

        yield open_again


def log_of(ledger: Ledger) -> list[tuple[Block, Commit]]:
    """Return the ledger's blocks, each with the commit that made it final."""
    following = [block.previous_commit for block in ledger.blocks[1:]]
    return list(zip(ledger.blocks, [*following, ledger.commit], strict=True))


def append(chain: Chain, pairs: list[tuple[Block, Commit]]) -> None:
    for block, commit in pairs:
        chain.commit_block(block, commit, chain.check_block(block))


def transfers(count: int) -> Ledger:
    """Return a ledger with so many blocks of one transfer."""
    ledger = Ledger(ALICE, BOB, CAROL)
    for _ in range(count):
        ledger.transfer(ALICE, BOB, FML)
        ledger.block()
    return ledger


def test_a_new_chain_begins_with_the_genesis_state(open_chain):
    """Height 0, the document's balances, and the first replicas to vote."""
    ledger = Ledger(ALICE, BOB, CAROL)
    chain = open_chain(ledger)
    assert (chain.id, chain.head) == (ledger.chain, ledger.before.head)
    assert dict(chain.view.scan(b"")) == ledger.state.records
    assert chain.voters == get_voters(ledger.state)
    assert chain.replicas is chain.voters.current
    assert chain.priorities is chain.voters.priorities
    assert chain.load_block(0) is chain.load_block(1) is chain.load_commit(1) is chain.load_pair(1) is None


def test_a_whole_task_is_the_same_on_disk_as_in_memory(open_chain):
    """Every record, root and head; also when the node restarts after every twentieth block."""
    play = Play().begin().run_epoch().run_epoch()
    assert play.phase is Phase.FINISHED
    ledger, pairs = play.ledger, log_of(play.ledger)
    chain = open_chain(ledger)
    for start in range(0, len(pairs), 20):
        append(chain, pairs[start : start + 20])
        chain = open_chain(ledger)
    assert chain.head == ledger.before.head
    assert dict(chain.view.scan(b"")) == ledger.state.records
    assert chain.state.commitment.buckets == ledger.before.commitment.buckets
    assert chain.voters == get_voters(ledger.state)


def test_a_transaction_without_receipts_is_told_and_not_found(
    open_chain: Callable[[Ledger], Chain], capsys: pytest.CaptureFixture[str]
) -> None:
    """A log that lacks them stops nobody who looks for a transaction; `log verify` says where it is damaged."""
    ledger = transfers(3)
    chain = open_chain(ledger)
    append(chain, log_of(ledger))
    identity = transaction_id(log_of(ledger)[1][0].transactions[0])
    assert chain.find_receipt(identity)[:2] == (2, 0)
    chain.store._database.write({RECEIPTS_PREFIX + integer_bytes(2): None})
    assert chain.find_receipt(identity) is None
    assert "stands on the log without its receipts" in capsys.readouterr().out


def test_a_restarted_chain_continues(open_chain):
    """Blocks, commits and receipts are there, and the next block is built on them."""
    ledger = transfers(3)
    chain = open_chain(ledger)
    append(chain, log_of(ledger))
    chain = open_chain(ledger)
    block, commit = log_of(ledger)[1]
    assert (chain.load_block(2), chain.load_commit(2)) == (block, commit)
    assert chain.load_pair(2) == encode((block, commit))
    identity = transaction_id(block.transactions[0])
    height, index, receipt = chain.find_receipt(identity)
    assert (height, index, receipt.transaction, receipt.error) == (2, 0, identity, 0)
    assert chain.find_receipt(bytes(32)) is None
    ledger.transfer(BOB, CAROL, 5)
    proposer = proposer_of(chain.replicas, chain.priorities, 0)
    person = next(person for person in ledger.people if person.address == proposer.account)
    built = chain.build_block(
        transactions=ledger.pending,
        commit=ledger.commit,
        time_ms=chain.head.time_ms + 100,
        round=0,
        proposer=proposer.key,
        beacon_secret=person.beacon_secret,
        randomness=bytes(32),
    )
    assert len(built.transactions) == 1
    applied = chain.check_block(built)
    ledger.apply(built)
    chain.commit_block(built, ledger.commit, applied)
    assert chain.head == ledger.before.head


def test_another_genesis_document_is_refused(open_chain):
    """A database of another chain is not continued: with blocks in it, and without."""
    ledger, other = transfers(1), Ledger(ALICE, BOB)
    open_chain(ledger)
    with pytest.raises(WrongGenesis, match="another chain"):
        open_chain(other)
    append(open_chain(ledger), log_of(ledger))
    with pytest.raises(WrongGenesis, match="another chain"):
        open_chain(other)
    assert open_chain(ledger).head == ledger.before.head


def test_buckets_that_are_not_those_of_the_head_are_found(open_chain, tmp_path):
    """A state that its own root contradicts is not used."""
    ledger = transfers(1)
    append(open_chain(ledger), log_of(ledger))
    open_chain(ledger).store._database.write({BUCKET_PREFIX + b"\x07": (5).to_bytes(384, "little")})
    with pytest.raises(Corrupted, match="state buckets"):
        open_chain(ledger)


def test_checking_again_costs_nothing_and_changes_nothing(open_chain, monkeypatch):
    """A block that was executed for its vote is not executed again for its commit."""
    ledger = transfers(1)
    chain, (block, _) = open_chain(ledger), log_of(ledger)[0]
    before = dict(chain.view.scan(b""))
    applied = chain.check_block(block)
    monkeypatch.setattr(rules, "apply_block", None)
    assert chain.check_block(block) is applied
    assert dict(chain.view.scan(b"")) == before


def test_what_was_checked_is_remembered_for_its_own_body_only(open_chain):
    """The id names the header: the same header with other transactions, or another commit, is refused all the same."""
    ledger = transfers(2)
    chain, pairs = open_chain(ledger), log_of(ledger)
    append(chain, pairs[:1])
    block = pairs[1][0]
    chain.check_block(block)
    for forged in (
        Block(block.header, block.previous_commit, ()),
        Block(block.header, None, block.transactions),
        Block(block.header, block.previous_commit, block.transactions * 2),
    ):
        with pytest.raises(InvalidBlock, match="the header names"):
            chain.check_block(forged)


def test_an_invalid_block_is_refused_each_time(open_chain):
    """Nothing of it is remembered."""
    ledger = transfers(2)
    chain, pairs = open_chain(ledger), log_of(ledger)
    for _ in range(2):
        with pytest.raises(InvalidBlock, match="height"):
            chain.check_block(pairs[1][0])
    assert commit_digest(None) != commit_digest(pairs[0][1])


def test_several_proposals_are_tried_and_one_is_committed(open_chain):
    """More than the node remembers; the one that is decided decides the state."""
    ledger = Ledger(ALICE, BOB, CAROL)
    chain = open_chain(ledger)
    ledger.transfer(ALICE, BOB, FML)
    proposals = [ledger.make_block(after_ms=100 + number) for number in range(12)]
    for block in proposals:
        chain.check_block(block)
    decided = proposals[0]
    applied = chain.check_block(decided)
    ledger.apply(decided)
    chain.commit_block(decided, ledger.commit, applied)
    assert chain.head == ledger.before.head
    assert purses.get_units(chain.view, purses.balance_of(BOB.address)) > 10_000 * FML


def test_a_due_block_is_seen_in_the_database(open_chain):
    """The opening deadline of a task asks for a block."""
    play = Play()
    chain = open_chain(play.ledger)
    append(chain, log_of(play.ledger))
    assert not chain.is_block_due(play.record.deadline_ms - 1)
    assert chain.is_block_due(play.record.deadline_ms)
