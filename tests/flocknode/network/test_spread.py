"""How messages reach everybody, decision by decision."""

import random

import pytest

from flocknode.network.messages import MAX_IDS, MAX_PULLED_IDS, Topic
from flocknode.network.spread import (
    ANNOUNCED_BEATS,
    DEBT_S,
    EAGER,
    FAULT_WINDOW_S,
    GRACE_S,
    HELD_BEATS,
    MAX_EAGER_ALL,
    MAX_HELD,
    MAX_HELD_BYTES,
    MAX_WANTED,
    PULL_S,
    ROTATION_BEATS,
    SEEN_GENERATION,
    Arrival,
    Seen,
    Spread,
)

TOPIC = Topic.TRANSACTIONS


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


def short(number: int) -> bytes:
    return number.to_bytes(8, "big")


def make(peers: int) -> Spread:
    spread = Spread(random.Random(1))
    for number in range(peers):
        spread.join(f"p{number}", short(number))
    return spread


def test_memory_of_ids_is_bounded_and_forgets_the_oldest() -> None:
    """Two generations are kept: what came within the last one is always recognised."""
    seen = Seen()
    for number in range(3 * SEEN_GENERATION):
        assert seen.add(name(number))
    assert not seen.add(name(3 * SEEN_GENERATION - 1))
    assert not seen.add(name(2 * SEEN_GENERATION))
    assert seen.add(name(0))


def test_all_are_pushed_to_in_a_small_network_and_a_rotating_few_in_a_large_one() -> None:
    """The few change over time, so that nobody is left out for ever."""
    small, large = make(MAX_EAGER_ALL), make(MAX_EAGER_ALL + 20)
    assert len(small.publish(name(1), TOPIC, b"")) == MAX_EAGER_ALL
    reached = set()
    for beat in range(200 * ROTATION_BEATS):
        pushed = large.publish(name(beat), TOPIC, b"")
        assert len(set(pushed)) == EAGER
        reached.update(pushed)
        large.beat()
    assert len(reached) == MAX_EAGER_ALL + 20


def test_the_eager_few_are_filled_up_when_one_leaves() -> None:
    """A lost link is replaced at once, also among few."""
    spread = make(MAX_EAGER_ALL + 2)
    for peer in list(spread._eager)[:3]:
        spread.leave(peer)
    assert len(spread._eager) == EAGER
    assert len(spread.publish(name(1), TOPIC, b"")) == MAX_EAGER_ALL - 1


def test_nobody_is_pushed_what_it_is_known_to_hold() -> None:
    """Not the sender, not who sent it too, not who announced it, not whom a small sender reaches itself."""
    spread = make(5)
    spread.describe("p0", [short(4)])
    spread.describe("p4", [short(0)])
    assert spread.arrive(name(9), "p0") is Arrival.NEW
    assert spread.arrive(name(9), "p1") is Arrival.DUPLICATE
    spread.hear("p2", [name(9)], now=0)
    assert spread.accept(name(9), TOPIC, b"x", "p0") == ["p3"]
    spread.describe("p0", [short(number) for number in range(4, 30)])
    spread.arrive(name(10), "p0")
    assert spread.accept(name(10), TOPIC, b"x", "p0") == ["p1", "p2", "p3", "p4"]


def test_ids_are_told_for_some_beats_to_those_not_known_to_hold_them() -> None:
    """And only of messages that were accepted."""
    spread = make(3)
    spread.arrive(name(1), "p0")
    assert spread.announce("p1") == []
    spread.accept(name(1), TOPIC, b"x", "p0")
    spread.publish(name(2), TOPIC, b"y")
    spread.hear("p2", [name(2)], now=0)
    assert spread.announce("p0") == [name(2)]
    assert spread.announce("p1") == [name(2), name(1)]
    assert spread.announce("p2") == [name(1)]
    for _ in range(ANNOUNCED_BEATS + 1):
        spread.beat()
    assert spread.announce("p1") == []


