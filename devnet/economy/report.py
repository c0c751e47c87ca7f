"""What a scenario found out: one table, remarks, and statements that hold or do not; as text and as JSON."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import msgspec

from devnet.economy.outcome import Line
from devnet.screen import Screen
from devnet.tables import money
from flocknode.cli.text import Table


@dataclass(frozen=True)
class Check:
    """Something that the rules promise, and whether it held; `found` says in numbers what was found."""

    promise: str
    found: str
    passed: bool


@dataclass(frozen=True, kw_only=True)
class Report:
    """The outcome of one scenario; `remarks` state what is not promised."""

    scenario: str
    conditions: str
    lines: tuple[Line, ...]
    checks: tuple[Check, ...]
    remarks: tuple[str, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether everything that was promised held."""
        return all(check.passed for check in self.checks)


def lines_table(lines: Sequence[Line]) -> Table:
    """Return who earned, spent and lost what, in FML."""
    rows = [
        (
            line.group,
            str(line.accounts),
            *map(money, (line.stake, line.earned, line.spent, line.slashed)),
            f"{line.net / 10**9:+,.2f}",
            f"{line.earned_per_stake:.4f}",
        )
        for line in lines
    ]
    return Table(("WHO", ">ACCOUNTS", ">STAKE", ">EARNED", ">SPENT", ">SLASHED", ">NET FML", ">EARNED/STAKE"), rows)


def show_report(report: Report, screen: Screen) -> None:
    """Print a report, and whether it passed in its last line."""
    screen.say(f"{report.scenario}: {report.conditions}", "bold")
    screen.table(lines_table(report.lines))
    for remark in report.remarks:
        screen.say(f"  note  {remark}")
    for check in report.checks:
        screen.say(f"  {'ok  ' if check.passed else 'FAIL'}  {check.promise}: {check.found}")
    screen.say(
        f"{'PASS' if report.passed else 'FAIL'} {report.scenario}", "bold green" if report.passed else "bold red"
    )


def encode_report(report: Report) -> bytes:
    """Return a report as JSON."""
    plain: Any = {**asdict(report), "passed": report.passed}
    return msgspec.json.format(msgspec.json.encode(plain), indent=2)
