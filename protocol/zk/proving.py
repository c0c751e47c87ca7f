"""The provers' side: a client shows that it knows what it committed to, the aggregator that it knows all updates.

Proofs need no key; who puts them on the log signs with `statement.sign_commitment` and `sign_product`.
"""

from collections.abc import Sequence

from protocol.zk.expansion import RANDOMNESS_BYTES, expand_scalars
from protocol.zk.folding import prove_vector
from protocol.zk.group import ORDER, encode_point, encode_scalars, multiply
from protocol.zk.integers import combine_rows
from protocol.zk.opening import Opening
from protocol.zk.parameters import Generators, get_generators
from protocol.zk.statement import RoundContext, Statement, begin_aggregation, begin_knowledge
from protocol.zk.transcript import Transcript


def prove_knowledge(
    context: RoundContext, key: bytes, commitment: bytes, opening: Opening, *, randomness: bytes
) -> bytes:
    """Return the proof that the client with this public key knows the opening of its commitment.

    `randomness` is 32 fresh secret bytes.
    """
    transcript = begin_knowledge(context, key, commitment)
    return prove_rows(transcript, get_generators(context.parameters), [opening], randomness=randomness)


def prove_aggregation(statement: Statement, product: bytes, openings: Sequence[Opening], *, randomness: bytes) -> bytes:
    """Return the proof that the aggregator knows openings of all commitments behind Enc(w).

    `product` is what `compute_product` says; openings stand in the order of the contributions and must have been
    checked (`find_false_openings`), as no proof made of a false one verifies. `randomness` is 32 fresh secret bytes.
    """
    transcript = begin_aggregation(statement, product)
    table = get_generators(statement.context.parameters)
    return prove_rows(transcript, table, openings, randomness=randomness)


def prove_rows(transcript: Transcript, table: Generators, openings: Sequence[Opening], *, randomness: bytes) -> bytes:
    """Return the proof that one knows all rows of all openings (`transcript.py`).

    One mask for two different challenges would give the openings away, so the mask is hedged: a hash of `randomness`,
    of all that was said, and of the blindings.
    """
    assert len(randomness) == RANDOMNESS_BYTES, f"{RANDOMNESS_BYTES} bytes of randomness"
    blindings = [blinding for opening in openings for blinding in opening.blindings]
    secrets = (randomness, transcript.state(), encode_scalars(blindings))
    vector = expand_scalars("flock/zk/mask", *secrets, count=len(table.points))
    mask = encode_point(multiply(table.points, vector))
    transcript.absorb("mask", mask)
    factors = transcript.challenges("rows", len(blindings))
    sums = combine_rows(factors, [opening.values for opening in openings], width=len(table.points) - 1)
    sums.append(sum(factor * blinding for factor, blinding in zip(factors, blindings, strict=True)))
    answer = [(own + value) % ORDER for own, value in zip(vector, sums, strict=True)]
    return mask + prove_vector(transcript, table.points, answer)
