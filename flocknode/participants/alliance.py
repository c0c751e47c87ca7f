"""An alliance's duties: train, fetch, judge, aggregate (white paper VI.C to VI.F; alliance.md "A round").

The own data stays in the own folder: only the worker reads it, and only weights and scores leave.
"""

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import trio

from flocknode.errors import FlocknodeError
from flocknode.jobs import TrainSettings, TrainUpdate
from flocknode.network.errors import BlobUnavailable
from flocknode.participants.alliance_models import (
    AGAIN_S,
    aggregate,
    aggregate_into,
    bring,
    bring_model,
    describe,
    list_updates,
    put_blob,
    score,
    scratch_files,
)
from flocknode.participants.diary import CastVote, OwnSplit
from flocknode.participants.hidden_files import note_updates
from flocknode.participants.kit import Kit
from flocknode.participants.patience import run_while
from flocknode.participants.validator import SALT_BYTES, fetch
from flocknode.trainings import Teller
from flocknode.worker import JobFailed
from protocol.alliance_acts import CommitVote, ConfirmAggregate, HoldUpdates, ProposeUpdate, RevealVote
from protocol.alliance_settings import RewardRule
from protocol.blinding import vote_commitment
from protocol.blobs import BlobId
from protocol.models import MetricValue
from protocol.rules.alliance import duties
from protocol.rules.alliance.duties import votes_on_aggregate
from protocol.rules.alliance.records import Alliance, get_alliance, get_round
from protocol.tensor_files import MAX_HEADER_BYTES
from protocol.types import Address

T = TypeVar("T")
Judge = Callable[[Kit, Alliance], Awaitable[CastVote]]

# The part of what is left of the holding phase after which a voter says what it has.
FETCH_SHARE = 0.7


class SplitMissing(FlocknodeError):
    """This node's account takes part in an alliance, but its data for that lies in another home."""

    number = 145
    help = "Start the node on the home that joined."


class VoteMissing(FlocknodeError):
    """This node's account committed to a vote that the home does not know."""

    number = 146
    help = "Start the node on the home that voted."


class StepClosed(FlocknodeError):
    """A step of a round closed before this node had done its part."""

    number = 149


async def perform(kit: Kit, duty: duties.AllianceDuty) -> None:
    """Do one duty; returns when its transaction is on the log. Raises what kept it from getting there."""
    alliance = get_alliance(kit.chain.view, duty.alliance)
    match duty:
        case duties.TrainUpdate():
            await propose_update(kit, alliance)
        case duties.FetchUpdates():
            start = await keep_up(kit, alliance, lambda: bring_model(kit, alliance, alliance.latest))
            await hold_updates(kit, alliance, longest=(await trio.Path(start).stat()).st_size + MAX_HEADER_BYTES)
        case duties.VoteOnUpdates():
            await commit_vote(kit, alliance, judge)
        case duties.RevealOwnVote():
            await reveal_vote(kit, alliance)
        case duties.ConfirmOwnAggregate():
            await confirm_aggregate(kit, alliance)


async def propose_update(kit: Kit, alliance: Alliance) -> None:
    """Train from the latest model on the own data, and propose the result; an earlier attempt's, if there is one."""
    blob = kit.diary.load_update(alliance.id, alliance.round)
    if blob is None or not kit.blobs.has(blob):
        blob = await keep_up(kit, alliance, lambda: train(kit, alliance))
        kit.diary.save_update(alliance.id, alliance.round, blob)
    await kit.sender.apply(ProposeUpdate(alliance.id, alliance.round, blob))
    kit.report(alliance, f"proposed update {blob.root.hex()[:8]}")


async def train(kit: Kit, alliance: Alliance) -> BlobId:
    """Return the blob of an update, trained from the latest model."""
    start = await bring_model(kit, alliance, alliance.latest)
    with scratch_files(kit, alliance, "update") as (output,):
        await train_into(kit, alliance, start, output)
        blob = await put_blob(kit, output)
        checkpoint_file(kit, alliance).unlink(missing_ok=True)
        return blob


async def train_into(kit: Kit, alliance: Alliance, start: Path, output: Path) -> None:
    """Write an update, trained in the learning worker (Algorithm 1); the checkpoint stays until it is kept."""
    split = load_split(kit, alliance)
    training = alliance.spec.training
    settings = TrainSettings(
        training.passes,
        training.learning_rate_millionths,
        training.batch_size,
        # Another order of the rows in every round.
        (split.seed + alliance.round) % 2**32,
        "sgd",
    )
    drop_stale_checkpoints(kit, alliance)
    kit.scratch.mkdir(parents=True, exist_ok=True)
    checkpoint = checkpoint_file(kit, alliance)
    job = TrainUpdate(alliance.spec.model, split.train, settings, str(start), str(output), str(checkpoint))
    latest = None if alliance.latest is None else alliance.latest.model.root
    with kit.works.track("training", describe(alliance), "steps") as advance:
        with kit.trainings.follow(alliance, latest) as run:
            result = await kit.worker.run(job, Teller(run, advance))
    kit.report(alliance, f"trained on {result.rows} rows: {result.metric} {result.metric_millionths / 1e6:.4f}")


