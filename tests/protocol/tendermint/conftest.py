"""A cast of replicas with unsigned messages (the core takes them as checked), and a network of cores with a schedule.

The network performs the cores' effects on a simulated clock driven by a seed: messages are lost, delayed and so
reordered; anti-entropy and catch-up repair that. Safety is asserted at every decision.
"""

import heapq
import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from protocol.tendermint import events
from protocol.tendermint.core import Core
from protocol.tendermint.messages import Commit, CommitSignature, Proposal, Vote, VoteKind
from protocol.tendermint.proposer import Priorities, advance_priorities, initial_priorities, proposer_of
from protocol.tendermint.replicas import Replica, ReplicaSet, is_quorum, make_replica_set

NO_SIGNATURE = b"\0" * 64
TIMEOUT_MS = 300
TIMEOUT_GROWTH_MS = 100
MAX_DELAY_MS = 60
SUMMARY_INTERVAL_MS = 200


def block(name: str) -> bytes:
    """Return a block id that reads like its name."""
    return name.encode().ljust(32, b".")


class Cast:
    """Replicas 0 to n - 1 of a height, in the order of their turns in rounds 0 to n - 1."""

    def __init__(self, powers: tuple[int, ...]) -> None:
        keys = [bytes([index + 1]) * 32 for index in range(len(powers))]
        self.replicas: ReplicaSet = make_replica_set(
            [Replica(key, key, power, key) for key, power in zip(keys, powers, strict=True)]
        )
        self.priorities: Priorities = initial_priorities(self.replicas)
        self.keys = [replica.key for replica in self.replicas.replicas]

    def core(self, who: int | None, *, height: int = 1) -> Core:
        return Core(None if who is None else self.keys[who], height, self.replicas, self.priorities)

    def proposal(
        self, round: int, name: str, valid_round: int | None = None, *, who: int | None = None, timely: bool = True
    ) -> events.ProposalReceived:
        key = proposer_of(self.replicas, self.priorities, round).key if who is None else self.keys[who]
        return events.ProposalReceived(Proposal(1, round, valid_round, block(name), key, NO_SIGNATURE), timely)

    def vote(self, kind: VoteKind, who: int, round: int, name: str | None, *, height: int = 1) -> events.VoteReceived:
        block_id = None if name is None else block(name)
        return events.VoteReceived(Vote(kind, height, round, block_id, self.keys[who], NO_SIGNATURE))

    def prevote(self, who: int, round: int, name: str | None) -> events.VoteReceived:
        return self.vote(VoteKind.PREVOTE, who, round, name)

    def precommit(self, who: int, round: int, name: str | None) -> events.VoteReceived:
        return self.vote(VoteKind.PRECOMMIT, who, round, name)

    def valid(self, name: str, is_valid: bool = True) -> events.BlockChecked:
        return events.BlockChecked(1, block(name), is_valid)

    def commit(self, round: int, name: str, whose: tuple[int, ...]) -> Commit:
        return Commit(1, round, block(name), tuple(CommitSignature(self.keys[who], NO_SIGNATURE) for who in whose))

    def feed(self, core: Core, *inputs: events.Input) -> list[events.Effect]:
        """Give a core its inputs and return everything it asked for; own votes are not fed back."""
        return [effect for event in inputs for effect in core.step(event)]

    def prevoted(self, round: int, name: str | None) -> events.SignVote:
        return events.SignVote(VoteKind.PREVOTE, 1, round, None if name is None else block(name))

    def precommitted(self, round: int, name: str | None) -> events.SignVote:
        return events.SignVote(VoteKind.PRECOMMIT, 1, round, None if name is None else block(name))


@pytest.fixture
def cast() -> Cast:
    """Four replicas of equal power."""
    return Cast((1, 1, 1, 1))


@pytest.fixture
def make_cast() -> Callable[..., Cast]:
    """Make a cast of any powers."""
    return lambda *powers: Cast(powers)


@dataclass(order=True)
class Scheduled:
    at_ms: float
    serial: int
    action: Callable[[], None] = field(compare=False)


