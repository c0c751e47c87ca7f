"""What the methods that check and explain a task's payouts answer with; the conventions are those of `records`."""

from typing import Literal

from flocknode.rpc.records import Count, Hex32, Millionths, Result, Units

Verdict = Literal["scored", "invalid", "unfetchable"]


class Opinion(Result):
    """A verdict on a submission, with the score and the model that it copies."""

    verdict: Verdict
    score_millionths: Millionths | None
    duplicate_of: Hex32 | None


class Comparison(Result):
    """What a validator revealed of a submission, beside what the audit found; `agrees` is null for an abstention."""

    epoch: Count
    validator: Hex32
    tag: Hex32
    said: Opinion
    found: Opinion
    agrees: bool | None


class Unchecked(Result):
    """A submission, or without a tag a whole epoch, that could not be evaluated again, and why."""

    epoch: Count
    tag: Hex32 | None
    reason: str


class Audit(Result):
    """All submissions of a task's settled epochs evaluated again: by epoch, validator and tag."""

    task: Count
    epochs: Count
    comparisons: tuple[Comparison, ...]
    unchecked: tuple[Unchecked, ...]


class Origins(Result):
    """Units of a payout by where they came from; they add up to it. `slashes` are those of the task's members."""

    emission_units: Units
    escrow_units: Units
    bounty_units: Units
    slash_units: Units


class Step(Result):
    """A line of a reckoning: formula tag or section of the white paper, what it is, and units or another number."""

    tag: str
    what: str
    units: Units | None
    number: str | None


class Vote(Result):
    """What a validator said of a submission, its stake, and whether it counted (O1, O2)."""

    tag: Hex32
    validator: Hex32
    stake_units: Units
    verdict: Verdict
    score_millionths: Millionths | None
    is_counted: bool


class ExplainedPayout(Result):
    """A payout with where each unit comes from and the reckoning behind; own and passed on units add up to it."""

    epoch: Count
    account: Hex32
    kind: Literal["reward a", "reward b", "validating", "creating"]
    units: Units
    own_units: Units
    passed_on_units: Units
    origins: Origins
    steps: tuple[Step, ...]
    votes: tuple[Vote, ...]


class Explanation(Result):
    """Payouts of a task, by epoch."""

    task: Count
    payouts: tuple[ExplainedPayout, ...]
