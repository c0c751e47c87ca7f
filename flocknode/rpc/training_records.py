"""What the RPC methods tell of this node's own trainings, for tasks and for alliances; conventions are of `records`."""

from typing import Literal

from flocknode.rpc.records import Count, Hex32, Result

TrainingState = Literal["running", "done", "failed"]


class LossPoint(Result):
    """The loss of a training around one of its steps."""

    step: Count
    loss_millionths: int


class TrainingProgress(Result):
    """A training of this node: its steps, and its loss over time.

    `resumed_from` are the steps that were taken before this process.
    """

    name: str
    state: TrainingState
    reason: str
    started_ms: Count
    done: Count
    total: Count
    resumed_from: Count
    losses: tuple[LossPoint, ...]


class TrainingRun(TrainingProgress):
    """A training for one epoch of a task; `start` is the published model that it began with."""

    task: Count
    epoch: Count
    start: Hex32 | None


class TrainingList(Result):
    """What this node trained for tasks since it started, oldest first."""

    trainings: tuple[TrainingRun, ...]


class RoundTraining(TrainingProgress):
    """A training for one round of an alliance; `start` is the accepted model that it began with.

    Null is what the alliance starts from.
    """

    alliance: Count
    round: Count
    start: Hex32 | None


class RoundTrainingList(Result):
    """What this node trained for alliances since it started, oldest first."""

    trainings: tuple[RoundTraining, ...]
