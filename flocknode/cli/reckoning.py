"""How the ways of money look to people, in tasks as in alliances: where it came from, and each step. Prints nothing."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from flocknode.cli.text import NOTHING, Table, format_fml, short
from flocknode.rpc.audit_records import Origins, Step

# Shares and weights have 34 digits; so many tell them apart.
DIGITS = 12
# Headings of where a payment comes from, and of the payment.
ORIGINS = (">EMISSION", ">+ ESCROW", ">+ BOUNTIES", ">+ SLASHES", ">= PAID FML")


class Line(NamedTuple):
    """A payment or a slash: in which epoch or round, whose, what for, and its parts with their sum, in units."""

    place: str
    account: str
    kind: str
    units: tuple[int, ...]


def list_origins(origins: Origins, units: int) -> tuple[int, ...]:
    """Return the parts of a payment and their sum, as the headings of `ORIGINS` say."""
    return (origins.emission_units, origins.escrow_units, origins.bounty_units, origins.slash_units, units)


def tabulate_amounts(
    lines: Sequence[Line], columns: Sequence[str], names: Mapping[str, str], *, spare: Sequence[str] = ()
) -> Table:
    """Return one line each, and what they add up to where there are several; `columns` begin with the place."""
    rows = [(one.place, short(one.account, names), one.kind, *map(format_fml, one.units)) for one in lines]
    if len(rows) > 1:
        sums = map(sum, zip(*(one.units for one in lines), strict=True))
        rows.append(("", "sum", "", *map(format_fml, sums)))
    return Table((columns[0], "ACCOUNT", "FOR", *columns[1:]), rows, spare=spare)


def tabulate_steps(steps: Iterable[Step], title: str) -> Table:
    """Return the reckoning behind an amount."""
    return Table(("FORMULA", "WHAT", ">VALUE"), [(one.tag, one.what, describe_value(one)) for one in steps], title)


def describe_value(step: Step) -> str:
    """Return an amount with its unit, or a number with as many digits as tell it apart."""
    return f"{format_fml(step.units)} FML" if step.units is not None else (step.number or NOTHING)[:DIGITS]
