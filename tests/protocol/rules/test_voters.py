"""The replica sets around a height, the rotation of proposers and the beacon."""

from collections import Counter

import pytest

from protocol import vrf
from protocol.blinding import beacon_alpha, next_beacon
from protocol.genesis import genesis_digest
from protocol.rules.voters import Voters, advance_voters, get_voters, put_voters
from protocol.state import MemoryState, Overlay
from protocol.tendermint.proposer import initial_priorities, proposer_of
from protocol.tendermint.replicas import Replica, make_replica_set
from tests.ledger_driver import Ledger, Person

PEOPLE = [Person(name) for name in ("alice", "bob", "carol", "dave")]


def make_set(*powers: int):
    return make_replica_set(
        [Replica(bytes([n]) * 32, bytes(32), power, bytes(32)) for n, power in enumerate(powers, 1)]
    )


def test_sets_move_on_by_one_height():
    """What follows becomes current, what was current has signed the previous height."""
    old, new = make_set(5, 5), make_set(5, 5, 5)
    state = Overlay(MemoryState())
    put_voters(
        state, Voters(previous=old, current=old, following=new, priorities=initial_priorities(old), beacon=bytes(32))
    )
    advance_voters(state, b"b" * 32)
    voters = get_voters(state)
    assert (voters.previous, voters.current, voters.following, voters.beacon) == (old, new, new, b"b" * 32)
    assert len(voters.priorities.values) == 3
    advance_voters(state, b"c" * 32)
    assert get_voters(state).previous == new


def test_a_state_without_replicas_is_a_bug():
    """Every state has voters; one without is not handled, but stops the node."""
    with pytest.raises(AssertionError):
        get_voters(MemoryState())


def test_everybody_proposes_in_turn_whatever_round_decides():
    """Over eight heights each of four equal replicas has the first turn twice, also when later rounds decide."""
    ledger, turns = Ledger(*PEOPLE), Counter()
    for height in range(8):
        voters = get_voters(ledger.state)
        turns[proposer_of(voters.current, voters.priorities, 0).key] += 1
        ledger.block(round=height % 3)
    assert sorted(turns.values()) == [2, 2, 2, 2]


def test_each_block_stirs_the_beacon_with_its_proposers_output():
    """The beacon starts from the chain's identity, and no round or content changes what a proposer adds."""
    ledger = Ledger(*PEOPLE)
    assert get_voters(ledger.state).beacon == genesis_digest(ledger.document)
    block = ledger.make_block()
    ledger.transfer(PEOPLE[0], PEOPLE[1], 1)
    same_turn = next(r for r in range(1, 9) if ledger.make_block(round=r).header.proposer == block.header.proposer)
    other = ledger.make_block(round=same_turn, after_ms=500)
    assert other.header.beacon_proof[:32] == block.header.beacon_proof[:32]
    beacon = get_voters(ledger.state).beacon
    ledger.apply(other)
    output = vrf.output(block.header.beacon_proof[:32])
    assert get_voters(ledger.state).beacon == next_beacon(beacon, output)
    assert beacon_alpha(ledger.chain, 1, beacon) != beacon_alpha(ledger.chain, 2, beacon)
