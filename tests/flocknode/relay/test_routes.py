"""Layers and paths: the same for all who see the same relays, and no relay in two places of one attempt."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flocknode.relay.routes import TooFewRelays, choose_paths, find_eligible, find_shuffle, make_layers, name_seed
from protocol.rules.voters import get_voters
from protocol.transactions import OpenSubmission
from tests.arena_play import Play

SEED = b"s" * 32
RELAYS = [bytes([number]) * 32 for number in range(40)]
COUNTS = st.integers(3, 40)


def test_trainers_relay_nothing_in_their_own_task():
    """Eligible are the replicas of everybody else: creator, validators, strangers; and never the asking account."""
    play = Play().begin()
    replicas = get_voters(play.ledger.state).current
    account = {replica.key: replica.account for replica in replicas.replicas}
    found = find_eligible(play.ledger.state, replicas, play.task, 0, play.trainers[0].address)
    others = {person.address for person in (play.creator, play.stranger, *play.validators)}
    assert {account[key] for key in found} == others
    assert found == sorted(found)
    without = find_eligible(play.ledger.state, replicas, play.task, 0, play.stranger.address)
    assert {account[key] for key in without} == others - {play.stranger.address}


def test_a_seat_alone_keeps_a_node_from_relaying(monkeypatch) -> None:
    """Also one whose account has left the task since: what it entered is still in play."""
    play = Play().begin()
    replicas = get_voters(play.ledger.state).current
    before = find_eligible(play.ledger.state, replicas, play.task, 0, play.stranger.address)
    monkeypatch.setattr("flocknode.relay.routes.get_member", lambda *where: None)
    assert find_eligible(play.ledger.state, replicas, play.task, 0, play.stranger.address) == before


@given(count=COUNTS, hops=st.integers(1, 3), shuffle=st.integers(0, 50))
def test_every_relay_stands_in_exactly_one_layer(count, hops, shuffle):
    """A relay that takes from senders publishes nothing in the same attempt; layers are as even as can be."""
    layers = make_layers(SEED, RELAYS[:count], hops, shuffle)
    assert sorted(relay for layer in layers for relay in layer) == RELAYS[:count]
    assert max(map(len, layers)) - min(map(len, layers)) <= 1
    assert len(layers[-1]) == max(map(len, layers))


def test_layers_are_the_same_for_everybody_and_change_from_attempt_to_attempt():
    """They depend on epoch, act and attempt; over attempts each relay stands everywhere."""
    assert make_layers(SEED, RELAYS, 3, 5) == make_layers(SEED, RELAYS[::-1], 3, 5)
    places = {
        number
        for shuffle in range(30)
        for number, layer in enumerate(make_layers(SEED, RELAYS[:6], 3, shuffle))
        if RELAYS[0] in layer
    }
    assert places == {0, 1, 2}
    play = Play()
    submits = {
        name_seed(play.ledger.chain, OpenSubmission(task, epoch, bytes(32), bytes(32)))
        for task in (1, 2)
        for epoch in (0, 1)
    }
    assert len(submits) == 4


@given(count=COUNTS, lost=st.sets(st.integers(0, 39), max_size=37), first=st.integers(0, 9))
def test_relays_that_are_gone_leave_no_layer_empty(count, lost, first):
    """As long as one can be reached for each hop, some shuffle has them in different layers."""
    eligible = RELAYS[:count]
    reachable = {relay for number, relay in enumerate(eligible) if number not in lost}
    if len(reachable) < 3:
        with pytest.raises(TooFewRelays):
            find_shuffle(SEED, eligible, reachable, 3, first)
        return
    shuffle, layers = find_shuffle(SEED, eligible, reachable, 3, first)
    assert shuffle >= first
    assert all(layers)
    assert {relay for layer in layers for relay in layer} == reachable


@given(count=COUNTS, seed=st.integers(0, 2**32))
def test_two_paths_share_a_relay_only_where_a_layer_has_one(count, seed):
    """With six relays the two are disjoint; with three there is but one path."""
    layers = make_layers(SEED, RELAYS[:count], 3, 0)
    paths = choose_paths(layers, random.Random(seed))
    assert all(relay in layer for path in paths for relay, layer in zip(path, layers, strict=True))
    if count >= 6:
        assert len({relay for path in paths for relay in path}) == 6
    assert len(paths) == (1 if count == 3 else 2)


def test_paths_are_drawn_evenly():
    """No relay of a layer is chosen more often than another: in 3,000 draws each within four deviations."""
    layers, rng = make_layers(SEED, RELAYS[:9], 3, 0), random.Random(1)
    first = [choose_paths(layers, rng)[0] for _ in range(3_000)]
    for number, layer in enumerate(layers):
        for relay in layer:
            assert abs(sum(path[number] == relay for path in first) - 1_000) < 4 * 26
