"""How runs of alliances on daemons are judged, from records as the daemons answer them."""

import json
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from devnet import alliance_story, hospitals, vanish
from devnet.alliances import Heard, count_outcomes, last_score, step_seconds
from flocknode.jobs import ScoreModels
from flocknode.rpc.alliance_records import JudgedUpdate, Round, RoundList, Share
from flocknode.rpc.records import AllianceEvent

FML = 10**9
NAMES = {f"{number:02x}" * 32: f"n{number}" for number in range(4)}
A, B, C, D = NAMES


def share(account, role="voter", **changes):
    """Return the part of somebody who was right."""
    usual = {"stake_units": 64 * FML, "merit_millionths": 1_000_000, "has_acted": True, "is_absent": False}
    return Share(account=account, role=role, **{**usual, "earned_units": FML, "slashed_units": 0, **changes})


def absent(account, role="voter", **changes):
    """Return the part of somebody who vanished."""
    changed = {"earned_units": 0, "slashed_units": 3 * FML, "is_absent": True, "has_acted": False, **changes}
    return share(account, role, **changed)


def round_of(number, *shares, state="accepted", score=800_000):
    """Return a settled round in which the first proposer's update was accepted."""
    update = JudgedUpdate(
        proposer=A, in_favour=3, against=0, score_millionths=score, gain_millionths=None, is_accepted=True
    )
    return Round(
        round=number,
        state=state,
        phase=None,
        pool_units=100 * FML,
        reward_units=10 * FML,
        paid_units=sum(one.earned_units for one in shares),
        slashed_units=sum(one.slashed_units for one in shares),
        root=None if state == "void" else "f1" * 32,
        score_millionths=None if state == "void" else score,
        in_favour=3,
        against=0,
        updates=() if state == "void" else (update,),
        shares=shares,
        settled_height=40,
    )


def heard(at_s, phase, round=0):
    event = AllianceEvent(height=1, index=0, alliance=1, name="x", round=round, phase=phase, text="")
    return Heard(at_s, event)


def test_the_time_of_each_step_is_what_passes_until_the_next():
    """What nodes do meanwhile, and outcomes, take no time of their own; rounds add up."""
    told = [
        heard(0.0, "opening"),
        heard(1.0, "draw"),
        heard(1.5, "train"),
        heard(1.8, "work"),
        heard(2.5, "hold"),
        heard(3.0, "accepted"),
        heard(3.0, "draw", 1),
        heard(4.0, "train", 1),
        heard(4.2, "finished", 1),
    ]
    assert step_seconds(told) == pytest.approx({"draw": 1.5, "train": 1.2, "hold": 0.5})


def test_outcomes_and_the_last_score():
    """A void round has no score, so the one before it counts."""
    rounds = RoundList(
        alliance=1, name="x", rounds=(round_of(0), round_of(1, score=900_000), round_of(2, state="void"))
    )
    assert count_outcomes(rounds, "accepted", "void") == 3
    assert count_outcomes(rounds, "accepted") == 2
    assert last_score(rounds) == 900_000
    assert last_score(RoundList(alliance=1, name="x", rounds=())) is None


def make_disturber(blow, *victims, hold_s=20):
    """Return what a scenario knows that struck once, in the second round, in which all but holding took a second."""
    times = {"draw": 0, "train": 1_000, "hold": 2_000, "vote": 2_000 + 1_000 * hold_s, "void": 3_000 + 1_000 * hold_s}
    disturber = vanish.Disturber(SimpleNamespace(), 1, SimpleNamespace(), NAMES, [])
    disturber.struck[1], disturber.began_ms[1] = (blow, list(victims)), list(times.items())
    return disturber


