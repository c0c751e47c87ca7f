"""Every scenario on the ledger holds at a small size, and notices when the rule behind its promise is gone."""

import dataclasses

import pytest

from devnet.commands import main
from devnet.economy import attacks, faults
from devnet.economy.commands import SCENARIOS
from devnet.economy.crowd import crowd
from protocol.formulas import arena as formulas
from protocol.rules.arena import judging, phases, settlement

SIZES = {"sybil": 20, "freerider-validators": 1, "crowd": 400}
SEED = 20250722


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "crowd"])
def test_a_scenario_holds(name):
    """What the rules promise is so, and the parts of every line add up to what the accounts own."""
    report = SCENARIOS[name].play(SIZES.get(name, 2), SEED)
    assert report.passed, f"seed {SEED}: {report}"
    assert report.checks
    for line in report.lines:
        assert line.net == line.earned - line.spent - line.slashed, line


def test_a_crowd_holds():
    """Honest and other accounts of all kinds, delegators among them, in one market."""
    report = crowd(400, SEED, epochs=3)
    assert report.passed, f"seed {SEED}: {report}"
    assert sum(line.accounts for line in report.lines) == 400


def without_originality(judgement, *rest):
    return judgement


def without_shift(context, task, with_block=phases.with_block):
    return with_block(dataclasses.replace(context, previous_time_ms=context.time_ms), task)


BROKEN = {
    "sybil": (attacks.sybil, 20, judging, "with_originality", without_originality),
    "model-copying": (attacks.model_copying, 1, judging, "with_originality", without_originality),
    "last-day": (attacks.last_day, 1, formulas, "vested_stake", lambda stake_sum, **_: stake_sum),
    "freerider-trainers": (attacks.freerider_trainers, 20, formulas, "is_improvement", lambda *_, **__: True),
    "freerider-validators": (
        attacks.freerider_validators,
        1,
        formulas,
        "validator_totals",
        lambda shares, **_: dict.fromkeys({key for entry in shares.values() for key in entry}, 1),
    ),
    "collusion": (attacks.collusion, 1, formulas, "without_outliers", lambda scores, **_: dict(scores)),
    "lookup": (attacks.lookup, 1, formulas, "reward_a_and_b", lambda pot, **_: (pot, 0)),
    "false-invalid": (faults.false_invalid, 1, formulas, "is_overruled", lambda scored, **_: False),
    "never-opens": (faults.never_opens, 1, settlement, "forfeit_deposits", lambda *_: None),
    "never-claims": (faults.never_claims, 1, settlement, "forfeit_deposits", lambda *_: None),
    "never-commits": (faults.never_commits, 1, settlement, "slash_idle", lambda *_: {}),
    "never-reveals": (faults.never_reveals, 1, settlement, "slash_idle", lambda *_: {}),
    "creator-withholds": (faults.creator_withholds, 1, settlement, "slash_creator", lambda *_: None),
    "outage": (faults.outage, 1, phases, "with_block", without_shift),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_scenario_notices_that_its_rule_is_gone(monkeypatch, name):
    """With the rule taken out, the attack pays or the honest are hurt, and the scenario says so."""
    play, size, module, function, broken = BROKEN[name]
    monkeypatch.setattr(module, function, broken)
    assert not play(size, SEED).passed


def test_the_command_prints_the_table_and_fails_with_the_scenario(monkeypatch, capsys, tmp_path):
    """Exit code 0 and PASS in the last line, or 1 and FAIL; JSON holds the same."""
    path = tmp_path / "outcome.json"
    assert main(["scenario", "never-opens", "--size", "1", "--json", str(path)]) == 0
    assert capsys.readouterr().out.rstrip().endswith("PASS never-opens")
    assert '"passed": true' in path.read_text()
    monkeypatch.setattr(settlement, "forfeit_deposits", lambda *_: None)
    assert main(["scenario", "never-opens", "--size", "1"]) == 1
    assert capsys.readouterr().out.rstrip().endswith("FAIL never-opens")
