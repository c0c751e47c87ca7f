"""Presets and bounds of the parameters."""

import pytest
from msgspec.structs import replace

from protocol.codec import decode, encode
from protocol.errors import InvalidGenesis, Malformed, OutOfBounds
from protocol.params import DEVNET, MAINNET, PRESETS, Params, TaskSettings, check_params, check_task_settings


@pytest.mark.parametrize("params", PRESETS.values(), ids=PRESETS.keys())
def test_presets_are_within_bounds_and_travel(params: Params) -> None:
    """Both presets pass the check, and their canonical bytes give them back."""
    check_params(params)
    assert decode(encode(params), Params) == params


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("score_floor_millionths", 100_001),
        ("distance_sensitivity", 0),
        ("max_trainers", 129),
        ("max_trainers", 2),
        ("validators_per_epoch", 65),
        ("fee_floor_units", 0),
        ("absence_slash_millionths", 500_001),
        ("fraud_slash_millionths", 99_999),
        ("trainer_stake_exponent_millionths", 2_000_001),
        ("min_epochs", 1),
        ("max_reward_share_millionths", 500_001),
        ("min_delegation_units", 0),
        ("max_delegators", 0),
        ("max_trainer_members", 1_025),
        ("halving_periods", 0),
        ("host_slice_millionths", 200_001),
        ("creator_slice_millionths", 100_001),
        ("task_stake_exponent_millionths", 2_000_001),
        ("min_bounty_units", 0),
    ],
)
def test_a_value_out_of_bounds_is_refused(name: str, value: int) -> None:
    """The check names the bound, and decoding refuses the same value."""
    params = replace(DEVNET, **{name: value})
    with pytest.raises(InvalidGenesis, match="bounds"):
        check_params(params)
    with pytest.raises(Malformed):
        decode(encode(params), Params)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("evidence_age_ms", DEVNET.unbonding_ms),
        ("min_trainers", 101),
        ("max_trainer_members", 99),
        ("emission_period_ms", DEVNET.unbonding_ms + 1),
        ("min_epochs", 366),
        ("max_transaction_bytes", 2**20),
        ("idle_block_ms", 20_000),
        ("max_reward_share_millionths", 99_999),
    ],
)
def test_values_that_contradict_each_other_are_refused(name: str, value: int) -> None:
    """Stakes outlive evidence, least is at most most, and a transaction fits into a block."""
    with pytest.raises(InvalidGenesis, match="too large"):
        check_params(replace(DEVNET, **{name: value, "max_block_bytes": 2**19}))


@pytest.mark.parametrize(
    "settings",
    [
        replace(MAINNET.task, validator_share_millionths=499_999),
        replace(MAINNET.task, creator_share_millionths=200_000, trainer_share_millionths=300_000),
        replace(MAINNET.task, rank_ratio_millionths=0),
        replace(MAINNET.task, rewarded_trainers=101),
        replace(MAINNET.task, submit_phase_ms=0),
        replace(MAINNET.task, aggregation=3),  # type: ignore[arg-type]
    ],
)
def test_a_task_may_not_leave_the_bounds(settings: TaskSettings) -> None:
    """Shares that do not add up and values out of bounds are refused in a task and in a genesis document."""
    with pytest.raises(OutOfBounds):
        check_task_settings(settings)
    with pytest.raises(InvalidGenesis):
        check_params(replace(MAINNET, task=settings))


def test_every_phase_outlasts_a_gap_that_moves_no_deadline() -> None:
    """Else honest members could be late through no fault of theirs, and slashed."""
    shortest = min(*DEVNET.task.phases_ms(), *DEVNET.alliance.settings.phases_ms())
    check_params(replace(DEVNET, max_block_gap_ms=shortest))
    with pytest.raises(InvalidGenesis, match="shorter than a gap"):
        check_params(replace(DEVNET, max_block_gap_ms=shortest + 1))


def test_the_white_papers_values() -> None:
    """q = 0.85 and the split 0 / 50 / 50 are the paper's; delta = 0.1 is what Table II was computed with."""
    for params in PRESETS.values():
        task = params.task
        assert task.rank_ratio_millionths == 850_000
        assert task.reward_a_millionths == 100_000
        assert (task.creator_share_millionths, task.trainer_share_millionths, task.validator_share_millionths) == (
            0,
            500_000,
            500_000,
        )
