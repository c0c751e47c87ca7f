"""The same training in Flower's simulation, where the extra `bench` is installed: FedAvg on one machine, no votes.

Flower and the Ray that it runs on start in a process of their own (`flower_app`), which ends with the measurement.
"""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import trio

from devnet.errors import DevnetError
from flocknode.jobs import FilePath, TrainSettings
from protocol.codec import decode, encode
from protocol.models import ModelSpec
from protocol.types import Count, Record

NEEDED = ("flwr", "ray")
NOT_INSTALLED = "not installed: pip install 'flocknode[bench]'"
# Neither tells its makers of the run.
SILENT = {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0"}
LIMIT_S = 600.0
LINES = 20


class FlowerPlan(Record):
    """What Flower trains: from the fixed-point file `start`, each client on its split, `sampled` of them a round.

    A client's seed in a round is that of the daemons: its number plus the round, from 0. `output` are float weights.
    """

    model: ModelSpec
    settings: TrainSettings
    start: FilePath
    splits: tuple[FilePath, ...]
    rounds: Count
    sampled: Count
    output: FilePath


class FlowerCourse(Record):
    """How long all rounds took; Ray and the clients' processes were up before."""

    took_ms: Count


def is_installed() -> bool:
    """Return whether Flower's simulation can run here."""
    return all(find_spec(name) is not None for name in NEEDED)


async def run_flower(plan: FlowerPlan, folder: Path) -> FlowerCourse:
    """Run a plan in a process of its own. Raises `DevnetError` with its last words when it fails or takes too long."""
    files = plan_file, course_file = folder / "flower.plan", folder / "flower.course"
    await trio.Path(plan_file).write_bytes(encode(plan))
    command = [sys.executable, "-m", "devnet.bench.flower_app", *map(str, files)]
    log = folder / "flower.log"
    with log.open("wb") as output:
        with trio.move_on_after(LIMIT_S):
            await trio.run_process(
                command, check=False, stdout=output, stderr=subprocess.STDOUT, env={**os.environ, **SILENT}
            )
    if not course_file.is_file():
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()[-LINES:]
        raise DevnetError("\n".join(("Flower's simulation did not come to its end:", *said)))
    return decode(course_file.read_bytes(), FlowerCourse)
