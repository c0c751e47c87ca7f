"""The models that a participant of an alliance works with: where it starts, what others trained, their aggregate.

All of them are files of fixed-point numbers, which every honest node finds or makes alike.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import structlog
import trio

from flocknode.errors import FlocknodeError
from flocknode.jobs import AggregateUpdates, AggregationRule, QuantiseWeights, ScoreModels, Update
from flocknode.network.errors import BlobUnavailable
from flocknode.participants.kit import Kit
from flocknode.participants.validator import fetch
from protocol.alliance_settings import Aggregator
from protocol.blobs import BlobId
from protocol.formulas.alliance import aggregation_weights, count_faulty
from protocol.models import MetricValue
from protocol.rules.alliance.records import Accepted, Alliance, get_participant, get_update
from protocol.rules.arena.records import get_submission, get_task
from protocol.types import Address

log = structlog.get_logger()

# How long to wait before peers are asked again for a blob that none of them delivered.
AGAIN_S = 0.5
START = "start.safetensors"
RULES: dict[Aggregator, AggregationRule] = {
    Aggregator.FEDAVG: "fedavg",
    Aggregator.MEDIAN: "median",
    Aggregator.TRIMMED_MEAN: "trimmed_mean",
    Aggregator.KRUM: "krum",
    Aggregator.MULTI_KRUM: "multi_krum",
    Aggregator.GEOMETRIC_MEDIAN: "geometric_median",
}


class StartMissing(FlocknodeError):
    """The model that an alliance starts from cannot be opened with what stands on the log."""

    number = 147


async def bring(kit: Kit, blob: BlobId) -> Path:
    """Return the file of a blob; peers are asked again and again until one delivers it, and why none does is logged."""
    is_told = False
    while not kit.blobs.has(blob):
        try:
            await fetch(kit, blob)
        except BlobUnavailable as error:
            if not is_told:
                log.warning("waiting for a blob", reason=error.message)
            is_told = True
            await trio.sleep(AGAIN_S)
    return kit.blobs.path(blob)


async def bring_model(kit: Kit, alliance: Alliance, accepted: Accepted | None) -> Path:
    """Return the file of an accepted model, or of what the alliance starts from where that is None.

    Waits until a peer delivers it. Raises `StartMissing`, `InvalidProof` or `JobFailed`.
    """
    if accepted is not None:
        return await bring(kit, accepted.model)
    if alliance.spec.fresh_model is not None:
        return await bring(kit, alliance.spec.fresh_model)
    return await derive_start(kit, alliance)


async def derive_start(kit: Kit, alliance: Alliance) -> Path:
    """Return the start of an alliance that improves a task's winner, made here from what the log has of that.

    Every node does so by itself: nobody's word stands for it.
    """
    start = folder_of(kit, alliance) / START
    if start.is_file():
        return start
    blob, key = find_winner(kit, alliance)
    await bring(kit, blob)
    with scratch_files(kit, alliance, "winner", "start") as (clear, output):
        await kit.open_blob(blob, clear, key)
        await kit.worker.run(QuantiseWeights(alliance.spec.model, str(clear), str(output)))
        await trio.to_thread.run_sync(os.replace, output, start)
    kit.report(alliance, f"starts from the winner of task {alliance.spec.base_task}")
    return start


def find_winner(kit: Kit, alliance: Alliance) -> tuple[BlobId, bytes]:
    """Return the encrypted blob of the submission that the alliance improves, and its key. Raises `StartMissing`."""
    assert alliance.spec.base_task is not None, "it starts from a task's winner"
    assert alliance.winner is not None, "it starts from a task's winner"
    view = kit.chain.view
    task = get_task(view, alliance.spec.base_task)
    winner = get_submission(view, task.id, task.spec.epochs - 1, alliance.winner)
    if winner is None or winner.key is None:
        raise StartMissing(f"the winner of task {task.id} was not opened")
    return winner.blob, winner.key


async def aggregate(kit: Kit, alliance: Alliance, proposers: Sequence[Address], paths: Sequence[Path]) -> BlobId:
    """Make one model of the updates of some proposers, sorted, put it into the store, and return its blob.

    Raises `JobFailed` when none of them is a model.
    """
    with scratch_files(kit, alliance, "aggregate") as (output,):
        await aggregate_into(kit, alliance, proposers, paths, output)
        return await put_blob(kit, output)


async def aggregate_into(
    kit: Kit, alliance: Alliance, proposers: Sequence[Address], paths: Sequence[Path], output: Path
) -> None:
    """Write the model that the alliance's rule makes of some updates; what is no model is left out, and told."""
    settings = alliance.spec.settings
    weights = weigh(kit, alliance, proposers)
    job = AggregateUpdates(
        alliance.spec.model,
        tuple(Update(str(path), weights[proposer]) for proposer, path in zip(proposers, paths, strict=True)),
        RULES[settings.aggregator],
        count_faulty(len(proposers), faulty_millionths=settings.faulty_millionths),
        str(output),
    )
    for refused in (await kit.worker.run(job)).refused:
        who = kit.chain.name_of(proposers[refused.index])
        kit.report(alliance, f"leaves out the update of {who}: {refused.reason}")


