"""How a round of an alliance was settled: the records that outlive it."""

from enum import IntEnum

from protocol.blobs import BlobId
from protocol.models import MetricValue
from protocol.rules.alliance.pool import PoolParts
from protocol.rules.alliance.records import AlliancePhase
from protocol.state import Table
from protocol.types import Address, Amount, Count, Height, Record


class Outcome(IntEnum):
    """What became of a round. A void one pays nobody and slashes only who was absent or shown to lie."""

    ACCEPTED = 1
    REJECTED = 2
    VOID = 3


class AllianceRole(IntEnum):
    """What a participant did in a round."""

    PROPOSER = 1
    VOTER = 2
    AGGREGATOR = 3


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

    `is_absent`: it did not act in time, or its update could not be fetched; then it earns nothing, and `slashed` is for
    that, or what its votes cost if that is more. Aggregators are listed if they earned the fee or failed.
    """

    address: Address
    role: AllianceRole
    stake: Amount
    merit: Count
    is_absent: bool
    earned: Amount
    slashed: Amount


class RoundResult(Record):
    """How a round was settled: `reward` is what it might have paid (L6), `pool` what the pool held before, by `parts`.

    `last_phase` is the one that it ended in: nobody was asked for more. `model` and `score` (the voters' median) are of
    the aggregate that was voted on, if there was one; `in_favour` and `against` the votes about it. `updates` are empty
    where only the aggregate was voted on.
    """

    outcome: Outcome
    last_phase: AlliancePhase
    pool: Amount
    parts: PoolParts
    reward: Amount
    model: BlobId | None
    score: MetricValue | None
    in_favour: Count
    against: Count
    updates: tuple[JudgedUpdate, ...]
    settled: tuple[Settled, ...]
    settled_height: Height


class Remainder(Record):
    """What a participant got of the pool's remainder, by its stake times the accepted rounds that it was right in."""

    address: Address
    stake: Amount
    rounds: Count
    units: Amount


class Closing(Record):
    """How an alliance ended: what its pool still held, by `parts`, and who got it.

    Nobody, if no round was accepted: then it went to the reserve and the treasury.
    """

    pool: Amount
    parts: PoolParts
    paid: tuple[Remainder, ...]
    height: Height


# Keys: alliance, round (8 bytes each); alliance.
ROUND_RESULTS = Table(b"Fr", RoundResult)
CLOSINGS = Table(b"Fc", Closing)
