"""The command that repairs a damaged home."""

import time

from cyclopts import App

from flocknode.cli.log import render_findings, show_progress
from flocknode.cli.options import Common
from flocknode.cli.output import note, show
from flocknode.cli.text import Table, format_fields
from flocknode.rpc.log_records import Repair

db = App(name="db")


@db.command
def repair(*, options: Common) -> None:
    """Move a damaged database or write-ahead log aside, keep what can be verified, and let peers give the rest.

    The daemon must be stopped. Nothing is deleted. The next start fetches the missing blocks from peers.
    """
    options.home.require()
    from flocknode.founding import load_document
    from flocknode.repair import Repairer, finish_interrupted
    from flocknode.verification.verify import verify_home
    from storage.lock import HomeLock

    document = load_document(options.home.genesis_file)
    with HomeLock(options.home.path):
        finish_interrupted(options.home)
        with show_progress(options, "verifying") as tell:
            for verdict in verify_home(options.home, document):
                tell(verdict)
        repairer = Repairer(options.home, document, verdict, time.time_ns() // 10**6)
        with show_progress(options, "rebuilding") as tell:
            for progress in repairer.run():
                tell(progress)
    show(options, repairer.result, render)
    if not repairer.result.was_sound:
        note(options, f"Start the node with `flocknode node --home {options.home.path}`.")


def render(found: Repair) -> list[str | Table]:
    """Return what was done, for people."""
    if found.was_sound:
        return ["nothing to repair: the log, the state and the write-ahead log are sound"]
    signs = "as before"
    if found.signs_after_ms is not None:
        signs = "nothing until a block made from now on has committed: what was signed before is not known any more"
    fields = [
        ("moved", ", ".join(found.moved)),
        ("to", found.moved_to or ""),
        ("kept", f"{found.kept_height} verified blocks, {found.kept_notes} notes"),
        ("signs", signs),
    ]
    return [render_findings(found.findings), "", format_fields(fields)]
