"""Both sides of the bound: beyond it agreement breaks or stands still, which the simulator sees; within it neither."""

import pytest
import trio

from tests.sim.cast import HASTY
from tests.sim.faults import Faults, Malice
from tests.sim.judge import SafetyViolated
from tests.sim.simulate import run_world
from tests.sim.world import World


def twins(size: int, faulty: int) -> Faults:
    return Faults(params=HASTY, malice=Malice.TWINS, faulty=faulty)


async def part_and_run(world: World) -> None:
    """Cut the network in two, each half with one node of every faulty key, and run both."""
    honest = [node.name for node in world.honest]
    world.part(*honest[: len(honest) // 2], *(node.name for node in world.nodes if node.name.endswith("'")))
    world.start()
    with trio.move_on_after(60):
        await world.wait_for_height(4, within_s=1e9)


@pytest.mark.parametrize(("size", "faulty"), [(4, 2), (7, 3)])
def test_f_plus_one_twins_break_agreement(size: int, faulty: int) -> None:
    """n4f2 and n7f3: both halves have a quorum and decide differently. The judge sees it."""
    with pytest.raises(SafetyViolated, match="decided height 1 differently"):
        run_world(size, 1, twins(size, faulty), part_and_run)


@pytest.mark.parametrize(("size", "faulty"), [(4, 1), (7, 2)])
def test_f_twins_do_not(size: int, faulty: int) -> None:
    """n4f1 and n7f2 in the same situation: at most one half has a quorum."""
    run_world(size, 1, twins(size, faulty), part_and_run)


@pytest.mark.parametrize("size", [4, 7])
def test_f_plus_one_down_stall_and_one_back_is_enough(size: int) -> None:
    """n4f2 and n7f3: nothing commits for a minute, everybody says why; then everything goes on."""

    async def play(world: World) -> None:
        world.start()
        await world.wait_for_height(3, within_s=60)
        down = world.nodes[: (size - 1) // 3 + 1]
        for node in down:
            node.cut_power()
        await trio.sleep(10)
        top = world.top()
        await trio.sleep(60)
        assert world.top() == top
        causes = {node.replica.status().cause for node in world.running() if node.replica is not None}
        online = 100 * (size - len(down)) // size
        assert all(cause.startswith(f"power online {online} % (need > 66.7 %)  missing") for cause in causes)
        world.start(down[0])
        await world.wait_for_height(top + 3, within_s=30, nodes=[down[0], *world.nodes[len(down) :]])

    run_world(size, 1, Faults(), play)
