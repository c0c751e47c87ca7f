"""Addresses as text, and the book of them."""

import random

import pytest

from flocknode.errors import UsageError
from flocknode.network.addresses import (
    MAX_ADDRESSES,
    MAX_FAILURES,
    MAX_HEARSAY_FAILURES,
    MAX_HEARSAY_PER_SOURCE,
    Address,
    AddressBook,
    parse_address,
)
from flocknode.network.vouchers import make_voucher

PEER = "12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq"
VOUCHER = make_voucher(b"s" * 32, b"c" * 32, PEER)


def at(port: int, peer: str = PEER, host: str = "127.0.0.1") -> Address:
    return Address(host, port, peer)


def test_an_address_is_read_and_written() -> None:
    """The text of an address survives the round trip."""
    text = f"/ip4/127.0.0.1/tcp/4001/p2p/{PEER}"
    address = parse_address(text)
    assert (address.host, address.port, address.peer) == ("127.0.0.1", 4001, PEER)
    assert str(address) == text


@pytest.mark.parametrize(
    "text", ["", "nonsense", "/ip4/127.0.0.1/tcp/4001", f"/ip4/1.2.3/tcp/1/p2p/{PEER}", "/ip4/127.0.0.1/tcp/1/p2p/no"]
)
def test_a_wrong_address_is_refused_by_name(text: str) -> None:
    """A typo in the bootstrap list is shown, with the form that is expected."""
    with pytest.raises(UsageError, match="is not an address of a peer"):
        parse_address(text)


@pytest.mark.parametrize("address", [at(80, host="10.0.0.1"), at(80, host="8.8.8.8"), at(80, host="localhost"), at(0)])
def test_only_loopback_addresses_are_learnt(address: Address) -> None:
    """Nobody makes this node dial out into the world, or nowhere."""
    book = AddressBook()
    book.learn(address, source="somebody")
    book.learn(address, source=PEER)
    assert not len(book)


def test_hearsay_never_displaces_what_a_peer_said_itself() -> None:
    """Its own word, over an authenticated link, is final; before that the first rumour stands."""
    book = AddressBook()
    book.learn(at(1), source="gossip")
    book.learn(at(2), source="liar")
    assert book.find(PEER) == at(1)
    book.learn(at(3), source=PEER)
    book.learn(at(4), source="liar")
    assert book.find(PEER) == at(3)


def test_one_source_fills_only_its_share_and_the_book_is_bounded() -> None:
    """A liar's thousand addresses push out its own; what was proven stays."""
    book = AddressBook()
    book.learn(at(1), source=PEER)
    for number in range(1000):
        book.learn(at(2, f"made up {number}"), source="liar")
    assert len(book) == 1 + MAX_HEARSAY_PER_SOURCE
    for number in range(3 * MAX_ADDRESSES):
        book.learn(at(3, f"other {number}"), source=f"liar {number // 50}")
    assert len(book) == MAX_ADDRESSES
    assert book.find(PEER) == at(1)


def test_what_does_not_answer_waits_longer_and_is_forgotten() -> None:
    """Hearsay goes after a few attempts, an address that was good once after many; success wipes the slate."""
    book = AddressBook()
    book.learn(at(1), source="gossip")
    book.fail(at(1), now=0)
    assert book.due(now=1.9) == []
    assert book.due(now=2) == [at(1)]
    book.fail(at(1), now=2)
    assert book.due(now=5.9) == []
    for _ in range(MAX_HEARSAY_FAILURES - 2):
        book.fail(at(1), now=6)
    assert book.find(PEER) is None
    book.learn(at(1), source=PEER)
    for _ in range(MAX_FAILURES - 1):
        book.fail(at(1), now=0)
    assert book.find(PEER) == at(1)
    book.learn(at(1), source=PEER)
    assert book.due(now=0) == [at(1)]


def test_only_what_is_proven_and_works_is_told_to_others() -> None:
    """No rumour is spread further."""
    book = AddressBook()
    book.learn(at(1, "rumour"), source="gossip")
    book.learn(at(2, "good"), source="good")
    book.learn(at(3, "broken"), source="broken")
    book.fail(at(3, "broken"), now=0)
    assert [entry.address.peer for entry in book.sample(10, random.Random(1))] == ["good"]


def test_replicas_are_found_by_the_key_that_vouches_for_them() -> None:
    """Whoever told of the address, its voucher counts."""
    book = AddressBook()
    book.learn(at(1), source="gossip")
    assert book.due_of_keys({VOUCHER.key}, now=0) == []
    book.learn(at(1), source="another", voucher=VOUCHER)
    assert book.due_of_keys({VOUCHER.key}, now=0) == [at(1)]
    assert book.due_of_keys({b"k" * 32}, now=0) == []