def checkpoint_file(kit: Kit, alliance: Alliance) -> Path:
    """Return where a training for the alliance's round keeps how far it is."""
    return kit.scratch / f"alliance-{alliance.id}-round-{alliance.round}-update.checkpoint"


def drop_stale_checkpoints(kit: Kit, alliance: Alliance) -> None:
    """Remove what is left of trainings for other rounds of the alliance."""
    current = f"alliance-{alliance.id}-round-{alliance.round}-"
    for path in kit.scratch.glob(f"alliance-{alliance.id}-round-*.checkpoint*"):
        if not path.name.startswith(current):
            path.unlink(missing_ok=True)


async def hold_updates(kit: Kit, alliance: Alliance, *, longest: int) -> None:
    """Fetch what was proposed until shortly before the phase ends, and say what is here; nothing longer counts."""
    proposers = tuple(one.address for one in get_round(kit.chain.view, alliance.id, alliance.round).proposers)
    wanted = list_updates(kit, alliance, proposers)
    assert alliance.deadline_ms is not None, "a phase in which voters act has a deadline"
    left_s = (alliance.deadline_ms - kit.chain.head.time_ms) / 1_000
    reasons: dict[Address, str] = {}
    note_updates(kit, alliance, wanted.values())
    with trio.move_on_after(max(0.0, left_s * FETCH_SHARE)):
        async with trio.open_nursery() as nursery:
            for proposer, blob in wanted.items():
                if blob.length > longest:
                    reasons[proposer] = (
                        f"{blob.length} bytes are no update of the alliance, which takes up to {longest}"
                    )
                elif not kit.blobs.has(blob):
                    nursery.start_soon(fetch_update, kit, proposer, blob, reasons)
    held = tuple(sorted(proposer for proposer, blob in wanted.items() if kit.blobs.has(blob)))
    for proposer in sorted(wanted.keys() - set(held)):
        reason = reasons.get(proposer, "it did not come in time")
        kit.report(alliance, f"lacks the update of {kit.chain.name_of(proposer)}: {reason}")
    await kit.sender.apply(HoldUpdates(alliance.id, alliance.round, held))
    kit.report(alliance, f"holds {len(held)} of {len(proposers)} updates")


async def fetch_update(kit: Kit, proposer: Address, blob: BlobId, reasons: dict[Address, str]) -> None:
    """Fetch one update, again and again; `reasons` has why it is not here yet."""
    while not kit.blobs.has(blob):
        try:
            await fetch(kit, blob)
        except BlobUnavailable as error:
            reasons[proposer] = error.message
            await trio.sleep(AGAIN_S)


async def commit_vote(kit: Kit, alliance: Alliance, judge: Judge) -> None:
    """Score what is voted on with the own test rows, save the scores, and commit to them."""
    vote = kit.diary.load_vote(alliance.id, alliance.round)
    if vote is None:
        vote = await keep_up(kit, alliance, lambda: judge(kit, alliance))
        kit.diary.save_vote(alliance.id, alliance.round, vote)
    commitment = vote_commitment(
        kit.chain.id,
        alliance.id,
        alliance.round,
        kit.address,
        vote.salt,
        best=vote.best,
        scores=vote.scores,
        aggregate=vote.aggregate,
    )
    await kit.sender.apply(CommitVote(alliance.id, alliance.round, commitment))
    kit.report(alliance, f"committed to the scores of {len(vote.scores)} models")


async def judge(kit: Kit, alliance: Alliance) -> CastVote:
    """Return the own scores of the best accepted model and of what is voted on (VI.E)."""
    split = load_split(kit, alliance)
    frozen = get_round(kit.chain.view, alliance.id, alliance.round).frozen
    paths = await bring_updates(kit, alliance, frozen)
    best = await bring_model(kit, alliance, alliance.best)
    made = None
    if votes_on_aggregate(alliance):
        made = await aggregate_any(kit, alliance, split, frozen, paths)
        paths = [kit.blobs.path(made)]
    own, *scores = await score(kit, alliance, split.test, [best, *paths])
    if own is None:
        raise JobFailed("the best accepted model does not run on the own test rows")
    return CastVote(kit.randomness(SALT_BYTES), own, tuple(scores), made)