class SimulatedNode:
    """A core whose effects are performed on the network's clock. A twin shares its key with another node."""

    def __init__(self, network: "SimulatedNetwork", name: str, own_key: bytes) -> None:
        self.network = network
        self.name = name
        self.core = Core(own_key, 1, network.replicas, network.priorities)
        self.priorities = network.priorities
        self.commits: dict[int, Commit] = {}
        self.evidence: list[events.EvidenceFound] = []
        self.is_down = False

    def take(self, event: events.Input) -> None:
        if not self.is_down:
            for effect in self.core.step(event):
                self._perform(effect)

    def _perform(self, effect: events.Effect) -> None:
        network = self.network
        match effect:
            case events.SignProposal(height, round, valid_round, block_id):
                proposal = Proposal(height, round, valid_round, block_id, self.core.own_key, NO_SIGNATURE)
                self._publish(events.ProposalReceived(proposal, True))
            case events.SignVote(kind, height, round, block_id):
                self._publish(events.VoteReceived(Vote(kind, height, round, block_id, self.core.own_key, NO_SIGNATURE)))
            case events.ScheduleTimeout(kind, height, round):
                delay = TIMEOUT_MS + TIMEOUT_GROWTH_MS * round
                network.schedule(delay, lambda: self.take(events.TimeoutExpired(kind, height, round)))
            case events.GetBlock(height, round):
                block_id = block(f"{height}/{round}/{self.name}")
                network.schedule(1, lambda: self.take(events.BlockBuilt(height, round, block_id)))
            case events.ValidateBlock(height, _, block_id):
                network.schedule(1, lambda: self.take(events.BlockChecked(height, block_id, True)))
            case events.Decide(commit):
                network.record_decision(self, commit)
                network.schedule(1, lambda: self._advance(commit))
            case events.EvidenceFound():
                self.evidence.append(effect)

    def _publish(self, event: events.Input) -> None:
        self.network.schedule(0, lambda: self.take(event))
        for other in self.network.nodes:
            if other is not self:
                self.network.send(self, other, lambda other=other: other.take(event))

    def _advance(self, commit: Commit) -> None:
        self.priorities = advance_priorities(self.network.replicas, self.priorities)
        self.take(events.HeightAdvanced(commit.height + 1, self.network.replicas, self.priorities))
        for event in self.core.take_held_inputs():
            self.take(event)
        height = commit.height + 1
        self.network.schedule(20, lambda: self.take(events.HeightStarted(height)))

    def tell_summary(self) -> None:
        summary = self.core.summary()
        for other in self.network.nodes:
            if other is not self:
                self.network.send(self, other, lambda other=other: other.answer(self, summary))

    def answer(self, asker: "SimulatedNode", summary: object) -> None:
        if self.is_down:
            return
        for message in self.core.get_missing(summary):
            is_vote = isinstance(message, Vote)
            event = events.VoteReceived(message) if is_vote else events.ProposalReceived(message, True)
            self.network.send(self, asker, lambda event=event: asker.take(event))
        if (commit := self.commits.get(summary.height)) is not None:
            self.network.send(self, asker, lambda: asker.take(events.CommitReceived(commit)))


class SimulatedNetwork:
    """Nodes on one schedule. `loss` is the share of messages lost; `cut` says which links are down."""

    def __init__(self, seed: int, size: int, *, twins: tuple[int, ...] = ()) -> None:
        self.random = random.Random(seed)
        cast = Cast((1,) * size)
        self.replicas, self.priorities = cast.replicas, cast.priorities
        self.now_ms = 0.0
        self.loss = 0.0
        self.cut: Callable[[SimulatedNode, SimulatedNode], bool] = lambda sender, receiver: False
        self._queue: list[Scheduled] = []
        self._serial = 0
        self._decided: dict[int, bytes] = {}
        self.nodes = [SimulatedNode(self, f"n{index}", key) for index, key in enumerate(cast.keys)]
        self.nodes += [SimulatedNode(self, f"twin{index}", cast.keys[index]) for index in twins]
        twin_keys = {cast.keys[index] for index in twins}
        self.honest = [node for node in self.nodes if node.core.own_key not in twin_keys]
        for node in self.nodes:
            self.schedule(0, lambda node=node: node.take(events.HeightStarted(1)))
            self.schedule(self.random.uniform(0, SUMMARY_INTERVAL_MS), lambda node=node: self._gossip(node))

    def schedule(self, delay_ms: float, action: Callable[[], None]) -> None:
        self._serial += 1
        heapq.heappush(self._queue, Scheduled(self.now_ms + delay_ms, self._serial, action))

    def send(self, sender: SimulatedNode, receiver: SimulatedNode, action: Callable[[], None]) -> None:
        if self.random.random() >= self.loss and not self.cut(sender, receiver):
            self.schedule(self.random.uniform(1, MAX_DELAY_MS), action)

    def run_until(self, time_ms: float, *, is_done: Callable[[], bool] = lambda: False) -> None:
        while self._queue and self._queue[0].at_ms <= time_ms and not is_done():
            scheduled = heapq.heappop(self._queue)
            self.now_ms = scheduled.at_ms
            scheduled.action()

    def record_decision(self, node: SimulatedNode, commit: Commit) -> None:
        """Assert safety: whoever decides a height decides the same block, on the signatures of a quorum."""
        node.commits[commit.height] = commit
        signers = {entry.replica for entry in commit.signatures}
        assert len(signers) == len(commit.signatures), "a replica signed a commit twice"
        power = sum(self.replicas.power_of(key) for key in signers)
        assert is_quorum(power, self.replicas.total_power()), "a commit without a quorum"
        if node in self.honest:
            decided = self._decided.setdefault(commit.height, commit.block_id)
            assert decided == commit.block_id, f"two blocks decided at height {commit.height}"

    def lowest_height(self) -> int:
        return min(max(node.commits, default=0) for node in self.honest)

    def rounds_needed(self) -> dict[int, int]:
        rounds: dict[int, int] = defaultdict(int)
        for node in self.honest:
            for height, commit in node.commits.items():
                rounds[height] = max(rounds[height], commit.round)
        return rounds

    def _gossip(self, node: SimulatedNode) -> None:
        if not node.is_down:
            node.tell_summary()
        self.schedule(SUMMARY_INTERVAL_MS, lambda: self._gossip(node))


@pytest.fixture
def simulate() -> Iterator[Callable[..., SimulatedNetwork]]:
    """Make simulated networks of cores."""
    return lambda seed, size, **options: SimulatedNetwork(seed, size, **options)