def test_one_heartbeat_tells_a_bounded_number_of_ids() -> None:
    """The newest of them."""
    spread = make(1)
    for number in range(MAX_IDS + 10):
        spread.publish(name(number), TOPIC, b"")
    assert len(spread.announce("p0")) == MAX_IDS
    assert spread.announce("p0")[0] == name(MAX_IDS + 9)


def test_what_was_announced_is_pulled_after_a_moment_from_one_after_the_other() -> None:
    """A push that is under way is waited for; a peer that does not deliver is passed over."""
    spread = make(3)
    spread.hear("p0", [name(1)], now=0)
    spread.hear("p1", [name(1)], now=0.1)
    assert not spread.chase(GRACE_S - 0.01).pulls
    assert spread.chase(GRACE_S).pulls == {"p0": [name(1)]}
    assert not spread.chase(GRACE_S + PULL_S - 0.01).pulls
    assert spread.chase(GRACE_S + PULL_S).pulls == {"p1": [name(1)]}
    assert spread.arrive(name(1), "p1") is Arrival.NEW
    assert not spread.chase(3 * PULL_S).pulls


def test_what_arrived_meanwhile_is_not_pulled() -> None:
    """Nor what is known already."""
    spread = make(2)
    spread.hear("p0", [name(1)], now=0)
    spread.arrive(name(1), "p1")
    spread.hear("p0", [name(1)], now=0)
    assert not spread.chase(10).pulls
    assert not spread.is_waiting


def test_a_peers_own_repeats_are_told_from_what_others_sent() -> None:
    """What it was asked for it may send once more, for its push may have crossed the question; no more than that."""
    spread = make(2)
    assert spread.arrive(name(1), "p0") is Arrival.NEW
    assert spread.arrive(name(1), "p1") is Arrival.DUPLICATE
    assert spread.arrive(name(1), "p0") is Arrival.REPEAT
    assert spread.arrive(name(1), "p1") is Arrival.REPEAT
    spread.hear("p0", [name(2)], now=0)
    assert spread.chase(now=1).pulls == {"p0": [name(2)]}
    assert spread.arrive(name(2), "p0") is Arrival.NEW
    assert spread.arrive(name(2), "p0") is Arrival.DUPLICATE
    assert spread.arrive(name(2), "p0") is Arrival.REPEAT
    spread.leave("p0")
    spread.join("p0", short(0))
    assert spread.arrive(name(2), "p0") is Arrival.DUPLICATE


def test_a_message_is_served_once_to_each_and_never_what_was_not_accepted() -> None:
    """So that a small question gets no large answer again and again."""
    spread = make(2)
    spread.publish(name(1), TOPIC, b"data")
    spread.arrive(name(2), "p0")
    assert spread.serve("p0", [name(1), name(1), name(2), name(3)]) == [(TOPIC, b"data")]
    assert spread.serve("p0", [name(1)]) == []
    assert spread.serve("p1", [name(1)]) == [(TOPIC, b"data")]


def test_who_announces_and_does_not_deliver_is_at_fault_once_in_a_while() -> None:
    """Thousands of broken promises of one moment, perhaps a stall of ours, are one fault; kept up they are many."""
    spread = make(2)
    spread.hear("p0", [name(number) for number in range(100)], now=0)
    spread.chase(GRACE_S)
    spread.arrive(name(0), "p0")
    assert spread.chase(GRACE_S + DEBT_S - 0.1).faults == []
    assert spread.chase(GRACE_S + DEBT_S).faults == ["p0"]
    assert spread.chase(GRACE_S + DEBT_S + 0.1).faults == []
    start, faults = 100.0, 0
    for tick in range(600):
        spread.hear("p0", [name(1000 + tick)], now=start + tick / 10)
        faults += len(spread.chase(start + tick / 10).faults)
    assert faults == pytest.approx((60 - DEBT_S) / FAULT_WINDOW_S, abs=1)


