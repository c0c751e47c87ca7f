"""Nonces, fees and transfers, on blocks of the real ledger."""

import pytest

from protocol.blocks import Receipt
from protocol.codec import encode
from protocol.crypto import public_key
from protocol.errors import Expired, FeeTooLow, InsufficientFunds, InvalidBlock, WrongNonce
from protocol.ledger import seal_block
from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.accounts import get_next_nonce
from protocol.transactions import Transfer, sign_transaction
from tests.ledger_driver import FML, Ledger, Person

ALICE, BOB, CAROL = Person("alice"), Person("bob"), Person("carol")
FEE = FML // 1_000


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(ALICE, BOB, CAROL, balance=10 * FML)


def balance(ledger: Ledger, person: Person) -> int:
    return purses.get_units(ledger.state, purses.balance_of(person.address))


def consensus_key(person: Person) -> bytes:
    return public_key(person.consensus_seed)


def signed(ledger: Ledger, *, units: int = 1, nonce: int = 0, expires: int = 1, fee: int = FEE) -> bytes:
    payload = Transfer(BOB.address, units)
    return encode(sign_transaction(ledger.chain, ALICE.seed, payload, nonce=nonce, expires=expires, fee=fee))


def include(ledger: Ledger, *transactions: bytes) -> tuple[Receipt, ...]:
    """Apply a block with exactly these transactions, whether or not an honest proposer would include them."""
    block = ledger.make_block(transactions=[])
    return ledger.apply(seal_block(block.header, block.previous_commit, transactions))


def test_a_transfer_moves_units_and_its_fee_is_half_burned(ledger):
    """The other half of the fee is the proposer's."""
    block = ledger.make_block(transactions=[signed(ledger, units=FML)])
    proposer = next(person for person in ledger.people if consensus_key(person) == block.header.proposer)
    before = {person: balance(ledger, person) for person in ledger.people}
    ledger.apply(block)
    expected = dict(before)
    expected[ALICE] -= FML + FEE
    expected[BOB] += FML
    expected[proposer] += FEE // 2
    assert {person: balance(ledger, person) for person in ledger.people} == expected
    assert purses.get_supply(ledger.state).burned == FEE // 2
    assert get_next_nonce(ledger.state, ALICE.address) == 1


def test_an_odd_fee_loses_nothing(ledger):
    """Of an odd number of units the larger half burns."""
    include(ledger, signed(ledger, fee=FEE + 1))
    supply = purses.get_supply(ledger.state)
    assert supply.burned == FEE // 2 + 1
    assert sum(units for _, units in purses.scan_purses(ledger.state)) == supply.minted - supply.burned


@pytest.mark.parametrize("nonce", [1, 2**62])
def test_a_nonce_that_is_not_the_next_keeps_a_transaction_out(ledger, nonce):
    """Ahead of its turn it may not stand in a block."""
    with pytest.raises(InvalidBlock) as caught:
        include(ledger, signed(ledger, nonce=nonce))
    assert isinstance(caught.value.__cause__, WrongNonce)


def test_a_transaction_counts_once(ledger):
    """Neither twice in one block, nor again in a later one."""
    data = signed(ledger, expires=5)
    with pytest.raises(InvalidBlock, match="nonce"):
        include(ledger, data, data)
    include(ledger, data)
    with pytest.raises(InvalidBlock, match="nonce"):
        include(ledger, data)


LATEST = 1 + DEVNET.max_expiry_blocks


@pytest.mark.parametrize(("expires", "is_included"), [(0, False), (1, True), (LATEST, True), (LATEST + 1, False)])
def test_a_transaction_stands_only_in_blocks_before_its_expiry(ledger, expires, is_included):
    """The last height is inclusive, and may not lie too far ahead."""
    if is_included:
        assert include(ledger, signed(ledger, expires=expires))[0].error == 0
        return
    with pytest.raises(InvalidBlock) as caught:
        include(ledger, signed(ledger, expires=expires))
    assert isinstance(caught.value.__cause__, Expired)


def test_a_fee_below_the_floor_keeps_a_transaction_out(ledger):
    """The floor is exact."""
    with pytest.raises(InvalidBlock) as caught:
        include(ledger, signed(ledger, fee=FEE - 1))
    assert isinstance(caught.value.__cause__, FeeTooLow)


def test_a_fee_that_the_balance_does_not_cover_keeps_a_transaction_out(ledger):
    """Who cannot pay does not get into a block; no number is large enough to break that."""
    for fee in (10 * FML + 1, 2**63 - 1):
        with pytest.raises(InvalidBlock) as caught:
            include(ledger, signed(ledger, fee=fee))
        assert isinstance(caught.value.__cause__, InsufficientFunds)


@pytest.mark.parametrize("units", [10 * FML, 2**63 - 1])
def test_a_transfer_of_more_than_there_is_pays_its_fee_and_moves_nothing(ledger, units):
    """The receipt has the reason, the nonce is used, the fee is gone, and nothing else changed."""
    others = balance(ledger, BOB) + balance(ledger, CAROL)
    (receipt,) = include(ledger, signed(ledger, units=units))
    assert receipt.error == InsufficientFunds.number
    assert "units are needed" in receipt.message
    assert get_next_nonce(ledger.state, ALICE.address) == 1
    everybody = others + 10 * FML
    assert sum(balance(ledger, person) for person in ledger.people) == everybody - FEE // 2


def test_all_of_a_balance_can_be_moved(ledger):
    """Down to the last unit, and then the account can pay no fee."""
    rounds = (r for r in range(9) if ledger.make_block(round=r).header.proposer != consensus_key(ALICE))
    ledger.pending = [signed(ledger, units=10 * FML - FEE)]
    ledger.block(round=next(rounds))
    assert balance(ledger, ALICE) == 0
    with pytest.raises(InvalidBlock, match="units are needed, 0 are there"):
        include(ledger, signed(ledger, nonce=1, expires=2))
