"""A hundred nodes pass messages on while links lose some: the pure part of gossip in a simulation."""

import heapq
import random

import pytest

from flocknode.network.messages import Topic
from flocknode.network.spread import EAGER, Arrival, Spread

TOPIC = Topic.TRANSACTIONS


def name(number: int) -> bytes:
    return number.to_bytes(16, "big")


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
        self.frames = self.duplicates = self.repeats = self.faults = 0
        self.queue: list[tuple[float, int, str, str, str, object]] = []
        self.spreads = {f"n{number}": Spread(random.Random(seed * 1000 + number)) for number in range(nodes)}
        self.ring: set[tuple[str, str]] = set()
        self.links = self.make_links(degree)
        self.down: set[tuple[str, str]] = set()
        # The ring stays, or now and then a node would have no link at all.
        self.dead = set(
            self.rng.sample([link for link in self.links if link not in self.ring], int(dead * len(self.links)))
        )
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
        self.ring = set(links)
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
        elif (arrival := spread.arrive(content, source)) is Arrival.NEW:
            for other in spread.accept(content, TOPIC, content, source):
                self.send(target, other, "push", content)
        else:
            self.duplicates += 1
            self.repeats += arrival is Arrival.REPEAT

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
    """100 nodes: a fifth of the pushes is lost, or of the links is dead or comes and goes; nobody misses anything, and
    nobody says anything again that was not asked for."""
    simulation = Simulation(nodes=100, degree=degree, seed=seed, **trouble)
    messages = [name(1000 + number) for number in range(30)]
    for number, message in enumerate(messages):
        simulation.publish(f"n{number * 3}", message)
        simulation.run(until=(number + 1) / 10)
    simulation.run(until=10)
    assert simulation.missing(messages) == 0, f"seed {seed}"
    assert simulation.repeats == 0, f"seed {seed}"


def test_pushing_alone_would_not_do_and_costs_a_bounded_number_of_copies() -> None:
    """Without ids some nodes miss messages; with them a node gets at most as many copies as it has eager peers."""
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
    assert simulation.faults == simulation.repeats == 0
    assert not any(spread.is_waiting for spread in simulation.spreads.values())
