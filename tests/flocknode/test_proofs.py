"""Costly proofs of accounts: verified as they come, once; a false one is dropped, and its author brings no other."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from msgspec.structs import replace
from trio.testing import wait_all_tasks_blocked

from flocknode import mempool as module
from flocknode.chain import Chain
from flocknode.mempool import Mempool, MempoolFull
from flocknode.proofs import ProofVerifier
from protocol.alliance_acts import CommitUpdate
from protocol.errors import InvalidProof, TransactionRefused
from protocol.params import DEVNET, Params
from protocol.transactions import Transfer
from protocol.zk import knowledge
from storage.database import Database
from storage.log import ChainStore
from tests.ledger_driver import Person
from tests.private_play import PARAMS, PrivatePlay


class Node:
    """A real chain that holds a private alliance whose proposers are asked to commit, its pool and the verifier."""

    def __init__(self, database: Database, params: Params) -> None:
        self.play = PrivatePlay(params=params).begin()
        self.ledger = self.play.ledger
        self.chain = Chain(self.ledger.document, ChainStore(database))
        self.pool = Mempool(self.chain.state)
        self.noticed = 0
        self.follow()

    def follow(self) -> None:
        """Commit the blocks of the ledger that the chain does not have."""
        commits = [block.previous_commit for block in self.ledger.blocks[1:]] + [self.ledger.commit]
        for block, commit in list(zip(self.ledger.blocks, commits, strict=True))[self.chain.head.height :]:
            self.chain.commit_block(block, commit, self.chain.check_block(block))
            self.pool.advance(self.chain.state, block.transactions)

    def notice(self) -> None:
        self.noticed += 1

    def commitment(self, person: Person, *, is_false: bool = False, round: int = 0) -> bytes:
        """Return a proposer's commitment, signed; a false one carries another's proof."""
        update = self.play.committed(person)
        if is_false:
            other = next(one for one in self.play.proposers() if one != person)
            update = replace(update, knowledge=self.play.committed(other).knowledge)
        self.ledger.send(person, CommitUpdate(self.play.alliance, round, update, mask_key=None))
        return self.ledger.pending.pop()

    def transfer(self, person: Person) -> bytes:
        self.ledger.send(person, Transfer(self.play.creator.address, 1))
        return self.ledger.pending.pop()

    def pick(self) -> list[bytes]:
        return self.pool.pick(DEVNET.max_block_bytes)

    async def verify(self) -> None:
        """Let the verifier go through all that waits."""

        async def run_here(function: Callable[..., object], *arguments: object) -> object:
            await trio.lowlevel.checkpoint()
            return function(*arguments)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ProofVerifier(self.chain, self.pool, self.notice, offload=run_here).run)
            await wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()


@pytest.fixture
def open_node(tmp_path: Path) -> Iterator[Callable[[Params], Node]]:
    database = Database(tmp_path / "chain")
    yield lambda params: Node(database, params)
    database.close()


@pytest.fixture
def node(open_node) -> Node:
    return open_node(PARAMS)


@pytest.fixture
def verified(monkeypatch) -> list[bytes]:
    """Return the proofs that are verified, in their order; nothing is remembered from before."""
    proofs: list[bytes] = []
    verify_rows = knowledge.verify_rows

    def counted(transcript, table, rows, proof) -> None:
        proofs.append(proof)
        verify_rows(transcript, table, rows, proof)

    knowledge.verify_committed_update.cache_clear()
    monkeypatch.setattr(knowledge, "verify_rows", counted)
    return proofs


async def test_a_proof_comes_into_no_block_before_it_is_verified(node, verified) -> None:
    """It waits, with all that its account sent after it; then the replica is told that there is something to do."""
    person = node.play.proposers()[0]
    waiting = [node.commitment(person), node.transfer(person)]
    assert all(map(node.pool.add, waiting))
    assert node.pick() == []
    assert not node.pool.has_includable()
    await node.verify()
    assert (node.noticed, len(verified)) == (1, 1)
    assert node.pick() == waiting


async def test_judging_a_block_finds_what_was_verified_when_it_came(node, verified) -> None:
    """Neither building nor checking nor committing a block verifies a proof again."""
    people = node.play.proposers()
    assert all(node.pool.add(node.commitment(person)) for person in people)
    await node.verify()
    assert len(verified) == len(people)
    block = node.ledger.make_block(transactions=node.pick())
    node.ledger.apply(block)
    node.follow()
    assert [receipt.error for receipt in node.chain.load_receipts(node.chain.head.height)] == [0] * len(people)
    assert len(verified) == len(people)


async def test_a_false_proof_is_dropped_and_its_author_brings_no_other_for_a_while(node, verified, monkeypatch) -> None:
    """Finding out costs, so it happens once; the account's transfers go on, and so do the proofs of others."""
    monkeypatch.setattr(module, "REFUSED_BLOCKS", 2)
    liar, honest = node.play.proposers()[:2]
    assert node.pool.add(node.commitment(liar, is_false=True))
    assert node.pool.add(node.commitment(honest))
    await node.verify()
    assert [type(error) for error in node.pool.refusals.values()] == [InvalidProof]
    assert (len(node.pick()), len(verified)) == (1, 2)
    node.ledger.nonces.clear()
    right = node.commitment(liar)
    with pytest.raises(TransactionRefused, match="did not hold"):
        node.pool.add(right)
    node.ledger.nonces.clear()
    assert node.pool.add(node.transfer(liar))
    node.ledger.block()
    node.ledger.block()
    node.follow()
    node.ledger.nonces[liar.address] = 2
    assert node.pool.add(node.commitment(liar))


