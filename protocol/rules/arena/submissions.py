"""Entering a model anonymously, opening it, claiming it (white paper IV.B; anonymity.md "On the log")."""

from functools import lru_cache

from msgspec.structs import replace

from protocol import vrf
from protocol.blinding import claim_binding, key_commitment, submission_binding, submit_alpha
from protocol.errors import AlreadyDone, NotEligible, NotFound, OutOfBounds
from protocol.ring_proof import ring_digest, verify_ring
from protocol.rules.arena.records import (
    Phase,
    Submission,
    get_epoch,
    get_submission,
    put_submission,
    put_task,
    require_phase,
    scan_submissions,
)
from protocol.rules.context import Context
from protocol.state import Overlay
from protocol.transactions import ClaimSubmission, OpenSubmission, Submit


def submit(state: Overlay, context: Context, payload: Submit) -> None:
    """Enter a model under its tag: the first of a tag counts, a second is refused."""
    task = require_phase(state, payload.task, payload.epoch, Phase.SUBMIT)
    epoch = get_epoch(state, payload.task, payload.epoch)
    ring = tuple(seat.vrf_key for seat in epoch.seats)
    if payload.ring != name_ring(ring):
        raise NotEligible("the proof is over another ring than this epoch's")
    if not 0 < payload.blob.length <= context.params.max_blob_bytes:
        raise OutOfBounds("the blob's length leaves the bounds", have=payload.blob.length)
    if get_submission(state, payload.task, payload.epoch, payload.tag) is not None:
        raise AlreadyDone("this trainer has entered a submission for the epoch")
    if verify_submission(context.chain, ring, payload) != payload.tag:
        raise NotEligible("the proof is for another tag")
    order = len(scan_submissions(state, payload.task, payload.epoch))
    submission = Submission(order, payload.blob, payload.key_commitment, None, None)
    put_submission(state, payload.task, payload.epoch, payload.tag, submission)
    if not task.has_submissions:
        put_task(state, replace(task, has_submissions=True))


@lru_cache(maxsize=64)
def name_ring(ring: tuple[bytes, ...]) -> bytes:
    """Return the digest of an epoch's ring; raises `InvalidProof` for an empty one. Cached: it checks every key."""
    return ring_digest(ring)


@lru_cache(maxsize=1024)
def verify_submission(chain: bytes, ring: tuple[bytes, ...], payload: Submit) -> bytes:
    """Return the tag that the ring proof is for; raises `InvalidProof`. Cached: it costs milliseconds."""
    binding = submission_binding(
        chain,
        payload.task,
        payload.epoch,
        ring=payload.ring,
        tag=payload.tag,
        blob=payload.blob,
        key_commitment=payload.key_commitment,
    )
    alpha = submit_alpha(chain, payload.task, payload.epoch)
    return verify_ring(ring, alpha=alpha, ad=binding, proof=payload.proof)


def open_submission(state: Overlay, context: Context, payload: OpenSubmission) -> None:
    """Reveal a blob's key. The commitment is bound to the tag, so no proof is needed."""
    require_phase(state, payload.task, payload.epoch, Phase.OPEN)
    submission = require_submission(state, payload)
    if submission.key is not None:
        raise AlreadyDone("the submission is open")
    if (
        key_commitment(context.chain, payload.task, payload.epoch, payload.tag, payload.key)
        != submission.key_commitment
    ):
        raise OutOfBounds("the key does not match the submission's commitment")
    put_submission(state, payload.task, payload.epoch, payload.tag, replace(submission, key=payload.key))


def claim_submission(state: Overlay, context: Context, sender: bytes, payload: ClaimSubmission) -> None:
    """Tie a submission to its author: a plain proof that the account's key gives the tag."""
    require_phase(state, payload.task, payload.epoch, Phase.CLAIM)
    submission = require_submission(state, payload)
    if submission.author is not None:
        raise AlreadyDone("the submission is claimed")
    seats = get_epoch(state, payload.task, payload.epoch).seats
    seat = next((seat for seat in seats if seat.address == sender), None)
    if seat is None or submission.key is None:
        raise NotEligible("only a trainer with a seat claims, and only a submission that was opened")
    alpha = submit_alpha(context.chain, payload.task, payload.epoch)
    binding = claim_binding(sender, payload.tag)
    if vrf.verify(seat.vrf_key, alpha=alpha, ad=binding, proof=payload.proof) != payload.tag:
        raise NotEligible("the proof is for another tag")
    put_submission(state, payload.task, payload.epoch, payload.tag, replace(submission, author=sender))


def require_submission(state: Overlay, payload: OpenSubmission | ClaimSubmission) -> Submission:
    """Return the submission that a payload names; raises `NotFound`."""
    submission = get_submission(state, payload.task, payload.epoch, payload.tag)
    if submission is None:
        raise NotFound("nothing was entered under this tag", task=payload.task, epoch=payload.epoch)
    return submission
