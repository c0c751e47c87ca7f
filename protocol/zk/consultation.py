"""CONSULT (white paper VI.H, "Blockchain Consultation Phase"): the model that arrived is the one the log vouches for.

The paper compares H(Enc(w)) only, and leaves the sum of the s_i out of what is distributed; but then nothing ties the w
in clear to Enc(w). So both come, and are checked. In masked mode this is the whole proof: the clients' proofs of
knowledge are on the log, and the published sum opens their product.
"""

from collections.abc import Sequence

from protocol.errors import InvalidProof
from protocol.zk.aggregation import aggregate_digest
from protocol.zk.commitment import decode_commitment
from protocol.zk.opening import Aggregate, opens
from protocol.zk.parameters import VALUE_LIMIT
from protocol.zk.statement import RoundContext, count_rows


def consult(
    context: RoundContext,
    *,
    digest: bytes,
    weights: Sequence[int],
    product: bytes,
    aggregate: Aggregate,
    randomness: bytes,
) -> None:
    """Return if the aggregate, w (d,) and s, is what the log's digest stands for; raise `InvalidProof` otherwise.

    `digest` and `weights` are the log's; `randomness` is 32 bytes of one's own that nobody else knows.
    """
    if aggregate_digest(context, product) != digest:
        raise InvalidProof("the product is not the one whose digest the log has")
    if len(aggregate.values) != context.values:
        raise InvalidProof(f"an aggregate of {len(aggregate.values)} values for a model of {context.values}")
    bound = sum(weights) * VALUE_LIMIT
    largest = max(int(aggregate.values.max()), -int(aggregate.values.min()))
    if largest > bound:
        raise InvalidProof(f"a value of {largest} in the aggregate; no updates add up to more than {bound}")
    points = decode_commitment(product, count_rows(context))
    if not opens(context.parameters, [points], [aggregate], randomness=randomness):
        raise InvalidProof("the aggregate does not open the product that is on the log")
