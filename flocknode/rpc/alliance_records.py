"""What the RPC methods of FL Alliance take and answer with; the conventions are those of `records`.

Rounds count from 0 here; people see them from 1. Scores are the metric's own values in millionths.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta

from flocknode.rpc.arena_records import Funding, Settings, TaskOptions
from flocknode.rpc.audit_records import Origins, Step
from flocknode.rpc.records import Count, Hex32, Outcome, Ratio, Result, Units

# An alliance: its number, or its name if only one alliance has it.
AllianceReference = Annotated[str, Meta(min_length=1, max_length=64)]
AllianceState = Literal["opening", "running", "finished", "expired", "cancelled"]
AllianceRole = Literal["proposer", "voter", "aggregator"]
RoundState = Literal["running", "accepted", "rejected", "void"]
Standing = Literal["active", "warned", "leaving", "out"]
# Settings of an alliance by name, as those of a task.
AllianceOptions = TaskOptions


class Training(Result):
    """What every proposer does in a round: passes over its own data, learning rate, examples in a batch."""

    passes: Annotated[int, Meta(ge=1, le=100_000)] = 1
    learning_rate_millionths: Annotated[int, Meta(ge=1, le=10**9)] = 100_000
    batch_size: Annotated[int, Meta(ge=1, le=2**24)] = 32


class AllianceSent(Result):
    """A transaction about an alliance that was sent, and the alliance's number; one not created yet has none."""

    alliance: Count | None
    outcome: Outcome


class Joined(Result):
    """A participant's data was cut into training and test rows, and its joining was sent."""

    alliance: Count
    train_rows: Count
    test_rows: Count
    outcome: Outcome


class AcceptedModel(Result):
    """A model that a round accepted, and the median of the voters' scores; `is_held`: this node has its blob."""

    round: Count
    root: Hex32
    length_bytes: Count
    score_millionths: int
    is_held: bool


class AllianceSummary(Result):
    """An alliance in one line; `pool_units` is what its coming rounds may pay."""

    alliance: Count
    name: str
    creator: Hex32
    status: AllianceState
    round: Count
    rounds: Count
    phase: str | None
    deadline_ms: Count | None
    participants: Count
    wanted: Count
    pool_units: Units
    funding: Funding
    best_millionths: int | None


class AllianceList(Result):
    """Alliances, newest first."""

    height: Count
    alliances: tuple[AllianceSummary, ...]


class Participant(Result):
    """An account in an alliance: what it staked, declared, and came to so far.

    `warned`: its stake is below the threshold, and it must top up before the next draw; `out` is for good.
    """

    account: Hex32
    stake_units: Units
    train_rows: Count
    test_rows: Count
    standing: Standing
    accepted_rounds: Count
    earned_units: Units
    slashed_units: Units


class ParticipantList(Result):
    """Everybody who takes part in an alliance, by address."""

    alliance: Count
    participants: tuple[Participant, ...]


class Alliance(Result):
    """Everything about an alliance but its rounds. With a stake below `threshold_units` a participant has no role.

    It starts from the winner of `base_task`, the submission `winner`, or from the fresh model with the root `start`.
    """

    summary: AllianceSummary
    family: str
    model: Settings
    metric: str
    higher_is_better: bool
    base_task: Count | None
    winner: Hex32 | None
    start: Hex32 | None
    latest: AcceptedModel | None
    best: AcceptedModel | None
    training: Training
    joining_stake_units: Units
    threshold_units: Units
    min_test_rows: Count
    participants: tuple[Participant, ...]
    parameters: dict[str, Any]


class JudgedUpdate(Result):
    """What the voters said of one update: votes in favour and against, their median score, what it gained."""

    proposer: Hex32
    in_favour: Count
    against: Count
    score_millionths: int | None
    gain_millionths: int | None
    is_accepted: bool


class Share(Result):
    """What a selected participant did in a round and came to; `merit_millionths` is the part in which it was right.

    While the round runs nothing is earned or slashed, and `has_acted` says whether it has done the current step.
    """

    account: Hex32
    role: AllianceRole
    stake_units: Units
    merit_millionths: Ratio | None
    has_acted: bool
    is_absent: bool
    earned_units: Units
    slashed_units: Units


class ProvenSum(Result):
    """The sum of a round with hidden updates (VI.H): who proved it, and the hashes of Enc(w) and of the proof.

    A sum of masked updates needs no proof: it opens Enc(w), as anybody can see.
    `summed` are those whose updates are in it; `liars` were left out as the aggregator showed to the voters,
    `unreadable` on its word. With too few others to hide each other there is no sum, and only that is said.
    """

    aggregator: Hex32
    digest: Hex32 | None
    proof: Hex32 | None
    root: Hex32 | None
    summed: tuple[Hex32, ...]
    liars: tuple[Hex32, ...]
    unreadable: tuple[Hex32, ...]


class Round(Result):
    """A round of an alliance: who was selected, what was voted on, and what became of it.

    `reward_units` is what it might have paid (L6), `paid_units` what it paid. `root` and `score_millionths` are the
    aggregate's; `in_favour` and `against` the votes about it. `proven` is the sum, where updates are hidden.
    """

    round: Count
    state: RoundState
    phase: str | None
    pool_units: Units
    reward_units: Units
    paid_units: Units
    slashed_units: Units
    root: Hex32 | None
    score_millionths: int | None
    in_favour: Count
    against: Count
    updates: tuple[JudgedUpdate, ...]
    shares: tuple[Share, ...]
    settled_height: Count | None
    proven: ProvenSum | None = None


class RoundList(Result):
    """The rounds of an alliance that began, oldest first."""

    alliance: Count
    name: str
    rounds: tuple[Round, ...]


class CastVote(Result):
    """A voter's +1 or -1 on a proposer's update, or on the aggregate (null), by its scores of that and the best."""

    voter: Hex32
    about: Hex32 | None
    score_millionths: int | None
    best_millionths: int
    vote: int


class Traced(Result):
    """A reward or a slash, where its units come from or go to, and the reckoning behind it.

    Of a reward `origins` add up to the units; of a slash what is burned and what the pool keeps do. `round` is null for
    the remainder of the pool at the end.
    """

    round: Count | None
    account: Hex32
    kind: Literal["proposing", "voting", "aggregating", "remainder", "lost vote", "absence", "false update"]
    units: Units
    origins: Origins
    burned_units: Units
    kept_units: Units
    steps: tuple[Step, ...]
    votes: tuple[CastVote, ...]


class AllianceExplanation(Result):
    """Rewards and slashes of an alliance, by round; then the remainder, once it has ended."""

    alliance: Count
    traces: tuple[Traced, ...]


class ProofPart(Result):
    """A part, in base64, of the file that shows that a round's sum was proven; all of them in order are the file."""

    alliance: Count
    round: Count
    part: Count
    parts: Count
    data: str
