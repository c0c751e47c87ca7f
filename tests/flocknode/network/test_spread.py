"""How messages reach everybody, without sockets: the decisions one by one, and whole networks that lose a fifth."""

import heapq
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
    assert spread.arrive(name(9), "p0")
    assert not spread.arrive(name(9), "p1")
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
    assert spread.arrive(name(1), "p1")
    assert not spread.chase(3 * PULL_S).pulls


def test_what_arrived_meanwhile_is_not_pulled() -> None:
    """Nor what is known already."""
    spread = make(2)
    spread.hear("p0", [name(1)], now=0)
    spread.arrive(name(1), "p1")
    spread.hear("p0", [name(1)], now=0)
    assert not spread.chase(10).pulls
    assert not spread.is_waiting


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
    assert not spread.arrive(name(1), "p0")
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
    assert spread.arrive(name(1), "p1")
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


# --- whole networks --------------------------------------------------------------------------------------------------


class Simulation:
    """Nodes at bounded degree over links that delay every frame; time is counted in seconds.

    `lost_pushes` of the pushed messages are lost, as by a queue that overflows; `dead` links lose everything in
    silence; `dropping` links are cut each second, and up again a second later.
    """

    def __init__(
        self,
        *,
        nodes: int,
        degree: int,
        seed: int,
        lost_pushes: float = 0,
        dead: float = 0,
        dropping: float = 0,
    ) -> None:
        self.rng = random.Random(seed)
        self.lost_pushes = lost_pushes
        self.dropping = dropping
        self.now = 0.0
        self.frames = self.duplicates = self.faults = 0
        self.queue: list[tuple[float, int, str, str, str, object]] = []
        self.spreads = {f"n{number}": Spread(random.Random(seed * 1000 + number)) for number in range(nodes)}
        self.links = self.make_links(degree)
        self.down: set[tuple[str, str]] = set()
        self.dead = self.choose(dead)
        for link in self.links:
            self.connect(link)

    def choose(self, share: float) -> set[tuple[str, str]]:
        return set(self.rng.sample(self.links, int(share * len(self.links))))

    def connect(self, link: tuple[str, str]) -> None:
        left, right = link
        self.spreads[left].join(right, right.encode())
        self.spreads[right].join(left, left.encode())
        for end in link:
            neighbours = [other.encode() for other in self.spreads[end]._peers]
            for peer in self.spreads[end]._peers:
                self.spreads[peer].describe(end, neighbours)

    def change_links(self) -> None:
        """Cut a share of the links, and bring back those that were cut before."""
        back, self.down = self.down, self.choose(self.dropping)
        for link in sorted(back - self.down):
            self.connect(link)
        for left, right in sorted(self.down - back):
            self.spreads[left].leave(right)
            self.spreads[right].leave(left)

    def make_links(self, degree: int) -> list[tuple[str, str]]:
        """A ring, so that all hang together, and random links until each node has `degree`, or nearly."""
        names = list(self.spreads)
        links = {tuple(sorted((names[at - 1], names[at]))) for at in range(len(names))}
        count = dict.fromkeys(names, 2)
        for _ in range(20 * degree * len(names)):
            pair = tuple(sorted(self.rng.sample(names, 2)))
            if pair not in links and all(count[end] < degree for end in pair):
                links.add(pair)
                for end in pair:
                    count[end] += 1
        return sorted(links)

    def send(self, source: str, target: str, kind: str, content: object) -> None:
        self.frames += 1
        is_lost = kind == "push" and self.rng.random() < self.lost_pushes
        if not is_lost and tuple(sorted((source, target))) not in self.dead:
            at = self.now + self.rng.uniform(0.005, 0.1)
            heapq.heappush(self.queue, (at, self.frames, source, target, kind, content))

    def publish(self, source: str, message: bytes) -> None:
        for target in self.spreads[source].publish(message, TOPIC, message):
            self.send(source, target, "push", message)

    def deliver(self, source: str, target: str, kind: str, content) -> None:
        spread = self.spreads[target]
        if source not in spread._peers:
            return  # the link went before the frame came
        if kind == "ids":
            spread.hear(source, content, self.now)
        elif kind == "pull":
            for _, data in spread.serve(source, content):
                self.send(target, source, "served", data)
        elif spread.arrive(content, source):
            for other in spread.accept(content, TOPIC, content, source):
                self.send(target, other, "push", content)
        else:
            self.duplicates += 1

    def tick(self, beats: bool) -> None:
        if beats and self.dropping:
            self.change_links()
        for name, spread in self.spreads.items():
            if beats:
                spread.beat()
                for peer in list(spread._peers):
                    if ids := spread.announce(peer):
                        self.send(name, peer, "ids", ids)
            chase = spread.chase(self.now)
            self.faults += len(chase.faults)
            for peer, ids in chase.pulls.items():
                self.send(name, peer, "pull", ids)

    def run(self, until: float) -> None:
        ticks = round(self.now * 10)
        while self.now < until:
            ticks += 1
            while self.queue and self.queue[0][0] <= ticks / 10:
                self.now, _, *frame = heapq.heappop(self.queue)
                self.deliver(*frame)
            self.now = ticks / 10
            self.tick(beats=ticks % 10 == 0)

    def missing(self, messages: list[bytes]) -> int:
        return sum(message not in spread._seen for message in messages for spread in self.spreads.values())


FIFTH = [
    pytest.param({"lost_pushes": 0.2}, id="pushes lost"),
    pytest.param({"dead": 0.2}, id="links dead"),
    pytest.param({"dropping": 0.2}, id="links dropping"),
]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("trouble", FIFTH)
@pytest.mark.parametrize("degree", [6, 24], ids=["all eager", "few eager"])
def test_every_message_reaches_every_node_although_a_fifth_drops(degree: int, trouble: dict, seed: int) -> None:
    """100 nodes: a fifth of the pushes is lost, or of the links is dead or comes and goes; nobody misses anything."""
    simulation = Simulation(nodes=100, degree=degree, seed=seed, **trouble)
    messages = [name(1000 + number) for number in range(30)]
    for number, message in enumerate(messages):
        simulation.publish(f"n{number * 3}", message)
        simulation.run(until=(number + 1) / 10)
    simulation.run(until=10)
    assert simulation.missing(messages) == 0, f"seed {seed}"


def test_pushing_alone_would_not_do_and_costs_a_bounded_number_of_copies() -> None:
    """Without ids some nodes miss messages; with them each node gets at most as many copies as there are eager peers."""
    simulation = Simulation(nodes=100, degree=24, seed=1, lost_pushes=0.7)
    messages = [name(1000 + number) for number in range(30)]
    for message in messages:
        simulation.publish("n0", message)
    simulation.run(until=0.9)
    assert simulation.missing(messages) > 0
    simulation.run(until=10)
    assert simulation.missing(messages) == 0
    calm = Simulation(nodes=100, degree=24, seed=1)
    for number, message in enumerate(messages):
        calm.publish(f"n{number}", message)
    calm.run(until=5)
    assert calm.missing(messages) == calm.faults == 0
    assert calm.duplicates <= EAGER * 100 * len(messages)


def test_nobody_is_at_fault_where_nothing_is_lost() -> None:
    """Overtaking and delay alone blame no honest peer, also at a high rate."""
    simulation = Simulation(nodes=30, degree=8, seed=5)
    for number in range(300):
        simulation.publish(f"n{number % 30}", name(5000 + number))
        if number % 10 == 9:
            simulation.run(until=(number + 1) / 100)
    simulation.run(until=20)
    assert simulation.faults == 0
    assert not any(spread.is_waiting for spread in simulation.spreads.values())
