"""`status` and `logs`: how the daemons of a folder do, whoever started them."""

import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec
import trio

from devnet.cast import CAST
from devnet.feed import Feed
from devnet.flock import Flock
from devnet.screen import Screen
from devnet.state import State
from flocknode.cli.text import Table, short
from flocknode.rpc.records import LogLine, NodeStatus

# The newest lines of each daemon that `logs` begins with.
TAIL_LINES = 30
TAIL_BYTES = 64 * 1024


async def show_status(state: State, screen: Screen) -> int:
    """Print one line per node; returns 0 when all answer, 3 when none does, else 1."""
    found = await Flock(state).ask_all("node.status", NodeStatus)
    screen.table(status_table(found))
    return 0 if len(found) == len(CAST) else 1 if found else 3


def status_table(found: Mapping[str, NodeStatus]) -> Table:
    """Return every node with where it stands, or that it is down."""
    rows = []
    for number, actor in enumerate(CAST):
        status = found.get(actor.name)
        if status is None:
            rows.append((str(number), actor.name, actor.role, "-", "-", "-", "-", "-", "down"))
            continue
        rows.append(
            (
                str(number),
                actor.name,
                actor.role,
                str(status.pid),
                str(status.height),
                short(status.block),
                short(status.state_root),
                str(status.peers),
                status.cause or "ok",
            )
        )
    columns = ("NO", "NODE", "PLAYS", ">PID", ">HEIGHT", "BLOCK", "STATE", ">PEERS", "CAUSE")
    return Table(columns, rows)


async def show_logs(state: State, screen: Screen, *, follow: bool) -> int:
    """Print the newest lines of all daemons by time; with `follow` go on with new ones until cancelled."""
    lines = [(line, actor.name) for actor in CAST for line in read_tail(state.home(actor.name).log_file)]
    for line, name in sorted(lines, key=lambda pair: pair[0].time_ms):
        screen.log_line(name, line)
    if follow:
        feed = Feed(Flock(state))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(feed.run)
            async for told in feed.events:
                if isinstance(told.event, LogLine):
                    screen.log_line(told.name, told.event)
                    sys.stdout.flush()
    return 0


def read_tail(path: Path) -> list[LogLine]:
    """Return the newest lines of a daemon's log file, oldest first."""
    if not path.is_file():
        return []
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - TAIL_BYTES))
        raw = file.read().split(b"\n")[-TAIL_LINES - 1 :]
    found = []
    for line in raw:
        try:
            found.append(msgspec.json.decode(line, type=LogLine))
        except msgspec.DecodeError:
            continue  # cut off, at the front by us or at the end by a crash
    return found
