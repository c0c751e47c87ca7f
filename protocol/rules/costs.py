"""What the proofs of a transaction cost to verify: one notion for all of them, and how much of it a block may carry.

Fees do not see to it: submissions carry none, and a proof that does not hold costs its author a thousandth of an FML
and every replica what it takes to find out. So a block is bounded, whoever proposes it.
"""

from protocol.alliance_acts import CommitUpdate, ProvenSum, PublishAggregate, PublishMasked
from protocol.errors import TooCostly
from protocol.formulas import proofs as formulas
from protocol.params import Params
from protocol.ring_proof import max_ring_size
from protocol.transactions import AnonymousPayload, Payload, Submit
from protocol.zk.commitment import count_aggregate_rows, count_points


def get_proof_us(params: Params, payload: Payload | AnonymousPayload) -> int:
    """Return how many microseconds the proofs of a payload cost at most, as `formulas.proofs` counts them; mostly 0.

    Read off the payload alone: whether it is the sender's turn at all, which costs nothing to see, is the rules' part.
    Of a sum nobody knows the clients that way, so they count as many as the chain lets take part.
    """
    zk = params.alliance.zk
    match payload:
        case Submit(proof=proof):
            return formulas.ring_proof_us(max_ring_size(proof))
        case CommitUpdate(update=update):
            return formulas.commitment_proof_us(count_points(update.commitment), width=zk.width)
        case PublishAggregate(proven=ProvenSum(aggregation=aggregation)):
            rows = count_points(aggregation.product)
            return formulas.aggregation_proof_us(rows, clients=zk.max_clients, width=zk.width)
        case PublishMasked(blob=blob):
            return formulas.product_us(count_aggregate_rows(zk, blob.length), clients=zk.max_clients)
        case _:
            return 0


def add_proof_us(params: Params, spent_us: int, payload: Payload | AnonymousPayload) -> int:
    """Return what the proofs of a block cost with those of one payload more; raises `TooCostly` beyond the limit.

    A block's first proof always fits, whatever it costs: one that fits into no block could never be shown.
    """
    cost_us = get_proof_us(params, payload)
    total_us = spent_us + cost_us
    if spent_us and cost_us and total_us > params.max_block_proof_us:
        raise TooCostly(
            f"the proofs of the block would cost {total_us} us to verify, {params.max_block_proof_us} at most",
            have=total_us,
            need=params.max_block_proof_us,
        )
    return total_us
