"""Which courses a study plays, and playing them on several learning workers at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from devnet.launch import unwrapped
from devnet.study.attacks import Attack
from devnet.study.course import Course, Defence, Round, Setting
from devnet.study.learners import MODELS, Data, DataName, Learner, prepare_data
from flocknode.jobs import AggregationRule
from flocknode.worker import Worker

CLEAN = 0


@dataclass(frozen=True, kw_only=True)
class Grid:
    """All combinations of these are played; `percents` of the clients are malicious, and once none for each rule."""

    datasets: tuple[DataName, ...]
    attacks: tuple[Attack, ...]
    percents: tuple[int, ...]
    defences: tuple[Defence, ...]
    rules: tuple[AggregationRule, ...]
    clients: int
    rounds: int
    seed: int


@dataclass(frozen=True)
class Outcome:
    """A course with what came of it, round by round."""

    setting: Setting
    rounds: tuple[Round, ...]


# How far a course is: its setting, the rounds played, and in the end its outcome.
Tell = Callable[[Setting, int, Outcome | None], None]


def list_settings(grid: Grid) -> list[Setting]:
    """Return the courses of a grid; without malicious clients there is no attack, so one stands for all."""
    settings = []
    for dataset, defence, rule in product(grid.datasets, grid.defences, grid.rules):
        attacked = product(grid.attacks, sorted(set(grid.percents) - {CLEAN}))
        for attack, percent in [(grid.attacks[0], CLEAN), *attacked]:
            settings.append(
                Setting(
                    dataset=dataset,
                    attack=attack,
                    malicious_percent=percent,
                    defence=defence,
                    rule=rule,
                    clients=grid.clients,
                    rounds=grid.rounds,
                    seed=grid.seed,
                )
            )
    return settings


async def play_grid(grid: Grid, tell: Tell, *, workers: int) -> list[Outcome]:
    """Play all courses of a grid, so many at once, and return them in the grid's order.

    Raises `JobFailed` when a learning worker cannot do what it should.
    """
    settings = list_settings(grid)
    outcomes: dict[int, Outcome] = {}
    with TemporaryDirectory(prefix="flocknode-study-") as name:
        folder = Path(name)
        crew = [Worker(folder / f"worker{number}") for number in range(min(workers, len(settings)))]
        try:
            data = await _prepare(crew[0], grid, folder)
            queue = iter(enumerate(settings))
            with unwrapped():
                async with trio.open_nursery() as nursery:
                    for worker in crew:
                        nursery.start_soon(_play, worker, queue, data, folder, tell, outcomes)
        finally:
            for worker in crew:
                await worker.stop()
    return [outcomes[index] for index in range(len(settings))]


async def _prepare(worker: Worker, grid: Grid, folder: Path) -> dict[DataName, Data]:
    return {
        name: await prepare_data(worker, name, clients=grid.clients, seed=grid.seed, directory=folder / name)
        for name in grid.datasets
    }


async def _play(
    worker: Worker,
    queue: Iterator[tuple[int, Setting]],
    data: dict[DataName, Data],
    folder: Path,
    tell: Tell,
    outcomes: dict[int, Outcome],
) -> None:
    for index, setting in queue:
        with TemporaryDirectory(dir=folder) as name:
            course = Course(Learner(worker, MODELS[setting.dataset]), data[setting.dataset], setting, Path(name))
            rounds = await course.play(lambda number, setting=setting: tell(setting, number, None))  # type: ignore[misc]
        outcomes[index] = Outcome(setting, rounds)
        tell(setting, len(rounds), outcomes[index])
