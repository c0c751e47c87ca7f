"""What the devnet's tasks are about: a dataset, a model, a metric, and how each of three trainers trains. No behaviour.

Sized so that all of it trains within the devnet's submitting phase, on two cores that seven daemons share.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from flocknode.jobs import DatasetName
from flocknode.rpc.arena_records import Training

ApplicationName = Literal["digits", "diabetes", "mnist", "gpt"]
NAMES: tuple[ApplicationName, ...] = get_args(ApplicationName)

# The parts of a dataset, with their weights: both evaluation sets, then one private part for each trainer.
TRAINING_PARTS = ("first", "second", "third")
ROWS = {"a": 3, "b": 3, "first": 5, "second": 4, "third": 3}
# A third of the text is left out, or three validators would judge for minutes.
TEXT_ROWS = {"a": 1, "b": 1, "first": 4, "second": 3, "third": 2, "rest": 5}
SPLIT_SEED = 7


# With an alliance after the task, seven owners keep data of their own besides, of which nothing leaves their homes.
OWNERS = tuple(f"owner-{number}" for number in range(1, 8))
OWNER_ROWS = 2


@dataclass(frozen=True)
class Application:
    """One kind of task; `low` and `high` are the values of the metric that become the scores 0 and 1, in millionths."""

    name: ApplicationName
    dataset: DatasetName
    family: str
    model: Mapping[str, list[int]]
    metric: str
    trainings: tuple[Training, Training, Training]
    low: int = 0
    high: int = 1_000_000
    rows: Mapping[str, int] = field(default_factory=lambda: ROWS)

    def with_owners(self) -> "Application":
        """Return the same task on a dataset from which the owners' parts are cut as well."""
        return replace(self, rows={**self.rows, **dict.fromkeys(OWNERS, OWNER_ROWS)})

    def describe(self) -> str:
        """Return what is trained on what, in a few words."""
        settings = ", ".join(f"{name} {'-'.join(map(str, values))}" for name, values in self.model.items())
        return f"{self.family} ({settings}) on {self.dataset}, by {self.metric}"


DIGITS = Application(
    name="digits",
    dataset="digits",
    family="mlp",
    model={"layers": [64, 32, 10]},
    metric="accuracy",
    trainings=(
        Training(passes=30, learning_rate_millionths=200_000),
        Training(passes=12, learning_rate_millionths=100_000, batch_size=16, seed=2),
        Training(passes=60, learning_rate_millionths=150_000, batch_size=64, seed=3),
    ),
)
# A regression: targets have variance 1, so a mean squared error of 1 is what their mean would score.
DIABETES = Application(
    name="diabetes",
    dataset="diabetes",
    family="linear",
    model={"inputs": [10], "outputs": [1]},
    metric="mse",
    trainings=(
        Training(passes=60, learning_rate_millionths=10_000, batch_size=16, seed=1),
        Training(passes=30, learning_rate_millionths=20_000, batch_size=8, seed=2),
        Training(passes=120, learning_rate_millionths=5_000, seed=3),
    ),
)
# The second trainer begins its second epoch with the best model of the first.
MNIST = Application(
    name="mnist",
    dataset="mnist",
    family="cnn",
    model={"channels": [8, 16], "image": [1, 28, 28], "outputs": [10]},
    metric="accuracy",
    trainings=(
        Training(passes=3, learning_rate_millionths=3_000, seed=1, optimizer="adam"),
        Training(passes=4, learning_rate_millionths=100_000, batch_size=16, seed=2, warm_start=True),
        Training(passes=4, learning_rate_millionths=2_000, seed=3, optimizer="adam"),
    ),
)
# The loss of knowing nothing is ln 96 = 4.56 nats a character.
GPT = Application(
    name="gpt",
    dataset="text",
    family="gpt",
    model={"context": [64], "heads": [4], "layers": [2], "vocabulary": [96], "width": [48]},
    metric="loss",
    trainings=(
        Training(passes=1, learning_rate_millionths=4_000, batch_size=16, seed=1, optimizer="adam"),
        Training(passes=1, learning_rate_millionths=3_000, batch_size=8, seed=2, optimizer="adam", warm_start=True),
        Training(passes=1, learning_rate_millionths=3_000, batch_size=8, seed=3, optimizer="adam"),
    ),
    high=5_000_000,
    rows=TEXT_ROWS,
)
APPLICATIONS: Mapping[ApplicationName, Application] = {one.name: one for one in (DIGITS, DIABETES, MNIST, GPT)}
