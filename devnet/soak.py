"""`scenario soak`: replicas under a mixed load, and neither their memory nor their open files may grow with the log."""

import os
import random
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from statistics import median
from typing import NamedTuple

import msgspec
import trio

from devnet.bench.replicas import replicas_in
from devnet.checks import Check
from devnet.daemon import Daemon
from devnet.launch import unwrapped
from devnet.load import Load
from devnet.screen import Screen
from devnet.state import State
from flocknode.cli.text import Table
from flocknode.rpc.client import open_client
from flocknode.rpc.records import ChainHead

REPLICAS = 4
SAMPLES = 80
SHOWN_SAMPLES = 16
POLL_S = 0.1
# This part of the blocks is the warm-up, in which what is remembered for a while or up to a number fills.
WARM_UP = 1 / 4
# What memory may grow by in 1,000 blocks afterwards. What is remembered up to a number still comes in: ids of messages,
# transactions, events, LevelDB's cache of what was read. Of the log itself nothing stays in memory.
MAX_GROWTH_MB = 4.0
# Clients come and go; of what stays there are no more than so many more files.
MAX_MORE_FILES = 2


class Sample(NamedTuple):
    """What a daemon holds at a height: memory of its own in MB, and open files."""

    height: int
    memory_mb: float
    files: int


@dataclass(frozen=True)
class SoakOptions:
    """How many blocks, the seed of the load, and where the samples go."""

    blocks: int
    seed: int
    json: Path | None


class Growth(NamedTuple):
    """How a daemon grew after its warm-up: MB in 1,000 blocks, and open files."""

    memory_mb: float
    files: int


def measure_growth(samples: Sequence[Sample], *, warm_up: float = WARM_UP) -> Growth:
    """Return how a daemon grew after the warm-up, which is the given part of the blocks.

    Memory by the median of the slopes between all pairs of samples (Theil and Sen), which a few outliers do not move;
    files by the fewest in the last third against the fewest in the first, which clients that come and go do not change.
    """
    first, last = samples[0].height, samples[-1].height
    kept = [sample for sample in samples if sample.height >= first + (last - first) * warm_up]
    slopes = [(b.memory_mb - a.memory_mb) / (b.height - a.height) for a, b in combinations(kept, 2)]
    third = max(1, len(kept) // 3)
    files = min(sample.files for sample in kept[-third:]) - min(sample.files for sample in kept[:third])
    return Growth(1000 * median(slopes), files)


def check_growth(growth: Mapping[str, Growth], *, max_growth_mb: float = MAX_GROWTH_MB) -> tuple[Check, Check]:
    """No daemon's memory grew, and none's open files."""
    memory = max(one.memory_mb for one in growth.values())
    files = max(one.files for one in growth.values())
    return (
        Check("memory", memory <= max_growth_mb, f"grew by {memory:.2f} MB in 1,000 blocks, {max_growth_mb} at most"),
        Check("files", files <= MAX_MORE_FILES, f"{files:+d} open files, {MAX_MORE_FILES} at most"),
    )


def take_sample(pid: int, height: int) -> Sample:
    """Return what a process holds. Pages of files do not count: the kernel takes them back when it needs them."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    memory_kb = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))
    return Sample(height, 1024 * memory_kb / 1e6, len(os.listdir(f"/proc/{pid}/fd")))


async def run_soak(state: State, options: SoakOptions, screen: Screen) -> int:
    """Run the scenario on a fresh chain; returns the exit code. Raises what the load does when an answer is wrong."""
    screen.say(f"scenario soak, seed {options.seed}: {options.blocks} blocks, {REPLICAS} replicas", style="bold")
    folder = state.path / "replicas"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    samples = await soak(folder, options, screen, replicas=REPLICAS)
    growth = {name: measure_growth(found) for name, found in samples.items()}
    checks = check_growth(growth)
    tell(screen, samples, growth, checks)
    if options.json is not None:
        options.json.write_bytes(encode_soak(options, samples, growth) + b"\n")
    passed = all(check.passed for check in checks)
    screen.say("PASS" if passed else f"FAIL (seed {options.seed}, homes kept in {folder})", style="bold")
    return 0 if passed else 1


async def soak(folder: Path, options: SoakOptions, screen: Screen, *, replicas: int) -> dict[str, list[Sample]]:
    """Run so many replicas with homes in a folder under load, and return their samples."""
    async with replicas_in(folder, replicas) as daemons:
        load = Load(daemons, folder, random.Random(options.seed))
        began_at = trio.current_time()
        with unwrapped():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(load.run)
                samples = await sample_all(daemons, options.blocks, screen)
                nursery.cancel_scope.cancel()
        passed_s, done = trio.current_time() - began_at, load.done
    counts = f"{done.transfers} transfers, {done.clients} clients, {done.events} events, {done.blobs} blobs"
    screen.say(f"{passed_s:.0f} s: {counts}")
    return samples


async def sample_all(daemons: Sequence[Daemon], blocks: int, screen: Screen) -> dict[str, list[Sample]]:
    """Sample all daemons at equal distances of height until so many blocks have passed. Raises `DaemonFailed`."""
    samples: dict[str, list[Sample]] = {daemon.name: [] for daemon in daemons}
    async with open_client(daemons[0].home) as client:
        first = (await client.call("chain.head", ChainHead)).height
        for number in range(SAMPLES + 1):
            due = first + number * blocks // SAMPLES
            while (height := (await client.call("chain.head", ChainHead)).height) < due:  # noqa: ASYNC110
                await trio.sleep(POLL_S)
            for daemon in daemons:
                if daemon.pid is None:
                    raise daemon.failure(f"{daemon.name}'s daemon ended")
                samples[daemon.name].append(take_sample(daemon.pid, height))
            if number % (SAMPLES // 8) == 0:
                screen.say(f"height {height}", style="dim")
    return samples


def tell(
    screen: Screen, samples: Mapping[str, Sequence[Sample]], growth: Mapping[str, Growth], checks: Sequence[Check]
) -> None:
    """Print the samples, how each daemon grew, and the verdict."""
    heads = [head for name in samples for head in (f">{name} MB", ">FILES")]
    rows = []
    for at in zip(*samples.values(), strict=True):
        cells = [cell for sample in at for cell in (f"{sample.memory_mb:.1f}", str(sample.files))]
        rows.append((str(at[0].height), *cells))
    screen.table(Table((">HEIGHT", *heads), rows[:: max(1, len(rows) // SHOWN_SAMPLES)]))
    found = [(name, f"{one.memory_mb:+.2f}", f"{one.files:+d}") for name, one in growth.items()]
    screen.table(Table(("AFTER WARM-UP", ">MB IN 1,000 BLOCKS", ">FILES"), found))
    for check in checks:
        screen.say(f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.found}")


def encode_soak(options: SoakOptions, samples: Mapping[str, Sequence[Sample]], growth: Mapping[str, Growth]) -> bytes:
    """Return everything measured as JSON."""
    daemons = {
        name: {"growth": growth[name]._asdict(), "samples": [sample._asdict() for sample in found]}
        for name, found in samples.items()
    }
    plain = {"blocks": options.blocks, "seed": options.seed, "daemons": daemons}
    return msgspec.json.format(msgspec.json.encode(plain), indent=2)