def test_a_late_delivery_and_a_delivered_promise_are_no_fault() -> None:
    """Also when another peer was faster."""
    spread = make(2)
    spread.hear("p0", [name(1), name(2)], now=0)
    spread.hear("p1", [name(1)], now=0)
    spread.chase(GRACE_S)
    spread.chase(GRACE_S + PULL_S)
    spread.arrive(name(1), "p1")
    assert spread.arrive(name(1), "p0") is Arrival.DUPLICATE
    spread.arrive(name(2), "p0")
    assert spread.chase(100).faults == []
    assert not spread.is_waiting


def test_outstanding_pulls_of_one_peer_are_bounded() -> None:
    """The rest waits until it delivers."""
    spread = make(1)
    spread.hear("p0", [name(number) for number in range(3 * MAX_PULLED_IDS)], now=0)
    first = spread.chase(1).pulls["p0"]
    assert len(first) == MAX_PULLED_IDS
    assert not spread.chase(2).pulls
    for message in first:
        spread.arrive(message, "p0")
    assert len(spread.chase(3).pulls["p0"]) == MAX_PULLED_IDS


def test_nobody_is_asked_for_more_whose_messages_pile_up_here() -> None:
    """What it sent would be lost, and it serves each id once; it is asked when there is room."""
    spread = make(2)
    spread.hear("p0", [name(1)], now=0)
    assert spread.chase(1, busy={"p0"}).pulls == {}
    assert spread.chase(2, busy={"p1"}).pulls == {"p0": [name(1)]}


def test_a_flood_of_made_up_ids_is_bounded_and_forgotten() -> None:
    """Announcing costs the victim a bounded memory, for a bounded time."""
    spread = make(2)
    spread.hear("p0", [name(number) for number in range(3 * MAX_WANTED)], now=0)
    assert len(spread._wanted) == MAX_WANTED
    for second in range(1000):
        spread.chase(second)
    assert not spread.is_waiting


def test_a_peer_that_leaves_owes_nothing_and_is_not_asked() -> None:
    """What it announced is asked of the others."""
    spread = make(2)
    spread.hear("p0", [name(1)], now=0)
    spread.hear("p1", [name(1)], now=0)
    spread.chase(GRACE_S)
    spread.leave("p0")
    assert spread.chase(GRACE_S + PULL_S).pulls == {"p1": [name(1)]}
    spread.leave("p1")
    assert spread.chase(100).pulls == {}
    assert not spread.is_waiting


def test_what_arrived_and_was_lost_before_its_turn_is_pulled_again() -> None:
    """From its sender or from those who sent it meanwhile; the same peer is never asked twice."""
    spread = make(3)
    spread.arrive(name(1), "p0")
    spread.arrive(name(1), "p1")
    spread.leave("p0")
    spread.lose(name(1), now=0)
    assert spread.chase(GRACE_S).pulls == {"p1": [name(1)]}
    assert spread.arrive(name(1), "p1") is Arrival.NEW
    spread.lose(name(1), now=1)
    assert not spread.chase(10).pulls


def test_what_is_kept_is_bounded_in_number_bytes_and_time() -> None:
    """The oldest goes first; a message that was sent again is kept as new."""
    spread = make(1)
    for number in range(MAX_HELD + 5):
        spread.publish(name(number), TOPIC, b"")
    assert len(spread._held) == MAX_HELD
    for number in range(20):
        spread.publish(name(number), TOPIC, bytes(2**20))
    assert spread._held_bytes == sum(len(held.data) for held in spread._held.values()) <= MAX_HELD_BYTES
    for _ in range(HELD_BEATS - 1):
        spread.beat()
    spread.publish(name(19), TOPIC, b"again")
    spread.beat()
    assert list(spread._held) == [name(19)]
    assert spread._held_bytes == 5
