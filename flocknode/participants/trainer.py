"""The trainer's duties: train, enter anonymously, open, claim (white paper V.C, IV.B)."""

from functools import partial
from pathlib import Path

import trio

from flocknode.errors import FlocknodeError
from flocknode.jobs import Canonicalise
from flocknode.participants.diary import EnteredSubmission
from flocknode.participants.kit import Kit
from flocknode.participants.sender import Included
from flocknode.participants.training import checkpoint_file, train_weights
from flocknode.sealing import make_key
from protocol import vrf
from protocol.blinding import claim_binding, key_commitment, submission_binding, submit_alpha
from protocol.blobs import BlobId
from protocol.errors import NotEligible
from protocol.ring_proof import prove_ring, ring_digest
from protocol.ristretto import RANDOMNESS_BYTES
from protocol.rules.arena.records import Phase, Task, get_epoch, require_phase
from protocol.rules.duties import ClaimOwnSubmission, EnterSubmission, OpenOwnSubmission, has_seat
from protocol.transactions import ClaimSubmission, OpenSubmission, Submit


class PlanMissing(FlocknodeError):
    """This node has a seat but was not told what to train on."""

    number = 142


async def enter_submission(kit: Kit, duty: EnterSubmission) -> None:
    """Enter the epoch: with the submission of an earlier attempt if there is one, else with a newly trained model."""
    task = kit.get_task(duty.task)
    entered = kit.diary.load_submission(duty.task, duty.epoch)
    if entered is None or not kit.outbox.has(entered.payload.blob):
        entered = await train(kit, task)
    await kit.courier.deliver(entered.payload, kit.outbox.path(entered.payload.blob))
    kit.report(task, f"entered a model as {entered.payload.tag.hex()[:8]}")


async def enter_weights(kit: Kit, task: Task, weights: Path) -> Included:
    """Enter a model that was trained elsewhere for the current epoch. Raises `JobFailed` if it does not fit."""
    require_phase(kit.chain.view, task.id, task.epoch, Phase.SUBMIT)
    if not has_seat(get_epoch(kit.chain.view, task.id, task.epoch), kit.address):
        raise NotEligible("this account has no seat in the current epoch", task=task.id)
    output = scratch_file(kit, task)
    try:
        await kit.worker.run(Canonicalise(task.spec.model, str(weights), str(output)))
        entered = await seal_submission(kit, task, output)
    finally:
        output.unlink(missing_ok=True)
    return await kit.courier.deliver(entered.payload, kit.outbox.path(entered.payload.blob))


async def train(kit: Kit, task: Task) -> EnteredSubmission:
    """Train by the plan in the learning worker, and return the submission, ready to be sent."""
    plan = kit.diary.load_plan(task.id)
    if plan is None:
        raise PlanMissing(
            f"no dataset was named for task {task.id}",
            help=f"Enter a model with `flocknode arena submit {task.id} FILE`.",
        )
    output = scratch_file(kit, task)
    try:
        result = await train_weights(kit, task, plan, output)
        kit.report(task, f"trained on {result.rows} rows: {result.metric} {result.metric_millionths / 1e6:.4f}")
        entered = await seal_submission(kit, task, output)
    finally:
        output.unlink(missing_ok=True)
    checkpoint_file(kit, task).unlink(missing_ok=True)
    return entered


def scratch_file(kit: Kit, task: Task) -> Path:
    """Return where weights in clear lie for a moment."""
    kit.scratch.mkdir(parents=True, exist_ok=True)
    return kit.scratch / f"task-{task.id}-epoch-{task.epoch}.safetensors"


async def seal_submission(kit: Kit, task: Task, weights: Path) -> EnteredSubmission:
    """Encrypt weights under a fresh key, prove the submission, and save all of it before anything is sent.

    What was entered in the epoch before and never claimed goes: nobody has a use for it any more.
    """
    earlier = kit.diary.load_submission(task.id, task.epoch - 1) if task.epoch else None
    if earlier is not None:
        kit.outbox.delete(earlier.payload.blob)
    key = make_key()
    entered = await prove_submission(kit, task, await kit.seal_into_blob(weights, key, into=kit.outbox), key)
    kit.diary.save_submission(task.id, task.epoch, entered)
    return entered


async def prove_submission(kit: Kit, task: Task, blob: BlobId, key: bytes) -> EnteredSubmission:
    """Return the submission with its ring proof: one of this epoch's trainers made it, and nobody sees which."""
    ring = tuple(seat.vrf_key for seat in get_epoch(kit.chain.view, task.id, task.epoch).seats)
    digest, tag = ring_digest(ring), kit.tag(task.id, task.epoch)
    commitment = key_commitment(kit.chain.id, task.id, task.epoch, tag, key)
    binding = submission_binding(
        kit.chain.id, task.id, task.epoch, ring=digest, tag=tag, blob=blob, key_commitment=commitment
    )
    proving = partial(
        prove_ring,
        kit.vrf_secret(task.id),
        ring=ring,
        alpha=submit_alpha(kit.chain.id, task.id, task.epoch),
        ad=binding,
        randomness=kit.randomness(RANDOMNESS_BYTES),
    )
    # A proof among 100 keys takes some hundred multiplications, longer than the loop may stand still.
    proof = await trio.to_thread.run_sync(proving)
    return EnteredSubmission(Submit(task.id, task.epoch, digest, tag, blob, commitment, proof), key)


async def open_submission(kit: Kit, duty: OpenOwnSubmission) -> None:
    """Reveal the key of the entered blob, now that nobody can enter a copy any more."""
    entered = kit.diary.load_submission(duty.task, duty.epoch)
    assert entered is not None, "a submission of this account that its diary does not know"
    task = kit.get_task(duty.task)
    await kit.courier.deliver(OpenSubmission(duty.task, duty.epoch, duty.tag, entered.key))
    kit.report(task, f"opened {duty.tag.hex()[:8]}")
    if kit.outbox.has(entered.payload.blob):
        await kit.courier.keep_held(entered.payload, kit.outbox.path(entered.payload.blob))


async def claim_submission(kit: Kit, duty: ClaimOwnSubmission) -> None:
    """Own up to the pseudonym, after the scores are revealed."""
    task = kit.get_task(duty.task)
    proof = vrf.prove(
        kit.vrf_secret(duty.task),
        alpha=submit_alpha(kit.chain.id, duty.task, duty.epoch),
        ad=claim_binding(kit.address, duty.tag),
        randomness=kit.randomness(RANDOMNESS_BYTES),
    )
    await kit.sender.apply(ClaimSubmission(duty.task, duty.epoch, duty.tag, proof))
    kit.report(task, f"claimed {duty.tag.hex()[:8]}")
    entered = kit.diary.load_submission(duty.task, duty.epoch)
    if entered is not None:
        await kit.show_entered(entered.payload.blob)
