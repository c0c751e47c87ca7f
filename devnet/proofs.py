"""Proofs of private rounds, written and checked by the command line as anybody would."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import trio

from devnet.checks import Check
from devnet.daemon import Daemon
from flocknode.rpc.alliance_records import Round


async def check_proofs(daemon: Daemon, alliance: int, rounds: Sequence[Round]) -> Check:
    """Every accepted round has a proof on the log that holds without a node."""
    accepted = [one.round + 1 for one in rounds if one.state == "accepted"]
    lengths: list[int] = []
    refused: list[str] = []
    with TemporaryDirectory() as folder:
        for number in accepted:
            path = Path(folder) / f"round-{number}.proof"
            written = await run_command(
                "alliance", "proof", str(alliance), str(number), "--out", str(path), daemon=daemon
            )
            complaint = written or await run_command("alliance", "verify-proof", str(path))
            if complaint:
                refused.append(f"round {number}: {complaint}")
            else:
                lengths.append((await trio.Path(path).stat()).st_size)
    text = f"{len(lengths)} of {len(accepted)} proofs hold, files of up to {max(lengths, default=0)} bytes"
    return Check("proofs", bool(accepted) and not refused, "; ".join([text, *refused]))


async def run_command(*words: str, daemon: Daemon | None = None) -> str:
    """Run a command of `flocknode`, on a daemon's home if one is given; returns what it complains of, if it fails."""
    home = () if daemon is None else ("--home", str(daemon.home.path))
    done = await trio.run_process(
        [sys.executable, "-m", "flocknode", *words, *home],
        check=False,
        capture_stdout=True,
        stderr=subprocess.STDOUT,
    )
    return "" if done.returncode == 0 else done.stdout.decode(errors="replace").strip()