async def test_a_proof_is_verified_when_it_is_the_next_of_its_account(node, verified) -> None:
    """What its author did before may change what it must be about: judged too early, an honest one would look false."""
    person = node.play.proposers()[0]
    earlier, data = node.transfer(person), node.commitment(person)
    assert node.pool.add(data)
    await node.verify()
    assert node.pool.add(earlier)
    await node.verify()
    assert (verified, node.pick()) == ([], [earlier])
    node.ledger.apply(node.ledger.make_block(transactions=node.pick()))
    node.follow()
    await node.verify()
    assert (len(verified), node.pick()) == (1, [data])


async def test_what_cannot_be_judged_yet_waits_for_its_block(node, verified) -> None:
    """This node may be a block behind: a commitment for a later round is no fault, and is verified with its block."""
    early = node.commitment(node.play.proposers()[0], round=1)
    assert node.pool.add(early)
    await node.verify()
    assert node.pick() == [early]
    assert verified == []


def test_an_account_has_few_costly_proofs_waiting(node, monkeypatch) -> None:
    """Each is verified when it comes, needed or not; others' are taken as before."""
    monkeypatch.setattr(module, "MAX_PROOFS_PER_ACCOUNT", 2)
    person, other = node.play.proposers()[:2]
    assert node.pool.add(node.commitment(person))
    assert node.pool.add(node.commitment(person))
    with pytest.raises(MempoolFull, match="2 costly proofs"):
        node.pool.add(node.commitment(person))
    assert node.pool.add(node.commitment(other))


async def test_proofs_beyond_the_limit_leave_room_for_others(open_node) -> None:
    """What no block has time for is passed over when one is picked, and comes with the next."""
    node = open_node(replace(PARAMS, max_block_proof_us=1_000))
    people = node.play.proposers()
    commitments = [node.commitment(person) for person in people]
    transfer = node.transfer(node.play.stranger)
    assert all(map(node.pool.add, [*commitments, transfer]))
    await node.verify()
    picked = node.pick()
    # A commitment of this size costs 486 us.
    assert (len(people), len(picked), transfer in picked) == (3, 3, True)
    node.ledger.apply(node.ledger.make_block(transactions=picked))
    node.follow()
    assert node.pick() == [data for data in commitments if data not in picked]
