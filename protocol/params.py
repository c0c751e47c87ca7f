"""Every constant of the rules in one record, with presets MAINNET and DEVNET.

Each field's type carries its bounds, so that a value outside them cannot be decoded. Ratios are millionths, times
milliseconds, amounts base units of FML. What one daemon may choose for itself is in its configuration, not here.
"""

from enum import IntEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from protocol.alliance_settings import MAINNET_ALLIANCE, AllianceParams, AllianceSettings, check_alliance_settings
from protocol.errors import InvalidGenesis, OutOfBounds
from protocol.types import (
    DAY_MS,
    GIBIBYTE,
    HOUR_MS,
    MEBIBYTE,
    MILLION,
    MINUTE_MS,
    UNITS_PER_FML,
    Amount,
    Exponent,
    PeriodMs,
    PhaseMs,
    PositiveAmount,
    Ratio,
    Record,
    TimeoutMs,
)

# How many ranks are paid.
PaidRanks = Annotated[int, Meta(ge=1, le=100)]


class Aggregation(IntEnum):
    """How the validators' scores become one (formula A4): their stake-weighted mean, or their stake-weighted median."""

    MEAN = 1
    MEDIAN = 2


class TaskSettings(Record):
    """What a self-funded Arena task may choose within the bounds; a verified one uses `Params.task`."""

    # q of A5: what each rank earns of the rank above it.
    rank_ratio_millionths: Annotated[int, Meta(ge=1, le=MILLION)]
    # delta of A14: the part of the trainers' reward that is paid each epoch by the ranks on dataset A.
    reward_a_millionths: Ratio
    # k1 and k2 of V.B: how many trainers and validators are paid.
    rewarded_trainers: PaidRanks
    rewarded_validators: PaidRanks
    # IV.A.1: how an epoch's pot is divided among the roles; adds up to a million.
    creator_share_millionths: Annotated[int, Meta(ge=0, le=MILLION // 10)]
    trainer_share_millionths: Ratio
    validator_share_millionths: Ratio
    aggregation: Aggregation
    # How long each phase of an epoch stays open at most; it closes early when every expected act was applied.
    submit_phase_ms: PhaseMs
    open_phase_ms: PhaseMs
    score_phase_ms: PhaseMs
    reveal_phase_ms: PhaseMs
    claim_phase_ms: PhaseMs

    def phases_ms(self) -> tuple[int, ...]:
        """Return the lengths of all phases."""
        return (
            self.submit_phase_ms,
            self.open_phase_ms,
            self.score_phase_ms,
            self.reveal_phase_ms,
            self.claim_phase_ms,
        )


class Params(Record):
    """The parameters of one chain, part of its genesis document."""

    # --- AI Arena ---
    task: TaskSettings
    # alpha_t of A6 and alpha_v of A9. Below a million, splitting a stake over identities pays.
    trainer_stake_exponent_millionths: Exponent
    validator_stake_exponent_millionths: Exponent
    # lambda_v of A9: how sharply a validator's share falls with its distance from the consensus score.
    distance_sensitivity: Annotated[int, Meta(ge=1, le=1_000)]
    # O1: the distance from the median that is never an outlier.
    score_floor_millionths: Annotated[int, Meta(ge=0, le=MILLION // 10)]
    # Mean distance of two models' outputs below which they count as copies.
    near_duplicate_millionths: Ratio
    # By how much a near-duplicate must beat the first of its cluster to be ranked.
    min_improvement_millionths: Ratio
    # The best models of earlier epochs of a task that new ones are compared with.
    max_originals: Annotated[int, Meta(ge=1, le=256)]
    # Validators drawn per epoch; all of them, when there are fewer.
    validators_per_epoch: Annotated[int, Meta(ge=3, le=64)]
    # A16: the stake beyond which the likelihood of being drawn no longer grows.
    max_selection_stake_units: PositiveAmount
    # Trainers of a task: with fewer it does not open, and the ring of a submission has no more members than the most.
    min_trainers: Annotated[int, Meta(ge=3, le=128)]
    max_trainers: Annotated[int, Meta(ge=3, le=128)]
    # Who may join as a trainer; with more than `max_trainers` that could sit, each epoch's seats are drawn.
    max_trainer_members: Annotated[int, Meta(ge=3, le=1_024)]
    min_validators: Annotated[int, Meta(ge=3, le=64)]
    # Validators of a task, drawn or not.
    max_validators: Annotated[int, Meta(ge=3, le=1_024)]
    # Epochs of a task; the last is judged on dataset B, so that one alone will not do.
    min_epochs: Annotated[int, Meta(ge=2, le=10_000)]
    max_epochs: Annotated[int, Meta(ge=2, le=10_000)]
    # How long a created task waits for its roles to be filled and its validators to attest.
    opening_phase_ms: PhaseMs
    # How long a creator has to publish dataset A's key after a complaint.
    answer_phase_ms: PhaseMs

    # --- FL Alliance ---
    alliance: AllianceParams

    # --- emission (white paper IV.A) ---
    # The fixed time between two emissions, and C0: what the first of them is worth, hosts included. 0 emits nothing.
    emission_period_ms: PeriodMs
    emission_units: Amount
    # After so many emissions each is worth half of what it was.
    halving_periods: Annotated[int, Meta(ge=1, le=100_000)]
    # The hosts' slice of an emission, and after how many emissions it halves on top of that.
    host_slice_millionths: Annotated[int, Meta(ge=0, le=MILLION // 5)]
    host_halving_periods: Annotated[int, Meta(ge=1, le=100_000)]
    # p of E3: how much a task's stake counts among tasks.
    task_stake_exponent_millionths: Exponent
    # E4: a verified task's creator gets this part of each pot at first, and nothing any more after so many emissions.
    creator_slice_millionths: Annotated[int, Meta(ge=0, le=MILLION // 10)]
    creator_slice_periods: Annotated[int, Meta(ge=1, le=100_000)]
    # Verified tasks that have not ended.
    max_verified_tasks: Annotated[int, Meta(ge=1, le=10_000)]

    # --- delegation (white paper II.D.4) ---
    # rho of A7 and A11: the most that an operator may pass on, and what a validator passes on that never said (d_1).
    max_reward_share_millionths: Annotated[int, Meta(ge=0, le=MILLION // 2)]
    default_reward_share_millionths: Annotated[int, Meta(ge=0, le=MILLION // 2)]
    min_delegation_units: PositiveAmount
    # Delegators of one operator, and delegations in one task: all are paid out in one block.
    max_delegators: Annotated[int, Meta(ge=1, le=256)]
    max_task_delegations: Annotated[int, Meta(ge=1, le=4_096)]

    # --- stakes, deposits and fees ---
    min_stake_creator_units: PositiveAmount
    min_stake_trainer_units: PositiveAmount
    min_stake_validator_units: PositiveAmount
    min_stake_replica_units: PositiveAmount
    # What a creator loses by fraud; returned when its task ends well.
    creator_deposit_units: PositiveAmount
    # What a trainer posts per epoch for its seat; returned with a valid claim.
    seat_deposit_units: PositiveAmount
    registration_fee_units: PositiveAmount
    # The least bounty, and how many accounts may give one before a task's first submission: cancelling returns them.
    min_bounty_units: PositiveAmount
    max_bounty_givers: Annotated[int, Meta(ge=1, le=1_024)]
    # The burned part of registration fees, of transaction fees and of slashes.
    registration_burn_millionths: Ratio
    fee_burn_millionths: Ratio
    slash_burn_millionths: Ratio
    # The part of a stake lost for an absent or unrevealed act, and of a stake or deposit for proven fraud.
    absence_slash_millionths: Annotated[int, Meta(ge=0, le=MILLION // 2)]
    fraud_slash_millionths: Annotated[int, Meta(ge=MILLION // 10, le=MILLION)]
    # The least fee of a transaction.
    fee_floor_units: PositiveAmount
    # How long a stake stays slashable after it was released, and how old evidence may be.
    unbonding_ms: PeriodMs
    evidence_age_ms: PeriodMs

    # --- transactions and blocks ---
    # How many blocks ahead a transaction's expiry height may lie.
    max_expiry_blocks: Annotated[int, Meta(ge=1, le=100_000)]
    # The largest is the proof that a piece of a blob, 64 KiB, does not authenticate.
    max_transaction_bytes: Annotated[int, Meta(ge=72 * 1024, le=MEBIBYTE)]
    # All transactions of a block together.
    # A proposal, its block and the commit before it must fit into one message of the gossip.
    max_block_bytes: Annotated[int, Meta(ge=64 * 1024, le=3 * MEBIBYTE // 2)]
    # What the proofs of a block cost to verify (`rules.costs`): well below the time that a proposal has.
    max_block_proof_us: Annotated[int, Meta(ge=1_000, le=10_000_000)]
    # The largest model or dataset that a task may name.
    max_blob_bytes: Annotated[int, Meta(ge=MEBIBYTE, le=1024 * GIBIBYTE)]

    # --- consensus ---
    # Timeouts of round 0, and what every timeout and the message delay grow by with each round.
    propose_timeout_ms: TimeoutMs
    prevote_timeout_ms: TimeoutMs
    precommit_timeout_ms: TimeoutMs
    round_growth_ms: TimeoutMs
    # Without transactions a height starts so long after the previous block.
    idle_block_ms: TimeoutMs
    min_block_interval_ms: Annotated[int, Meta(ge=0, le=MINUTE_MS)]
    # A fresh proposal's time may be off a replica's clock by the precision, and in the past by the message delay more.
    clock_precision_ms: TimeoutMs
    message_delay_ms: TimeoutMs
    # A longer gap between two blocks was an outage: it shifts all open deadlines.
    max_block_gap_ms: TimeoutMs


def check_task_settings(settings: TaskSettings) -> None:
    """Return if every value is within its bounds and the roles' shares add up; raise `OutOfBounds` otherwise."""
    _check_bounds(settings, TaskSettings)
    shares = (settings.creator_share_millionths, settings.trainer_share_millionths, settings.validator_share_millionths)
    if sum(shares) != MILLION:
        raise OutOfBounds(f"the shares of the roles add up to {sum(shares)} millionths, not {MILLION}")


def check_phases(settings: TaskSettings | AllianceSettings, params: Params) -> None:
    """Return if every phase outlasts the longest gap between blocks that does not move its deadline.

    Otherwise a job could be made in which honest members are too late and slashed. Raises `OutOfBounds`.
    """
    phases = settings.phases_ms()
    if min(phases) < params.max_block_gap_ms:
        raise OutOfBounds(
            f"a phase of {min(phases)} ms is shorter than a gap between blocks may be",
            have=min(phases),
            need=params.max_block_gap_ms,
        )


def check_params(params: Params) -> None:
    """Return if every value is within its bounds and none contradicts another; raise `InvalidGenesis` otherwise."""
    try:
        _check_bounds(params, Params)
        check_task_settings(params.task)
        check_phases(params.task, params)
        check_alliance_settings(params.alliance.settings)
        check_phases(params.alliance.settings, params)
    except OutOfBounds as error:
        raise InvalidGenesis(error.message) from error
    ordered = (
        ("evidence_age_ms", params.evidence_age_ms, "unbonding_ms", params.unbonding_ms - 1),
        ("min_trainers", params.min_trainers, "max_trainers", params.max_trainers),
        ("max_trainers", params.max_trainers, "max_trainer_members", params.max_trainer_members),
        # A stake that was released does not count in another task before the next emission.
        ("emission_period_ms", params.emission_period_ms, "unbonding_ms", params.unbonding_ms),
        ("min_validators", params.min_validators, "max_validators", params.max_validators),
        (
            "default_reward_share_millionths",
            params.default_reward_share_millionths,
            "max_reward_share_millionths",
            params.max_reward_share_millionths,
        ),
        ("min_epochs", params.min_epochs, "max_epochs", params.max_epochs),
        ("max_transaction_bytes", params.max_transaction_bytes, "max_block_bytes", params.max_block_bytes),
        ("idle_block_ms", params.idle_block_ms, "max_block_gap_ms", params.max_block_gap_ms),
    )
    for lower_name, lower, upper_name, upper in ordered:
        if lower > upper:
            raise InvalidGenesis(f"{lower_name} is too large for {upper_name}: {lower} > {upper}")


def _check_bounds(record: Record, kind: type[Record]) -> None:
    try:
        msgspec.convert(msgspec.to_builtins(record), kind)
    except msgspec.ValidationError as error:
        raise OutOfBounds(f"a parameter leaves its bounds: {error}") from error


MAINNET = Params(
    task=TaskSettings(
        rank_ratio_millionths=850_000,
        reward_a_millionths=100_000,
        rewarded_trainers=10,
        rewarded_validators=10,
        creator_share_millionths=0,
        trainer_share_millionths=500_000,
        validator_share_millionths=500_000,
        aggregation=Aggregation.MEAN,
        submit_phase_ms=20 * HOUR_MS,
        open_phase_ms=10 * MINUTE_MS,
        score_phase_ms=3 * HOUR_MS,
        reveal_phase_ms=20 * MINUTE_MS,
        claim_phase_ms=20 * MINUTE_MS,
    ),
    trainer_stake_exponent_millionths=MILLION,
    validator_stake_exponent_millionths=MILLION,
    distance_sensitivity=50,
    score_floor_millionths=100,
    near_duplicate_millionths=1_000,
    min_improvement_millionths=1_000,
    max_originals=64,
    validators_per_epoch=16,
    max_selection_stake_units=1_000_000 * UNITS_PER_FML,
    min_trainers=3,
    max_trainers=100,
    max_trainer_members=400,
    min_validators=3,
    max_validators=256,
    min_epochs=2,
    max_epochs=365,
    opening_phase_ms=24 * HOUR_MS,
    answer_phase_ms=HOUR_MS,
    alliance=MAINNET_ALLIANCE,
    emission_period_ms=DAY_MS,
    emission_units=100_000 * UNITS_PER_FML,
    halving_periods=730,
    host_slice_millionths=100_000,
    host_halving_periods=365,
    task_stake_exponent_millionths=MILLION,
    creator_slice_millionths=50_000,
    creator_slice_periods=365,
    max_verified_tasks=1_000,
    max_reward_share_millionths=500_000,
    default_reward_share_millionths=100_000,
    min_delegation_units=10 * UNITS_PER_FML,
    max_delegators=64,
    max_task_delegations=1_024,
    min_stake_creator_units=1_000 * UNITS_PER_FML,
    min_stake_trainer_units=100 * UNITS_PER_FML,
    min_stake_validator_units=100 * UNITS_PER_FML,
    min_stake_replica_units=10_000 * UNITS_PER_FML,
    creator_deposit_units=500 * UNITS_PER_FML,
    seat_deposit_units=5 * UNITS_PER_FML,
    registration_fee_units=10 * UNITS_PER_FML,
    min_bounty_units=10 * UNITS_PER_FML,
    max_bounty_givers=64,
    registration_burn_millionths=500_000,
    fee_burn_millionths=500_000,
    slash_burn_millionths=100_000,
    absence_slash_millionths=50_000,
    fraud_slash_millionths=MILLION,
    fee_floor_units=UNITS_PER_FML // 1_000,
    unbonding_ms=21 * DAY_MS,
    evidence_age_ms=14 * DAY_MS,
    max_expiry_blocks=1_000,
    max_transaction_bytes=80 * 1024,
    max_block_bytes=MEBIBYTE,
    max_block_proof_us=1_000_000,
    max_blob_bytes=20 * GIBIBYTE,
    propose_timeout_ms=3_000,
    prevote_timeout_ms=1_000,
    precommit_timeout_ms=1_000,
    round_growth_ms=500,
    idle_block_ms=10_000,
    min_block_interval_ms=200,
    clock_precision_ms=500,
    message_delay_ms=2_000,
    max_block_gap_ms=60_000,
)

# The same rules with amounts and times that a few daemons on one machine go through in a minute.
DEVNET = msgspec.structs.replace(
    MAINNET,
    task=msgspec.structs.replace(
        MAINNET.task,
        submit_phase_ms=60_000,
        open_phase_ms=20_000,
        score_phase_ms=60_000,
        reveal_phase_ms=20_000,
        claim_phase_ms=20_000,
    ),
    score_floor_millionths=10_000,
    validators_per_epoch=8,
    max_selection_stake_units=100_000 * UNITS_PER_FML,
    opening_phase_ms=60_000,
    answer_phase_ms=10_000,
    alliance=msgspec.structs.replace(
        MAINNET.alliance,
        settings=msgspec.structs.replace(
            MAINNET.alliance.settings,
            rounds=10,
            train_phase_ms=60_000,
            hold_phase_ms=20_000,
            aggregate_phase_ms=30_000,
            vote_phase_ms=30_000,
            reveal_phase_ms=10_000,
            confirm_phase_ms=20_000,
        ),
        min_joining_stake_units=64 * UNITS_PER_FML,
        min_test_rows=20,
    ),
    emission_period_ms=20_000,
    emission_units=1_000 * UNITS_PER_FML,
    halving_periods=1_000,
    min_delegation_units=1 * UNITS_PER_FML,
    min_stake_creator_units=100 * UNITS_PER_FML,
    min_stake_trainer_units=10 * UNITS_PER_FML,
    min_stake_validator_units=10 * UNITS_PER_FML,
    min_stake_replica_units=100 * UNITS_PER_FML,
    creator_deposit_units=50 * UNITS_PER_FML,
    seat_deposit_units=1 * UNITS_PER_FML,
    registration_fee_units=1 * UNITS_PER_FML,
    min_bounty_units=1 * UNITS_PER_FML,
    unbonding_ms=30_000,
    evidence_age_ms=20_000,
    max_block_proof_us=400_000,
    max_blob_bytes=1 * GIBIBYTE,
    propose_timeout_ms=1_000,
    prevote_timeout_ms=500,
    precommit_timeout_ms=500,
    round_growth_ms=250,
    idle_block_ms=5_000,
    min_block_interval_ms=0,
    max_block_gap_ms=10_000,
)

PRESETS = {"mainnet": MAINNET, "devnet": DEVNET}
