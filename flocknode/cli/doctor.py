"""The command that looks for what is wrong with a node. What it looks at is in `flocknode.checkup`."""

from flocknode.cli.options import Common
from flocknode.cli.output import show
from flocknode.cli.text import Table
from flocknode.errors import Exit

MARKS = {"ok": "ok", "warning": "!", "failed": "FAILED"}


def doctor(*, options: Common) -> Exit:
    """Look for what is wrong with this machine, the home and the daemon, and say what to do about it.

    Ends with 1 if anything must be mended before the node can work, else with 0.
    """
    from flocknode.checkup import Checkup, examine

    def render(found: Checkup) -> list[str | Table]:
        rows = [(MARKS[one.state], one.name, one.found) for one in found.checks]
        advice = [f"{one.name}: {one.help}" for one in found.checks if one.help]
        return [Table(("", "CHECK", "FOUND"), rows), *(["", *advice] if advice else [])]

    found = examine(options.home)
    show(options, found, render)
    return Exit.ERROR if any(one.state == "failed" for one in found.checks) else Exit.OK