def weigh(kit: Kit, alliance: Alliance, proposers: Sequence[Address]) -> dict[bytes, int]:
    """Return the weight of each proposer's update by L1, from the rows that they declared."""
    rows = {}
    for proposer in proposers:
        participant = get_participant(kit.chain.view, alliance.id, proposer)
        assert participant is not None, "a proposer takes part"
        rows[proposer] = participant.train_rows
    return aggregation_weights(rows)


async def score(kit: Kit, alliance: Alliance, dataset: str, candidates: Sequence[Path]) -> list[MetricValue | None]:
    """Return what each model comes to on a dataset; None for what is no model of the alliance, which is told."""
    job = ScoreModels(alliance.spec.model, alliance.spec.metric, dataset, tuple(map(str, candidates)))
    with kit.works.track("evaluating", describe(alliance), "models") as advance:
        advance(0, len(candidates))
        found = await kit.worker.run(job, lambda progress: advance(progress.done, progress.total))
    for path, one in zip(candidates, found.scores, strict=True):
        if one.value_millionths is None:
            kit.report(alliance, f"{path.name[:8]} is no model: {one.reason}")
    return [one.value_millionths for one in found.scores]


def list_updates(kit: Kit, alliance: Alliance, proposers: Sequence[Address]) -> dict[Address, BlobId]:
    """Return the blobs of those of the proposers that have proposed an update in the current round."""
    found = {proposer: get_update(kit.chain.view, alliance.id, alliance.round, proposer) for proposer in proposers}
    return {proposer: update.blob for proposer, update in found.items() if update is not None}


async def put_blob(kit: Kit, source: Path) -> BlobId:
    """Put a file into the blob store, off the event loop."""

    def put() -> BlobId:
        with source.open("rb") as file:
            return kit.blobs.put(file)

    return await trio.to_thread.run_sync(put)


def describe(alliance: Alliance) -> str:
    """Return what a piece of work is for, for people."""
    return f"alliance {alliance.id} {alliance.spec.name} t{alliance.round + 1}"


def folder_of(kit: Kit, alliance: Alliance) -> Path:
    """Return the node's own folder for an alliance, made if there is none."""
    folder = kit.alliances / str(alliance.id)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return folder


@contextmanager
def scratch_files(kit: Kit, alliance: Alliance, *names: str) -> Iterator[tuple[Path, ...]]:
    """Give places for files that are removed at the end."""
    kit.scratch.mkdir(parents=True, exist_ok=True)
    prefix = f"alliance-{alliance.id}-round-{alliance.round}"
    paths = tuple(kit.scratch / f"{prefix}-{name}.safetensors" for name in names)
    try:
        yield paths
    finally:
        for path in paths:
            path.unlink(missing_ok=True)
