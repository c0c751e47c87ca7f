"""Bars of long work on a terminal, below the lines of what happens."""

from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from flocknode.cli.work_text import format_amount, format_left, format_rate, format_work
from flocknode.rpc.call import convert_result
from flocknode.rpc.records import Notification, WorkEvent


class Bars:
    """One bar for each piece of work that is under way; what has ended becomes a line."""

    def __init__(self, console: Console | None = None) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f} %  {task.fields[amount]}  {task.fields[rate]}  {task.fields[left]}"),
            console=console or Console(highlight=False),
            transient=True,
        )
        self._bars: dict[int, TaskID] = {}

    def __enter__(self) -> "Bars":
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._progress.stop()

    def print(self, text: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(text, markup=False, soft_wrap=True)

    def take(self, found: Notification) -> None:
        """Show what an event says."""
        self.show(convert_result(found.event, WorkEvent))

    def show(self, work: WorkEvent) -> None:
        """Show how far a piece of work is."""
        if work.state != "running":
            bar = self._bars.pop(work.work, None)
            if bar is not None:
                self._progress.remove_task(bar)
            self.print(format_work(work))
            return
        shown: dict[str, Any] = {
            "amount": f"{format_amount(work.done, work.unit)} of {format_amount(work.total, work.unit)}",
            "rate": format_rate(work),
            "left": format_left(work),
        }
        if work.work not in self._bars:
            description = f"{work.kind} {work.subject}"
            self._bars[work.work] = self._progress.add_task(description, total=work.total or None, **shown)
        self._progress.update(self._bars[work.work], completed=work.done, total=work.total or None, **shown)
