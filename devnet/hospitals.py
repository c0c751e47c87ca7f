"""`scenario hospitals`: five hospitals predict the course of diabetes together, on real daemons (white paper VIII.C).

Each keeps its patients' rows in its own home; what travels are linear models, votes and scores. Beside the alliance's
model are measured, on rows that nobody trained on, what each hospital would have come to alone, and what all rows in
one place would give.
"""

import shutil
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import trio

from devnet import checks, gather
from devnet.alliances import PATIENT, Plan, ask, create_alliance, cut_dataset, find_model, follow, join_all, list_rounds
from devnet.bench.replicas import replicas_in
from devnet.checks import Check
from devnet.errors import DevnetError
from devnet.flock import Flock
from devnet.launch import unwrapped
from devnet.screen import Screen
from devnet.state import State
from devnet.tables import score
from flocknode.cli.text import Table
from flocknode.jobs import DatasetPart, MakeModel, ScoreModels, SplitFile, TrainSettings, TrainUpdate
from flocknode.rpc.alliance_records import Alliance, Round, Training
from flocknode.worker import Worker
from protocol.models import MetricSpec, linear_model

HOSPITALS = 5
NAMES = tuple(f"n{number}" for number in range(HOSPITALS))
# A quarter of the rows is nobody's; the rest is shared alike, at random.
SEED = 0
TOGETHER, CENTRAL = "all five together", "all rows in one place"
MODEL = linear_model(inputs=10, outputs=1)
R_SQUARED = MetricSpec("r2", True, -1_000_000, 1_000_000)
# Five full-batch steps a round. Only two of the five train in a round, for three judge; so the steps are smaller than
# the 0.1 with which all five reach 0.353 after ten rounds, or a round's model would lean to its two.
FULL_BATCH = 10_000
TRAINING = Training(passes=5, learning_rate_millionths=30_000, batch_size=FULL_BATCH)
# Until it has converged.
ALONE = TrainSettings(3_000, 100_000, FULL_BATCH, 0, "sgd")
# Twenty rows tell R^2 no finer than this: with the usual tolerance of 5 % votes would be lots drawn.
TOLERANCE_MILLIONTHS = 500_000
# Rows to judge on: the least that the devnet's chain takes is 20 of a hospital's 66.
TEST_SHARE_MILLIONTHS = 310_000
ESCROW_FML = 500
SETTLE_S = 900.0
# How far the alliance's model may lie below that of all rows in one place.
MAX_GAP_MILLIONTHS = 30_000
SETTLED = ("accepted", "rejected", "void")


@dataclass(frozen=True)
class HospitalOptions:
    """How many rounds, and where the scores go."""

    rounds: int
    json: Path | None


async def run_hospitals(state: State, options: HospitalOptions, screen: Screen) -> int:
    """Run the alliance on a fresh chain; returns the exit code. Raises `DevnetError` when it hangs."""
    screen.say(f"scenario hospitals: {HOSPITALS} daemons, {options.rounds} rounds on diabetes, seed 0", style="bold")
    folder = state.path / "replicas"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    data, whole, held_out = await cut_data(folder / "data")
    with unwrapped():
        async with replicas_in(folder, HOSPITALS, PATIENT) as daemons:
            flock = Flock(state, {daemon.name: daemon for daemon in daemons})
            shown, rounds, found = await run_alliance(flock, data, options, screen)
    assert shown.latest is not None, "a round was accepted"
    model = find_model(daemons, shown.latest)
    scores = await measure(folder / "data", {CENTRAL: whole, **data}, held_out, model)
    found.append(check_scores(scores))
    tell(screen, rounds, scores, found)
    if options.json is not None:
        options.json.write_bytes(encode_scores(rounds, scores) + b"\n")
    return 0 if all(check.passed for check in found) else 1


