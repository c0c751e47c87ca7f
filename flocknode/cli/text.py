"""How values look to people: amounts, hashes with names, durations, tables. Reads values back, too. Prints nothing."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TypeVar

from flocknode.errors import UsageError

FML_DECIMALS = 9
MAX_UNITS = 2**63 - 1
MILLION_DECIMALS = 6
SHORT_HEX = 8
NOTHING = "-"

# Epochs and rounds count from 0 on the log and from 1 for people.
FIRST_EPOCH = 1

N = TypeVar("N", int, int | None)


@dataclass(frozen=True)
class Table:
    """Rows of text under headings; a heading that begins with `>` is of a column flushed right.

    `spare` names columns that a narrow terminal may go without, the first of them first.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    title: str = ""
    spare: Sequence[str] = ()


def format_fml(units: int) -> str:
    """Return base units as FML, without trailing zeros: 1500000000 is 1.5."""
    return _format_decimal(units, FML_DECIMALS)


def format_millionths(value: int | None) -> str:
    """Return millionths as a decimal number with six digits, or a dash for None."""
    return NOTHING if value is None else f"{Decimal(value).scaleb(-MILLION_DECIMALS):.6f}"


def parse_fml(text: str) -> int:
    """Return an amount of FML in base units. Raises `UsageError` when it is none, negative, or finer than a unit."""
    units = _parse_decimal(text, FML_DECIMALS, "an amount of FML, such as 12.5")
    if not 0 <= units <= MAX_UNITS:
        raise UsageError(f"{text!r} is not an amount of FML that there can be")
    return units


def parse_id(text: str) -> str:
    """Return the id of a transaction in hex. Raises `UsageError` when it is none."""
    if re.fullmatch("[0-9a-f]{64}", text.lower()) is None:
        raise UsageError(f"{text!r} is not the id of a transaction, which has 64 hex digits")
    return text.lower()


def parse_millionths(text: str) -> int:
    """Return a decimal number in millionths. Raises `UsageError` when it is none, or finer than that."""
    return _parse_decimal(text, MILLION_DECIMALS, "a number with at most six decimals, such as 0.25")


def parse_counted(number: N, what: str) -> N:
    """Return an epoch or a round as the log counts it; None is none. Raises `UsageError` naming what is counted."""
    if number is None:
        return number
    if number < FIRST_EPOCH:
        raise UsageError(f"{what} count from {FIRST_EPOCH}")
    return number - FIRST_EPOCH


def format_model(family: str, settings: Mapping[str, Sequence[int]]) -> str:
    """Return a model's family and settings: mlp  layers=64,32,10."""
    return "  ".join([family, *(f"{name}={','.join(map(str, values))}" for name, values in settings.items())])


def short(text: str | None, names: Mapping[str, str] | None = None) -> str:
    """Return the name of a key, or the first digits of a hash."""
    if text is None:
        return NOTHING
    return (names or {}).get(text) or (text if len(text) <= SHORT_HEX else f"{text[:SHORT_HEX]}…")


def format_duration(milliseconds: int) -> str:
    """Return a span of time in its two largest units: 1 h 3 min."""
    seconds = max(0, milliseconds) // 1000
    parts = [(seconds // 86_400, "d"), (seconds // 3600 % 24, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s")]
    first = next((index for index, (count, _) in enumerate(parts) if count), len(parts) - 1)
    return " ".join(f"{count} {unit}" for count, unit in parts[first : first + 2])


def format_fields(fields: Iterable[tuple[str, str]]) -> str:
    """Return names and values as aligned lines."""
    pairs = list(fields)
    width = max((len(name) for name, _ in pairs), default=0)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in pairs)


def format_table(table: Table) -> str:
    """Return a table as aligned plain text, headings first."""
    headings = [column.lstrip(">") for column in table.columns]
    lines = [headings, *table.rows]
    widths = [max(len(line[index]) for line in lines) for index in range(len(headings))]
    flushed = [column.startswith(">") for column in table.columns]
    cells = ([_pad(*cell) for cell in zip(line, widths, flushed, strict=True)] for line in lines)
    return "\n".join([*([table.title] if table.title else []), *("  ".join(line).rstrip() for line in cells)])


def _pad(text: str, width: int, is_right: bool) -> str:
    return text.rjust(width) if is_right else text.ljust(width)


def _format_decimal(value: int, decimals: int) -> str:
    whole, fraction = divmod(abs(value), 10**decimals)
    digits = f"{fraction:0{decimals}d}".rstrip("0")
    return f"{'-' if value < 0 else ''}{whole}{'.' if digits else ''}{digits}"


def _parse_decimal(text: str, decimals: int, wanted: str) -> int:
    try:
        # An explicit `_` or exponent is fine; what counts is that nothing is rounded.
        value = Decimal(text).scaleb(decimals)
    except InvalidOperation as error:
        raise UsageError(f"{text!r} is not {wanted}") from error
    if not value.is_finite() or value != value.to_integral_value():
        raise UsageError(f"{text!r} is not {wanted}")
    return int(value)
