"""The command that shows a whole node on one screen, again and again."""

import sys
import time
from typing import Annotated

from cyclopts import Parameter
from msgspec import Struct

from flocknode.cli import alliance_text, arena_text
from flocknode.cli.options import Common
from flocknode.cli.output import show
from flocknode.cli.text import Table, format_duration, format_fields, short
from flocknode.cli.work_text import format_work
from flocknode.errors import UsageError
from flocknode.home import Home, load_names
from flocknode.rpc.alliance_records import AllianceList
from flocknode.rpc.arena_records import TaskList
from flocknode.rpc.call import call
from flocknode.rpc.chain_records import HeaderList
from flocknode.rpc.records import NodeStatus, PeerList, WorkList

SHOWN_BLOCKS = 8
SHOWN_TASKS = 5
MIN_INTERVAL_S = 0.1


class Snapshot(Struct, frozen=True):
    """A node at one moment."""

    status: NodeStatus
    works: WorkList
    tasks: TaskList
    alliances: AllianceList
    peers: PeerList
    blocks: HeaderList


def take_snapshot(home: Home) -> Snapshot:
    """Ask the daemon of a home for everything that the screen shows."""
    return Snapshot(
        status=call(home, "node.status", NodeStatus),
        works=call(home, "node.work", WorkList),
        tasks=call(home, "arena.list", TaskList, limit=SHOWN_TASKS),
        alliances=call(home, "alliance.list", AllianceList, limit=SHOWN_TASKS),
        peers=call(home, "node.peers", PeerList),
        blocks=call(home, "chain.headers", HeaderList, limit=SHOWN_BLOCKS),
    )


def top(*, interval: Annotated[float, Parameter(name=("--interval", "-i"))] = 1.0, options: Common) -> None:
    """Show the node on one screen and keep it current until Ctrl-C; where the output is no terminal, once.

    Parameters
    ----------
    interval
        Seconds from one look to the next.
    """
    if interval < MIN_INTERVAL_S:
        raise UsageError(f"the interval is at least {MIN_INTERVAL_S} s")
    home = options.home
    names = load_names(home)
    found = take_snapshot(home)
    if options.json or not sys.stdout.isatty():
        show(options, found, lambda found: render(found, names))
        return
    _keep_current(home, found, names, interval)


def _keep_current(home: Home, found: Snapshot, names: dict[str, str], interval_s: float) -> None:
    from rich.console import Console, Group
    from rich.live import Live
    from rich.text import Text

    from flocknode.cli.output import draw_table

    console = Console()

    def draw(found: Snapshot) -> Group:
        parts = render(found, names)
        return Group(*(Text(one) if isinstance(one, str) else draw_table(one, console.width) for one in parts))

    try:
        with Live(draw(found), console=console, screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(interval_s)
                live.update(draw(take_snapshot(home)), refresh=True)
    except KeyboardInterrupt:
        # The only way out of it, so no failure.
        return


def render(found: Snapshot, names: dict[str, str]) -> list[str | Table]:
    """Return the parts of the screen, top to bottom."""
    status = found.status
    now_ms = time.time_ns() // 10**6
    head = [
        ("node", f"{status.name}  up {format_duration(now_ms - status.started_ms)}"),
        ("height", f"{status.height}  {format_duration(now_ms - status.time_ms)} ago  round {status.round}"),
        ("peers", f"{status.peers}   mempool {status.pending_transactions} transactions"),
        ("cause", status.cause),
    ]
    blocks = [
        (str(one.height), short(one.block), f"r{one.round}", short(one.proposer, names), str(one.transactions))
        for one in reversed(found.blocks.headers)
    ]
    peers = [
        (one.peer, "out" if one.is_outbound else "in", "-" if one.height is None else str(one.height))
        for one in found.peers.peers
    ]
    parts: list[str | Table] = [format_fields(head), ""]
    if found.works.works:
        parts += [*map(format_work, found.works.works), ""]
    if found.tasks.tasks:
        parts += [arena_text.render_tasks(found.tasks, names), ""]
    if found.alliances.alliances:
        parts += [alliance_text.render_alliances(found.alliances, names), ""]
    return [
        *parts,
        Table((">HEIGHT", "BLOCK", "ROUND", "PROPOSER", ">TXS"), blocks),
        "",
        Table(("PEER", "DIRECTION", ">HEIGHT"), peers),
    ]
