"""What one curious validator and one curious relay see, put together, names no origin better than guessing.

Trainers of one task share a tick for their submissions, and later one for their openings, over real parcels, mixes and
routes. The attacker is a relay, drawn at random, that knows everything it handled, with a validator, that sees what is
published, when and by which relay, and which opening belongs to which submission. It learns from runs whose truth it is
told how likely each thing that it sees is for the true author and for another (naive Bayes), and then names authors in
runs that it has not seen. The counter-tests take a protection away and show that the same attacker then succeeds.
"""

import math
import os
import random
from collections import Counter
from collections.abc import Callable, Hashable

import pytest
import trio
from trio._core import _run as runner
from trio.testing import MockClock

from flocknode.relay import routes
from tests.relay_world import START_MS, TICK_MS, World, first_publications

# Runs of each setting; more by hand: FLOCKNODE_RUNS=2000 pytest tests/flocknode/relay/test_unlinkable.py -s
RUNS = int(os.environ.get("FLOCKNODE_RUNS", "200"))
ACTS = (b"submit", b"open")
# Trainers that share the ticks, and relays: the devnet's, and a somewhat larger network.
SETTINGS = [(3, 4), (4, 9)]

# What the attacker sees of one (trainer, pseudonym): whether it is the truth, and the features by name.
Pair = tuple[bool, dict[str, Hashable]]


async def play(seed: int, trainers: int, relays: int, change: Callable[[World], None]) -> list[list[Pair]]:
    """Return, for each pseudonym of one run, what is seen of each trainer."""
    world = World(seed, relays)
    change(world)
    tags = {f"trainer {number}": world.rng.randbytes(32) for number in range(trainers)}
    spy = world.rng.choice(sorted(world.relays))
    async with trio.open_nursery() as nursery:
        await nursery.start(world.run)
        seen = [await share_a_tick(world, act, tags, spy) for act in ACTS]
        nursery.cancel_scope.cancel()
    return [
        [
            (who == author, {name: value for view in seen for name, value in compare(view, who, tags[author]).items()})
            for who in tags
        ]
        for author in tags
    ]


async def share_a_tick(world: World, act: bytes, tags: dict[str, bytes], spy: bytes) -> dict[str, dict]:
    """Have all trainers send at random moments before one tick; return what the spy and the validator see of it."""
    now_ms = START_MS + trio.current_time() * 1000
    await trio.sleep((TICK_MS - now_ms % TICK_MS) / 1000 + 0.001)
    spied = len(world.relays[spy].taken)

    async def send_one(who: str, tag: bytes) -> None:
        await trio.sleep(world.rng.uniform(0, 0.4) * TICK_MS / 1000)
        await world.send(who, act, tag + act)

    async with trio.open_nursery() as nursery:
        for who, tag in tags.items():
            nursery.start_soon(send_one, who, tag)
    await trio.sleep(3 * TICK_MS / 1000)
    entered = [(when, source) for when, source, _ in world.relays[spy].taken[spied:] if source in tags]
    return {
        "act": act,
        "entered": {source: (place, when) for place, (when, source) in enumerate(entered)},
        "out": first_publications(world, {tag + act for tag in tags.values()}),
        "spy": spy,
        "layer": next(number for number, layer in enumerate(world.layers(act)) if spy in layer),
    }


def compare(view: dict, who: str, tag: bytes) -> dict[str, Hashable]:
    """Return the features of one pair in one act: places in both orders, times between, and what the spy did itself."""
    act = view["act"].decode()
    place, came_at = view["entered"].get(who, (None, None))
    published, when, by = view["out"][tag + view["act"]]
    waited = None if came_at is None else int((when - came_at) * 20)
    return {
        f"{act} order": (view["layer"], len(view["entered"]), place, published),
        f"{act} waited": (view["layer"], waited),
        f"{act} both ends": (place is not None, by == view["spy"]),
    }


def measure(runs: list[list[list[Pair]]]) -> tuple[float, float]:
    """Return how often the attacker is right in the second half of the runs, and how often guessing would be."""
    half = len(runs) // 2
    counts: dict[bool, Counter] = {True: Counter(), False: Counter()}
    totals = Counter()
    for run in runs[:half]:
        for pairs in run:
            for is_truth, features in pairs:
                totals[is_truth] += 1
                counts[is_truth].update(features.items())

    def weigh(features: dict[str, Hashable]) -> float:
        return sum(
            math.log((counts[True][item] + 1) / (totals[True] + 1))
            - math.log((counts[False][item] + 1) / (totals[False] + 1))
            for item in features.items()
        )

    coin, right, asked = random.Random(1), 0, 0
    for run in runs[half:]:
        for pairs in run:
            asked += 1
            right += max(pairs, key=lambda pair: (weigh(pair[1]), coin.random()))[0]
    return right / asked, 1 / len(runs[0])


def run_many(
    trainers: int, relays: int, change: Callable[[World], None] = lambda world: None, *, runs: int = RUNS
) -> tuple[float, float]:
    """Return (rate of the attacker, what guessing hardly ever exceeds) over many runs.

    That bound is four deviations above the mean, which chance passes once in thirty thousand times.
    """
    played = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
        for seed in range(runs):
            # Another seed than the world has, or the two streams would be one.
            runner._r.seed(f"order {seed}")
            played.append(trio.run(play, seed, trainers, relays, change, clock=MockClock(autojump_threshold=0)))
    rate, guessing = measure(played)
    bound = guessing + 4 * math.sqrt(guessing * (1 - guessing) / (runs // 2 * trainers))
    print(
        f"{runs // 2} runs, {trainers} trainers, {relays} relays: {rate:.3f}, guessing {guessing:.3f} up to {bound:.3f}"
    )
    return rate, bound


@pytest.mark.parametrize(("trainers", "relays"), SETTINGS)
def test_a_relay_and_a_validator_together_do_no_better_than_guessing(trainers, relays) -> None:
    """Over many runs the attacker names the author as often as one who draws lots among those that shared the tick."""
    rate, bound = run_many(trainers, relays)
    assert rate <= bound


def test_the_same_attacker_succeeds_where_nobody_waits_for_a_tick() -> None:
    """Relays that pass on at once and publish at once: order and time give authors away to the relay at the entry."""

    def hurry(world: World) -> None:
        world.tick_ms = world.hop_tick_ms = 40

    rate, bound = run_many(3, 4, hurry)
    assert rate > bound


def test_the_same_attacker_succeeds_where_relays_stand_in_no_layers(monkeypatch) -> None:
    """A relay that takes from senders and publishes for others knows at least whose each submission is not."""

    def choose_anyhow(layers, rng):
        everybody = [relay for layer in layers for relay in layer]
        drawn = rng.sample(everybody, len(everybody))
        return [tuple(drawn[:3])]

    monkeypatch.setattr(routes, "choose_paths", choose_anyhow)
    rate, bound = run_many(3, 4, runs=3 * RUNS)
    assert rate > bound
