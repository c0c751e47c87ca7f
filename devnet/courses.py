"""Rounds of an alliance once more, in one process: the same jobs on the same files, without votes, blobs and log.

Aggregation is exact, so who repeats what daemons accepted comes to their model, byte for byte.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from flocknode.home import Home
from flocknode.jobs import AggregateUpdates, TrainSettings, TrainUpdate, Update
from flocknode.keystore import load_public_keys
from flocknode.rpc.alliance_records import Round, Training
from flocknode.worker import Worker
from protocol.formulas.alliance import aggregation_weights, is_better
from protocol.models import ModelSpec


@dataclass(frozen=True)
class Owner:
    """Whose data it is to train on: the file, and the seed of that participant."""

    split: Path
    seed: int


@dataclass(frozen=True)
class Recipe:
    """How all train: the model, the training of one round, and whose data there is, by account in hex."""

    model: ModelSpec
    training: Training
    owners: Mapping[str, Owner]


def list_owners(homes: Iterable[Home], alliance: int) -> dict[str, Owner]:
    """Return what each home trains on in an alliance that `join_all` had them join in this order."""
    return {
        load_public_keys(home).account.hex(): Owner(home.alliances / str(alliance) / "train.safetensors", seed)
        for seed, home in enumerate(homes)
    }


def list_proposers(rounds: Iterable[Round]) -> list[list[str]]:
    """Return who trained in each round, sorted."""
    return [sorted(share.account for share in one.shares if share.role == "proposer") for one in rounds]


def list_counted(found: Round) -> list[str]:
    """Return whose updates are in the model of an accepted round, sorted."""
    if found.proven is not None:
        return sorted(found.proven.summed)
    return sorted(update.proposer for update in found.updates if update.is_accepted)


async def run_rounds(
    worker: Worker, recipe: Recipe, rounds: Sequence[Sequence[str]], start: Path, folder: Path
) -> Path:
    """Return the file of the model after rounds in which these accounts train and all of them count."""
    model = start
    for number, accounts in enumerate(rounds):
        model = await run_round(worker, recipe, accounts, number, model, folder)
    return model


async def repeat_rounds(
    worker: Worker, recipe: Recipe, rounds: Sequence[Round], start: Path, folder: Path, *, higher_is_better: bool
) -> Path:
    """Return the file of the model that daemons came to in these rounds, made of the updates that they accepted.

    After a rejection the best model is the latest again (VI.E).
    """
    latest = best = start
    best_score: int | None = None
    for one in rounds:
        if one.state == "accepted":
            assert one.score_millionths is not None, "a model that nobody could load was accepted"
            latest = await run_round(worker, recipe, list_counted(one), one.round, latest, folder)
            if is_better(one.score_millionths, best_score, higher_is_better=higher_is_better):
                best, best_score = latest, one.score_millionths
        elif one.state == "rejected":
            latest = best
    return latest


async def run_round(
    worker: Worker, recipe: Recipe, accounts: Sequence[str], number: int, start: Path, folder: Path
) -> Path:
    """Return the file of what these accounts make of a model in a round, numbered from 0. Raises `JobFailed`."""
    await trio.Path(folder).mkdir(exist_ok=True)
    training = recipe.training
    updates: dict[bytes, Path] = {}
    rows: dict[bytes, int] = {}
    for account in accounts:
        owner, output = recipe.owners[account], folder / f"{account}.safetensors"
        settings = TrainSettings(
            training.passes,
            training.learning_rate_millionths,
            training.batch_size,
            owner.seed + number,
            "sgd",
        )
        job = TrainUpdate(recipe.model, str(owner.split), settings, str(start), str(output), None)
        trained = await worker.run(job)
        updates[bytes.fromhex(account)], rows[bytes.fromhex(account)] = output, trained.rows
    weights = aggregation_weights(rows)
    model = folder / f"round-{number}.safetensors"
    jobs = tuple(Update(str(path), weights[proposer]) for proposer, path in updates.items())
    await worker.run(AggregateUpdates(recipe.model, jobs, "fedavg", 0, str(model)))
    return model
