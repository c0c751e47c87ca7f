"""Whole networks of cores on a seeded schedule: safety at every decision, progress once the network heals."""

import pytest

HEAL_MS = 8_000
LIMIT_MS = 60_000


@pytest.mark.parametrize("size", [4, 7])
def test_without_faults_every_height_takes_one_round(simulate, size: int) -> None:
    """Delays only: round 0 decides everywhere."""
    network = simulate(1, size)
    network.run_until(LIMIT_MS, is_done=lambda: network.lowest_height() >= 10)
    assert network.lowest_height() >= 10
    assert max(network.rounds_needed().values()) == 0


@pytest.mark.parametrize("size", [4, 7])
@pytest.mark.parametrize("seed", range(6))
def test_loss_and_reordering(simulate, size: int, seed: int) -> None:
    """40 % of messages lost: anti-entropy carries the heights on; after healing ten more follow."""
    print(f"seed {seed} size {size}")
    network = simulate(seed, size)
    network.loss = 0.4
    network.run_until(HEAL_MS)
    network.loss = 0.0
    reached = network.lowest_height()
    assert reached >= 1
    network.run_until(HEAL_MS + LIMIT_MS, is_done=lambda: network.lowest_height() >= reached + 10)
    assert network.lowest_height() >= reached + 10


@pytest.mark.parametrize("seed", range(6))
def test_n7_partition_and_heal(simulate, seed: int) -> None:
    """3 against 4 of 7: nobody decides; after healing all do, within a few rounds."""
    print(f"seed {seed}")
    network = simulate(seed, 7)
    network.run_until(1_000)
    side = {id(node) for node in network.random.sample(network.nodes, 3)}
    network.cut = lambda sender, receiver: (id(sender) in side) != (id(receiver) in side)
    network.run_until(2_000)
    during = max(max(node.commits, default=0) for node in network.nodes)
    network.run_until(HEAL_MS)
    assert max(max(node.commits, default=0) for node in network.nodes) <= during + 1
    network.cut = lambda sender, receiver: False
    network.run_until(HEAL_MS + LIMIT_MS, is_done=lambda: network.lowest_height() >= during + 5)
    assert network.lowest_height() >= during + 5


def test_n4f1_one_down_goes_on_two_down_stall_and_recover(simulate) -> None:
    """Both sides of the bound for crashes."""
    network = simulate(3, 4)
    network.nodes[0].is_down = True
    network.run_until(10_000)
    alive = network.nodes[1:]
    assert min(max(node.commits) for node in alive) >= 5
    network.nodes[1].is_down = True
    network.run_until(12_000)
    stalled = max(max(node.commits) for node in alive)
    network.run_until(20_000)
    assert max(max(node.commits) for node in alive) == stalled
    network.nodes[0].is_down = network.nodes[1].is_down = False
    # Their timers died with them; the votes of the others carry them.
    network.run_until(20_000 + LIMIT_MS, is_done=lambda: network.lowest_height() >= stalled + 5)
    assert network.lowest_height() >= stalled + 5


@pytest.mark.parametrize(("size", "faulty"), [(4, (3,)), (7, (5, 6))])
@pytest.mark.parametrize("seed", range(6))
def test_twins_within_the_bound_break_nothing(simulate, size: int, faulty: tuple[int, ...], seed: int) -> None:
    """n4f1 and n7f2: each faulty key runs twice and tells the halves of the network different things."""
    print(f"seed {seed} size {size}")
    network = simulate(seed, size, twins=faulty)
    network.loss = 0.2
    half = {id(node) for node in network.random.sample(network.honest, len(network.honest) // 2)}
    doubles = {id(node): node.name.startswith("twin") for node in network.nodes if node not in network.honest}

    def is_cut(sender: object, receiver: object) -> bool:
        """A twin speaks to the one half, its double to the other, for a while."""
        for node, other in ((sender, receiver), (receiver, sender)):
            if id(node) in doubles and id(other) not in doubles:
                return doubles[id(node)] != (id(other) in half)
        return False

    network.cut = is_cut
    network.run_until(HEAL_MS)
    network.loss = 0.0
    network.cut = lambda sender, receiver: False
    reached = network.lowest_height()
    network.run_until(HEAL_MS + LIMIT_MS, is_done=lambda: network.lowest_height() >= reached + 5)
    assert network.lowest_height() >= reached + 5


def test_n4f1_equivocating_proposer_is_exposed_and_outvoted(simulate) -> None:
    """A key that runs twice and is heard by all: evidence everywhere, one log."""
    network = simulate(1, 4, twins=(3,))
    network.run_until(LIMIT_MS, is_done=lambda: network.lowest_height() >= 10)
    assert network.lowest_height() >= 10
    assert all(node.evidence for node in network.honest)


def test_n4f2_beyond_the_bound_safety_is_breakable(simulate) -> None:
    """The test of the tests: with f + 1 twins some schedule makes two honest replicas decide differently."""
    network = simulate(1, 4, twins=(2, 3))
    sides = {id(node): node.name.startswith("twin") or node is network.nodes[1] for node in network.nodes}
    network.cut = lambda sender, receiver: sides[id(sender)] != sides[id(receiver)]
    with pytest.raises(AssertionError, match="two blocks decided"):
        network.run_until(HEAL_MS)
