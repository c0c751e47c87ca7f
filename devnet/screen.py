"""What the person at the terminal sees: steps, lines of the daemons, tables. Nodes' names are coloured everywhere.

Plain text where the output is no terminal. What the texts say is decided elsewhere.
"""

import time
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from devnet.cast import CAST
from devnet.feed import WORK, FirstOnly, Told, shared_part
from flocknode.cli.text import Table, format_table
from flocknode.logs import format_line, format_round, get_round_fields
from flocknode.rpc.records import AllianceEvent, LogLine, TaskEvent

NAME_WIDTH = max(len(actor.name) for actor in CAST)
STYLES = {"block": "dim", "round": "default", "waiting": "yellow", "warning": "yellow", "error": "red"}
# Events that people watch rounds by; of the others only warnings and errors are shown, all are in the logs.
SHOWN_EVENTS = ("block", "round", "waiting")


class Screen:
    """Writes to the terminal. Elapsed times count from `began_at`, in seconds of the monotonic clock."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False, soft_wrap=True)
        self._first = FirstOnly()
        self._steps = 0
        self.began_at = time.monotonic()

    def elapsed_s(self) -> float:
        """Return the seconds since the daemons were started."""
        return time.monotonic() - self.began_at

    def say(self, text: str = "", style: str = "") -> None:
        """Print text; nodes' names are coloured."""
        self._console.print(colour_names(text, style), soft_wrap=True)

    def step(self, title: str) -> None:
        """Begin the next numbered step."""
        self._steps += 1
        heading = Text(f"{self._steps:>2}. {title}", style="bold")
        heading.append(f"  [{self.elapsed_s():.1f} s]", style="dim")
        self._console.print()
        self._console.print(heading, soft_wrap=True)

    def table(self, table: Table) -> None:
        """Print a table, indented."""
        self.lines(format_table(table).split("\n"))

    def lines(self, lines: Sequence[str]) -> None:
        """Print indented lines."""
        for line in lines:
            self.say(f"    {line}")

    def told(self, told: Told) -> None:
        """Print what a node did for a task, and of a daemon's log what people watch, once for what all say alike."""
        match told.event:
            case (TaskEvent() | AllianceEvent()) as event if event.phase == WORK:
                line = format_round(get_round_fields(event))
                self._node_line(told.name, f"{time.strftime('%H:%M:%S')} {line}", STYLES["round"])
            case LogLine() as line if is_shown(line):
                shared = shared_part(line)
                if shared is None or self._first.is_new(shared):
                    self.log_line(told.name, line)

    def log_line(self, name: str, line: LogLine) -> None:
        """Print a line of one daemon's log."""
        style = STYLES.get(line.event, STYLES.get(line.level, "default"))
        self._node_line(name, format_line(line, has_colour=False), style)

    def _node_line(self, name: str, line: str, style: str) -> None:
        text = Text(f"  {name:>{NAME_WIDTH}} ", style=colour_of(name))
        text.append("| ", style="dim")
        text.append_text(colour_names(line, style))
        self._console.print(text, soft_wrap=True)


def is_shown(line: LogLine) -> bool:
    """Return whether a line of a log belongs on the screen; what a node did for a task comes as an event."""
    is_work = line.event == "round" and line.fields["phase"] == WORK
    return (line.event in SHOWN_EVENTS and not is_work) or line.level in ("warning", "error")


def colour_of(name: str) -> str:
    """Return the colour of a node's name."""
    return next((actor.colour for actor in CAST if actor.name == name), "default")


def colour_names(text: str, style: str = "") -> Text:
    """Return the text with the nodes' names in their colours."""
    coloured = Text(text, style=style)
    for actor in CAST:
        coloured.highlight_regex(rf"\b{actor.name}\b", actor.colour)
    return coloured
