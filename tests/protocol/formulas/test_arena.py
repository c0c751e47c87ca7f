"""Known answers and properties of the Arena's equations."""

import decimal
import inspect
import json
from collections import Counter
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from protocol import fixed
from protocol.formulas import arena, fees
from protocol.params import DEVNET, MAINNET, Aggregation
from protocol.types import UNITS_PER_FML

VECTORS = Path(__file__).parents[2] / "vectors"
ARENA: dict[str, list[dict[str, Any]]] = json.loads((VECTORS / "arena.json").read_text())
TABLE_2: dict[str, Any] = json.loads((VECTORS / "table2.json").read_text())
MODULES = (arena, fees, fixed)
CASES = [pytest.param(case, id=f"{tag}-{case['note']}") for tag, cases in ARENA.items() for case in cases]

SCORES = st.integers(0, 1_000_000)
STAKES = st.integers(1, 10**18)
NAMES = st.binary(min_size=1, max_size=2)
# Validators by name, each with a score and a stake.
JURIES = st.dictionaries(NAMES, st.tuples(SCORES, STAKES), min_size=1, max_size=8)


def read(name: str, value: Any) -> Any:
    """Return an argument of the vectors as Python has it: keys and hashes in hex, decimals as text."""
    if name == "aggregation":
        return Aggregation[value]
    if name in ("author", "seed", "beacon"):
        return None if value is None else bytes.fromhex(value)
    if name == "keys":
        return [bytes.fromhex(key) for key in value]
    if name == "choices":
        return {bytes.fromhex(key): bytes.fromhex(choice) for key, choice in value.items()}
    if isinstance(value, dict):
        return {bytes.fromhex(key): read("", item) for key, item in value.items()}
    if isinstance(value, list):
        return [read("", item) for item in value]
    return Decimal(value) if isinstance(value, str) else value


