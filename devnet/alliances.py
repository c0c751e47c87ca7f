"""An alliance on real daemons, as RPC calls: created by one, joined by all with data of their own, told to its end."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple, TypeVar

import msgspec
import trio

from devnet.applications import SPLIT_SEED
from devnet.daemon import Daemon
from devnet.errors import DevnetError
from devnet.homes import make_split
from devnet.play import require_included
from flocknode.errors import ConnectionLost
from flocknode.jobs import DatasetName
from flocknode.rpc.alliance_records import AcceptedModel, AllianceSent, Joined, RoundList, Training
from flocknode.rpc.call import convert_job_event
from flocknode.rpc.client import open_client
from flocknode.rpc.records import AllianceEvent, ChainHead
from flocknode.worker import Worker
from protocol.types import UNITS_PER_FML

R = TypeVar("R")

WORK = "work"
ENDED = ("finished", "expired", "cancelled")
POLL_S = 0.05
# On a busy machine it takes a while until all learning workers run and have cut their node's data.
PATIENT = {"opening_phase_ms": 300_000}


@dataclass(frozen=True)
class Plan:
    """What an alliance is about: either a finished task that it improves, or a fresh model with its metric.

    `settings` are those that differ from the chain's own.
    """

    name: str
    participants: int
    escrow_fml: int
    training: Training
    base_task: int | None = None
    family: str | None = None
    model: Mapping[str, list[int]] | None = None
    metric: str | None = None
    settings: Mapping[str, int | str] = field(default_factory=dict)
    min_test_rows: int | None = None


class Heard(NamedTuple):
    """What a daemon told of an alliance, and when, in seconds of trio's clock."""

    at_s: float
    event: AllianceEvent


async def ask(daemon: Daemon, method: str, result: type[R], /, **params: object) -> R:
    """Return what a daemon answers. Raises `RpcError`, `NotRunning` or `ConnectionLost`."""
    async with open_client(daemon.home) as client:
        return await client.call(method, result, **params)


async def create_alliance(daemon: Daemon, plan: Plan) -> AllianceSent:
    """Have a daemon create an alliance, and return it once it is on the log. Raises `DevnetError`."""
    created = await ask(
        daemon,
        "alliance.create",
        AllianceSent,
        name=plan.name,
        base_task=None if plan.base_task is None else str(plan.base_task),
        family=plan.family,
        model=plan.model,
        metric=plan.metric,
        escrow_units=plan.escrow_fml * UNITS_PER_FML,
        min_test_rows=plan.min_test_rows,
        participants=plan.participants,
        training=msgspec.to_builtins(plan.training),
        settings=plan.settings,
    )
    require_included(created.outcome, "creating the alliance")
    if created.alliance is None:
        raise DevnetError("the alliance is on the log and has no number")
    return created


async def join_all(
    daemons: Mapping[str, Daemon], created: AllianceSent, data: Mapping[str, Path], *, test_share_millionths: int
) -> dict[str, Joined]:
    """Have all daemons join at once, each with a file of its own; returns their rows by name. Raises `DevnetError`."""
    joined: dict[str, Joined] = {}

    async def join(name: str, seed: int) -> None:
        await reach(daemons[name], created.outcome.height or 0)
        joined[name] = await ask(
            daemons[name],
            "alliance.join",
            Joined,
            alliance=str(created.alliance),
            dataset=str(data[name].absolute()),
            test_share_millionths=test_share_millionths,
            seed=seed,
        )
        require_included(joined[name].outcome, f"{name}'s joining")

    async with trio.open_nursery() as nursery:
        for seed, name in enumerate(data):
            nursery.start_soon(join, name, seed)
    return joined


async def reach(daemon: Daemon, height: int) -> None:
    """Return once a daemon has a height."""
    async with open_client(daemon.home) as client:
        while (await client.call("chain.head", ChainHead)).height < height:  # noqa: ASYNC110 - another process decides
            await trio.sleep(POLL_S)


async def follow(daemon: Daemon, alliance: int, *, from_height: int = 1) -> AsyncIterator[Heard]:
    """Yield what a daemon tells of an alliance, its own work included, to the end. Raises `ConnectionLost`."""
    async with open_client(daemon.home) as client:
        async for notification in await client.subscribe(["tasks"], from_height=from_height):
            event = convert_job_event(notification.event)
            if isinstance(event, AllianceEvent) and event.alliance == alliance:
                yield Heard(trio.current_time(), event)
                if event.phase in ENDED:
                    return
    raise ConnectionLost(f"{daemon.name} ended the subscription")


async def list_rounds(daemon: Daemon, alliance: int) -> RoundList:
    """Return all rounds of an alliance that began."""
    return await ask(daemon, "alliance.rounds", RoundList, alliance=str(alliance), limit=1_000)


async def cut_dataset(
    name: DatasetName, parts: Mapping[str, int], folder: Path, *, seed: int = SPLIT_SEED
) -> dict[str, Path]:
    """Cut a dataset into files by weights, which together hold every row once. Raises `JobFailed`."""
    with TemporaryDirectory() as scratch:
        worker = Worker(Path(scratch))
        try:
            await worker.run(make_split(name, parts, folder, seed=seed))
        finally:
            await worker.stop()
    return {part: folder / f"{part}.safetensors" for part in parts}


def find_model(daemons: Iterable[Daemon], model: AcceptedModel) -> Path:
    """Return the file of a model in a home that has it, as those of its round's voters do. Raises `DevnetError`."""
    paths = (daemon.home.blobs / f"{model.root}-{model.length_bytes}" for daemon in daemons)
    found = next((path for path in paths if path.is_file()), None)
    if found is None:
        raise DevnetError(f"no home has the model {model.root}")
    return found


def last_score(rounds: RoundList) -> int | None:
    """Return the score of the newest accepted model, in millionths."""
    scores = [one.score_millionths for one in rounds.rounds if one.state == "accepted"]
    return scores[-1] if scores else None


def count_outcomes(rounds: RoundList, *states: str) -> int:
    """Return how many rounds ended so."""
    return sum(one.state in states for one in rounds.rounds)


def step_seconds(heard: Sequence[Heard]) -> dict[str, float]:
    """Return how long each step took in all, by name, from the events in their order; a settlement takes no time."""
    phases = [one for one in heard if one.event.phase not in (WORK, "accepted", "rejected", "void", "opening")]
    found: dict[str, float] = {}
    for one, following in pairwise(phases):
        found[one.event.phase] = found.get(one.event.phase, 0.0) + following.at_s - one.at_s
    return found
