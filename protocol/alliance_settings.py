"""What an FL Alliance may choose, within bounds, and what its chain fixes (white paper VI; params.md).

Ratios are millionths, times milliseconds, amounts base units of FML.
"""

from enum import IntEnum
from typing import Annotated

from msgspec import Meta

from protocol.errors import OutOfBounds
from protocol.types import HOUR_MS, MILLION, MINUTE_MS, UNITS_PER_FML, PhaseMs, PositiveAmount, Ratio, Record
from protocol.zk.parameters import ZK_PARAMETERS, ZkParameters

MAX_ROUNDS = 10_000
# A round needs a proposer and three voters; where updates are hidden, two to hide among, and an aggregator.
MIN_PARTICIPANTS = 4
MIN_PRIVATE_PARTICIPANTS = 6
MIN_PRIVATE_PROPOSERS = 2
# Candidates that may take over in turn when an aggregator fails.
MAX_AGGREGATORS = 3
MAX_PARTICIPANTS = 1_024


class Attribution(IntEnum):
    """What a round's votes are about: the aggregate of all updates, as printed (VI.E), or each update by itself."""

    AGGREGATE = 1
    PER_PROPOSAL = 2


class Aggregator(IntEnum):
    """How accepted updates become one model: the weighted mean of L1, or a rule that outvotes a few hostile ones."""

    FEDAVG = 1
    MEDIAN = 2
    TRIMMED_MEAN = 3
    KRUM = 4
    MULTI_KRUM = 5
    GEOMETRIC_MEDIAN = 6


class RewardRule(IntEnum):
    """How accepted proposers share their reward: by stake (Algorithm 2), or by stake times what the update gained."""

    STAKE = 1
    IMPACT = 2


class Privacy(IntEnum):
    """Who sees updates: everybody; only a round's aggregator, which proves their sum (VI.H); or nobody but their sum.

    Masked ones cost more when somebody is missing, for then the round is run again, and when a client lies: to find it,
    all clients of the round open their masks.
    """

    CLEAR = 1
    ZK = 2
    MASKED = 3


class AllianceSettings(Record):
    """What a self-funded alliance may choose within the bounds; a verified one uses `AllianceParams.settings`."""

    # T of Algorithm 1: rounds until the pool is paid out.
    rounds: Annotated[int, Meta(ge=1, le=MAX_ROUNDS)]
    # epsilon of L2: how much worse than the best model still earns a vote in favour; s0 is the least score it is of.
    tolerance_millionths: Ratio
    score_floor_millionths: Annotated[int, Meta(ge=0, le=1_000 * MILLION)]
    # s_p of L5: what losers of a vote lose of their stake.
    slash_millionths: Annotated[int, Meta(ge=0, le=MILLION // 2)]
    # participantsDistributionRate of Algorithm 2, for each role.
    proposer_share_millionths: Annotated[int, Meta(ge=1, le=MILLION)]
    voter_share_millionths: Annotated[int, Meta(ge=1, le=MILLION)]
    # BalThreshold of Algorithm 2, as a part of the joining stake: with less a participant has no role.
    threshold_millionths: Annotated[int, Meta(ge=1, le=MILLION)]
    attribution: Attribution
    aggregator: Aggregator
    # The part of the updates that a robust aggregator takes for hostile.
    faulty_millionths: Annotated[int, Meta(ge=0, le=MILLION // 2)]
    reward: RewardRule
    privacy: Privacy
    # How long each step of a round stays open at most; it closes early when all have acted.
    train_phase_ms: PhaseMs
    # Also for sealing updates to an aggregator, or sharing masked ones, where they are hidden.
    hold_phase_ms: PhaseMs
    aggregate_phase_ms: PhaseMs
    vote_phase_ms: PhaseMs
    reveal_phase_ms: PhaseMs
    confirm_phase_ms: PhaseMs

    def phases_ms(self) -> tuple[int, ...]:
        """Return the lengths of all phases."""
        return (
            self.train_phase_ms,
            self.hold_phase_ms,
            self.aggregate_phase_ms,
            self.vote_phase_ms,
            self.reveal_phase_ms,
            self.confirm_phase_ms,
        )


class AllianceParams(Record):
    """The constants of all alliances of one chain, part of `Params`."""

    settings: AllianceSettings
    # The least stake that a spec may ask of its participants; a verified alliance asks for just that.
    min_joining_stake_units: PositiveAmount
    # The least size of a participant's test split: fewer rows say little about a model.
    min_test_rows: Annotated[int, Meta(ge=1, le=1_000_000)]
    max_participants: Annotated[int, Meta(ge=MIN_PARTICIPANTS, le=MAX_PARTICIPANTS)]
    # What an aggregator earns of what a round may pay, and what its proofs are made with.
    aggregator_fee_millionths: Annotated[int, Meta(ge=0, le=MILLION // 10)]
    zk: ZkParameters
    # Emissions that a verified alliance receives at most.
    max_periods: Annotated[int, Meta(ge=1, le=100_000)]


def check_alliance_settings(settings: AllianceSettings) -> None:
    """Return if the roles fit into one round and the choices fit together; raise `OutOfBounds` otherwise."""
    shares = settings.proposer_share_millionths + settings.voter_share_millionths
    if shares > MILLION:
        raise OutOfBounds(f"proposers and voters add up to {shares} millionths of the participants, more than all")
    if settings.reward is RewardRule.IMPACT and settings.attribution is Attribution.AGGREGATE:
        raise OutOfBounds("what each update gained shows only where each is voted on: impact needs that attribution")
    plain_sum = (Attribution.AGGREGATE, Aggregator.FEDAVG)
    if settings.privacy is not Privacy.CLEAR and (settings.attribution, settings.aggregator) != plain_sum:
        raise OutOfBounds("hidden updates are summed and voted on together: attribution by aggregate, with fedavg")


MAINNET_ALLIANCE = AllianceParams(
    settings=AllianceSettings(
        rounds=100,
        tolerance_millionths=50_000,
        score_floor_millionths=10_000,
        slash_millionths=125_000,
        proposer_share_millionths=400_000,
        voter_share_millionths=400_000,
        threshold_millionths=500_000,
        attribution=Attribution.PER_PROPOSAL,
        aggregator=Aggregator.FEDAVG,
        faulty_millionths=200_000,
        reward=RewardRule.STAKE,
        privacy=Privacy.CLEAR,
        train_phase_ms=6 * HOUR_MS,
        hold_phase_ms=HOUR_MS,
        aggregate_phase_ms=HOUR_MS,
        vote_phase_ms=HOUR_MS,
        reveal_phase_ms=10 * MINUTE_MS,
        confirm_phase_ms=HOUR_MS,
    ),
    min_joining_stake_units=1_000 * UNITS_PER_FML,
    min_test_rows=50,
    max_participants=256,
    aggregator_fee_millionths=10_000,
    zk=ZK_PARAMETERS,
    max_periods=90,
)
