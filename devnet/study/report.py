"""What a study of poisoning found: tables, a line for each promise, and all rounds as CSV. Prints nothing."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import fields
from io import StringIO

from devnet.economy.report import Check
from devnet.study.bank import STAKE_UNITS
from devnet.study.course import Round
from devnet.study.expectation import Expectation
from devnet.study.grid import CLEAN, Outcome
from devnet.tables import NOTHING, money
from flocknode.cli.text import Table
from protocol.fixed import MILLION
from protocol.types import UNITS_PER_FML

# The accuracy in the end is the mean of so many rounds.
LAST_ROUNDS = 5
# What is promised: so many points of accuracy at most are lost, up to so many malicious clients.
MAX_LOSS_MILLIONTHS = 20_000
MAX_PERCENT = 30
PROMISED = "per_proposal"


def final_accuracy(outcome: Outcome) -> int:
    """Return the mean accuracy of the last rounds, in millionths."""
    last = outcome.rounds[-LAST_ROUNDS:]
    return sum(one.accuracy_millionths for one in last) // len(last)


def find_clean(outcome: Outcome, outcomes: Sequence[Outcome]) -> Outcome:
    """Return the course without malicious clients that is otherwise the same."""
    own = outcome.setting
    return next(
        other
        for other in outcomes
        if other.setting.malicious_percent == CLEAN
        and (other.setting.dataset, other.setting.defence, other.setting.rule) == (own.dataset, own.defence, own.rule)
    )


def courses_table(outcomes: Sequence[Outcome]) -> Table:
    """Return how each course ended."""
    rows = []
    for outcome in outcomes:
        setting, end = outcome.setting, outcome.rounds[-1]
        loss = final_accuracy(outcome) - final_accuracy(find_clean(outcome, outcomes))
        is_clean = setting.malicious_percent == CLEAN
        rows.append(
            (
                setting.dataset,
                "none" if is_clean else setting.attack,
                f"{setting.malicious_percent} %",
                setting.defence,
                setting.rule,
                f"{final_accuracy(outcome) / MILLION:.4f}",
                NOTHING if is_clean else f"{100 * loss / MILLION:+.2f}",
                money(end.honest_units),
                NOTHING if is_clean else money(end.malicious_units),
                f"{end.honest_expelled}/{end.malicious_expelled}",
                f"{sum(one.is_accepted for one in outcome.rounds)}/{len(outcome.rounds)}",
            )
        )
    columns = (">MALICIOUS", "DEFENCE", "AGGREGATOR", ">ACCURACY", ">TO CLEAN", ">HONEST FML", ">MALICIOUS FML")
    return Table(("DATA", "ATTACK", *columns, ">EXPELLED H/M", ">ACCEPTED"), rows)


def expectations_table(expectations: Sequence[Expectation]) -> Table:
    """Return what the rules of money come to without training."""
    rows = [
        (
            f"{one.malicious_percent} %",
            money(one.honest_units),
            money(one.malicious_units),
            f"{one.honest_expelled}/{one.malicious_expelled}",
            str(one.drift_units),
            f"{one.limit_units / UNITS_PER_FML:.1f}",
        )
        for one in expectations
    ]
    return Table((">MALICIOUS", ">HONEST FML", ">MALICIOUS FML", ">EXPELLED H/M", ">DRIFT", ">FIXED TRANSFER"), rows)


def check_study(outcomes: Sequence[Outcome], expectations: Sequence[Expectation]) -> tuple[Check, ...]:
    """Return what is promised of the default defence, and of money in all courses, and whether it held."""
    promised = [one for one in outcomes if one.setting.defence == PROMISED and one.setting.malicious_percent != CLEAN]
    few = [one for one in promised if one.setting.malicious_percent <= MAX_PERCENT]
    checks = [*_check_accuracy(few, outcomes), *_check_stakes(promised), *_check_expelled(few)]
    drift = max(abs(one.drift_units) for outcome in outcomes for one in outcome.rounds)
    checks.append(Check("the supply does not drift, in no round of any course", f"{drift} units at most", drift == 0))
    return (*checks, *_check_expectations(expectations))


def encode_rounds(outcomes: Sequence[Outcome]) -> str:
    """Return every round of every course as CSV, stakes in units."""
    text = StringIO()
    table = csv.writer(text, lineterminator="\n")
    names = [field.name for field in fields(Round)]
    table.writerow(["dataset", "attack", "malicious_percent", "defence", "aggregator", "seed", *names])
    for outcome in outcomes:
        own = outcome.setting
        head = [own.dataset, own.attack, own.malicious_percent, own.defence, own.rule, own.seed]
        for one in outcome.rounds:
            table.writerow([*head, *(int(getattr(one, name)) for name in names)])
    return text.getvalue()


def _check_accuracy(few: Sequence[Outcome], outcomes: Sequence[Outcome]) -> Iterator[Check]:
    losses = [(final_accuracy(find_clean(one, outcomes)) - final_accuracy(one), one) for one in few]
    if losses:
        worst, outcome = max(losses, key=lambda loss: loss[0])
        yield Check(
            f"accuracy within 2 points of the clean run, up to {MAX_PERCENT} % malicious",
            f"{-100 * worst / MILLION:+.2f} points at worst ({outcome.setting.describe()})",
            worst <= MAX_LOSS_MILLIONTHS,
        )


def _check_stakes(promised: Sequence[Outcome]) -> Iterator[Check]:
    if promised:
        least = min(promised, key=lambda one: one.rounds[-1].honest_units)
        most = max(promised, key=lambda one: one.rounds[-1].malicious_units)
        honest, malicious = least.rounds[-1].honest_units, most.rounds[-1].malicious_units
        begun = f"from {money(STAKE_UNITS)} to"
        yield Check(
            "honest stakes rise",
            f"{begun} {money(honest)} FML at least ({least.setting.describe()})",
            honest > STAKE_UNITS,
        )
        yield Check(
            "malicious stakes fall",
            f"{begun} {money(malicious)} FML at most ({most.setting.describe()})",
            malicious < STAKE_UNITS,
        )


def _check_expelled(few: Sequence[Outcome]) -> Iterator[Check]:
    if few:
        malicious = sum(one.setting.malicious for one in few)
        expelled = sum(one.rounds[-1].malicious_expelled for one in few)
        honest = sum(one.rounds[-1].honest_expelled for one in few)
        yield Check(
            f"the malicious are expelled, up to {MAX_PERCENT} %",
            f"{expelled} of {malicious}, and {honest} honest ones",
            expelled == malicious and honest == 0,
        )


def _check_expectations(expectations: Sequence[Expectation]) -> Iterator[Check]:
    holds = all(one.honest_units > STAKE_UNITS > one.malicious_units and one.drift_units == 0 for one in expectations)
    ends = ", ".join(f"{money(one.honest_units)} and {money(one.malicious_units)}" for one in expectations)
    yield Check("L5 with 50 clients: honest stakes rise, malicious ones fall, no drift", f"{ends} FML", holds)
    limits = ", ".join(f"{one.limit_units / UNITS_PER_FML:.1f}" for one in expectations)
    exact = all(one.limit_units == STAKE_UNITS * 100 // (100 - one.malicious_percent) for one in expectations)
    yield Check("with a fixed transfer honest stakes end at 64 / (1 - share)", f"{limits} FML", exact)
