"""Nodes flooded while a task runs: one seeded run on real processes, and the parts of its verdict."""

import json
import random

import pytest

from devnet.flooder import Deeds
from devnet.flooding import Seen, Watch, check_held_off, check_honest, check_up, measure_effect
from devnet.floods import FLOODS, Heard, make_bad_proofs, make_transactions
from devnet.screen import Screen
from flocknode.network.links import MAX_FRAME_BYTES
from flocknode.network.messages import Message, Push, Topic
from flocknode.network.streams import LENGTH_BYTES, parse
from protocol import vrf
from protocol.codec import decode
from protocol.errors import InvalidProof
from protocol.ring_proof import ring_digest
from protocol.rules.arena.submissions import verify_submission
from protocol.transactions import AnonymousTransaction, SignedTransaction, open_transaction

SEED = 20261123
CHAIN = b"c" * 32


def test_a_task_settles_while_a_stranger_floods_a_node(devnet, find_processes, tmp_path):
    """Six floods at once: the sender is throttled or refused, nobody honest is, all do their duties and agree."""
    state, file = tmp_path / "state", tmp_path / "figures.json"
    options = ("--no-calm", "--nodes", 1, "--seed", SEED, "--json", file, "--state", state)
    done = devnet("scenario", "flooding", *options)
    assert done.returncode == 0, f"seed {SEED}\n{done.stdout[-8000:]}\n{done.stderr}"
    assert "PASS" in done.stdout
    figures = json.loads(file.read_text())
    floods = {found["kind"]: found for found in figures["floods"]}
    assert floods["garbage"]["refused"] > 0
    # Repeats are dropped unread, or whoever sends them is refused: which comes first depends on the machine.
    assert floods["duplicates"]["dropped"] + floods["duplicates"]["refused"] > 0
    assert all(check["passed"] for check in figures["checks"])
    assert not find_processes(state), "a daemon survived its launcher"


@pytest.fixture
def watch():
    """Give what was seen of one honest peer and one stranger, who was refused twice."""
    watch = Watch(Screen(), honest=frozenset({"honest"}))
    watch.refusals["stranger"] += 2
    watch.strangers["stranger"] = Seen({("bob", 1): (50, 7), ("bob", 2): (30, 3)}, lowest_score=40, linked_s=4.0)
    return watch


def effects(watch, deeds=()):
    """Return the effects of all floods, each of which sent a message and was turned away, but as told."""
    plain = {kind: Deeds(sent=1, turned_away=1) for kind in (*FLOODS, "connections")} | dict(deeds)
    return [measure_effect(kind, done, watch) for kind, done in plain.items()]


def test_an_effect_adds_up_the_links_of_all_identities(watch):
    """What the nodes counted by link is one flood's, and who was refused has no score left."""
    effect = measure_effect("garbage", Deeds(sent=90, links=2, peers=["stranger", "never linked"]), watch)
    assert (effect.taken, effect.dropped, effect.refused, effect.lowest_score) == (80, 10, 2, 0)
    assert effect.taken_per_s == 20
    assert effect.is_held_off


@pytest.mark.parametrize("deeds", [Deeds(), Deeds(sent=1000)], ids=["never sent", "all of it taken"])
def test_a_flood_that_never_came_or_was_not_held_off_fails(watch, deeds):
    """The verdict names the kind."""
    assert check_held_off(effects(watch), included=3).passed
    check = check_held_off(effects(watch, {"duplicates": deeds}), included=3)
    assert not check.passed
    assert "duplicates" in check.found


def test_transactions_that_all_come_into_blocks_fail(watch):
    """A quota that holds nothing back is none."""
    assert not check_held_off(effects(watch), included=64).passed


def test_an_honest_peer_that_is_refused_fails(watch):
    """A stranger that is refused does not."""
    assert check_honest(watch).passed
    watch.refusals["honest"] += 1
    assert not check_honest(watch).passed


def test_a_daemon_that_was_started_again_fails():
    """It is named."""
    assert check_up({"alice": True}).passed
    assert "bob" in check_up({"alice": True, "bob": False}).found


def transactions_of(frames):
    """Return the transactions in the pushes of some frames."""
    pushes = [parse(data[LENGTH_BYTES:], Message, MAX_FRAME_BYTES) for data in frames]
    assert all(isinstance(push, Push) and push.topic is Topic.TRANSACTIONS for push in pushes)
    return [open_transaction(CHAIN, data) for push in pushes for data in decode(push.payload, tuple[bytes, ...])]


def test_flooded_transactions_are_valid_by_themselves():
    """Signed, with nonces one behind the other: only the quota can be against them."""
    found = transactions_of(make_transactions(Heard(CHAIN, b"s" * 32, nonce=7), random.Random(SEED)))
    assert all(isinstance(one, SignedTransaction) for one in found)
    assert [one.nonce for one in found] == list(range(8, 8 + len(found)))


def test_bad_proofs_look_like_proofs_and_are_none():
    """They name the ring of the task, and cost the whole verification before they fail."""
    ring = {vrf.public(vrf.key_from_seed(bytes([number]) * 32)) for number in range(3)}
    heard = Heard(CHAIN, b"s" * 32, task=1, ring=ring)
    for found in transactions_of(make_bad_proofs(heard, random.Random(SEED))):
        assert isinstance(found, AnonymousTransaction)
        assert found.payload.ring == ring_digest(ring)
        with pytest.raises(InvalidProof, match="does not belong to this ring"):
            verify_submission(CHAIN, tuple(ring), found.payload)
