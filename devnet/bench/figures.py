"""What a bench measured, as a table and as JSON."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from devnet.screen import Screen
from flocknode.cli.text import Table


class Figure(Struct, frozen=True, kw_only=True):
    """One measured value; None where there was nothing to measure, and `unit` says why.

    `goal` says in words what it should be, empty where there is none.
    """

    name: str
    value: float | None
    unit: str
    goal: str = ""


class Report(Struct, frozen=True, kw_only=True):
    """All figures of one bench, and under which conditions they were measured."""

    bench: str
    conditions: str
    figures: tuple[Figure, ...]


def show_report(report: Report, screen: Screen) -> None:
    """Print a report as a table."""
    screen.say(f"{report.bench}: {report.conditions}")
    rows = [(figure.name, format_value(figure), figure.unit, figure.goal or "-") for figure in report.figures]
    screen.table(Table(("FIGURE", ">VALUE", "UNIT", "GOAL"), rows))


def format_value(figure: Figure) -> str:
    """Return a value with two digits after the point."""
    return "-" if figure.value is None else f"{figure.value:,.2f}"


def encode_report(report: Report) -> bytes:
    """Return a report as JSON."""
    plain: Any = msgspec.to_builtins(report)
    return msgspec.json.format(msgspec.json.encode(plain), indent=2)


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that so many percent of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(percent / 100 * (len(ordered) - 1)))]
