"""Private rounds (white paper VI.H): hide an update, check what was revealed, prove a sum, and consult a published one.

What is secret comes in as files and leaves as files that only their owner can read; the log gets commitments and
proofs. Whoever derives a model from a sum comes to the same bytes.
"""

from collections.abc import Sequence
from pathlib import Path

from flocknode.jobs import ProgressReport, Refused, shorten
from flocknode.learning.aggregate import divide
from flocknode.learning.families import build_model
from flocknode.learning.fixed_point import MAX_MAGNITUDE, Vector, load_fixed, save_fixed
from flocknode.learning.weights import get_module_shapes
from flocknode.private_jobs import (
    CheckReveals,
    Consulted,
    ConsultSum,
    Hidden,
    HideUpdate,
    ProveSum,
    RevealsChecked,
    SumProven,
)
from protocol.errors import InvalidProof
from protocol.zk.aggregation import compute_product
from protocol.zk.commitment import decode_remembered
from protocol.zk.consultation import consult
from protocol.zk.opening import (
    Aggregate,
    Opening,
    add_openings,
    blind,
    commit,
    decode_aggregate,
    decode_reveal,
    encode_opening,
    find_false_openings,
)
from protocol.zk.proving import prove_aggregation, prove_knowledge
from protocol.zk.statement import RoundContext
from storage.files import create_durably


def hide_update(job: HideUpdate, report: ProgressReport) -> Hidden:
    """Write the opening of a fresh commitment to an update; it is on the disk when this returns.

    Raises `UnusableFile` when the update is no model of the declared shape.
    """
    values = load_fixed(Path(job.update), get_module_shapes(build_model(job.model)))
    opening = blind(job.context, job.key, values, randomness=job.blinding)
    commitment = commit(job.context.parameters, opening)
    knowledge = prove_knowledge(job.context, job.key, commitment, opening, randomness=job.masking)
    write_opening(opening, Path(job.output))
    report(1, 1)
    return Hidden(commitment, knowledge)


def check_reveals(job: CheckReveals, report: ProgressReport) -> RevealsChecked:
    """Find what is no opening at all, then which of the rest do not open their commitments."""
    refused: dict[int, str] = {}
    readable: dict[int, Opening] = {}
    for index, reveal in enumerate(job.reveals):
        try:
            readable[index] = decode_reveal(job.parameters, job.values, Path(reveal.opening).read_bytes())
        except InvalidProof as error:
            refused[index] = error.message
        report(index, len(job.reveals))
    places = list(readable)
    commitments = [decode_remembered(job.reveals[place].commitment) for place in places]
    false = find_false_openings(job.parameters, commitments, list(readable.values()), randomness=job.randomness)
    refused.update({places[place]: "it does not open the commitment" for place in false})
    report(len(job.reveals), len(job.reveals))
    return RevealsChecked(tuple(Refused(index, shorten(refused[index])) for index in sorted(refused)))


def prove_sum(job: ProveSum, report: ProgressReport) -> SumProven:
    """Write the weighted sum of the updates with its blindings, and prove that it is one.

    Raises `InvalidProof` for a false statement, or what is no opening.
    """
    context = job.statement.context
    openings = [decode_reveal(context.parameters, context.values, Path(path).read_bytes()) for path in job.openings]
    product = compute_product(job.statement)
    proof = prove_aggregation(job.statement, product, openings, randomness=job.masking)
    weights = [part.weight for part in job.statement.contributions]
    write_opening(add_openings(openings, weights), Path(job.output))
    report(1, 1)
    return SumProven(product, proof)


def consult_sum(job: ConsultSum, report: ProgressReport) -> Consulted:
    """Write the model that a sum gives, if it is the proven one; else say why it is not."""
    try:
        aggregate = decode_aggregate(job.context.parameters, job.context.values, Path(job.sum).read_bytes())
        vector = check_sum(
            job.context,
            aggregate,
            digest=job.digest,
            weights=job.weights,
            product=job.product,
            randomness=job.randomness,
        )
    except InvalidProof as error:
        return Consulted(shorten(error.message))
    save_fixed(vector, get_module_shapes(build_model(job.model)), Path(job.output))
    report(1, 1)
    return Consulted(None)


def check_sum(
    context: RoundContext,
    aggregate: Aggregate,
    *,
    digest: bytes,
    weights: Sequence[int],
    product: bytes,
    randomness: bytes,
) -> Vector:
    """Return the model int32 [d] of a sum. Raises `InvalidProof` unless it is the one that the log vouches for."""
    consult(context, digest=digest, weights=weights, product=product, aggregate=aggregate, randomness=randomness)
    return derive_model(aggregate, sum(weights))


def derive_model(aggregate: Aggregate, weight: int) -> Vector:
    """Return the weighted mean int32 [d] of the updates behind a sum, rounded half to even (L1, VI.D).

    It is what `aggregate.fedavg` makes of the updates themselves. Raises `InvalidProof` when no updates can have it.
    """
    largest = max(int(aggregate.values.max()), -int(aggregate.values.min()))
    if largest > weight * MAX_MAGNITUDE:
        raise InvalidProof(f"a value of {largest} in the sum; updates add up to {weight * MAX_MAGNITUDE} at most")
    return divide(aggregate.values, weight)


def write_opening(opening: Opening | Aggregate, output: Path) -> None:
    """Write what opens a commitment, for its owner alone; it is on the disk when this returns."""
    create_durably(output, encode_opening(opening), temporary=output.with_name(output.name + ".partial"))