async def run_alliance(
    flock: Flock, data: Mapping[str, Path], options: HospitalOptions, screen: Screen
) -> tuple[Alliance, Sequence[Round], list[Check]]:
    """Run the rounds; returns the alliance at its end, its rounds, and what was checked."""
    first = next(iter(flock.daemons.values()))
    plan = Plan(
        name="hospitals",
        participants=HOSPITALS,
        escrow_fml=ESCROW_FML,
        training=TRAINING,
        family=MODEL.family,
        model={setting.name: list(setting.values) for setting in MODEL.settings},
        metric=R_SQUARED.name,
        settings={"rounds": options.rounds, "tolerance_millionths": TOLERANCE_MILLIONTHS},
    )
    created = await create_alliance(first, plan)
    assert created.alliance is not None, "a created alliance has a number"
    with trio.move_on_after(SETTLE_S):
        await join_all(flock.daemons, created, data, test_share_millionths=TEST_SHARE_MILLIONTHS)
        async for heard in follow(first, created.alliance):
            if heard.event.phase in SETTLED:
                screen.say(f"round {heard.event.round + 1} {heard.event.phase}: {heard.event.text}")
        found = [
            checks.check_agreement(await gather.take_snapshots(flock), nodes=HOSPITALS),
            checks.check_supply(await gather.get_supplies(flock)),
        ]
        shown = await ask(first, "alliance.show", Alliance, alliance=str(created.alliance))
        return shown, (await list_rounds(first, created.alliance)).rounds, found
    raise DevnetError(f"the alliance did not come to its end within {SETTLE_S:.0f} s")


async def cut_data(folder: Path) -> tuple[dict[str, Path], Path, Path]:
    """Return each hospital's file, all their rows in one, and the rows that nobody trains on."""
    whole, held_out = (await cut_dataset("diabetes", {"all": 3, "held-out": 1}, folder, seed=SEED)).values()
    async with learning_worker() as worker:
        parts = tuple(DatasetPart(name, 1) for name in NAMES)
        split = await worker.run(SplitFile(str(whole), SEED, parts, str(folder)))
    return {file.part: Path(file.path) for file in split.files}, whole, held_out


@asynccontextmanager
async def learning_worker() -> AsyncIterator[Worker]:
    """Give a worker that is ended afterwards."""
    with TemporaryDirectory() as scratch:
        worker = Worker(Path(scratch))
        try:
            yield worker
        finally:
            await worker.stop()


async def measure(folder: Path, files: Mapping[str, Path], held_out: Path, together: Path) -> dict[str, int]:
    """Return R^2 on the held-out rows, in millionths: of the alliance's model, and of one trained on each file."""
    scored = {TOGETHER: together}
    async with learning_worker() as worker:
        start = folder / "start.safetensors"
        await worker.run(MakeModel(MODEL, SEED, str(start)))
        for name, data in files.items():
            scored[name] = folder / f"{name}-alone.safetensors"
            await worker.run(TrainUpdate(MODEL, str(data), ALONE, str(start), str(scored[name]), None))
        found = await worker.run(ScoreModels(MODEL, R_SQUARED, str(held_out), tuple(map(str, scored.values()))))
    return {name: one.value_millionths or 0 for name, one in zip(scored, found.scores, strict=True)}


def check_scores(scores: Mapping[str, int]) -> Check:
    """Together the hospitals come near to what all rows in one place give, and above the mean of each alone."""
    alone = [scores[name] for name in NAMES]
    mean = sum(alone) // len(alone)
    passed = scores[TOGETHER] >= scores[CENTRAL] - MAX_GAP_MILLIONTHS and scores[TOGETHER] > mean
    others = f"all rows in one place {score(scores[CENTRAL])}, alone {score(mean)} on average"
    return Check("accuracy", passed, f"R^2 on rows nobody trained on: together {score(scores[TOGETHER])}, {others}")


def tell(screen: Screen, rounds: Sequence[Round], scores: Mapping[str, int], found: Sequence[Check]) -> None:
    """Show what everybody comes to, and the verdict."""
    accepted = sum(one.state == "accepted" for one in rounds)
    screen.table(Table(("MODEL", ">R^2 ON HELD-OUT ROWS"), [(name, score(value)) for name, value in scores.items()]))
    screen.say(f"{accepted} of {len(rounds)} rounds accepted")
    for check in found:
        screen.say(f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.found}")
    screen.say("PASS" if all(check.passed for check in found) else "FAIL", style="bold")


def encode_scores(rounds: Sequence[Round], scores: Mapping[str, int]) -> bytes:
    """Return everything measured as JSON; the rounds with the voters' median scores."""
    plain = {
        "held_out_millionths": dict(scores),
        "rounds": [{"state": one.state, "score_millionths": one.score_millionths} for one in rounds],
    }
    return msgspec.json.format(msgspec.json.encode(plain), indent=2)
