"""How an epoch was settled: the records that outlive it."""

from protocol.state import Table
from protocol.transactions import Verdict
from protocol.types import Address, Amount, Bytes32, Count, Height, Name, Record, Score


class Ranked(Record):
    """One submission's outcome. `rank` 0 is unranked; `share` in millionths of the trainers' pot; payouts in units.

    `ignored` are the validators whose score did not count: outliers (O1), or the author's own (O2). `overruled` called
    invalid what validators with 2/3 of the drawn stake scored, and were slashed for it.
    """

    tag: Bytes32
    author: Address | None
    verdict: Verdict | None
    score: Score | None
    rank: Count
    share: Count
    ignored: tuple[Address, ...]
    overruled: tuple[Address, ...]
    duplicate_of: Bytes32 | None
    reward_a: Amount
    reward_b: Amount


class ValidatorPayout(Record):
    """What one drawn validator earned and lost in an epoch, in units, its delegators included."""

    address: Address
    earned: Amount
    slashed: Amount


class Weight(Record):
    """An account's rank weight (A5) as a decimal number, kept for a last epoch that cannot be judged."""

    address: Address
    weight: Name


class PassedOn(Record):
    """What an operator's delegators got of its rewards of an epoch, in units (A7, A11 to A13)."""

    operator: Address
    reward_a: Amount
    reward_b: Amount
    validating: Amount


class RolePots(Record):
    """What an epoch may pay from one source, by role, in units."""

    creator: Amount
    trainers: Amount
    validators: Amount


class Sources(Record):
    """Units of a task's pot by whose they were: the creator's escrow, bounties, and slashed bonds."""

    escrow: Amount
    bounties: Amount
    slashes: Amount


class Counted(Record):
    """The stake, delegation included, that an account counted with in an epoch."""

    address: Address
    stake: Amount


class EpochResult(Record):
    """How an epoch was settled: `ranking` best first, then the unranked by order; `weights` only if it was judged.

    `emitted` is the part of the pot that the emission brought, `creator_reward` what the creator was paid. The rest of
    the pot is divided by role in `own_pots`, by source in `sources`. `stakes` are those of the seats, then the drawn.
    """

    dataset_b: bool
    pot: Amount
    emitted: Amount
    creator_reward: Amount
    ranking: tuple[Ranked, ...]
    validators: tuple[ValidatorPayout, ...]
    weights: tuple[Weight, ...]
    passed_on: tuple[PassedOn, ...]
    own_pots: RolePots
    emitted_pots: RolePots
    sources: Sources
    stakes: tuple[Counted, ...]
    settled_height: Height


# Keys: task, epoch (8 bytes each).
RESULTS = Table(b"R", EpochResult)
