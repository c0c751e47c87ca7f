"""How fast an alliance goes round on real daemons, beside the plain loop on the same data with the same jobs."""

import time
from dataclasses import dataclass
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
from devnet.bench.replicas import replicas_in
from devnet.daemon import Daemon
from flocknode.home import Home
from flocknode.jobs import AggregateUpdates, MakeModel, ScoreModels, TrainSettings, TrainUpdate, Update
from flocknode.keystore import load_public_keys
from flocknode.rpc.alliance_records import Alliance, RoundList, Training
from flocknode.worker import Worker
from protocol.formulas.alliance import aggregation_weights
from protocol.models import METRICS, SCORE_ONE, MetricSpec, ModelSpec, Setting

SIZES = (4, 10)
ROUNDS = 50
LAYERS = (64, 64, 10)
MODEL = ModelSpec("mlp", (Setting("layers", LAYERS),))
METRIC = MetricSpec("accuracy", METRICS["accuracy"], 0, SCORE_ONE)
# The rows of digits that nobody trains on, and each participant's own part of the rest, in parts.
HELD_OUT, OWN = "held-out", 10
HELD_OUT_PARTS = 20
TRAINING = Training(passes=1, learning_rate_millionths=50_000, batch_size=8)
TEST_SHARE_MILLIONTHS = 250_000
ESCROW_FML = 5_000
# The only alliance of its chain.
ALLIANCE = "1"
MILLION = 10**6
STEPS = ("draw", "train", "hold", "vote", "reveal", "confirm")


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


async def bench_alliance() -> Report:
    """Measure rounds a second on four and on ten daemons, and the same rounds without them."""
    figures: list[Figure] = []
    for size in SIZES:
        with TemporaryDirectory(prefix="flocknode-bench-") as folder:
            figures += await measure(Path(folder), size)
    return Report(
        bench="alliance",
        conditions=(
            f"digits, mlp {'-'.join(map(str, LAYERS))}, one local pass, {ROUNDS} rounds; 4 daemons: 1 proposer and 3 "
            "voters a round, 10 daemons: 4 and 3"
        ),
        figures=tuple(figures),
    )


async def measure(folder: Path, size: int) -> list[Figure]:
    """Return the figures of so many daemons."""
    names = [f"n{number}" for number in range(size)]
    parts = {HELD_OUT: HELD_OUT_PARTS, **dict.fromkeys(names, OWN)}
    data = await cut_dataset("digits", parts, folder / "data")
    held_out = data.pop(HELD_OUT)
    async with replicas_in(folder, size, PATIENT) as daemons:
        course = await run_daemons({daemon.name: daemon for daemon in daemons}, data)
    plain = await run_plain(folder, size, course, held_out)
    settled = [one for one in course.rounds.rounds if one.state != "running"]
    rate = len(settled) / course.seconds
    goal = "at least 0.5" if size == SIZES[0] else ""
    return [
        Figure(name=f"{size} daemons", value=rate, unit="rounds/s", goal=goal),
        Figure(name="  accepted", value=sum(one.state == "accepted" for one in settled), unit=f"of {ROUNDS}"),
        Figure(name="  final accuracy", value=100 * plain.accuracy, unit="%"),
        Figure(name="  blocks", value=course.blocks / len(settled), unit="a round"),
        *(
            Figure(name=f"  {step}", value=1000 * course.steps.get(step, 0.0) / len(settled), unit="ms a round")
            for step in STEPS
        ),
        Figure(name="  plain loop", value=len(settled) / plain.seconds, unit="rounds/s"),
        Figure(name="  plain loop's final accuracy", value=100 * plain.own_accuracy, unit="%"),
        Figure(name="  same bytes of what was accepted", value=float(plain.is_same), unit="1 is yes"),
    ]


async def run_daemons(daemons: dict[str, Daemon], data: dict[str, Path]) -> Course:
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
        settings={"rounds": ROUNDS},
    )
    created = await create_alliance(first, plan)
    assert created.alliance is not None, "a created alliance has a number"
    async with trio.open_nursery() as nursery:
        heard: list[Heard] = []
        nursery.start_soon(listen, first, created.alliance, heard)
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


async def listen(daemon: Daemon, alliance: int, heard: list[Heard]) -> None:
    """Collect what a daemon tells of an alliance, to its end."""
    async for one in follow(daemon, alliance):
        heard.append(one)  # noqa: PERF401 - each is timed as it comes


async def run_plain(folder: Path, size: int, course: Course, held_out: Path) -> Plain:
    """Train and aggregate in one worker, without votes, blobs and log, on the same data in the same roles; score both.

    Seeds are those of the daemons: the number of the participant, and of the round.
    """
    homes = [Home(folder / f"n{number}") for number in range(size)]
    worker = Worker(folder / "scratch")
    start = folder / "start.safetensors"
    try:
        await worker.run(MakeModel(MODEL, 0, str(start)))
        began = time.perf_counter()
        model = await run_loop(worker, homes, list_proposers(course.rounds), start, folder / "all")
        seconds = time.perf_counter() - began
        accepted = keep_accepted(course.rounds)
        again = await run_loop(worker, homes, accepted, start, folder / "accepted")
        job = ScoreModels(MODEL, METRIC, str(held_out), (str(course.final), str(model)))
        theirs, own = ((found.value_millionths or 0) / MILLION for found in (await worker.run(job)).scores)
    finally:
        await worker.stop()
    return Plain(seconds, theirs, own, is_same=course.final.read_bytes() == again.read_bytes())


def list_proposers(rounds: RoundList) -> dict[int, list[str]]:
    """Return who trained in each round, sorted."""
    return {
        one.round: sorted(share.account for share in one.shares if share.role == "proposer") for one in rounds.rounds
    }


def keep_accepted(rounds: RoundList) -> dict[int, list[str]]:
    """Return whose updates made the model of each round, sorted; rounds that accepted nothing are left out."""
    return {
        one.round: sorted(update.proposer for update in one.updates if update.is_accepted)
        for one in rounds.rounds
        if one.state == "accepted"
    }


async def run_loop(
    worker: Worker, homes: list[Home], proposers: dict[int, list[str]], start: Path, folder: Path
) -> Path:
    """Return the file of the model after rounds in which these proposers train and all of them count."""
    await trio.Path(folder).mkdir()
    owners = {load_public_keys(home).account.hex(): number for number, home in enumerate(homes)}
    model = start
    for round, accounts in proposers.items():
        updates: dict[bytes, Path] = {}
        rows: dict[bytes, int] = {}
        for account in accounts:
            seed, output = owners[account], folder / f"{round}-{account}.safetensors"
            settings = TrainSettings(
                TRAINING.passes, TRAINING.learning_rate_millionths, TRAINING.batch_size, seed + round, "sgd"
            )
            split = homes[seed].alliances / ALLIANCE / "train.safetensors"
            trained = await worker.run(TrainUpdate(MODEL, str(split), settings, str(model), str(output), None))
            updates[bytes.fromhex(account)], rows[bytes.fromhex(account)] = output, trained.rows
        weights = aggregation_weights(rows)
        model = folder / f"{round}.safetensors"
        jobs = tuple(Update(str(path), weights[proposer]) for proposer, path in updates.items())
        await worker.run(AggregateUpdates(MODEL, jobs, "fedavg", 0, str(model)))
    return model
