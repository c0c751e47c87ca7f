"""What the learning worker can be asked, and what it answers. No torch here.

`flocknode.worker` is the side that asks, `flocknode.learning` the side that answers; `frames` is how both travel.
Jobs of rounds with hidden updates are in `private_jobs` and `masked_jobs`.
"""

from typing import Annotated, Literal, Protocol, get_args

from msgspec import Meta

from protocol.models import MetricSpec, MetricValue, ModelSpec
from protocol.transactions import ScoreEntry
from protocol.types import Bytes32, Count, Name, Record, Score

MAX_SUBMISSIONS = 2048
MAX_PARTS = 64
MAX_UPDATES = 1024
# All updates of a round, what comes of them without each one, and a few models beside.
MAX_CANDIDATES = 2 * MAX_UPDATES + 16
MAX_REASON_CHARACTERS = 500

# How the reason begins when a training's loss or weights left all bounds, LearningError's name aside.
DIVERGED = "training diverged"

FilePath = Annotated[str, Meta(min_length=1, max_length=1024)]
Reason = Annotated[str, Meta(max_length=MAX_REASON_CHARACTERS)]
Seed = Annotated[int, Meta(ge=0, le=2**32 - 1)]
# Becomes a file's name, so it can hold no path.
PartName = Annotated[str, Meta(pattern=r"\A[a-z0-9_-]{1,32}\Z")]
DatasetName = Literal["digits", "diabetes", "mnist", "text"]
DATASETS: tuple[DatasetName, ...] = get_args(DatasetName)
Optimizer = Literal["sgd", "adam"]
AggregationRule = Literal["fedavg", "median", "trimmed_mean", "krum", "multi_krum", "geometric_median"]
AGGREGATION_RULES: tuple[AggregationRule, ...] = get_args(AggregationRule)


class ProgressReport(Protocol):
    """How the worker's process tells how far a job is."""

    def __call__(self, done: int, total: int, loss_millionths: int | None = None, /) -> bool:
        """Tell how much is done, and a training's newest loss. Returns whether another job waits for this one."""


# --- jobs and their results ------------------------------------------------------------------------------------------


class DatasetPart(Record):
    """One part of a split; it gets rows in proportion to its weight."""

    name: PartName
    weight: Annotated[int, Meta(ge=1, le=10**6)]


class SplitDataset(Record, tag=1):
    """Cut a public dataset into one file per part, which together hold every row once; `directory` is made."""

    name: DatasetName
    seed: Seed
    parts: Annotated[tuple[DatasetPart, ...], Meta(min_length=1, max_length=MAX_PARTS)]
    directory: FilePath


class DatasetFile(Record):
    """The file of one part."""

    part: PartName
    path: FilePath
    rows: Count


class DatasetSplit(Record, tag=11):
    """The result of `SplitDataset` and `SplitFile`, in the order of the parts."""

    files: tuple[DatasetFile, ...]


class SplitFile(Record, tag=20):
    """Cut a dataset file at random into one file per part, as `SplitDataset` does with a public one."""

    dataset: FilePath
    seed: Seed
    parts: Annotated[tuple[DatasetPart, ...], Meta(min_length=1, max_length=MAX_PARTS)]
    directory: FilePath


class TrainSettings(Record):
    """Gradient descent: passes over the data, step size, rows per step, the seed of start and order, and the rule.

    `sgd` steps along the gradient, `adam` divides each weight's step by the recent size of its gradients.
    """

    passes: Annotated[int, Meta(ge=1, le=100_000)]
    learning_rate_millionths: Annotated[int, Meta(ge=1, le=10**9)]
    batch_size: Annotated[int, Meta(ge=1, le=2**24)]
    seed: Seed
    optimizer: Optimizer


class Train(Record, tag=2):
    """Train a model on a dataset file and write its weights to `output`; starts from the weights `initial` if given.

    With a `checkpoint` file it saves now and then where it is. The same job then goes on from there, after whatever
    ended it, to the very weights that it would have come to at once; and it makes room for others while they wait.
    """

    model: ModelSpec
    dataset: FilePath
    settings: TrainSettings
    output: FilePath
    initial: FilePath | None
    checkpoint: FilePath | None


class Trained(Record, tag=12):
    """The result of `Train`, measured on the training data: accuracy on classes, R^2 on real values, else the loss."""

    rows: Count
    loss_millionths: MetricValue
    metric: Name
    metric_millionths: MetricValue


class Paused(Record, tag=15):
    """A training gave way to another job; asking for it again goes on with its checkpoint."""

    done: Count
    total: Count


class Canonicalise(Record, tag=4):
    """Check a weights file against the declared architecture and write its canonical form."""

    model: ModelSpec
    source: FilePath
    output: FilePath


class Canonicalised(Record, tag=14):
    """The result of `Canonicalise`."""

    output: FilePath


class Submitted(Record):
    """One model to judge: its pseudonym, and its weights in clear."""

    tag: Bytes32
    path: FilePath


