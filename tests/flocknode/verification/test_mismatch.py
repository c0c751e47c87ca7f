"""A node whose own state was altered on the disk says so when the others contradict it."""

import copy

import pytest

from flocknode.chain import Chain
from flocknode.replica.engine import explain_altered
from protocol.errors import InvalidBlock
from protocol.rules.purses import PREFIX, balance_of
from protocol.state import bucket_of
from storage.log import ChainStore
from storage.state import RECORD_PREFIX


def test_altered_records_are_told_by_their_buckets(home, edit, document, ledger):
    """A balance changed behind the node's back: the buckets say which, and the next block is not what it computes."""
    person = ledger.people[0]
    key = PREFIX + balance_of(person.address)
    with edit(home) as database:
        chain = Chain(document, ChainStore(database))
        assert chain.find_altered_buckets() == []
        database.write({RECORD_PREFIX + key: b"\x01", RECORD_PREFIX + b"Zunknown": b"x"})
        assert chain.find_altered_buckets() == sorted({bucket_of(key), bucket_of(b"Zunknown")})


def test_a_payment_from_an_altered_balance_is_where_it_comes_out(home, edit, document, ledger):
    """Blocks that touch what was altered come out differently, so a quorum's next block contradicts this node."""
    with edit(home) as database:
        chain = Chain(document, ChainStore(database))
        altered = PREFIX + balance_of(ledger.people[0].address)
        database.write({RECORD_PREFIX + altered: b"\xcf\x00\x00\x00\xff\xff\xff\xff\xff"})
        others = copy.deepcopy(ledger)
        others.transfer(others.people[0], others.people[1], 1)
        others.block()
        block = others.blocks[-1]
        chain.commit_block(block, others.commit, chain.check_block(block))
        with pytest.raises(InvalidBlock, match="the header's state_root is not what this node computed"):
            chain.check_block(others.make_block())
        assert chain.find_altered_buckets() == [bucket_of(altered)]


def test_the_sentence_says_what_to_do():
    """Altered buckets are named, with the repair; without any, the way to find out more."""
    assert explain_altered([7, 200]).endswith("state buckets 7, 200: run `flocknode db repair`")
    assert "`flocknode log verify`" in explain_altered([])
