"""How a table fits into a narrow terminal and stays readable. Prints nothing.

In this order, as far as it must: text and headings wrap between words, hashes keep their first digits, numbers four
decimals or two, and columns are left out that the table can spare. A note says what is missing; `--json` has it all.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from textwrap import wrap

from flocknode.cli.text import SHORT_HEX, Table, short

GAP = 2
KEPT_DECIMALS = (4, 2)
HASH = re.compile(rf"\b[0-9a-f]{{{2 * SHORT_HEX},}}\b")


@dataclass(frozen=True)
class Fitted:
    """A table whose headings and cells are broken into lines, none longer than its column's width."""

    table: Table
    widths: Sequence[int]
    note: str

    def lines_of(self, row: Sequence[str]) -> list[str]:
        """Return the cells of a row, or the headings, with line breaks where they must be."""
        return ["\n".join(_wrap(cell, width)) for cell, width in zip(row, self.widths, strict=True)]


def fit(table: Table, width: int) -> Fitted:
    """Return a table as it fits into so many columns of text."""
    for narrowed, notes in _narrow(table):
        least = [_least_width(narrowed, index) for index in range(len(narrowed.columns))]
        if _total(least) <= width:
            return Fitted(narrowed, _widen(narrowed, least, width), ", ".join(notes))
    # What is left is a word that is too long, such as a path.
    widest = least.index(max(least))
    least[widest] = max(1, least[widest] + width - _total(least))
    return Fitted(narrowed, least, ", ".join(notes))


def _narrow(table: Table) -> Iterator[tuple[Table, list[str]]]:
    """Yield a table as it is, then with less and less in it, each with what was taken away."""
    yield table, []
    shortened = _map_cells(table, lambda cell: HASH.sub(lambda found: short(found.group()), cell))
    notes = [] if shortened == table else ["hashes shortened"]
    yield shortened, notes
    for decimals in KEPT_DECIMALS:
        cut = _map_cells(shortened, partial(re.sub, rf"(\d\.\d{{{decimals}}})\d+", r"\1"))
        counted = notes if cut == shortened else [*notes, f"numbers cut to {decimals} decimals"]
        yield cut, counted
    for count, heading in enumerate(table.spare, 1):
        cut = _without(cut, heading)
        yield cut, [*counted, f"left out: {', '.join(table.spare[:count])}"]


def _map_cells(table: Table, change: Callable[[str], str]) -> Table:
    return replace(table, rows=[tuple(map(change, row)) for row in table.rows])


def _without(table: Table, heading: str) -> Table:
    index = next(index for index, column in enumerate(table.columns) if column.lstrip(">") == heading)

    def cut(cells: Sequence[str]) -> list[str]:
        return [cell for place, cell in enumerate(cells) if place != index]

    return replace(table, columns=cut(table.columns), rows=[cut(row) for row in table.rows])


def _least_width(table: Table, index: int) -> int:
    """Return the width of a column below which a word, or a number with its unit, would be broken."""
    column, words = table.columns[index], table.columns[index].lstrip(">").split()
    for cell in (row[index] for row in table.rows):
        is_number = column.startswith(">") and cell.count(" ") <= 1
        words += [cell] if is_number else cell.split()
    return max(map(len, words), default=0)


def _widen(table: Table, least: Sequence[int], width: int) -> list[int]:
    """Return the widths of the columns: as wide as what is in them, the widest narrowed until all fit."""
    lines = [[column.lstrip(">") for column in table.columns], *table.rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(least))]
    while _total(widths) > width:
        widest = max((index for index in range(len(widths)) if widths[index] > least[index]), key=widths.__getitem__)
        widths[widest] -= 1
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _wrap(cell: str, width: int) -> list[str]:
    return wrap(cell, width, break_on_hyphens=False) or [""]