class Evaluate(Record, tag=3):
    """Judge submissions on a dataset file, in the order in which they were submitted.

    Two models whose outputs differ by less than `near_duplicate_millionths` on average count as one; 0 leaves only
    exact copies. `earlier` are models that were opened before all of these: what resembles one of them is its copy
    unless its score is better by `min_improvement_millionths`, but they get no verdict of their own.
    """

    model: ModelSpec
    metric: MetricSpec
    dataset: FilePath
    submissions: Annotated[tuple[Submitted, ...], Meta(max_length=MAX_SUBMISSIONS)]
    earlier: Annotated[tuple[Submitted, ...], Meta(max_length=MAX_SUBMISSIONS)]
    near_duplicate_millionths: Score
    min_improvement_millionths: Score


class MeasureBaseline(Record, tag=40):
    """Find what a dataset file's best constant answer scores: what a model is worth that has learned nothing."""

    metric: MetricSpec
    dataset: FilePath


class Baseline(Record, tag=50):
    """The result of `MeasureBaseline`, a score in millionths."""

    score: Score


class Assessment(Record):
    """A validator's word on one submission, and for people the reason when it is invalid."""

    entry: ScoreEntry
    reason: Reason


class Evaluated(Record, tag=13):
    """The result of `Evaluate`, in the order of its submissions."""

    assessments: tuple[Assessment, ...]


class MakeModel(Record, tag=5):
    """Write a freshly initialised model of an alliance: fixed point, as `flocknode.learning.fixed_point` describes."""

    model: ModelSpec
    seed: Seed
    output: FilePath


class QuantiseWeights(Record, tag=6):
    """Write the fixed-point form of a weights file, such as an Arena's winner, for an alliance to begin with."""

    model: ModelSpec
    source: FilePath
    output: FilePath


class Quantised(Record, tag=16):
    """The result of `MakeModel` and `QuantiseWeights`: how many weights there are, how many left the range."""

    parameters: Count
    clipped: Count


class SplitRows(Record, tag=7):
    """Cut one's own dataset at random into a training and a test file (VI.B); the same seed gives the same files."""

    dataset: FilePath
    seed: Seed
    test_millionths: Annotated[int, Meta(ge=1, le=999_999)]
    train_output: FilePath
    test_output: FilePath


class RowsSplit(Record, tag=17):
    """The result of `SplitRows`."""

    train_rows: Count
    test_rows: Count


class TrainUpdate(Record, tag=8):
    """Train an alliance's model on one's own data and write the update: both are fixed-point files (VI.C).

    Pauses and resumes as `Train` does; gives `Trained`.
    """

    model: ModelSpec
    dataset: FilePath
    settings: TrainSettings
    start: FilePath
    output: FilePath
    checkpoint: FilePath | None


class Update(Record):
    """One proposer's update: a fixed-point file, and its weight by L1."""

    path: FilePath
    weight: Annotated[int, Meta(ge=1, le=2**63 - 1)]


class AggregateUpdates(Record, tag=9):
    """Make one model of several and write it: the same files in the same order give the same bytes everywhere (VI.D).

    The caller sorts by the proposers' addresses. `faulty` is how many of them the rule should withstand.
    """

    model: ModelSpec
    updates: Annotated[tuple[Update, ...], Meta(min_length=1, max_length=MAX_UPDATES)]
    rule: AggregationRule
    faulty: Annotated[int, Meta(ge=0, le=MAX_UPDATES)]
    output: FilePath


class Refused(Record):
    """An update that is no model of the declared shape: its place in the job, and why."""

    index: Count
    reason: Reason


class Aggregated(Record, tag=18):
    """The result of `AggregateUpdates`: the output is made of all updates but the refused ones."""

    refused: tuple[Refused, ...]


class ScoreModels(Record, tag=10):
    """Measure models of an alliance, fixed-point files, on one's own dataset (VI.E)."""

    model: ModelSpec
    metric: MetricSpec
    dataset: FilePath
    candidates: Annotated[tuple[FilePath, ...], Meta(max_length=MAX_CANDIDATES)]


class ModelScore(Record):
    """The metric's own value, not mapped to a score; None, with the reason, for what is no model or does not run."""

    value_millionths: MetricValue | None
    reason: Reason


class Scored(Record, tag=19):
    """The result of `ScoreModels`, in the order of its candidates."""

    scores: tuple[ModelScore, ...]


ArenaJob = SplitDataset | SplitFile | Train | Evaluate | Canonicalise | MeasureBaseline
AllianceJob = MakeModel | QuantiseWeights | SplitRows | TrainUpdate | AggregateUpdates | ScoreModels
ArenaResult = DatasetSplit | Trained | Paused | Evaluated | Canonicalised | Baseline
AllianceResult = Quantised | RowsSplit | Aggregated | Scored


def shorten(reason: str) -> str:
    """Return a reason that fits into a frame and a log line."""
    return reason if len(reason) <= MAX_REASON_CHARACTERS else reason[: MAX_REASON_CHARACTERS - 3] + "..."
