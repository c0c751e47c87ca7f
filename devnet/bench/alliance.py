"""How fast an alliance goes round on real daemons, beside the plain loop on the same data with the same jobs.

And beside Flower's simulation, where that is installed.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from devnet.alliances import (
    PATIENT,
    Heard,
    Plan,
    ask,
    create_alliance,
    cut_dataset,
    find_model,
    follow,
    join_all,
    list_rounds,
    step_seconds,
)
from devnet.bench.figures import Figure, Report
from devnet.bench.flower import NOT_INSTALLED, FlowerPlan, is_installed, run_flower
from devnet.bench.replicas import replicas_in
from devnet.courses import Recipe, list_owners, list_proposers, repeat_rounds, run_rounds
from devnet.daemon import Daemon
from flocknode.home import Home
from flocknode.jobs import MakeModel, QuantiseWeights, ScoreModels, TrainSettings
from flocknode.rpc.alliance_records import Alliance, RoundList, Training
from flocknode.worker import Worker
from protocol.models import METRICS, SCORE_ONE, MetricSpec, ModelSpec, Setting

LAYERS = (64, 64, 10)
MODEL = ModelSpec("mlp", (Setting("layers", LAYERS),))
METRIC = MetricSpec("accuracy", METRICS["accuracy"], 0, SCORE_ONE)
# The rows of digits that nobody trains on, and each participant's own part of the rest, in parts.
HELD_OUT, OWN = "held-out", 10
HELD_OUT_PARTS = 20
# Smooth enough that a pass over one own part loses little for the others: votes call more than 5 % too much.
TRAINING = Training(passes=1, learning_rate_millionths=20_000, batch_size=4)
TEST_SHARE_MILLIONTHS = 250_000
ESCROW_FML = 5_000
# The only alliance of its chain.
ALLIANCE = 1
MILLION = 10**6
# Those of both kinds of rounds; a kind has no other.
STEPS = ("draw", "train", "seal", "hold", "aggregate", "vote", "reveal", "confirm")
START = "start.safetensors"
TOLD_ROUNDS = 10

# Hears how far the bench is.
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Case:
    """An alliance to measure: its name, how many daemons, rounds, what it chooses, and how fast it should go."""

    name: str
    daemons: int
    rounds: int
    settings: Mapping[str, int | str] = field(default_factory=dict)
    goal: str = ""


CASES = (
    Case("4 daemons", 4, 50, goal="at least 0.5"),
    Case("10 daemons", 10, 50),
    # The fewest among which updates can hide.
    Case("6 daemons, hidden updates", 6, 25, {"privacy": "zk", "attribution": "aggregate"}),
)


@dataclass(frozen=True)
class Course:
    """What daemons did: seconds in all and by step, blocks, rounds, and the final model's file."""

    seconds: float
    steps: dict[str, float]
    blocks: int
    rounds: RoundList
    final: Path


@dataclass(frozen=True)
class Plain:
    """What the plain loop did: seconds, the accuracies of the daemons' and of its own final model.

    `is_same`: with the updates alone that the daemons accepted, it comes to their very bytes.
    """

    seconds: float
    accuracy: float
    own_accuracy: float
    is_same: bool


@dataclass(frozen=True)
class Flower:
    """What Flower's simulation did: seconds of all rounds, and the accuracy of its final model."""

    seconds: float
    accuracy: float


async def bench_alliance(tell: Tell) -> Report:
    """Measure rounds a second on daemons, and the same rounds without them."""
    figures: list[Figure] = []
    for case in CASES:
        with TemporaryDirectory(prefix="flocknode-bench-") as folder:
            figures += await measure(Path(folder), case, tell)
    return Report(
        bench="alliance",
        conditions=(
            f"digits, mlp {'-'.join(map(str, LAYERS))}, one local pass; 4 daemons: 1 proposer and 3 voters a round, "
            "10 daemons: 4 and 3, hidden updates: 2 and 3, and an aggregator"
        ),
        figures=tuple(figures),
    )


async def measure(folder: Path, case: Case, tell: Tell) -> list[Figure]:
    """Return the figures of one alliance."""
    names = [f"n{number}" for number in range(case.daemons)]
    parts = {HELD_OUT: HELD_OUT_PARTS, **dict.fromkeys(names, OWN)}
    data = await cut_dataset("digits", parts, folder / "data")
    held_out = data.pop(HELD_OUT)
    tell(f"{case.name}: starting")
    async with replicas_in(folder, case.daemons, PATIENT) as daemons:
        course = await run_daemons({daemon.name: daemon for daemon in daemons}, data, case, tell)
    tell(f"{case.name}: the same rounds without daemons")
    homes = [Home(folder / name) for name in names]
    plain = await run_plain(folder, homes, course, held_out)
    flower = await simulate(folder, homes, course, held_out) if is_installed() else None
    settled = [one for one in course.rounds.rounds if one.state != "running"]
    accepted = sum(one.state == "accepted" for one in settled)
    return [
        Figure(name=case.name, value=len(settled) / course.seconds, unit="rounds/s", goal=case.goal),
        Figure(name="  accepted", value=accepted, unit=f"of {case.rounds}"),
        Figure(name="  final accuracy", value=100 * plain.accuracy, unit="%"),
        Figure(name="  blocks", value=course.blocks / len(settled), unit="a round"),
        *(
            Figure(name=f"  {step}", value=1000 * course.steps[step] / len(settled), unit="ms a round")
            for step in STEPS
            if step in course.steps
        ),
        Figure(name="  plain loop", value=len(settled) / plain.seconds, unit="rounds/s"),
        Figure(name="  plain loop's final accuracy", value=100 * plain.own_accuracy, unit="%"),
        Figure(name="  same bytes of what was accepted", value=float(plain.is_same), unit="1 is yes"),
        *describe_flower(flower, len(settled)),
    ]


