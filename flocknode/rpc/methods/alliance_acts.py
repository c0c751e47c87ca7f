"""`alliance.*`: creating alliances, joining with the own data, leaving, and their money."""

import os
from pathlib import Path
from typing import Literal

import trio

from flocknode.errors import UsageError
from flocknode.jobs import MakeModel, SplitRows
from flocknode.node import Node
from flocknode.participants.alliance_models import folder_of, put_blob
from flocknode.participants.diary import OwnSplit
from flocknode.rpc.alliance_records import AllianceOptions, AllianceReference, AllianceSent, Joined, Training
from flocknode.rpc.arena_records import Settings, TaskReference
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods.alliance import find_alliance, scan_all_alliances
from flocknode.rpc.methods.arena import find_task
from flocknode.rpc.methods.arena_acts import require_file
from flocknode.rpc.methods.transactions import send
from flocknode.rpc.records import Count, FilePath, Ratio, Units
from protocol.alliance_acts import (
    AllianceSpec,
    CancelAlliance,
    CreateAlliance,
    FundAlliance,
    JoinAlliance,
    LeaveAlliance,
    LocalTraining,
    TopUpStake,
    VerifyAlliance,
    check_alliance_spec,
)
from protocol.alliance_settings import MIN_PARTICIPANTS, AllianceSettings
from protocol.blobs import BlobId
from protocol.errors import Malformed
from protocol.models import METRICS, SCORE_ONE, MetricSpec, ModelSpec, Setting
from protocol.plain import from_plain, to_plain
from protocol.rules.alliance.records import Alliance, get_participant
from protocol.transactions import Payload

# The part of the own rows that a participant keeps for judging others' models, where nothing is said.
USUAL_TEST_SHARE_MILLIONTHS = 250_000
AllianceMetric = Literal["accuracy", "loss", "mse", "r2"]


def with_options(settings: AllianceSettings, options: AllianceOptions) -> AllianceSettings:
    """Return the chain's own settings of an alliance with some of them changed; raises `UsageError`."""
    try:
        return from_plain(AllianceSettings, {**to_plain(settings), **options}, "settings")
    except Malformed as error:
        known = ", ".join(AllianceSettings.__struct_fields__)
        raise UsageError(str(error), help=f"Settings of an alliance: {known}.") from error


def choose_model(
    node: Node,
    base_task: TaskReference | None,
    family: str | None,
    model: Settings | None,
    metric: AllianceMetric | None,
) -> tuple[int | None, ModelSpec, MetricSpec]:
    """Return the task that an alliance improves, its architecture and metric: the task's, or what was asked for.

    Raises `UsageError` when something is missing, or said twice.
    """
    if base_task is not None:
        if family is not None or model is not None or metric is not None:
            raise UsageError("an alliance that improves a task's winner has the model and the metric of the task")
        task = find_task(node.chain.view, base_task)
        return task.id, task.spec.model, task.spec.metric
    if family is None or model is None or metric is None:
        raise UsageError("a fresh alliance needs the model's family and settings, and a metric")
    # What becomes 0 and 1 means nothing here: an alliance compares the metric's own values.
    chosen = MetricSpec(metric, METRICS[metric], 0, SCORE_ONE)
    settings = tuple(Setting(name, tuple(values)) for name, values in sorted(model.items()))
    return None, ModelSpec(family, settings), chosen


async def make_fresh_model(node: Node, model: ModelSpec, seed: int) -> BlobId:
    """Write a freshly initialised model into the store. Raises `JobFailed`."""
    node.kit.scratch.mkdir(parents=True, exist_ok=True)
    output = node.kit.scratch / f"fresh-{os.urandom(8).hex()}.safetensors"
    try:
        await node.kit.worker.run(MakeModel(model, seed, str(output)))
        return await put_blob(node.kit, output)
    finally:
        output.unlink(missing_ok=True)


async def split_data(node: Node, alliance: Alliance, data: Path, test_share: int, seed: int) -> tuple[int, int]:
    """Cut the own data once, into files that stay in this home; return how many rows train and how many test.

    Raises `JobFailed`, or `UsageError` for who takes part already: its test rows must not come among the trained ones.
    """
    if get_participant(node.chain.view, alliance.id, node.kit.address) is not None:
        raise UsageError(f"this account takes part in alliance {alliance.id} already, and its data is cut")
    folder = folder_of(node.kit, alliance)
    split = OwnSplit(str(folder / "train.safetensors"), str(folder / "test.safetensors"), seed)
    with node.kit.works.track("splitting", data.name, "files") as advance:
        advance(0, 1)
        done = await node.kit.worker.run(SplitRows(str(data), seed, test_share, split.train, split.test))
        advance(1, 1)
    for path in (split.train, split.test):
        await trio.Path(path).chmod(0o600)
    node.kit.diary.save_split(alliance.id, split)
    return done.train_rows, done.test_rows


