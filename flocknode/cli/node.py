"""Commands about the daemon itself: init, node, status, peers, stop."""

import os
import select
import time
from functools import partial
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flocknode.cli.options import Common
from flocknode.cli.output import note, show
from flocknode.cli.text import Table, format_duration, format_fields, short
from flocknode.errors import ConnectionLost
from flocknode.home import load_names
from flocknode.rpc.call import call
from flocknode.rpc.records import NodeStatus, PeerList, Stopping

STOP_TIMEOUT_SECONDS = 30.0


def init(
    *,
    genesis: Path | None = None,
    port: int | None = None,
    bootstrap: Annotated[list[str] | None, Parameter(negative="")] = None,
    name: str | None = None,
    options: Common,
) -> None:
    """Create the home of a node: keys, config.toml, and the chain's document if it is given.

    On a home that has no chain yet, `--genesis` alone adds it.

    Parameters
    ----------
    genesis
        The genesis document of the chain to join, a JSON file.
    port
        TCP port to listen on; 0 lets the system choose one at the first start.
    bootstrap
        Address of a node to dial first, such as /ip4/127.0.0.1/tcp/4001/p2p/12D3Koo...; may be given several times.
    name
        Name of the node, for people; the name of the folder if not given.
    """
    from flocknode.founding import NewHome, create_home

    made: NewHome = create_home(options.home, genesis=genesis, port=port, bootstrap=tuple(bootstrap or ()), name=name)
    show(
        options,
        made,
        lambda made: format_fields(
            [
                ("home", made.home),
                ("name", made.name),
                ("account", made.account),
                ("consensus key", made.consensus_key),
                ("peer", made.peer),
                ("chain", made.chain or "none yet: add it with --genesis FILE"),
            ]
        ),
    )
    if made.chain is not None:
        note(options, f"Start it with `flocknode node --home {made.home}`.")


async def run_node(*, options: Common) -> None:
    """Run the daemon in the foreground; Ctrl-C or SIGTERM stops it cleanly."""
    options.home.require()
    from flocknode.cli.signals import run_until_signal
    from flocknode.node import run

    await run_until_signal(partial(run, options.home))


def status(*, options: Common) -> None:
    """Say how the node is doing, and why it makes progress or does not."""
    names = load_names(options.home)

    def render(found: NodeStatus) -> str:
        role = "replica" if found.is_replica else "follows"
        fields = [
            ("node", f"{found.name}  (pid {found.pid}, version {found.version}, up {_age(found.started_ms)})"),
            ("home", found.home),
            ("account", f"{found.account or 'none'}{_in_brackets(names.get(found.account or ''))}"),
            ("address", found.address),
            ("chain", found.chain),
            ("height", f"{found.height}  block {short(found.block)}  {_age(found.time_ms)} ago"),
            ("state root", found.state_root),
            ("consensus", f"{role}, {'catching up' if found.is_catching_up else f'round {found.round}'}"),
            ("peers", str(found.peers)),
            ("mempool", f"{found.pending_transactions} transactions"),
            ("worker", found.worker),
        ]
        return f"{format_fields(fields)}\n\n{found.cause}"

    show(options, call(options.home, "node.status", NodeStatus), render)


def peers(*, options: Common) -> None:
    """List the peers that the node is connected to."""

    def render(found: PeerList) -> Table:
        rows = [
            (
                peer.peer,
                peer.address,
                "out" if peer.is_outbound else "in",
                "-" if peer.height is None else str(peer.height),
                _age(peer.connected_ms),
            )
            for peer in found.peers
        ]
        return Table(("PEER", "ADDRESS", "DIRECTION", ">HEIGHT", "CONNECTED FOR"), rows)

    show(options, call(options.home, "node.peers", PeerList), render)


def stop(*, options: Common) -> None:
    """Stop the daemon, and return when its process has ended."""
    stopping = call(options.home, "node.stop", Stopping)
    _wait_for_exit(stopping.pid)
    show(options, stopping, lambda found: f"stopped (pid {found.pid})")


def _wait_for_exit(pid: int) -> None:
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([descriptor], [], [], STOP_TIMEOUT_SECONDS)
    finally:
        os.close(descriptor)
    if not ended:
        raise ConnectionLost(
            f"process {pid} was asked to stop and still runs after {STOP_TIMEOUT_SECONDS:.0f} s",
            help=f"Look at `flocknode logs`; `kill -9 {pid}` is safe, the node recovers at its next start.",
        )


def _age(since_ms: int) -> str:
    return format_duration(time.time_ns() // 10**6 - since_ms)


def _in_brackets(text: str | None) -> str:
    return f"  ({text})" if text else ""
