"""Where text goes: results to stdout, as JSON if asked for; notes to stderr; tables drawn only on a terminal."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import msgspec

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

    Console().print(draw_table(table))


def draw_table(table: Table) -> "RichTable":
    """Return a table as a terminal shows it."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    drawn = RichTable(title=table.title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in table.columns:
        drawn.add_column(column.lstrip(">"), justify="right" if column.startswith(">") else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    return drawn
