"""A whole simulated network: nodes, links, a storm of faults by a seed, and the calm after it."""

import random
from collections.abc import Callable
from pathlib import Path

import trio

from flocknode.network import Verdict
from protocol.blocks import Head
from protocol.genesis import genesis_digest, make_genesis_state
from protocol.rules.accounts import get_next_nonce
from protocol.rules.voters import get_voters
from protocol.tendermint.messages import Commit
from tests.sim.cast import genesis, people, transfer
from tests.sim.faults import Faults, Malice, Split
from tests.sim.hunter import Hunter
from tests.sim.judge import Judge, SafetyViolated
from tests.sim.mutants import Mutator
from tests.sim.node import SimulatedNode
from tests.sim.post import Post, run_now

DELAY_S = (0.001, 0.03)
CLIENT_S = 0.4
# More than the precision of the rules and the message delay together.
WILD_SKEW_MS = 20_000


class World:
    """All nodes and what is between them. Everything random comes from `dice`."""

    def __init__(self, folder: Path, nursery: trio.Nursery, size: int, seed: int, faults: Faults) -> None:
        self.folder, self.nursery, self.size, self.faults = folder, nursery, size, faults
        self.dice = random.Random(seed)
        self.post = Post()
        document, self.people = genesis(size, faults.params), people(size)
        faulty = self.dice.sample(self.people, faults.faulty)
        self.judge = Judge(
            genesis_digest(document),
            get_voters(make_genesis_state(document)).current,
            frozenset(person.key for person in faulty),
        )
        self.nodes = [SimulatedNode(self, person.name, person, document) for person in self.people]
        if faults.malice is Malice.TWINS:
            self.nodes += [SimulatedNode(self, f"{person.name}'", person, document) for person in faulty]
        self.by_name = {node.name: node for node in self.nodes}
        self.is_stormy = False
        self.crashes = 0
        # What a test lets be lost, storm or not.
        self.loses: Callable[[SimulatedNode, SimulatedNode, bytes], bool] = lambda sender, receiver, payload: False
        self._committed = trio.Event()
        self._deaf: set[tuple[str, str]] = set()
        self._hunter = Hunter(self.dice, [node.name for node in self.nodes], is_active=faults.is_hunted)
        self._side = {node.name: self.dice.random() < 0.5 for node in self.nodes}

    # --- for tests ---------------------------------------------------------------------------------------------------

    @property
    def honest(self) -> list[SimulatedNode]:
        return [node for node in self.nodes if node.key not in self.judge.faulty]

    def running(self) -> list[SimulatedNode]:
        return [node for node in self.nodes if node.is_on]

    def top(self) -> int:
        return max(self.judge.decided, default=0)

    async def until(self, is_so: Callable[[], bool], *, within_s: float) -> None:
        """Look again and again until something is so."""
        with trio.fail_after(within_s):
            while not is_so():  # noqa: ASYNC110 (whatever is looked at tells nobody; the clock is simulated)
                await trio.sleep(0.01)

    def part(self, *names: str) -> None:
        """Cut all links between these nodes and the others; without names, heal all."""
        inside = set(names)
        everybody = list(self.by_name)
        self._deaf = {(a, b) for a in everybody for b in everybody if (a in inside) != (b in inside)}

    def get_round(self, height: int) -> int:
        """Return the highest round that an honest node stands in at a height."""
        statuses = [node.replica.status() for node in self.honest if node.replica is not None]
        return max((status.round for status in statuses if status.height == height), default=0)

    def start(self, *nodes: SimulatedNode) -> None:
        """Turn these nodes on, or all."""
        for node in nodes or self.nodes:
            self.nursery.start_soon(node.live)

    async def wait_for_height(self, height: int, *, within_s: float, nodes: list[SimulatedNode] | None = None) -> None:
        with trio.fail_after(within_s):
            while min(node.height for node in (nodes or self.honest)) < height:
                await self._committed.wait()

    # --- the storm ---------------------------------------------------------------------------------------------------

    def begin_storm(self) -> None:
        """Let the faults begin, before the nodes are started."""
        faults, dice = self.faults, self.dice
        self.is_stormy = True
        wild = dice.sample(self.honest, faults.wild_clocks)
        for node in self.nodes:
            node.skew_ms = dice.choice([-WILD_SKEW_MS, WILD_SKEW_MS]) if node in wild else self._draw_skew()
            if node.key in self.judge.faulty:
                node.forgets = faults.malice is Malice.AMNESIA
                if faults.malice is Malice.MUTANTS:
                    node.mutator = Mutator(self.judge.chain, node.keys, dice)
            self._plan_crash(node)
        self._change_links()
        self._act_as_client()
        if faults.all_crash:
            self.post.call_later(dice.uniform(0.1, 4.0), self._crash_all)

    def end_storm(self) -> None:
        """Heal the links, the clocks and the power; nodes of faulty keys go on or stop, as the mixture says."""
        self.is_stormy = False
        self._deaf.clear()
        for node in self.nodes:
            node.skew_ms = 0
            node.disk.writes_left = None
            if node.key not in self.judge.faulty or self.faults.is_persistent:
                self.start(node)
            else:
                node.cut_power()

    def _draw_skew(self) -> int:
        return self.dice.randint(-self.faults.skew_ms, self.faults.skew_ms)

    def _plan_crash(self, node: SimulatedNode) -> None:
        mean = self.faults.writes_per_crash
        node.disk.writes_left = self.dice.randint(0, 2 * mean) if self.is_stormy and mean else None

    def _crash_all(self) -> None:
        for node in self.running():
            node.cut_power()

    def _change_links(self) -> None:
        if not self.is_stormy:
            return
        self._deaf = set()
        names = [node.name for node in self.nodes]
        if self.dice.random() < 0.6:
            match self.faults.split:
                case Split.HALVES:
                    side = set(self.dice.sample(names, len(names) // 2))
                    self._deaf = {(a, b) for a in names for b in names if (a in side) != (b in side)}
                case Split.ONE_ALONE:
                    alone = self.dice.choice(names)
                    self._deaf = {(a, b) for a in names for b in names if (a == alone) != (b == alone)}
                case Split.ONE_WAY:
                    self._deaf = {(a, b) for a in names for b in names if self.dice.random() < 0.35}
        if self.faults.split is not Split.NONE:
            self.post.call_later(self.dice.uniform(0.2, 2) * self.faults.split_s, self._change_links)

    def _act_as_client(self) -> None:
        """Hand somebody a transfer that could be included next, or soon, or contradicts another."""
        chains = [node.chain for node in self.running() if node.chain is not None]
        if chains:
            view = max(chains, key=lambda chain: chain.head.height)
            sender, recipient = self.dice.sample(self.people, 2)
            nonce = get_next_nonce(view.view, sender.address) + self.dice.choice([0, 0, 1])
            data = transfer(view.id, sender, recipient, nonce=nonce, height=view.head.height)
            for node in self.dice.sample(self.running(), self.dice.randint(1, len(self.running()))):
                node.submit(data)
        self.post.call_later(CLIENT_S, self._act_as_client)

    # --- what nodes do -----------------------------------------------------------------------------------------------

    def hears(self, listener: SimulatedNode, speaker: SimulatedNode) -> bool:
        """Return whether messages come through from one node to another now."""
        if (listener.name, speaker.name) in self._deaf or (self.is_stormy and self._hunter.hides(speaker.name)):
            return False
        if self.faults.malice is Malice.TWINS and self.is_stormy:
            for one, other in ((listener, speaker), (speaker, listener)):
                if one.key in self.judge.faulty and other.key not in self.judge.faulty:
                    return one.name.endswith("'") == self._side[other.name]
        return True

    def carry(self, sender: SimulatedNode, receiver_name: str, payload: bytes) -> None:
        """Take a message along, or lose it, or take it along twice."""
        receiver, dice = self.by_name[receiver_name], self.dice
        is_lost = self.is_stormy and (
            dice.random() < self.faults.loss or self._hunter.catches(sender.name, receiver.name, payload)
        )
        if is_lost or self.loses(sender, receiver, payload) or not self.hears(receiver, sender):
            return
        for _ in range(2 if self.is_stormy and dice.random() < self.faults.duplication else 1):
            is_late = self.is_stormy and dice.random() < self.faults.late
            delay_s = dice.uniform(*DELAY_S) + (dice.uniform(0, self.faults.late_s) if is_late else 0)
            self.post.call_later(delay_s, lambda: self._hand_over(sender, receiver, payload))

    def _hand_over(self, sender: SimulatedNode, receiver: SimulatedNode, payload: bytes) -> None:
        if receiver.replica is None:
            return
        verdict = run_now(receiver.replica.handle(sender.name, payload))
        self.judge.record(trio.current_time(), sender.name, receiver.name, payload, verdict.value)
        if verdict is Verdict.REJECT and sender.mutator is None:
            raise SafetyViolated(f"{receiver.name} blames {sender.name} for an honest message")

    def see_commit(self, node: SimulatedNode, head: Head, commit: Commit) -> None:
        """Judge a commit that a node has just made durable."""
        self.judge.record(trio.current_time(), node.name, head.height, head.state_root)
        self.judge.see_head(node.name, head, commit)
        self._committed.set()
        self._committed = trio.Event()

    def see_end(self, node: SimulatedNode) -> None:
        """Bring a node back after a while, as long as the storm lasts."""
        self.judge.record(trio.current_time(), node.name, "off")
        if self.is_stormy:
            self.crashes += 1
            self._plan_crash(node)
            self.post.call_later(self.dice.uniform(0, 2) * self.faults.away_s, lambda: self._return(node))

    def _return(self, node: SimulatedNode) -> None:
        if self.is_stormy:
            self.start(node)
