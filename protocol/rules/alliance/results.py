"""How a round of an alliance was settled: the records that outlive it."""

from enum import IntEnum

from protocol.blobs import BlobId
from protocol.models import MetricValue
from protocol.state import Table
from protocol.types import Address, Amount, Count, Height, Record


class Outcome(IntEnum):
    """What became of a round. A void one pays nobody and slashes absence only."""

    ACCEPTED = 1
    REJECTED = 2
    VOID = 3


class AllianceRole(IntEnum):
    """What a participant did in a round."""

    PROPOSER = 1
    VOTER = 2


class JudgedUpdate(Record):
    """What the voters said of one update: in favour and against, their median score, what it gained, the verdict."""

    proposer: Address
    in_favour: Count
    against: Count
    score: MetricValue | None
    gain: MetricValue | None
    is_accepted: bool


class Settled(Record):
    """What one selected participant earned and lost in a round, in units. `merit` in millionths (formula L5).

    `is_absent`: it did not act in time, or nobody could fetch its update; then `slashed` is for that.
    """

    address: Address
    role: AllianceRole
    stake: Amount
    merit: Count
    is_absent: bool
    earned: Amount
    slashed: Amount


class RoundResult(Record):
    """How a round was settled: `reward` is what it might have paid (L6), `pool` what the pool held before.

    `model` and `score` (the voters' median) are of the aggregate that was voted on, if there was one; `in_favour` and
    `against` the votes about it. `updates` are empty where only the aggregate was voted on.
    """

    outcome: Outcome
    pool: Amount
    reward: Amount
    model: BlobId | None
    score: MetricValue | None
    in_favour: Count
    against: Count
    updates: tuple[JudgedUpdate, ...]
    settled: tuple[Settled, ...]
    settled_height: Height


# Keys: alliance, round (8 bytes each).
ROUND_RESULTS = Table(b"Fr", RoundResult)
