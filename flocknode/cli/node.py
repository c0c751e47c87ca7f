"""Commands about the daemon itself: init, node, status, peers, stop."""

import os
import select
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from flocknode.cli.options import Common
from flocknode.cli.output import note, show
from flocknode.cli.passphrase import NoPassphrase, PassphraseFile, get_new_passphrase, get_passphrase
from flocknode.cli.text import Table, format_duration, format_fields, short
from flocknode.errors import ConnectionLost
from flocknode.home import load_names
from flocknode.rpc.call import call
from flocknode.rpc.records import NodeStatus, PeerList, Stopping

if TYPE_CHECKING:
    from flocknode.logs import ConsoleForm

STOP_TIMEOUT_SECONDS = 30.0


def init(
    *,
    genesis: Path | None = None,
    port: int | None = None,
    bootstrap: Annotated[list[str] | None, Parameter(negative="")] = None,
    name: str | None = None,
    passphrase_file: PassphraseFile = None,
    no_passphrase: NoPassphrase = False,
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
    passphrase_file
        A file whose first line is the passphrase to put the account's key under; asked for if not given.
    no_passphrase
        Leave the account's key in clear: whoever reads the file owns the account.
    """
    from flocknode.founding import NewHome, create_home

    is_new = not options.home.config_file.exists()
    made: NewHome = create_home(
        options.home,
        genesis=genesis,
        port=port,
        bootstrap=tuple(bootstrap or ()),
        name=name,
        passphrase=None
        if no_passphrase or not is_new
        else get_new_passphrase(
            passphrase_file, option="--passphrase-file", without=", or leave the key in clear with --no-passphrase"
        ),
    )
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


async def run_node(*, passphrase_file: PassphraseFile = None, options: Common) -> None:
    """Run the daemon in the foreground; Ctrl-C or SIGTERM stops it cleanly.

    Its log goes to stderr: as lines for people, with --json as JSON, with --quiet warnings and errors alone.
    Without its passphrase the account stays locked: the node replicates, and `flocknode keys unlock` opens the account.

    Parameters
    ----------
    passphrase_file
        A file whose first line is the passphrase of the account's key; asked for on a terminal if not given.
    """
    options.home.require()
    from flocknode.cli.signals import run_until_signal
    from flocknode.node import run

    passphrase = None
    if passphrase_file is not None or sys.stdin.isatty():
        passphrase = get_passphrase(options.home, passphrase_file)
    form: ConsoleForm = "json" if options.json else "faults" if options.quiet else "text"
    await run_until_signal(partial(run, options.home, passphrase, form))


def status(*, options: Common) -> None:
    """Say how the node is doing, and why it makes progress or does not."""
    names = load_names(options.home)

    def render(found: NodeStatus) -> str:
        role = "replica" if found.is_replica else "follows"
        fields = [
            ("node", f"{found.name}  (pid {found.pid}, version {found.version}, up {_age(found.started_ms)})"),
            ("home", found.home),
            ("account", f"{found.account or 'none'}{_in_brackets(names.get(found.account or ''))}"),
            *([("", "locked: open it with `flocknode keys unlock`")] if found.is_locked else []),
            ("address", found.address),
            ("chain", found.chain),
            ("height", f"{found.height}  block {short(found.block)}  {_age(found.time_ms)} ago"),
            ("state root", found.state_root),
            ("consensus", f"{role}, {'catching up' if found.is_catching_up else f'round {found.round}'}"),
            ("peers", str(found.peers)),
            ("mempool", f"{found.pending_transactions} transactions"),
            ("worker", found.worker),
            ("relaying", found.relaying),
        ]
        return f"{format_fields(fields)}\n\n{found.cause}"

    show(options, call(options.home, "node.status", NodeStatus), render)


def peers(*, options: Common) -> None:
    """List the peers that the node is connected to, what went to and fro, and whom it refuses and why.

    SENT and RECEIVED count messages; those are of peers in between: DUPLICATE came from another one first, DROPPED
    found no room and is asked for again. LATENCY is a round trip, SCORE falls from 100 with the peer's faults.
    """
    names = load_names(options.home)

    def render(found: PeerList) -> list[str | Table]:
        rows = [
            (
                short(peer.consensus_key, names),
                _end_of(peer.peer),
                "/".join(peer.address.split("/")[2:5:2]).replace("/", ":"),
                "out" if peer.is_outbound else "in",
                "-" if peer.height is None else str(peer.height),
                "-" if peer.latency_us is None else f"{peer.latency_us / 1000:.1f} ms",
                str(peer.messages_sent),
                str(peer.messages_received),
                str(peer.duplicates),
                str(peer.dropped),
                str(peer.score),
                _age(peer.connected_ms),
            )
            for peer in found.peers
        ]
        columns = ("NAME", "PEER", "ADDRESS", "DIR", ">HEIGHT", ">LATENCY", ">SENT", ">RECEIVED")
        spare = ("DUPLICATE", "DROPPED", "SENT", "RECEIVED", "CONNECTED FOR")
        table = Table((*columns, ">DUPLICATE", ">DROPPED", ">SCORE", "CONNECTED FOR"), rows, spare=spare)
        refused = [(_end_of(peer.peer), f"{peer.seconds} s", peer.reason) for peer in found.refused]
        return [table, *([Table(("PEER", ">FOR", "REASON"), refused, title="refused")] if refused else [])]

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


def _end_of(peer: str) -> str:
    """Return what tells one peer id from another: they all begin alike."""
    return f"…{peer[-8:]}"


def _in_brackets(text: str | None) -> str:
    return f"  ({text})" if text else ""
