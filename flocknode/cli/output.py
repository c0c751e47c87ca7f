"""Where text goes: results to stdout, as JSON if asked for; notes to stderr; tables drawn only on a terminal."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from flocknode.cli.fitting import GAP, fit
from flocknode.cli.options import Options
from flocknode.cli.text import Table, format_table

if TYPE_CHECKING:
    from rich.table import Table as RichTable

R = TypeVar("R")


def show(options: Options, result: R, render: Callable[[R], str | Table | list[str | Table]]) -> None:
    """Print a result: its JSON with `--json`, otherwise what `render` makes of it."""
    if options.json:
        print(msgspec.json.encode(result).decode())
        return
    rendered = render(result)
    for part in rendered if isinstance(rendered, list) else [rendered]:
        _print_part(part)


def note(options: Options, text: str) -> None:
    """Print a remark that is no result, unless `--quiet`."""
    if not options.quiet:
        print(text, file=sys.stderr)


def _print_part(part: str | Table) -> None:
    if isinstance(part, str):
        print(part)
    elif sys.stdout.isatty():
        _draw(part)
    else:
        print(format_table(part))


def _draw(table: Table) -> None:
    from rich.console import Console

    console = Console()
    console.print(draw_table(table, console.width))


def draw_table(table: Table, width: int) -> "RichTable":
    """Return a table as a terminal of so many columns shows it."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    fitted = fit(table, width)
    drawn = RichTable(
        title=table.title or None,
        title_justify="left",
        caption=f"({fitted.note})" if fitted.note else None,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, GAP - 1, 0, 0),
    )
    headings = fitted.lines_of([column.lstrip(">") for column in fitted.table.columns])
    for column, heading, columns in zip(fitted.table.columns, headings, fitted.widths, strict=True):
        justify: Literal["left", "right"] = "right" if column.startswith(">") else "left"
        drawn.add_column(Text(heading), justify=justify, width=columns, no_wrap=True)
    for row in fitted.table.rows:
        drawn.add_row(*map(Text, fitted.lines_of(row)))
    return drawn
