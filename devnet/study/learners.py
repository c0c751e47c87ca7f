"""The learning of a study: data for each client, and the jobs of a round, all done by one learning worker."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copyfile
from typing import Literal, get_args

from devnet.study.attacks import flip_labels
from flocknode.jobs import (
    DIVERGED,
    AggregateUpdates,
    AggregationRule,
    DatasetPart,
    QuantiseWeights,
    ScoreModels,
    SplitDataset,
    SplitRows,
    Train,
    TrainSettings,
    TrainUpdate,
    Update,
)
from flocknode.worker import JobFailed, Worker
from protocol.models import MetricSpec, ModelSpec, mlp_model

DataName = Literal["digits", "mnist"]
DATA: tuple[DataName, ...] = get_args(DataName)
MODELS: Mapping[DataName, ModelSpec] = {"digits": mlp_model(64, 32, 10), "mnist": mlp_model(784, 32, 10)}
METRIC = MetricSpec("accuracy", True, 0, 1_000_000)
CLASSES = 10
# Local training: three passes over a client's rows.
PASSES, RATE_MILLIONTHS, BATCH_SIZE = 3, 100_000, 16
ARENA_PASSES = 20
# Of all rows a seventh is kept apart to measure the global model on, of each client's a quarter to vote on.
TEST_WEIGHT, CLIENT_WEIGHT = 1, 6
OWN_TEST_MILLIONTHS = 250_000


@dataclass(frozen=True)
class Client:
    """One client's own data: rows to train on, the same with labels turned around, and rows to vote on."""

    train: Path
    flipped: Path
    test: Path
    rows: int


@dataclass(frozen=True)
class Data:
    """A dataset cut into parts, one for each client, and one that nobody trains on; and the model to begin with."""

    name: DataName
    test: Path
    start: Path
    clients: tuple[Client, ...]


async def prepare_data(worker: Worker, name: DataName, *, clients: int, seed: int, directory: Path) -> Data:
    """Cut a dataset for so many clients, and make the model that they begin with: an Arena's winner, on few rows."""
    names = ["arena", *(f"client{number:03}" for number in range(clients))]
    parts = (DatasetPart("test", TEST_WEIGHT * clients), *(DatasetPart(one, CLIENT_WEIGHT) for one in names))
    split = await worker.run(SplitDataset(name, seed, parts, str(directory)))
    test, arena, *own = (Path(file.path) for file in split.files)
    winner, start = directory / "winner", directory / "start"
    settings = TrainSettings(ARENA_PASSES, RATE_MILLIONTHS, BATCH_SIZE, seed, "sgd")
    await worker.run(Train(MODELS[name], str(arena), settings, str(winner), None, None))
    await worker.run(QuantiseWeights(MODELS[name], str(winner), str(start)))
    return Data(name, test, start, tuple([await _cut_own(worker, path, seed) for path in own]))


async def _cut_own(worker: Worker, whole: Path, seed: int) -> Client:
    train, flipped, test = (whole.with_suffix(suffix) for suffix in (".train", ".flipped", ".test"))
    rows = await worker.run(SplitRows(str(whole), seed, OWN_TEST_MILLIONTHS, str(train), str(test)))
    flip_labels(train, flipped, CLASSES)
    return Client(train, flipped, test, rows.train_rows)


@dataclass(frozen=True)
class Learner:
    """Does the jobs of one study's rounds."""

    worker: Worker
    model: ModelSpec

    async def train(self, data: Path, *, start: Path, output: Path, seed: int) -> None:
        """Write the update that training on some rows gives; nothing new where it diverges, as from a spoiled model."""
        settings = TrainSettings(PASSES, RATE_MILLIONTHS, BATCH_SIZE, seed, "sgd")
        try:
            await self.worker.run(TrainUpdate(self.model, str(data), settings, str(start), str(output), None))
        except JobFailed as error:
            if DIVERGED not in error.message:
                raise
            copyfile(start, output)

    async def aggregate(
        self, updates: Sequence[tuple[Path, int]], *, rule: AggregationRule, faulty: int, output: Path
    ) -> None:
        """Write what a rule makes of updates with their weights."""
        listed = tuple(Update(str(path), weight) for path, weight in updates)
        await self.worker.run(AggregateUpdates(self.model, listed, rule, faulty, str(output)))

    async def score(self, data: Path, models: Sequence[Path]) -> list[int]:
        """Return the accuracy of each model on some rows, in millionths."""
        job = ScoreModels(self.model, METRIC, str(data), tuple(map(str, models)))
        values = [score.value_millionths for score in (await self.worker.run(job)).scores]
        return [0 if value is None else value for value in values]
