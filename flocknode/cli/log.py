"""The command that checks the stored log, through the daemon if it runs, by itself if not; and how that looks."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from cyclopts import App

from flocknode.cli.options import Common, Options
from flocknode.cli.output import note, show
from flocknode.cli.text import Table, format_duration
from flocknode.errors import Exit, NotRunning
from flocknode.home import Home
from flocknode.rpc.call import call
from flocknode.rpc.log_records import Finding, Verification
from flocknode.rpc.records import WorkEvent, WorkKind

POLL_SECONDS = 0.2
# Without a terminal, a line says how far it is so often.
NOTE_SECONDS = 10.0
MILLION = 10**6

log = App(name="log")
Tell = Callable[[Verification], None]


@log.command
def verify(*, options: Common) -> Exit:
    """Check the whole log again from genesis: every block, signature, transaction and record; exit code 1 if broken.

    Through the daemon if it runs, which goes on meanwhile.
    """
    options.home.require()
    with show_progress(options, "verifying") as tell:
        try:
            found = verify_running(options.home, tell)
        except NotRunning:
            found = verify_stopped(options.home, tell)
    show(options, found, render)
    if found.state == "broken":
        note(options, "Stop the node and run `flocknode db repair`: it moves the damaged aside and deletes nothing.")
    return Exit.OK if found.state == "sound" else Exit.ERROR


def verify_running(home: Home, tell: Tell) -> Verification:
    """Let the daemon verify its log; Ctrl-C cancels that. Raises `NotRunning`."""
    found = call(home, "log.verify", Verification)
    try:
        while found.state == "running":
            tell(found)
            time.sleep(POLL_SECONDS)
            found = call(home, "log.verification", Verification)
    except KeyboardInterrupt:
        call(home, "log.cancel", Verification)
        raise
    return found


def verify_stopped(home: Home, tell: Tell) -> Verification:
    """Verify the log of a home without a daemon. Raises `HomeLocked` when something else uses it."""
    from flocknode.founding import load_document
    from flocknode.verification.verify import verify_home
    from storage.lock import HomeLock

    with HomeLock(home.path):
        found: Verification | None = None
        for found in verify_home(home, load_document(home.genesis_file)):
            tell(found)
    assert found is not None, "a verification ends with its verdict"
    return found


def render(found: Verification) -> list[str | Table]:
    """Return what came of a verification, for people."""
    seconds = found.duration_ms / 1000
    checked = (
        f"{found.height} of {found.target} blocks, {found.transactions} transactions, {found.signatures} signatures of"
        f" replicas, {found.records} records, {found.journal_records} of the write-ahead log"
    )
    speed = f"{seconds:.1f} s, {found.height / max(seconds, 0.001):.0f} blocks/s"
    match found.state:
        case "sound":
            return [f"sound: {checked}; {speed}"]
        case "broken":
            return [f"broken: checked {checked}; {speed}", "", render_findings(found.findings, found.findings_left_out)]
        case _:
            return [f"{found.state}: {found.cause}"]


def render_findings(findings: tuple[Finding, ...], left_out: int = 0) -> Table:
    """Return the places that are not as they should be."""
    rows = [(finding.place, finding.reason) for finding in findings]
    more = [(f"and {left_out} more", "")] if left_out else []
    return Table(("WHERE", "WHAT"), [*rows, *more])


@contextmanager
def show_progress(options: Options, kind: WorkKind) -> Iterator[Tell]:
    """Give the function that shows how far it is: a bar on a terminal, else a line now and then, on stderr."""
    if options.quiet:
        yield lambda found: None
    elif sys.stderr.isatty():
        from rich.console import Console

        from flocknode.cli.bars import Bars

        with Bars(Console(stderr=True, highlight=False)) as bars:
            yield lambda found: bars.show(describe_work(found, kind))
    else:
        yield _make_noter(options, kind)


def describe_work(found: Verification, kind: WorkKind) -> WorkEvent:
    """Return the progress as that of any long work."""
    elapsed_ms = max(found.duration_ms, 1)
    return WorkEvent(
        work=0,
        kind=kind,
        subject="the log",
        unit="blocks",
        state="running",
        done=found.height,
        total=found.target,
        elapsed_ms=elapsed_ms,
        rate_millionths=found.height * MILLION * 1000 // elapsed_ms,
        left_ms=(found.target - found.height) * elapsed_ms // found.height if found.height else None,
    )


def _make_noter(options: Options, kind: WorkKind) -> Tell:
    next_at = time.monotonic() + NOTE_SECONDS

    def tell(found: Verification) -> None:
        nonlocal next_at
        if time.monotonic() >= next_at and found.height:
            next_at = time.monotonic() + NOTE_SECONDS
            left = format_duration((found.target - found.height) * found.duration_ms // found.height)
            note(options, f"{kind} the log: {found.height} of {found.target} blocks, {left} left")

    return tell
