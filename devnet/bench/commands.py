"""`python -m devnet bench NAME`."""

from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import trio
from cyclopts import App
from rich.console import Console

from devnet.bench.figures import Report, encode_report, show_report
from devnet.screen import Screen
from flocknode.errors import Exit

app = App(name="bench", help="Measure real daemons, or the ledger alone, on this machine.")


@app.command
def commit(*, json: Path | None = None) -> int:
    """Latency of a lone transaction on four replicas.

    Parameters
    ----------
    json
        Write the figures to this file as well.
    """
    from devnet.bench.commit import bench_commit

    return _measure(bench_commit, json)


@app.command
def transfers(*, json: Path | None = None) -> int:
    """Sustained transfers a second on four replicas, beside the bound of signature checks.

    Parameters
    ----------
    json
        Write the figures to this file as well.
    """
    from devnet.bench.commit import bench_transfers

    return _measure(bench_transfers, json)


@app.command
def blob(*, json: Path | None = None) -> int:
    """Throughput of a blob from one peer and from three, beside a raw TLS 1.3 transfer.

    Parameters
    ----------
    json
        Write the figures to this file as well.
    """
    from devnet.bench.blob import bench_blob

    return _measure(bench_blob, json)


@app.command
def start(*, json: Path | None = None) -> int:
    """Start-up time, idle memory and idle processor of a daemon.

    Parameters
    ----------
    json
        Write the figures to this file as well.
    """
    from devnet.bench.start import bench_start

    return _measure(bench_start, json)


@app.command
def ledger(*, json: Path | None = None) -> int:
    """What the ledger's rules cost: an epoch settled, a submission checked, 10,000 accounts over 30 epochs.

    Parameters
    ----------
    json
        Write the figures to this file as well.
    """
    from devnet.bench.ledger import bench_ledger

    return _measure(bench_ledger, json)


@app.command
def zk(*, json: Path | None = None) -> int:
    """What zkFL costs on one core: commit, aggregate, prove, verify, for 1,000 to 100,000 values.

    Parameters
    ----------
    json
        Write the figures to this file as well.
    """
    from devnet.bench.zk import bench_zk

    return _measure(bench_zk, json)


@app.command
def alliance(*, json: Path | None = None) -> int:
    """Rounds of an alliance a second, by step, also with hidden updates, beside the plain loop and Flower's.

    Parameters
    ----------
    json
        Write the figures to this file as well.
    """
    from devnet.bench.alliance import bench_alliance

    return _measure(partial(bench_alliance, Screen(Console(stderr=True, highlight=False)).say), json)


def _measure(bench: Callable[[], Awaitable[Report]], path: Path | None) -> int:
    report = trio.run(bench)
    show_report(report, Screen())
    if path is not None:
        path.write_bytes(encode_report(report) + b"\n")
    return Exit.OK
