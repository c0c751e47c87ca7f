"""Runs seeds of the simulator: a storm of faults, then calm, and a verdict each."""

import logging
import multiprocessing
import os
import random
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import structlog
import trio
from trio.testing import MockClock

from tests.sim.caches import shared_crypto
from tests.sim.faults import Faults, draw_faults
from tests.sim.world import World

STORM_S = 6.0
# After the storm so many heights must follow, each within so many further rounds per replica, and all within a time.
HEIGHTS_AFTER = 3
ROUNDS_AFTER = 2
CALM_S = 60.0


@dataclass(frozen=True)
class Outcome:
    """What became of one seed. `failure` is empty when all went as it must; `rounds` are of the calm's heights."""

    seed: int
    size: int
    faults: Faults
    heights: int
    crashes: int
    rounds: tuple[int, ...]
    calm_s: float
    trace: str
    failure: str
    took_s: float

    def __str__(self) -> str:
        """One line for people, with the command that runs this seed again."""
        verdict = f"{self.failure}  ({self.faults})" if self.failure else "ok"
        return (
            f"SIM_SEED={self.size}/{self.seed}  {self.heights} heights, {self.crashes} crashes,"
            f" rounds after {self.rounds}, calm {self.calm_s:.1f} s, took {self.took_s:.2f} s: {verdict}"
        )


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the nodes' log lines away."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    try:
        yield
    finally:
        structlog.configure(**before)


@contextmanager
def deterministic(seed: int) -> Iterator[None]:
    """Let trio order tasks by the seed, and the disk take no time."""
    runner = trio._core._run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_ALLOW_DETERMINISTIC_SCHEDULING", True)
        patch.setattr("os.fsync", lambda descriptor: None)
        runner._r.seed(seed)
        yield


def run_world(size: int, seed: int, faults: Faults, play: Callable[[World], Awaitable[None]]) -> World:
    """Run a play on a fresh world; raises what went wrong, out of the groups around it."""
    worlds: list[World] = []

    async def main(folder: Path) -> None:
        async with trio.open_nursery() as nursery:
            world = World(folder, nursery, size, seed, faults)
            worlds.append(world)
            nursery.start_soon(world.post.run)
            await play(world)
            nursery.cancel_scope.cancel()

    with TemporaryDirectory() as folder, shared_crypto(), deterministic(seed), quiet():
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("flocknode.replica.journal.ROTATE_BYTES", faults.rotate_bytes)
            try:
                trio.run(main, Path(folder), clock=MockClock(autojump_threshold=0))
            except BaseExceptionGroup as group:
                raise first_error(group) from None
    return worlds[0]


def first_error(error: BaseException) -> BaseException:
    """Return the innermost first error of nested groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


class NoProgress(AssertionError):
    """The faults are over, and the network does not go on as it must."""


def simulate(seed: int, size: int, faults: Faults | None = None) -> Outcome:
    """Run one seed and say what became of it; with `faults` instead of what the seed would draw."""
    mixture = faults if faults is not None else draw_faults(random.Random(f"{seed}/{size}"), size)
    story = Story()
    began = time.perf_counter()
    failure = ""
    try:
        run_world(size, seed, mixture, story.play)
    except Exception as error:  # noqa: BLE001 (whatever it is, it is the outcome)
        failure = f"{type(error).__name__}: {error}"
    assert story.world is not None, "the play has begun"
    judge = story.world.judge
    return Outcome(
        seed=seed,
        size=size,
        faults=mixture,
        heights=max(judge.decided, default=0),
        crashes=story.world.crashes,
        rounds=tuple(judge.rounds[height] for height in sorted(judge.rounds) if height > story.top),
        calm_s=story.calm_s,
        trace=judge.trace.hexdigest(),
        failure=failure,
        took_s=time.perf_counter() - began,
    )


class Story:
    """A storm, then calm in which the network must go on."""

    def __init__(self) -> None:
        self.world: World | None = None
        self.top = 0
        self.calm_s = 0.0

    async def play(self, world: World) -> None:
        self.world = world
        world.begin_storm()
        world.start()
        await trio.sleep(STORM_S)
        self.top, calm_from = world.top(), trio.current_time()
        reached = world.get_round(self.top + 1)
        world.end_storm()
        try:
            await world.wait_for_height(self.top + HEIGHTS_AFTER, within_s=CALM_S)
        except trio.TooSlowError:
            raise NoProgress(f"{[node.height for node in world.honest]} after {CALM_S} s of calm") from None
        self.calm_s = trio.current_time() - calm_from
        for height in range(self.top + 1, self.top + HEIGHTS_AFTER + 1):
            before = reached if height == self.top + 1 else 0
            if world.judge.rounds[height] > before + ROUNDS_AFTER * world.size:
                raise NoProgress(f"height {height} took rounds {before} to {world.judge.rounds[height]} of calm")


def simulate_pair(pair: tuple[int, int]) -> Outcome:
    """Run a (size, seed) pair."""
    size, seed = pair
    return simulate(seed, size)


def run_on_all_cores(function: Callable[[Any], Any], cases: Sequence[Any]) -> list[Any]:
    """Return the function's results for the cases, in their order; it and they must travel between processes."""
    workers = min(len(cases), os.cpu_count() or 1)
    if workers <= 1:
        return [function(case) for case in cases]
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        return list(pool.map(function, cases))
