"""How commands about Arena tasks send their transactions."""

from typing import Any

from flocknode.cli.accounts import show_outcome
from flocknode.cli.options import Options
from flocknode.cli.output import note, show
from flocknode.cli.progress import call_long
from flocknode.errors import Exit
from flocknode.rpc.arena_records import Submitted


def send_about_task(options: Options, method: str, **params: Any) -> Exit:
    """Call a method that sends a transaction, and show what became of it; refused when it failed or expired."""
    submitted = call_long(options, method, Submitted, **params)
    if options.json:
        show(options, submitted, lambda _: "")
        return Exit.OK if submitted.outcome.status in ("included", "pending") else Exit.REFUSED
    if submitted.task is not None:
        note(options, f"task {submitted.task}")
    return show_outcome(options, submitted.outcome)