async def bring_updates(kit: Kit, alliance: Alliance, proposers: tuple[Address, ...]) -> list[Path]:
    """Return the files of some proposers' updates; waits for those that are not here."""
    wanted = list_updates(kit, alliance, proposers)
    return [await bring(kit, wanted[proposer]) for proposer in proposers]


async def aggregate_any(
    kit: Kit, alliance: Alliance, split: OwnSplit, proposers: tuple[Address, ...], paths: list[Path]
) -> BlobId:
    """Return the aggregate of the updates; the first of them if none is a model, so that all voters reject the same."""
    try:
        return await aggregate(kit, alliance, proposers, paths)
    except JobFailed:
        if any(value is not None for value in await score(kit, alliance, split.test, paths)):
            raise
        return list_updates(kit, alliance, proposers)[proposers[0]]


async def reveal_vote(kit: Kit, alliance: Alliance) -> None:
    """Show the scores behind the commitment."""
    vote = kit.diary.load_vote(alliance.id, alliance.round)
    if vote is None:
        raise VoteMissing(f"the vote in round {alliance.round + 1} of alliance {alliance.id} is not in this home")
    await kit.sender.apply(RevealVote(alliance.id, alliance.round, vote.salt, vote.best, vote.scores, vote.aggregate))
    kit.report(alliance, f"revealed the scores of {len(vote.scores)} models")


async def confirm_aggregate(kit: Kit, alliance: Alliance) -> None:
    """Aggregate the accepted updates, score the result, and name it."""
    confirmation = await keep_up(kit, alliance, lambda: make_confirmation(kit, alliance))
    await kit.sender.apply(confirmation)
    kit.report(alliance, f"confirmed aggregate {confirmation.model.root.hex()[:8]}: {confirmation.score / 1e6:.4f}")


async def make_confirmation(kit: Kit, alliance: Alliance) -> ConfirmAggregate:
    """Return what this voter says of the aggregate, with what each update adds where rewards go by that."""
    split = load_split(kit, alliance)
    accepted = get_round(kit.chain.view, alliance.id, alliance.round).accepted
    paths = await bring_updates(kit, alliance, accepted)
    model = await aggregate(kit, alliance, accepted, paths)
    count = len(accepted) if alliance.spec.settings.reward is RewardRule.IMPACT else 0
    with scratch_files(kit, alliance, *(f"without-{index}" for index in range(count))) as outputs:
        for index, output in enumerate(outputs):
            await leave_out(kit, alliance, accepted, paths, index, output)
        value, *without = await score(kit, alliance, split.test, [kit.blobs.path(model), *outputs])
    if value is None:
        raise JobFailed("the aggregate does not run on the own test rows")
    gains = tuple(compute_gain(alliance, value, other) for other in without)
    return ConfirmAggregate(alliance.id, alliance.round, model, value, gains)


async def leave_out(
    kit: Kit, alliance: Alliance, proposers: tuple[Address, ...], paths: list[Path], index: int, output: Path
) -> None:
    """Write the aggregate of all updates but one; without the only one the latest model stays."""
    others = proposers[:index] + proposers[index + 1 :]
    if others:
        await aggregate_into(kit, alliance, others, paths[:index] + paths[index + 1 :], output)
    else:
        latest = await bring_model(kit, alliance, alliance.latest)
        await trio.to_thread.run_sync(shutil.copyfile, latest, output)


def compute_gain(alliance: Alliance, value: MetricValue, without: MetricValue | None) -> MetricValue:
    """Return what a score would lose without an update; nothing is known where the rest is no model."""
    if without is None:
        return 0
    return value - without if alliance.spec.metric.higher_is_better else without - value


def load_split(kit: Kit, alliance: Alliance) -> OwnSplit:
    """Return where the own data for an alliance lies; raises `SplitMissing`."""
    split = kit.diary.load_split(alliance.id)
    if split is None or not (Path(split.train).is_file() and Path(split.test).is_file()):
        raise SplitMissing(f"the data for alliance {alliance.id} {alliance.spec.name} is not in this home")
    return split


async def keep_up(kit: Kit, alliance: Alliance, act: Callable[[], Awaitable[T]]) -> T:
    """Return what an act comes to; raises `StepClosed` once the alliance has gone on without it."""

    def is_open() -> bool:
        now = get_alliance(kit.chain.view, alliance.id)
        return (now.round, now.phase) == (alliance.round, alliance.phase)

    result = await run_while(is_open, act)
    if result is None:
        step = alliance.phase.name.lower()
        raise StepClosed(f"step {step} of round {alliance.round + 1} of alliance {alliance.id} closed before")
    return result
