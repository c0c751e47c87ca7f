"""The genesis document: which ones make a chain that can run, and what their state holds."""

import pytest
from msgspec.structs import replace

from protocol.crypto import public_key
from protocol.errors import InvalidGenesis
from protocol.genesis import (
    MAX_TOTAL_POWER,
    GenesisAccount,
    GenesisDocument,
    check_genesis,
    genesis_digest,
    genesis_head,
    make_genesis_state,
)
from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.emission import Emission, get_emission
from protocol.rules.standing import get_governance
from protocol.rules.voters import get_voters
from protocol.state import Commitment, MemoryState
from protocol.tendermint.proposer import advance_priorities
from protocol.types import MAX_INTEGER
from tests.ledger_driver import FML, Ledger, Person

ALICE, BOB = Person("alice"), Person("bob")
DOCUMENT = Ledger(ALICE, BOB).document


def with_bonds(*bonds: int) -> GenesisDocument:
    replicas = tuple(replace(replica, bond=bond) for replica, bond in zip(DOCUMENT.replicas, bonds, strict=True))
    return replace(DOCUMENT, replicas=replicas)


def with_balances(*balances: int) -> GenesisDocument:
    accounts = tuple(replace(entry, balance=units) for entry, units in zip(DOCUMENT.accounts, balances, strict=True))
    return replace(DOCUMENT, accounts=accounts)


def test_the_state_holds_the_balances_and_bonds():
    """All of it was minted, and the replicas vote from the first height on."""
    state = make_genesis_state(DOCUMENT)
    assert purses.get_units(state, purses.balance_of(ALICE.address)) == 10_000 * FML
    assert purses.get_units(state, purses.replica_bond_of(ALICE.address)) == 1_000 * FML
    assert purses.get_supply(state) == purses.Supply(minted=22_000 * FML, burned=0)
    voters = get_voters(state)
    assert voters.previous == voters.current == voters.following
    assert {replica.account for replica in voters.current.replicas} == {ALICE.address, BOB.address}
    head = genesis_head(DOCUMENT, Commitment().update(MemoryState(), state.records))
    assert (head.height, head.block_id, head.time_ms) == (0, genesis_digest(DOCUMENT), DOCUMENT.time_ms)


def test_the_state_knows_who_governs_and_when_the_first_emission_is_due():
    """A period after the chain's beginning; without an account named, nobody governs."""
    state = make_genesis_state(replace(DOCUMENT, governance=BOB.address))
    assert get_governance(state) == BOB.address
    assert get_governance(make_genesis_state(DOCUMENT)) is None
    assert get_emission(state) == Emission(0, DOCUMENT.time_ms + DEVNET.emission_period_ms)


def test_an_account_without_a_balance_has_no_purse():
    """No record says that there is nothing."""
    state = make_genesis_state(with_balances(0, 5))
    assert [purse for purse, _ in purses.scan_purses(state, b"b")] == [purses.balance_of(BOB.address)]


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"time_ms": 1},
        {"params": replace(DEVNET, min_epochs=3)},
        {"accounts": DOCUMENT.accounts[::-1]},
        {"governance": BOB.address},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_field_makes_another_chain(change):
    """The digest is the chain's identity."""
    assert genesis_digest(replace(DOCUMENT, **change)) != genesis_digest(DOCUMENT)


@pytest.mark.parametrize(
    ("document", "match"),
    [
        (replace(DOCUMENT, params=replace(DEVNET, min_epochs=1)), "bounds"),
        (replace(DOCUMENT, accounts=(*DOCUMENT.accounts, DOCUMENT.accounts[0])), "account stands twice"),
        (replace(DOCUMENT, accounts=(*DOCUMENT.accounts, GenesisAccount("x", bytes(32), 1))), "Ed25519"),
        (replace(DOCUMENT, replicas=()), "no replica"),
        (replace(DOCUMENT, replicas=(*DOCUMENT.replicas, DOCUMENT.replicas[0])), "replica stands twice"),
        (
            replace(DOCUMENT, replicas=(DOCUMENT.replicas[0], replace(DOCUMENT.replicas[1], account=ALICE.address))),
            "replica stands twice",
        ),
        (replace(DOCUMENT, accounts=DOCUMENT.accounts[:1]), "does not list"),
        (
            replace(DOCUMENT, replicas=(replace(DOCUMENT.replicas[0], vrf_key=bytes(32)), DOCUMENT.replicas[1])),
            "group element",
        ),
        (with_bonds(DEVNET.min_stake_replica_units - 1, FML * 100), "minimum stake"),
        (with_bonds(MAX_TOTAL_POWER, 100 * FML), "bonds add up"),
        (with_balances(MAX_INTEGER, 0), "supply"),
        (with_balances(MAX_INTEGER, MAX_INTEGER), "supply"),
        (replace(DOCUMENT, params=replace(DEVNET, emission_units=MAX_INTEGER)), "supply and emission"),
        (with_balances(MAX_INTEGER - DEVNET.emission_units * DEVNET.halving_periods, 0), "supply and emission"),
        (replace(DOCUMENT, governance=Person("nobody").address), "governance"),
        (replace(DOCUMENT, time_ms=MAX_INTEGER), "later than any block"),
    ],
    ids=[
        "params", "account twice", "no key", "no replica", "replica twice", "two for one", "unlisted", "vrf key",
        "small bond", "power", "supply", "large supply", "emission", "late emission",
        "governance", "time",
    ],
)  # fmt: skip
def test_a_document_that_makes_no_chain_is_refused(document, match):
    """With a sentence that says why, never with a crash in the middle of making the state."""
    with pytest.raises(InvalidGenesis, match=match):
        check_genesis(document)
    with pytest.raises(InvalidGenesis):
        make_genesis_state(document)


def test_a_replicas_consensus_key_stands_once():
    """Two accounts with one key would be one voter with two powers."""
    same = replace(DOCUMENT.replicas[1], key=DOCUMENT.replicas[0].key)
    with pytest.raises(InvalidGenesis, match="replica stands twice"):
        check_genesis(replace(DOCUMENT, replicas=(DOCUMENT.replicas[0], same)))


def test_the_largest_supply_and_power_work():
    """All money that fits, in two hands, and the most power there may be: the rotation goes round without overflow."""
    bonds = (MAX_TOTAL_POWER - 100 * FML, 100 * FML)
    document = with_bonds(*bonds)
    rest = MAX_INTEGER - sum(bonds)
    accounts = (replace(document.accounts[0], balance=rest), replace(document.accounts[1], balance=0))
    state = make_genesis_state(replace(document, accounts=accounts, params=replace(DEVNET, emission_units=0)))
    assert purses.get_supply(state).minted == MAX_INTEGER
    voters = get_voters(state)
    priorities = voters.priorities
    for _ in range(100):
        priorities = advance_priorities(voters.current, priorities)
        assert all(abs(value) <= MAX_INTEGER for value in priorities.values)


def test_a_stranger_may_be_an_account_and_nothing_else():
    """Accounts need no bond."""
    stranger = GenesisAccount("stranger", public_key(b"s" * 32), 5)
    document = replace(DOCUMENT, accounts=(*DOCUMENT.accounts, stranger))
    state = make_genesis_state(document)
    assert len(get_voters(state).current.replicas) == 2
