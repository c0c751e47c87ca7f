"""`study poisoning`: what malicious clients do to an alliance's model and to its money (white paper VI.F, VI.G)."""

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from devnet.screen import Screen
from devnet.study.course import Setting
from devnet.study.expectation import PERCENTS, expect
from devnet.study.grid import Grid, Outcome, list_settings, play_grid
from devnet.study.plot import draw_study
from devnet.study.report import check_study, courses_table, encode_rounds, expectations_table, final_accuracy
from devnet.tables import money
from flocknode.errors import Exit
from protocol.fixed import MILLION

# How often a terminal is told how far a course is.
TELL_S = 0.5


@dataclass(frozen=True, kw_only=True)
class StudyOptions:
    """What is played, on how many learning workers, and where the rounds and the picture go."""

    grid: Grid
    workers: int
    csv: Path | None
    svg: Path | None


async def run_poisoning(options: StudyOptions, screen: Screen) -> int:
    """Play the grid, print what came of it, and return the exit code: 0 if every promise held."""
    grid = options.grid
    screen.say(
        f"poisoning: {grid.clients} clients, {grid.rounds} rounds, seed {grid.seed}; "
        f"{len(list_settings(grid))} courses on {options.workers} learning workers",
        "bold",
    )
    outcomes = await play_grid(grid, Teller(grid, screen), workers=options.workers)
    screen.table(courses_table(outcomes))
    expectations = [expect(percent, grid.seed) for percent in PERCENTS]
    screen.say("without training, 50 clients, 100 rounds; last column: fixed transfers of 8 FML instead of all rules")
    screen.table(expectations_table(expectations))
    if options.csv is not None:
        options.csv.write_text(encode_rounds(outcomes), encoding="utf-8")
    if options.svg is not None:
        title = f"{grid.clients} clients, {grid.rounds} rounds, {grid.rules[0]}, seed {grid.seed}"
        options.svg.write_text(draw_study(outcomes, title), encoding="utf-8")
    checks = check_study(outcomes, expectations)
    for check in checks:
        screen.say(f"  {'PASS' if check.passed else 'FAIL'}  {check.promise}: {check.found}")
    return Exit.OK if all(check.passed for check in checks) else Exit.ERROR


class Teller:
    """Prints a line for each course that ended, and on a terminal how far those are that run."""

    def __init__(self, grid: Grid, screen: Screen) -> None:
        self._rounds, self._total, self._screen = grid.rounds, len(list_settings(grid)), screen
        self._done = 0
        self._next = 0.0

    def __call__(self, setting: Setting, rounds: int, outcome: Outcome | None) -> None:
        """Tell how far a course is."""
        if outcome is None:
            if sys.stderr.isatty() and time.monotonic() >= self._next:
                self._next = time.monotonic() + TELL_S
                print(f"\r\033[K  {setting.describe()}: round {rounds} of {self._rounds}", end="", file=sys.stderr)
            return
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr, flush=True)
        self._done += 1
        end = outcome.rounds[-1]
        self._screen.say(
            f"  {self._done}/{self._total} {setting.describe()}: accuracy {final_accuracy(outcome) / MILLION:.4f}, "
            f"honest {money(end.honest_units)}, malicious {money(end.malicious_units)} FML, "
            f"{end.malicious_expelled} of {setting.malicious} expelled  [{self._screen.elapsed_s():.0f} s]"
        )
