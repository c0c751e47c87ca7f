"""What the RPC methods of the AI Arena take and answer with; the conventions are those of `records`.

Epochs count from 0 here; people see them from 1.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta

from flocknode.rpc.records import Count, Hex32, Millionths, Outcome, Ratio, Result, Units

# A task: its number, or its name if only one task has it.
TaskReference = Annotated[str, Meta(min_length=1, max_length=64)]
TaskState = Literal["opening", "running", "settled", "expired", "cancelled"]
Funding = Literal["escrow", "awaited", "verified"]
Role = Literal["creator", "trainer", "validator"]
# Names of a model's settings and their whole values, e.g. {"layers": [64, 64, 10]}.
Settings = dict[str, list[int]]


# Settings of a task by name: whole numbers, or a name such as "median".
TaskOptions = dict[str, int | str]


class Training(Result):
    """How a trainer trains: passes over its data, learning rate, examples in a batch, seed of start and order.

    `optimizer` is the rule of descent. With `warm_start` every epoch begins with the best model published so far.
    """

    passes: Annotated[int, Meta(ge=1, le=10_000)] = 20
    learning_rate_millionths: Annotated[int, Meta(ge=1, le=10_000_000)] = 10_000
    batch_size: Annotated[int, Meta(ge=1, le=65_536)] = 32
    seed: Count = 0
    optimizer: Literal["sgd", "adam"] = "sgd"
    warm_start: bool = False


class Submitted(Result):
    """A transaction about a task that was sent, and the task's number; a task not created yet has none."""

    task: Count | None
    outcome: Outcome


class TaskSummary(Result):
    """A task in one line; `escrow_units` is what its pot holds for the coming epochs.

    `funding`: by an escrow of its own, awaited (it opens once it is verified), or verified: by the emission as well,
    of which `emitted_units` came since the last settlement.
    """

    task: Count
    name: str
    creator: Hex32
    status: TaskState
    epoch: Count
    epochs: Count
    phase: str | None
    deadline_ms: Count | None
    trainers: Count
    validators: Count
    escrow_units: Units
    funding: Funding
    emitted_units: Units


class TaskList(Result):
    """Tasks, newest first."""

    height: Count
    tasks: tuple[TaskSummary, ...]


class Vault(Result):
    """What others delegated to a trainer or validator, and what part of its rewards their stake earns for them.

    The promised share is in force from the next epoch on; a cut waits until `cut_ms`.
    """

    delegated_units: Units
    shares: Count
    delegators: Count
    reward_share_millionths: Ratio
    promised_share_millionths: Ratio
    cut_share_millionths: Ratio | None
    cut_ms: Count | None


class Member(Result):
    """An account with a role in a task; `has_attested` and `is_drawn` (this epoch) are about validators.

    `stake_units` are its own; nobody delegates to a creator, which has no vault.
    """

    account: Hex32
    role: Role
    stake_units: Units
    has_attested: bool
    is_drawn: bool
    is_leaving: bool
    vault: Vault | None


class Dataset(Result):
    """An encrypted evaluation dataset: blob root, length, and the key once it is public.

    A model that scores no more than `baseline_millionths` on it earns nothing.
    """

    name: Literal["a", "b"]
    root: Hex32
    length_bytes: Count
    baseline_millionths: Millionths
    key: Hex32 | None


class Task(Result):
    """Everything about a task that is not an epoch's result."""

    summary: TaskSummary
    family: str
    model: Settings
    metric: str
    higher_is_better: bool
    metric_low_millionths: int
    metric_high_millionths: int
    datasets: tuple[Dataset, ...]
    members: tuple[Member, ...]
    parameters: dict[str, Any]


class Submission(Result):
    """One model entered for one epoch; the account is known once it has claimed."""

    epoch: Count
    tag: Hex32
    account: Hex32 | None
    root: Hex32
    length_bytes: Count
    is_opened: bool
    is_held: bool


class SubmissionList(Result):
    """The submissions of a task, by epoch and tag; `is_held` says whether this node has the blob."""

    task: Count
    submissions: tuple[Submission, ...]


class ScoreEntry(Result):
    """What one validator revealed about one submission; the score is the metric mapped to [0, 1].

    `is_ignored` once the epoch is settled: an outlier (O1), or a word on its own submission (O2). `is_overruled` if it
    was slashed for calling invalid what validators with 2/3 of the drawn stake scored.
    """

    epoch: Count
    validator: Hex32
    tag: Hex32
    verdict: Literal["scored", "invalid", "unfetchable"]
    score_millionths: Millionths | None
    duplicate_of: Hex32 | None
    is_ignored: bool
    is_overruled: bool


class ScoreList(Result):
    """The revealed scores of a task, by epoch, validator and tag."""

    task: Count
    scores: tuple[ScoreEntry, ...]


class Ranked(Result):
    """A place in an epoch's ranking: the stake-weighted score, the share of the trainers' pot, and what was paid.

    `rank` 0 is a submission that does not compete: invalid, a copy (of `duplicate_of`), or never claimed. Reward B is
    paid in the last epoch only. Rewards are those of the author and its delegators together, and so is the stake that
    it counted with, null before it has claimed.
    """

    rank: Count
    tag: Hex32
    account: Hex32 | None
    stake_units: Units | None
    score_millionths: Millionths | None
    share_millionths: Millionths
    duplicate_of: Hex32 | None
    reward_a_units: Units
    reward_b_units: Units
    payout_units: Units


class ValidatorPayout(Result):
    """What a drawn validator and its delegators were paid for an epoch, and the stake that it counted with."""

    account: Hex32
    stake_units: Units
    payout_units: Units
    slashed_units: Units


class Epoch(Result):
    """The result of one epoch; `ranking` is empty until it has settled.

    `emitted_units` is the part of the pot that the emission brought, `creator_units` what the creator was paid. Models
    that score no more than `baseline_millionths` have no rank.
    """

    epoch: Count
    dataset: Literal["a", "b"]
    baseline_millionths: Millionths
    is_settled: bool
    pot_units: Units
    emitted_units: Units
    creator_units: Units
    ranking: tuple[Ranked, ...]
    validators: tuple[ValidatorPayout, ...]


class Payout(Result):
    """What an account got from a task so far: reward A, reward B, validating, creating; what its delegators got."""

    account: Hex32
    a_units: Units
    b_units: Units
    validating_units: Units
    creating_units: Units
    passed_on_units: Units


class Leaderboard(Result):
    """A task's epochs, ranked, and who was paid what."""

    task: Count
    name: str
    status: TaskState
    epochs: tuple[Epoch, ...]
    payouts: tuple[Payout, ...]
