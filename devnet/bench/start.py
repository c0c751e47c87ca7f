"""What a daemon costs: time until it answers, memory and processor while nothing happens."""

import os
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from devnet.bench.figures import Figure, Report
from devnet.bench.replicas import create_replicas, running_replicas
from devnet.daemon import Daemon

REPLICAS = 4
IDLE_S = 30.0


async def bench_start() -> Report:
    """Measure one daemon's start alone on the machine, then the idle cost of one among several."""
    alone = await measure_start()
    async with running_replicas(REPLICAS) as daemons:
        await trio.sleep(2)
        before = [read_cpu_seconds(daemon) for daemon in daemons]
        began = time.perf_counter()
        await trio.sleep(IDLE_S)
        passed = time.perf_counter() - began
        used = [read_cpu_seconds(daemon) - earlier for daemon, earlier in zip(daemons, before, strict=True)]
        memory = [read_memory_mb(daemon) for daemon in daemons]
    return Report(
        bench="start",
        conditions=f"one daemon alone; then {REPLICAS} replicas, idle for {IDLE_S:.0f} s",
        figures=(
            Figure(name="start to first RPC answer", value=alone, unit="s"),
            Figure(name="idle memory, largest", value=max(memory), unit="MB", goal="at most 160"),
            Figure(name="idle processor, most", value=100 * max(used) / passed, unit="% of core", goal="at most 5"),
        ),
    )


async def measure_start() -> float:
    """Return the seconds from starting a daemon's process to its first answer."""
    with TemporaryDirectory(prefix="flocknode-bench-") as folder:
        (home,) = create_replicas(Path(folder), 1)
        daemon = Daemon("n0", home, Path(folder) / "n0.log")
        began = time.perf_counter()
        daemon.start()
        try:
            await daemon.wait_ready()
            return time.perf_counter() - began
        finally:
            await daemon.stop()


def read_cpu_seconds(daemon: Daemon) -> float:
    """Return the processor time that a daemon has used, in user and kernel mode."""
    fields = Path(f"/proc/{daemon.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def read_memory_mb(daemon: Daemon) -> float:
    """Return the resident memory of a daemon, without its learning worker."""
    lines = Path(f"/proc/{daemon.pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1000
