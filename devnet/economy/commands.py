"""`python -m devnet scenario NAME` for the scenarios that need no daemons."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cyclopts import App

from devnet.economy import attacks, faults
from devnet.economy.crowd import crowd
from devnet.economy.report import Report, encode_report, show_report
from devnet.screen import Screen
from flocknode.errors import Exit

Play = Callable[[int, int], Report]


@dataclass(frozen=True)
class Scenario:
    """What is played, and its usual size: how many accounts attack or fail, or take part at all."""

    play: Play
    size: int


SCENARIOS = {
    "sybil": Scenario(attacks.sybil, 1_000),
    "freerider-trainers": Scenario(attacks.freerider_trainers, 80),
    "freerider-validators": Scenario(attacks.freerider_validators, 4),
    "lookup": Scenario(attacks.lookup, 2),
    "model-copying": Scenario(attacks.model_copying, 20),
    "collusion": Scenario(attacks.collusion, 10),
    "last-day": Scenario(attacks.last_day, 5),
    "creator-withholds": Scenario(faults.creator_withholds, 4),
    "creator-seals-wrong-key": Scenario(faults.creator_seals_wrong_key, 4),
    "false-complaint": Scenario(faults.false_complaint, 2),
    "false-invalid": Scenario(faults.false_invalid, 2),
    "never-opens": Scenario(faults.never_opens, 20),
    "never-claims": Scenario(faults.never_claims, 20),
    "never-commits": Scenario(faults.never_commits, 2),
    "never-reveals": Scenario(faults.never_reveals, 2),
    "outage": Scenario(faults.outage, 10),
    "crowd": Scenario(crowd, 10_000),
}


def add_commands(group: App) -> None:
    """Add one command for each scenario."""
    for name, scenario in SCENARIOS.items():
        group.command(make_command(scenario), name=name)


def make_command(scenario: Scenario) -> Callable[..., int]:
    """Return the command that plays a scenario."""

    def command(*, size: int = scenario.size, seed: int = 0, json: Path | None = None) -> int:
        report = scenario.play(size, seed)
        show_report(report, Screen())
        if json is not None:
            json.write_bytes(encode_report(report) + b"\n")
        return Exit.OK if report.passed else Exit.ERROR

    command.__doc__ = f"""{(scenario.play.__doc__ or "").strip()}

    On the ledger alone, without daemons.

    Parameters
    ----------
    size
        How many accounts attack or fail; of the crowd, how many there are.
    seed
        Chooses whatever is left to chance.
    json
        Write the outcome to this file.
    """
    return command
