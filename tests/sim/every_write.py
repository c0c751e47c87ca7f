"""One height in which a node loses power at a chosen write, and comes back."""

from dataclasses import dataclass

import trio

from tests.sim.cast import HASTY, transfer
from tests.sim.faults import Faults
from tests.sim.node import SimulatedNode
from tests.sim.simulate import run_world
from tests.sim.world import World

# The height that is made while the power goes, after some that are already on the log.
HEIGHT = 3
AWAY_S = 0.3
# Small enough that the log is begun anew within the height.
ROTATE_BYTES = 3_000


@dataclass(frozen=True)
class Crash:
    """The victim's place in the turns of the height, the writes it still makes, and who else is concerned.

    "alone": the others go on. "all": everybody loses power with it. "needed": another node is down and what the victim
    says is not heard before it crashes, so that the height waits for what it says again.
    """

    turn: int
    writes: int
    others: str
    seed: int


@dataclass(frozen=True)
class Aftermath:
    """The point at which the power went, empty if the height ended before; and all points of the height."""

    point: str
    points: tuple[str, ...]


def crash(case: Crash) -> Aftermath:
    """Run one case to its end. Raises what went wrong; the judge compares every signature with all before it."""
    story = Story(case)
    run_world(4, case.seed, Faults(params=HASTY, rotate_bytes=ROTATE_BYTES), story.play)
    return Aftermath(story.point, story.points)


def try_crash(case: Crash) -> tuple[Crash, str, str]:
    """Return the case, where the power went, and what went wrong, in whatever process it runs."""
    try:
        return case, crash(case).point, ""
    except Exception as error:  # noqa: BLE001 (whatever it is, it is the outcome)
        return case, "", f"{type(error).__name__}: {error}"


class Story:
    """What happens in one case."""

    def __init__(self, case: Crash) -> None:
        self.case = case
        self.point = ""
        self.points: tuple[str, ...] = ()

    async def play(self, world: World) -> None:
        world.start()
        await world.wait_for_height(HEIGHT - 1, within_s=60)
        victim, absent = self._choose(world)
        if self.case.others == "needed":
            absent.cut_power()
            world.loses = lambda sender, receiver, payload: sender is victim
        await self._make_height(world, victim)
        self.points = tuple(victim.disk.points)
        if self.point:
            await self._come_back(world, victim, absent)
        world.loses = lambda sender, receiver, payload: False
        if self.case.others == "needed":
            world.start(absent)
        await world.wait_for_height(HEIGHT + 2, within_s=60)

    def _choose(self, world: World) -> tuple[SimulatedNode, SimulatedNode]:
        """Return the node whose turn it is in the case's round of the height, and the one whose turn comes last."""
        core = world.nodes[0].replica._engine.core
        by_key = {node.key: node for node in world.nodes}
        return by_key[core.proposer(self.case.turn)], by_key[core.proposer(3)]

    async def _make_height(self, world: World, victim: SimulatedNode) -> None:
        """Let the height begin with a transaction that everybody has; return when the power went or it is over."""
        chain = victim.chain
        assert chain is not None, "the victim is on"
        assert chain.head.height == HEIGHT - 1, "the height begins here"
        victim.disk.points.clear()
        victim.disk.writes_left = self.case.writes
        data = transfer(chain.id, *world.people[:2], nonce=0, height=HEIGHT)
        for node in world.running():
            node.submit(data)
        with trio.move_on_after(2):
            await world.until(lambda: not victim.is_on or victim.height >= HEIGHT + 1, within_s=1e9)
        self.point = "" if victim.is_on else victim.disk.points[-1]
        victim.disk.writes_left = None

    async def _come_back(self, world: World, victim: SimulatedNode, absent: SimulatedNode) -> None:
        if self.case.others == "all":
            for node in world.nodes:
                node.cut_power()
        await trio.sleep(AWAY_S)
        world.loses = lambda sender, receiver, payload: False
        if self.case.others == "all":
            world.start()
            return
        world.start(victim)
        if self.case.others == "needed":
            before = world.judge.decided.get(HEIGHT)
            others = [node for node in world.nodes if node is not absent]
            await world.wait_for_height(HEIGHT + 1, within_s=60, nodes=others)
            commit = victim.chain.load_commit(HEIGHT)
            assert commit is not None, "the height is on the log"
            assert before or victim.key in {entry.replica for entry in commit.signatures}, "it was needed"