def describe_flower(flower: Flower | None, rounds: int) -> list[Figure]:
    """Return the figures of Flower's simulation; without it, how to come by them."""
    name = "  Flower's simulation"
    if flower is None:
        return [Figure(name=name, value=None, unit=NOT_INSTALLED)]
    return [
        Figure(name=name, value=rounds / flower.seconds, unit="rounds/s"),
        Figure(name="  its final accuracy", value=100 * flower.accuracy, unit="%"),
    ]


async def run_daemons(daemons: dict[str, Daemon], data: dict[str, Path], case: Case, tell: Tell) -> Course:
    """Run an alliance of all daemons to its end."""
    first = next(iter(daemons.values()))
    plan = Plan(
        name="bench",
        participants=len(daemons),
        escrow_fml=ESCROW_FML,
        training=TRAINING,
        family=MODEL.family,
        model={"layers": list(LAYERS)},
        metric=METRIC.name,
        settings={"rounds": case.rounds, **case.settings},
    )
    created = await create_alliance(first, plan)
    assert created.alliance is not None, "a created alliance has a number"
    async with trio.open_nursery() as nursery:
        heard: list[Heard] = []
        nursery.start_soon(listen, first, created.alliance, heard, lambda text: tell(f"{case.name}: {text}"))
        await join_all(daemons, created, data, test_share_millionths=TEST_SHARE_MILLIONTHS)
    rounds = await list_rounds(first, created.alliance)
    shown = await ask(first, "alliance.show", Alliance, alliance=str(created.alliance))
    assert shown.latest is not None, "no round was accepted"
    began = next(one for one in heard if one.event.phase == STEPS[0])
    return Course(
        seconds=heard[-1].at_s - began.at_s,
        steps=step_seconds(heard),
        blocks=heard[-1].event.height - began.event.height,
        rounds=rounds,
        final=find_model(daemons.values(), shown.latest),
    )


async def listen(daemon: Daemon, alliance: int, heard: list[Heard], tell: Tell) -> None:
    """Collect what a daemon tells of an alliance, to its end."""
    async for one in follow(daemon, alliance):
        heard.append(one)
        if one.event.phase == STEPS[0] and one.event.round % TOLD_ROUNDS == 0:
            tell(f"round {one.event.round + 1} began")


async def run_plain(folder: Path, homes: list[Home], course: Course, held_out: Path) -> Plain:
    """Train and aggregate in one worker, without votes, blobs and log, on the same data in the same roles; score both.

    Seeds are those of the daemons: the number of the participant, and of the round.
    """
    worker, rounds = Worker(folder / "scratch"), course.rounds.rounds
    recipe, start = Recipe(MODEL, TRAINING, list_owners(homes, ALLIANCE)), folder / START
    try:
        await worker.run(MakeModel(MODEL, 0, str(start)))
        began = time.perf_counter()
        model = await run_rounds(worker, recipe, list_proposers(rounds), start, folder / "all")
        seconds = time.perf_counter() - began
        again = await repeat_rounds(
            worker, recipe, rounds, start, folder / "again", higher_is_better=METRIC.higher_is_better
        )
        job = ScoreModels(MODEL, METRIC, str(held_out), (str(course.final), str(model)))
        theirs, own = ((found.value_millionths or 0) / MILLION for found in (await worker.run(job)).scores)
    finally:
        await worker.stop()
    return Plain(seconds, theirs, own, is_same=course.final.read_bytes() == again.read_bytes())


async def simulate(folder: Path, homes: list[Home], course: Course, held_out: Path) -> Flower:
    """Train as many rounds in Flower's simulation, as many clients a round as there were proposers, drawn by Flower.

    Begins with the model of the plain loop. Raises `DevnetError`.
    """
    start, weights, final = folder / START, folder / "flower.safetensors", folder / "flower-fixed.safetensors"
    proposers = list_proposers(course.rounds.rounds)
    settings = TrainSettings(TRAINING.passes, TRAINING.learning_rate_millionths, TRAINING.batch_size, 0, "sgd")
    splits = tuple(str(owner.split) for owner in list_owners(homes, ALLIANCE).values())
    sampled = max(map(len, proposers))
    plan = FlowerPlan(MODEL, settings, str(start), splits, len(proposers), sampled, str(weights))
    took = await run_flower(plan, folder)
    worker = Worker(folder / "scratch")
    try:
        await worker.run(QuantiseWeights(MODEL, str(weights), str(final)))
        (found,) = (await worker.run(ScoreModels(MODEL, METRIC, str(held_out), (str(final),)))).scores
    finally:
        await worker.stop()
    return Flower(took.took_ms / 1_000, (found.value_millionths or 0) / MILLION)
