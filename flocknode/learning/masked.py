"""Masked rounds (zk.md "Masked mode"): mask an update, add all vectors, and find who lied once the masks are open."""

from pathlib import Path

from flocknode.jobs import ProgressReport, Refused, shorten
from flocknode.learning.hidden import check_sum, write_opening
from flocknode.masked_jobs import (
    AddMasked,
    BaredVector,
    FindLiars,
    LiarsFound,
    MaskedAdded,
    MaskUpdate,
    Seeds,
    UpdateMasked,
)
from protocol.errors import InvalidProof
from protocol.zk.aggregation import aggregate_digest, compute_product
from protocol.zk.commitment import decode_remembered
from protocol.zk.masking import add_masked, contradicts, decode_masked, encode_masked, mask_opening, open_masks
from protocol.zk.opening import decode_reveal
from storage.files import create_durably


def mask_update(job: MaskUpdate, report: ProgressReport) -> UpdateMasked:
    """Write the vector that a client shares, the same each time. Raises `InvalidProof` for what is no opening."""
    opening = decode_reveal(job.parameters, job.values, Path(job.opening).read_bytes())
    masked = mask_opening(opening, weight=job.weight, key=job.key, seeds=_by_peer(job.seeds))
    output = Path(job.output)
    create_durably(output, encode_masked(masked), temporary=output.with_name(output.name + ".partial"))
    report(1, 1)
    return UpdateMasked(len(job.seeds))


def add_vectors(job: AddMasked, report: ProgressReport) -> MaskedAdded:
    """Write the sum of all vectors, if it is one that the voters will find to open Enc(w); else say why not."""
    context, weights = job.statement.context, [part.weight for part in job.statement.contributions]
    product = compute_product(job.statement)
    try:
        vectors = [decode_masked(context.parameters, context.values, Path(path).read_bytes()) for path in job.vectors]
        total = add_masked(vectors)
        digest = aggregate_digest(context, product)
        check_sum(context, total, digest=digest, weights=weights, product=product, randomness=job.randomness)
    except InvalidProof as error:
        return MaskedAdded(shorten(error.message))
    write_opening(total, Path(job.output))
    report(1, 1)
    return MaskedAdded(None)


def find_liars(job: FindLiars, report: ProgressReport) -> LiarsFound:
    """Find the vectors that are none, or not the weight times what their client committed to."""
    refused: list[Refused] = []
    for index, one in enumerate(job.vectors):
        reason = _find_lie(job, one)
        if reason:
            refused.append(Refused(index, shorten(reason)))
        report(index + 1, len(job.vectors))
    return LiarsFound(tuple(refused))


def _find_lie(job: FindLiars, one: BaredVector) -> str:
    """Return what is wrong with a vector; nothing if it is what its client committed to."""
    try:
        masked = decode_masked(job.parameters, job.values, Path(one.vector).read_bytes())
    except InvalidProof as error:
        return error.message
    opened = open_masks(masked, key=one.key, seeds=_by_peer(one.seeds))
    points = decode_remembered(one.commitment)
    is_lie = contradicts(job.parameters, points, opened, weight=one.weight, randomness=job.randomness)
    return "its masked update is not the one that it committed to" if is_lie else ""


def _by_peer(seeds: Seeds) -> dict[bytes, bytes]:
    return {one.peer: one.seed for one in seeds}
