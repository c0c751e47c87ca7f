"""The study of poisoning: a small one with real training, and what its tables, checks and picture say."""

import csv
import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path

import pytest

from devnet.commands import main
from devnet.study.bank import STAKE_UNITS
from devnet.study.course import Round, Setting
from devnet.study.expectation import expect
from devnet.study.grid import Grid, Outcome, list_settings
from devnet.study.plot import draw_study
from devnet.study.report import check_study, courses_table, encode_rounds

SVG = "{http://www.w3.org/2000/svg}"
CLEAN = Setting(
    dataset="digits",
    attack="noise",
    malicious_percent=0,
    defence="per_proposal",
    rule="fedavg",
    clients=10,
    rounds=6,
    seed=0,
)


def played(
    setting: Setting, *, accuracy: int = 900_000, honest: int = 70, malicious: int = 30, out: int = 0
) -> Outcome:
    rounds = [
        Round(
            number=number,
            accuracy_millionths=accuracy,
            honest_units=honest * 10**9,
            malicious_units=malicious * 10**9,
            honest_expelled=0,
            malicious_expelled=out,
            is_accepted=True,
            drift_units=0,
        )
        for number in range(setting.rounds)
    ]
    return Outcome(setting, tuple(rounds))


ATTACKED = replace(CLEAN, malicious_percent=30)
GOOD = played(ATTACKED, accuracy=885_000, out=3)


def failed(*outcomes: Outcome) -> list[str]:
    return [check.promise for check in check_study(outcomes, [expect(40, 0)]) if not check.passed]


def test_the_defence_holds_where_none_does_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two of ten clients turn updates around: votes on updates keep accuracy, pay the honest, expel the others.

    Without a defence the model is spoiled, and nobody pays for it. The command says so, and draws it.
    """
    files = {name: tmp_path / f"study.{name}" for name in ("csv", "svg")}
    size = ["--dataset", "digits", "--attack", "sign-flip", "--malicious", "20", "--clients", "10", "--rounds", "12"]
    what = ["--aggregator", "fedavg", "--defence", "none", "--defence", "per_proposal", "--workers", "1"]
    code = main(["study", "poisoning", *size, *what, "--csv", str(files["csv"]), "--svg", str(files["svg"])])
    said = capsys.readouterr().out
    assert code == 0, said
    assert "seed 0" in said
    assert said.count("PASS") == 7
    rounds = list(csv.DictReader(files["csv"].read_text().splitlines()))
    assert len(rounds) == 4 * 12
    last = {(one["defence"], one["malicious_percent"]): int(one["accuracy_millionths"]) for one in rounds}
    assert last["per_proposal", "20"] > last["per_proposal", "0"] - 20_000
    assert last["none", "20"] < last["none", "0"] - 50_000
    assert ET.parse(files["svg"]).getroot().tag == f"{SVG}svg"


def test_a_grid_has_one_clean_course_for_all_attacks() -> None:
    """For each dataset, defence and rule: no malicious clients once, then each attack with each share."""
    grid = Grid(
        datasets=("digits",),
        attacks=("noise", "sign-flip"),
        percents=(0, 10, 20),
        defences=("none", "per_proposal"),
        rules=("fedavg", "median"),
        clients=10,
        rounds=6,
        seed=0,
    )
    settings = list_settings(grid)
    assert len(settings) == len(set(settings)) == 2 * 2 * (1 + 2 * 2)
    assert sum(setting.malicious_percent == 0 for setting in settings) == 4


def test_every_promise_can_fail() -> None:
    """Lost accuracy, poor honest, rich malicious, malicious ones that stay and money that drifts are each noticed."""
    clean = played(CLEAN, malicious=0)
    assert failed(clean, GOOD) == []
    cases = {
        "accuracy": played(ATTACKED, accuracy=870_000, out=3),
        "honest stakes": played(ATTACKED, honest=64, out=3),
        "malicious stakes": played(ATTACKED, malicious=64, out=3),
        "the malicious are expelled": played(ATTACKED, out=2),
        "the supply": Outcome(ATTACKED, (*GOOD.rounds[:-1], replace(GOOD.rounds[-1], drift_units=-1))),
    }
    for promise, outcome in cases.items():
        found = failed(clean, outcome)
        assert len(found) == 1
        assert found[0].startswith(promise)
    expectation = expect(40, 0)
    wrong = [replace(expectation, malicious_units=STAKE_UNITS), replace(expectation, limit_units=0)]
    assert [sum(not check.passed for check in check_study([clean, GOOD], [one])) for one in wrong] == [1, 1]


def test_without_the_default_defence_only_money_is_judged() -> None:
    """What is not promised is shown, and fails nothing."""
    courses = [played(replace(setting, defence="none"), accuracy=100_000) for setting in (CLEAN, ATTACKED)]
    assert failed(*courses) == []
    row = courses_table(courses).rows[1]
    assert row[:6] == ("digits", "noise", "30 %", "none", "fedavg", "0.1000")


def test_rounds_are_written_as_numbers() -> None:
    """A line for each round under a heading."""
    lines = list(csv.DictReader(encode_rounds([GOOD]).splitlines()))
    assert len(lines) == 6
    assert lines[0]["accuracy_millionths"] == "885000"
    assert (lines[5]["number"], lines[5]["is_accepted"]) == ("5", "1")


def test_the_picture_shows_stakes_and_accuracy() -> None:
    """For a share and an attack: two curves of stakes, the accuracy and that of the clean run; texts are escaped."""
    root = ET.fromstring(draw_study([played(CLEAN), GOOD], "10 % < 20 %"))
    titles = [title.text or "" for title in root.iter(f"{SVG}title")]
    assert [title.rpartition(": ")[2] for title in titles] == [
        "honest, 70.0 FML in the end",
        "malicious, 30.0 FML in the end",
        "clean",
        "0.8850 in the end",
    ]
    assert "10 % < 20 %" in [text.text for text in root.iter(f"{SVG}text")]
