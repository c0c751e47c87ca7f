"""How a trainer's node trains for an epoch: from scratch or the best published model, and on after whatever ended it.

Training is long, so it is watched, given up when it comes too late, and resumed from its checkpoint after a crash.
"""

from pathlib import Path

import trio
from msgspec.structs import replace

from flocknode.errors import FlocknodeError
from flocknode.jobs import Train, Trained, TrainSettings
from flocknode.network.errors import BlobUnavailable
from flocknode.participants.diary import TrainingPlan
from flocknode.participants.kit import Kit
from flocknode.participants.patience import run_while
from flocknode.trainings import Teller
from protocol.crypto import integer_bytes
from protocol.errors import InvalidProof
from protocol.rules.arena.records import Phase, Submission, Task, get_submission, get_task
from protocol.rules.arena.results import RESULTS, Ranked
from protocol.state import StateView

# The part of the submitting phase after which a published model that nobody delivers is done without.
FETCH_SHARE = 0.2


class TrainingTooLate(FlocknodeError):
    """The epoch's submitting closed before the model was trained: fewer passes, or a faster machine."""

    number = 143


async def train_weights(kit: Kit, task: Task, plan: TrainingPlan, output: Path) -> Trained:
    """Train by the plan in the learning worker, and write the weights. Raises `JobFailed` or `TrainingTooLate`."""
    checkpoint = checkpoint_file(kit, task)
    drop_stale_checkpoints(kit, task)
    initial = output.with_suffix(".start")
    try:
        best = await fetch_best(kit, task, initial) if plan.warm_start else None
        job = Train(
            task.spec.model,
            plan.dataset,
            vary(plan.settings, task.epoch),
            str(output),
            None if best is None else str(initial),
            str(checkpoint),
        )
        subject = f"task {task.id} {task.spec.name}"
        with kit.works.track("training", subject, "steps") as advance, kit.trainings.follow(task, best) as run:
            return await run_while_submitting(kit, task, job, Teller(run, advance))
    finally:
        initial.unlink(missing_ok=True)


def vary(settings: TrainSettings, epoch: int) -> TrainSettings:
    """Return the plan's settings with another seed in each epoch: the model of the last one would be a copy."""
    return replace(settings, seed=(settings.seed + epoch) % 2**32)


def checkpoint_file(kit: Kit, task: Task) -> Path:
    """Return where a training for the task's epoch keeps how far it is."""
    return kit.scratch / f"task-{task.id}-epoch-{task.epoch}.checkpoint"


def drop_stale_checkpoints(kit: Kit, task: Task) -> None:
    """Remove what is left of trainings for other epochs of the task."""
    for path in kit.scratch.glob(f"task-{task.id}-epoch-*.checkpoint*"):
        if path.name != checkpoint_file(kit, task).name:
            path.unlink(missing_ok=True)


async def run_while_submitting(kit: Kit, task: Task, job: Train, tell: Teller) -> Trained:
    """Return the training's result; ends it with `TrainingTooLate` once nothing can be entered for the epoch any more.

    Raises `JobFailed` as well.
    """

    def is_submitting() -> bool:
        now = get_task(kit.chain.view, task.id)
        return (now.phase, now.epoch) == (Phase.SUBMIT, task.epoch)

    result = await run_while(is_submitting, lambda: kit.worker.run(job, tell))
    if result is None:
        raise TrainingTooLate(
            f"epoch {task.epoch + 1} of task {task.id} closed before its model was trained",
            help="Join with fewer passes, or begin with the best published model.",
        )
    return result


def find_best(state: StateView, task: Task) -> tuple[Ranked, Submission] | None:
    """Return the best model that the task's settled epochs published, the earliest of equals; None before there is one.

    Everybody can name it, so that beginning with it tells nothing about who does.
    """
    best: tuple[Ranked, Submission] | None = None
    for epoch in range(task.epoch):
        result = RESULTS.get(state, integer_bytes(task.id), integer_bytes(epoch))
        for ranked in () if result is None else result.ranking:
            if not ranked.rank or (best is not None and (ranked.score or 0) <= (best[0].score or 0)):
                continue
            submission = get_submission(state, task.id, epoch, ranked.tag)
            if submission is not None and submission.key is not None:
                best = ranked, submission
    return best


async def fetch_best(kit: Kit, task: Task, target: Path) -> bytes | None:
    """Write the best published model in clear; returns its tag, or None when there is none to be had."""
    found = find_best(kit.chain.view, task)
    if found is None:
        return None
    ranked, submission = found
    assert submission.key is not None, "only opened submissions are published"
    limit_s = task.spec.settings.submit_phase_ms / 1_000 * FETCH_SHARE
    try:
        with trio.move_on_after(limit_s):
            if not kit.blobs.has(submission.blob):
                await kit.source.fetch_blob(submission.blob)
            await kit.open_blob(submission.blob, target, submission.key)
            kit.report(task, f"begins with {ranked.tag.hex()[:8]}, the best model published so far")
            return ranked.tag
    except (BlobUnavailable, InvalidProof) as error:
        kit.report(task, f"begins from scratch, for the best model cannot be had: {error.message}")
        return None
    kit.report(task, "begins from scratch, for nobody delivered the best model in time")
    return None