def make_create(node: Node) -> Handler:
    """Return the method that creates an alliance."""

    async def create(
        *,
        name: str,
        base_task: TaskReference | None = None,
        family: str | None = None,
        model: Settings | None = None,
        metric: AllianceMetric | None = None,
        seed: Count = 0,
        escrow_units: Units,
        stake_units: Units | None = None,
        joining_stake_units: Units | None = None,
        min_test_rows: Count | None = None,
        participants: Count = MIN_PARTICIPANTS,
        training: Training | None = None,
        settings: AllianceOptions | None = None,
        wait: bool = True,
    ) -> AllianceSent:
        """Create an alliance that improves the winner of a finished task, or begins with a fresh model from a seed.

        Without an escrow it opens once governance verifies it. Stakes and test rows are the chain's least if not given.
        Only an alliance with an escrow may have `settings` of its own.
        """
        node.kit.account.require_open()
        params, how = node.chain.params, training or Training()
        least = params.alliance
        task, architecture, chosen = choose_model(node, base_task, family, model, metric)
        fresh = None if task is not None else await make_fresh_model(node, architecture, seed)
        spec = AllianceSpec(
            name=name,
            model=architecture,
            metric=chosen,
            base_task=task,
            fresh_model=fresh,
            training=LocalTraining(how.passes, how.learning_rate_millionths, how.batch_size),
            joining_stake=least.min_joining_stake_units if joining_stake_units is None else joining_stake_units,
            min_test_rows=least.min_test_rows if min_test_rows is None else min_test_rows,
            participants=participants,
            settings=with_options(least.settings, settings or {}),
        )
        check_alliance_spec(spec)
        stake = params.min_stake_creator_units if stake_units is None else stake_units
        before = {one.id for one in scan_all_alliances(node.chain.view)}
        outcome = await send(node, CreateAlliance(spec, stake, escrow_units), wait=wait)
        return AllianceSent(alliance=find_created(node, spec, before), outcome=outcome)

    return create


def find_created(node: Node, spec: AllianceSpec, before: set[int]) -> int | None:
    """Return the number of this account's alliance with this spec that was not there before; None without one."""
    found = (one for one in scan_all_alliances(node.chain.view) if one.id not in before and one.spec == spec)
    return next((one.id for one in found if one.creator == node.kit.address), None)


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace that change something."""

    async def send_about(alliance: Alliance, payload: Payload, wait: bool) -> AllianceSent:
        return AllianceSent(alliance=alliance.id, outcome=await send(node, payload, wait=wait))

    async def join(
        *,
        alliance: AllianceReference,
        dataset: FilePath,
        test_share_millionths: Ratio = USUAL_TEST_SHARE_MILLIONTHS,
        seed: Count = 0,
        wait: bool = True,
    ) -> Joined:
        """Take part with the joining stake and the own data, which is cut here into training and test rows.

        Neither ever leaves this node: others see how many rows there are, models trained on them, and scores.
        """
        node.kit.account.require_open()
        found = find_alliance(node.chain.view, alliance)
        train, test = await split_data(node, found, require_file(dataset), test_share_millionths, seed)
        outcome = await send(node, JoinAlliance(found.id, train, test), wait=wait)
        return Joined(alliance=found.id, train_rows=train, test_rows=test, outcome=outcome)

    async def leave(*, alliance: AllianceReference, wait: bool = True) -> AllianceSent:
        """Stop taking part: at once while the alliance opens, else when the round closes. The stake unbonds."""
        found = find_alliance(node.chain.view, alliance)
        return await send_about(found, LeaveAlliance(found.id), wait)

    async def top_up(*, alliance: AllianceReference, units: Units, wait: bool = True) -> AllianceSent:
        """Add to this account's stake in an alliance, so that it reaches the threshold again."""
        found = find_alliance(node.chain.view, alliance)
        return await send_about(found, TopUpStake(found.id, units), wait)

    async def fund(*, alliance: AllianceReference, units: Units, wait: bool = True) -> AllianceSent:
        """Give to an alliance's reward pool."""
        found = find_alliance(node.chain.view, alliance)
        return await send_about(found, FundAlliance(found.id, units), wait)

    async def cancel(*, alliance: AllianceReference, wait: bool = True) -> AllianceSent:
        """Call off an alliance of this node's account before its first round: all but the registration fee returns."""
        found = find_alliance(node.chain.view, alliance)
        return await send_about(found, CancelAlliance(found.id), wait)

    async def verify(*, alliance: AllianceReference, wait: bool = True) -> AllianceSent:
        """Let an alliance take part in the emission: for the governance account, which `chain.params` names."""
        found = find_alliance(node.chain.view, alliance)
        return await send_about(found, VerifyAlliance(found.id), wait)

    return {
        "alliance.create": make_create(node),
        "alliance.join": join,
        "alliance.leave": leave,
        "alliance.top_up": top_up,
        "alliance.fund": fund,
        "alliance.cancel": cancel,
        "alliance.verify": verify,
    }