@pytest.mark.parametrize(
    ("blow", "found", "hold_s", "passed"),
    [
        (0, round_of(1, absent(A, "proposer"), share(B), share(C)), 20, True),
        (0, round_of(1, absent(A, "proposer"), share(B), share(C)), 5, False),
        (0, round_of(1, absent(A, "proposer", slashed_units=0), share(B)), 20, False),
        (0, round_of(1, share(A, "proposer"), share(B)), 20, False),
        (0, round_of(1, absent(A, "proposer"), share(B), state="void"), 20, False),
        (2, round_of(1, absent(A), share(B, earned_units=0), state="void"), 20, True),
        (2, round_of(1, absent(A), share(B, earned_units=FML), state="void"), 20, False),
        (2, round_of(1, absent(A), share(B, earned_units=0, slashed_units=FML), state="void"), 20, False),
    ],
)
def test_a_blow_costs_who_vanished_and_only_time(blow, found, hold_s, passed):
    """In time, penalised, with the expected outcome; a void round pays nobody and slashes nobody that was there."""
    disturber = make_disturber(vanish.BLOWS[blow], "n0", hold_s=hold_s)
    assert vanish.check_blow(found, disturber).passed is passed


def test_who_is_absent_without_being_killed_is_named():
    """Also not while it was starting again after the round before."""
    disturber = make_disturber(vanish.BLOWS[0], "n0")
    rounds = [round_of(0, share(A)), round_of(1, absent(A)), round_of(2, absent(A), share(B))]
    assert vanish.check_others(rounds, disturber).passed
    rounds.append(round_of(3, absent(A), absent(B)))
    found = vanish.check_others(rounds, disturber)
    assert not found.passed
    assert "n0 in round 4, n1 in round 4" in found.found
    assert vanish.rounds_table(rounds, disturber).rows[1][:4] == ("2", "accepted", "n0", "23.0 s")


@pytest.mark.parametrize(("together", "passed"), [(368_800, True), (352_500, True), (352_499, False), (290_000, False)])
def test_hospitals_must_reach_the_known_answer(together, passed):
    """0.353 when rounded, and more than the mean of those that are alone."""
    alone = dict(zip(hospitals.NAMES, (280_000, 320_000, 300_000, 290_000, 310_000), strict=True))
    scores = {hospitals.TOGETHER: together, hospitals.CENTRAL: 359_400, **alone}
    assert hospitals.check_scores(scores).passed is passed
    plain = msgspec.json.decode(hospitals.encode_scores([round_of(0)], scores))
    assert plain["held_out_millionths"]["n1"] == 320_000
    assert plain["rounds"] == [{"state": "accepted", "score_millionths": 800_000}]


async def test_all_five_hospitals_in_every_round_come_to_the_known_answer(tmp_path):
    """What the scenario measures beside its daemons is the known answer's own course, and another model fails."""
    known = json.loads((Path(__file__).parents[1] / "vectors/hospitals.json").read_text())["r2_after_rounds"]
    assert known[str(hospitals.KNOWN_ROUNDS)] * 1_000_000 == hospitals.KNOWN_MILLIONTHS
    data, _, held_out = await hospitals.cut_data(tmp_path)
    async with hospitals.learning_worker() as worker:
        plain = await hospitals.train_plainly(worker, data, tmp_path)
        found = await worker.run(ScoreModels(hospitals.MODEL, hospitals.R_SQUARED, str(held_out), (str(plain),)))
    value = found.scores[0].value_millionths
    assert hospitals.check_known({hospitals.PLAIN: value}).passed
    assert not hospitals.check_known({hospitals.PLAIN: value - 2_000}).passed
    assert hospitals.check_bytes(plain, plain).passed
    assert not hospitals.check_bytes(plain, held_out).passed


def test_a_devnets_alliance_has_ended_with_all_rounds():
    """One that is missing fails the check; the table has roles, outcome and score of each."""
    summary = SimpleNamespace(alliance=1, status="finished", rounds=2, best_millionths=900_000)
    shown = SimpleNamespace(summary=summary)
    rounds = RoundList(alliance=1, name="x", rounds=(round_of(0, share(A, "proposer"), share(B)),))
    assert not alliance_story.check_rounds(shown, rounds).passed
    whole = RoundList(alliance=1, name="x", rounds=(*rounds.rounds, round_of(1, share(A), state="void")))
    found = alliance_story.check_rounds(shown, whole)
    assert found.passed
    assert "1 of 2 rounds accepted, best 0.9000" in found.found
    table = alliance_story.rounds_table(whole, NAMES)
    assert table.rows[0] == ("1", "n0", "n1", "accepted", "1/1", "0.8000", "2.00", "0.00")
    assert table.rows[1][3:6] == ("void", "-", "-")