def write(value: Any) -> Any:
    """Return a result as the vectors have it."""
    if isinstance(value, dict):
        return {key.hex(): write(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [write(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, Decimal) else value


def call(case: dict[str, Any]) -> Any:
    """Return what the function named by a vector makes of its arguments."""
    function = next(getattr(module, case["function"]) for module in MODULES if hasattr(module, case["function"]))
    arguments = {name: read(name, value) for name, value in case["arguments"].items()}
    bound = inspect.signature(function).bind_partial(**arguments)
    return function(*bound.args, **bound.kwargs)


@pytest.mark.parametrize("case", CASES)
def test_known_answer(case: dict[str, Any]) -> None:
    """Every vector's arguments give its result, digit by digit."""
    assert write(call(case)) == case["result"]


@pytest.mark.parametrize("case", CASES)
def test_the_callers_decimal_context_does_not_matter(case: dict[str, Any]) -> None:
    """A caller with a narrow context and odd rounding gets the same digits."""
    with decimal.localcontext(decimal.Context(prec=5, rounding=decimal.ROUND_UP)):
        assert write(call(case)) == case["result"]


@pytest.mark.parametrize("case", CASES)
def test_the_order_of_dictionaries_does_not_matter(case: dict[str, Any]) -> None:
    """Arguments built in the opposite order give the same result, in the same order."""

    def turned(value: Any) -> Any:
        if isinstance(value, list):
            return [turned(item) for item in value]
        return {key: turned(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    arguments = {name: turned(value) for name, value in case["arguments"].items()}
    assert json.dumps(write(call({**case, "arguments": arguments}))) == json.dumps(case["result"])


# --- Table II --------------------------------------------------------------------------------------------------------


def trainer_shares_of_the_example() -> dict[bytes, Decimal]:
    """Return the three nodes' shares: ranked first, second and third, with equal stakes."""
    weights = arena.rank_weights(
        read("", {key: str(score) for key, score in TABLE_2["scores"].items()}),
        ratio_millionths=TABLE_2["ratio_millionths"],
        rewarded_count=MAINNET.task.rewarded_trainers,
    )
    stakes = dict.fromkeys(weights, TABLE_2["trainer_stake"])
    return arena.training_shares(weights, stakes=stakes, stake_exponent_millionths=1_000_000)


def validator_payouts_of_the_example(pot: int, stakes: dict[bytes, int]) -> dict[bytes, int]:
    """Return the day's payouts of two validators who agree and differ in stake."""
    shares = arena.validator_shares(
        dict.fromkeys(stakes, 900_000),
        consensus=Decimal(900_000),
        stakes=stakes,
        sensitivity=MAINNET.distance_sensitivity,
        stake_exponent_millionths=1_000_000,
    )
    return fixed.split_by_key(pot, arena.validator_totals({b"submission": shares}, rewarded_count=10))


def test_table_2_whole() -> None:
    """Five days of the paper's example add up to 1,000 FML exactly, and every cell is the paper's, rounded."""
    shares, paid, reward_b_in_all = trainer_shares_of_the_example(), Counter[bytes](), 0
    for day, stakes in enumerate(TABLE_2["validator_stakes"]):
        creator, trainers, validators = arena.role_pots(
            TABLE_2["pot_per_day"],
            creator_share_millionths=MAINNET.task.creator_share_millionths,
            trainer_share_millionths=MAINNET.task.trainer_share_millionths,
            validator_share_millionths=MAINNET.task.validator_share_millionths,
        )
        reward_a, reward_b = arena.reward_a_and_b(trainers, reward_a_millionths=TABLE_2["reward_a_millionths"])
        day_a = fixed.split_by_key(reward_a, shares)
        day_b = fixed.split_by_key(reward_b, shares)
        day_validators = validator_payouts_of_the_example(validators, read("", stakes))
        assert creator == 0
        assert write(day_a) == TABLE_2["reward_a_per_day"]
        assert {key.hex(): f"{part / UNITS_PER_FML:.4f}" for key, part in day_b.items()} == (
            TABLE_2["reward_b_per_day_4_digits"]
        )
        assert write(day_validators) == TABLE_2["validators_per_day"][day]
        paid.update(day_a)
        paid.update(day_validators)
        reward_b_in_all += reward_b
    payout_b = fixed.split_by_key(reward_b_in_all, shares)
    paid.update(payout_b)
    assert write(payout_b) == TABLE_2["reward_b_in_all"]
    assert paid.total() == TABLE_2["total"]


def test_table_2_rounds_to_the_papers_cells() -> None:
    """The paper's two-digit weights 0.39, 0.33 and 0.28 are A5's."""
    shares = trainer_shares_of_the_example()
    assert [f"{share:.2f}" for share in shares.values()] == ["0.39", "0.33", "0.28"]
    assert [f"{share:.10f}"[:10] for share in shares.values()] == ["0.38872691", "0.33041788", "0.28085519"]


# --- scores ----------------------------------------------------------------------------------------------------------


def judge(jury: dict[bytes, tuple[int, int]], aggregation: Aggregation, floor_millionths: int) -> arena.Judgement:
    """Return what a jury's scores of an unclaimed submission mean."""
    return arena.judge_submission(
        {name: score for name, (score, _) in jury.items()},
        author=None,
        stakes={name: stake for name, (_, stake) in jury.items()},
        floor_millionths=floor_millionths,
        aggregation=aggregation,
    )


@given(jury=JURIES, floor=st.integers(0, 100_000))
def test_outliers_leave_at_least_half_of_the_stake(jury: dict[bytes, tuple[int, int]], floor: int) -> None:
    """Half of the stake lies within one MAD of the median, so O1 never drops more than the other half."""
    stakes = {name: stake for name, (_, stake) in jury.items()}
    kept = judge(jury, Aggregation.MEAN, floor).kept
    assert 2 * sum(stakes[name] for name in kept) >= sum(stakes.values())


@given(jury=JURIES, floor=st.integers(0, 100_000))
def test_the_mean_stays_within_the_kept_scores(jury: dict[bytes, tuple[int, int]], floor: int) -> None:
    """A4's mean lies between the lowest and the highest score that counted."""
    score, kept = judge(jury, Aggregation.MEAN, floor)
    assert score is not None
    assert min(kept.values()) <= score <= max(kept.values())


@given(honest=JURIES, hostile=JURIES, floor=st.integers(0, 100_000))
def test_a_minority_cannot_move_the_median_out_of_the_honest_range(
    honest: dict[bytes, tuple[int, int]], hostile: dict[bytes, tuple[int, int]], floor: int
) -> None:
    """Under `median`, less than half of the stake cannot leave the range of the honest scores."""
    honest_stake = sum(stake for _, stake in honest.values())
    minority = {b"hostile" + name: (score, max(1, honest_stake // 9)) for name, (score, _) in hostile.items()}
    if sum(stake for _, stake in minority.values()) >= honest_stake:
        minority = {}
    score = judge({**honest, **minority}, Aggregation.MEDIAN, floor).score
    honest_scores = [score for score, _ in honest.values()]
    assert score is not None
    assert min(honest_scores) <= score <= max(honest_scores)


@example(truth=0, honest=[71, 71, 71], lie=1, percent=3, floor=1)
@given(
    truth=SCORES,
    honest=st.lists(STAKES, min_size=3, max_size=8),
    lie=SCORES,
    percent=st.integers(1, 49),
    floor=st.integers(0, 100_000),
)
def test_a_minority_shifts_the_mean_by_no_more_than_its_share_of_the_limit(
    truth: int, honest: list[int], lie: int, percent: int, floor: int
) -> None:
    """Against a unanimous majority (MAD 0) the mean moves by at most the liars' share of the floor, and a rounding.

    A score up to a million has 27 digits or more behind the point.
    """
    total_honest = sum(honest)
    liars = total_honest * percent // (100 - percent)
    jury = {bytes([index]): (truth, stake) for index, stake in enumerate(honest)} | {b"liar": (lie, liars)}
    score = judge(jury, Aggregation.MEAN, floor).score
    assert score is not None
    assert abs(Fraction(score) - truth) <= Fraction(liars * floor, total_honest + liars) + Fraction(1, 10**27)


def test_without_outliers_a_minority_takes_the_first_rank() -> None:
    """Why O1 exists: with a gap of 0.25, a stake share of gap / (1 + gap) = 0.2 lifts the worse model above."""
    stakes = {b"a": 40, b"b": 39, b"hostile": 21}
    better = {b"a": 900_000, b"b": 900_000, b"hostile": 0}
    worse = {b"a": 650_000, b"b": 650_000, b"hostile": 1_000_000}
    plain = [arena.consensus_score(scores, stakes=stakes, aggregation=Aggregation.MEAN) for scores in (better, worse)]
    judged = [
        arena.judge_submission(
            scores, author=None, stakes=stakes, floor_millionths=10_000, aggregation=Aggregation.MEAN
        ).score
        for scores in (better, worse)
    ]
    assert plain[0] is not None
    assert plain[1] is not None
    assert plain[0] < plain[1]
    assert judged == [900_000, 650_000]


@pytest.mark.parametrize("score", ["901000", "900999.9999999999999999999999999999"])
def test_a_copy_is_ranked_only_if_it_is_better(score: str) -> None:
    """The first of a cluster must be beaten by the whole minimum, to the last of 34 digits."""
    beats = arena.is_improvement(Decimal(score), over=Decimal(900_000), min_improvement_millionths=1_000)
    assert beats == (score == "901000")


# --- training nodes --------------------------------------------------------------------------------------------------


@given(
    scores=st.dictionaries(NAMES, SCORES.map(Decimal), min_size=1, max_size=20),
    ratio=st.integers(1, 1_000_000),
    rewarded=st.integers(1, 100),
)
def test_rank_weights_follow_the_ranking(scores: dict[bytes, Decimal], ratio: int, rewarded: int) -> None:
    """Nobody weighs more than one with a better score, equals weigh the same, and all of the weight is given out."""
    weights = arena.rank_weights(scores, ratio_millionths=ratio, rewarded_count=rewarded)
    for one in scores:
        for other in scores:
            if scores[one] == scores[other]:
                assert weights[one] == weights[other]
            elif scores[one] > scores[other]:
                assert weights[one] >= weights[other]
    if rewarded >= len(scores):
        assert abs(sum(weights.values()) - 1) < Decimal("1e-26")


def test_a_tie_is_decided_by_all_34_digits() -> None:
    """Scores that differ in the last digit only have different ranks."""
    scores = {
        b"a": Decimal("333333.3333333333333333333333333333"),
        b"b": Decimal("333333.3333333333333333333333333334"),
    }
    with decimal.localcontext(prec=5):
        assert arena.get_ranking(scores) == ((b"b",), (b"a",))


@given(
    nodes=st.dictionaries(NAMES, st.tuples(SCORES.map(Decimal), st.integers(0, 10**18)), max_size=8),
    exponent=st.integers(0, 2_000_000),
    pot=st.integers(0, 10**18),
)
def test_the_trainers_pot_is_divided_whole_or_not_at_all(
    nodes: dict[bytes, tuple[Decimal, int]], exponent: int, pot: int
) -> None:
    """Payouts by A6 add up to the pot; without a node that has weight and stake there are none."""
    stakes = {name: stake for name, (_, stake) in nodes.items()}
    shares = arena.training_shares(
        {name: weight for name, (weight, _) in nodes.items()}, stakes=stakes, stake_exponent_millionths=exponent
    )
    payouts = fixed.split_by_key(pot, shares)
    assert sum(payouts.values()) == (pot if any(weight and stake for weight, stake in nodes.values()) else 0)


def test_joining_on_the_last_day_takes_a_25th() -> None:
    """Two equal nodes, one of which joined on the last of five days: it gets 1/26 of reward B, not half (A15)."""
    stakes = {
        b"early": arena.vested_stake(500, claimed_epochs=5, epochs=5),
        b"late": arena.vested_stake(100, claimed_epochs=1, epochs=5),
    }
    shares = arena.training_shares({b"early": 1, b"late": 1}, stakes=stakes, stake_exponent_millionths=1_000_000)
    assert fixed.split_by_key(26, shares) == {b"early": 25, b"late": 1}


# --- validators ------------------------------------------------------------------------------------------------------


@given(jury=JURIES, exponent=st.sampled_from([0, 500_000, 1_000_000, 2_000_000]), sensitivity=st.integers(1, 1_000))
def test_validator_shares_meet_the_papers_criteria(
    jury: dict[bytes, tuple[int, int]], exponent: int, sensitivity: int
) -> None:
    """V.F: shares add up to one, fall with the distance, and grow with the stake."""
    stakes = {name: stake for name, (_, stake) in jury.items()}
    shares = arena.validator_shares(
        {name: score for name, (score, _) in jury.items()},
        consensus=Decimal(500_000),
        stakes=stakes,
        sensitivity=sensitivity,
        stake_exponent_millionths=exponent,
    )
    assert abs(sum(shares.values()) - 1) < Decimal("1e-26")
    for one, (score, stake) in jury.items():
        for other, (other_score, other_stake) in jury.items():
            if abs(score - 500_000) <= abs(other_score - 500_000) and stake >= other_stake:
                assert shares[one] >= shares[other]


@given(reward=st.integers(0, 10**18), own=STAKES, rho=st.integers(0, 1_000_000), data=st.data())
def test_operator_and_delegators_share_the_whole_reward(reward: int, own: int, rho: int, data: st.DataObject) -> None:
    """Nothing is lost or made, and no delegator gets more than its exact part."""
    delegations = data.draw(st.dictionaries(NAMES, STAKES, max_size=5))
    operator, parts = arena.operator_and_delegators(
        reward, own_stake=own, delegations=delegations, reward_share_millionths=rho
    )
    total = own + sum(delegations.values())
    assert operator + sum(parts.values()) == reward
    for delegator, part in parts.items():
        assert 0 <= reward * rho * delegations[delegator] - part * 1_000_000 * total < 1_000_000 * total


# --- selection -------------------------------------------------------------------------------------------------------


@given(stake=STAKES, more=STAKES)
def test_selection_grows_ever_slower(stake: int, more: int) -> None:
    """A16: more stake is never less likely, and doubling it never doubles the weight of a large one."""

    def weight(units: int) -> int:
        return arena.selection_weight(
            units, min_stake=DEVNET.min_stake_validator_units, max_stake=DEVNET.max_selection_stake_units
        )

    assert weight(stake) <= weight(stake + more)
    if stake >= DEVNET.min_stake_validator_units:
        assert weight(2 * stake) < 2 * weight(stake)


@given(
    weights=st.dictionaries(NAMES, st.integers(0, 2**63), max_size=12),
    count=st.integers(0, 12),
    seed=st.binary(min_size=32, max_size=32),
)
def test_a_draw_is_without_replacement(weights: dict[bytes, int], count: int, seed: bytes) -> None:
    """Distinct keys with a weight above zero, as many as asked for or as there are; a shorter draw is its beginning."""
    drawn = arena.draw(seed, weights=weights, count=count)
    eligible = {key for key, weight in weights.items() if weight}
    assert len(drawn) == len(set(drawn)) == min(count, len(eligible))
    assert set(drawn) <= eligible
    assert drawn == arena.draw(seed, weights=dict(reversed(weights.items())), count=len(weights))[:count]


def test_draws_are_in_proportion_to_the_weights() -> None:
    """Over 4,000 seeds each key's count lies within four standard deviations of its expectation."""
    weights, seeds = {b"a": 1, b"b": 3, b"c": 6}, 4_000
    firsts = Counter(arena.draw(seed.to_bytes(32, "big"), weights=weights, count=1)[0] for seed in range(seeds))
    for key, weight in weights.items():
        chance = weight / 10
        deviation = (seeds * chance * (1 - chance)) ** 0.5
        assert abs(firsts[key] - seeds * chance) < 4 * deviation


def test_two_thirds_of_the_drawn_stake_overrule():
    """Exactly that much is enough, a unit less is not, however large the stakes are."""
    for drawn in (3, 3 * 10**18, 2**63):
        least = -(-2 * drawn // 3)
        assert arena.is_overruled(least, drawn=drawn)
        assert not arena.is_overruled(least - 1, drawn=drawn)
