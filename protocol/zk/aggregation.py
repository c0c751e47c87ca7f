"""VERIFY and LOG, as every replica does them: the aggregator knows every update, and Enc(w) is their product.

White paper VI.H, "Aggregation and ZKP Generation Phase" and "Blockchain Verification Phase". The product and the
signatures are public, so they are checked as they are; that w is the weighted sum follows from the product and from
binding, once the openings are known; so only their knowledge is proven without showing them.
"""

from collections.abc import Mapping
from functools import lru_cache

from protocol.crypto import hash_parts, integer_bytes
from protocol.errors import InvalidProof
from protocol.types import Address, Record, Signature
from protocol.zk.commitment import Commitment, multiply_commitments
from protocol.zk.group import POINT_BYTES
from protocol.zk.knowledge import CommittedUpdate
from protocol.zk.parameters import get_generators
from protocol.zk.rows import RowsProof, verify_rows
from protocol.zk.statement import (
    Contribution,
    RoundContext,
    Statement,
    begin_aggregation,
    check_statement,
    context_digest,
    verify_product_signature,
)

# Rounds whose verified aggregation is remembered; each holds the commitments of all clients, 1.6 MB at most.
MAX_VERIFIED = 8


class Aggregation(Record):
    """What the aggregator puts on the log: whose it is, Enc(w), its signature under it, and the proof."""

    key: Address
    product: Commitment
    signature: Signature
    proof: RowsProof


def make_statement(
    context: RoundContext, updates: Mapping[bytes, CommittedUpdate], weights: Mapping[bytes, int]
) -> Statement:
    """Return what the aggregator of a round must prove: clients with a weight are summed, others absent.

    Both mappings go by the clients' keys; the log has them. One spelling for rules, aggregators and voters.
    """
    parts = tuple(
        Contribution(key, updates[key].commitment, updates[key].signature, weights[key])
        for key in context.keys
        if key in weights
    )
    return Statement(context, parts, tuple(key for key in context.keys if key not in weights))


@lru_cache(maxsize=MAX_VERIFIED)
def verify_aggregation(statement: Statement, aggregation: Aggregation) -> None:
    """Return if the aggregator proved the statement; raise `InvalidProof` saying what is wrong otherwise.

    The statement is the log's, so that a client left out, another weight or another round contradicts it. Takes 80 ms
    for 8 clients of 100,000 values whose commitments were seen before; what verified is remembered.
    """
    points = check_statement(statement)
    product = multiply_commitments(points, _get_weights(statement))
    if aggregation.product != product:
        raise InvalidProof(_describe_difference(aggregation.product, product))
    verify_product_signature(statement.context, aggregation.key, product, aggregation.signature)
    rows = [point for client in points for point in client]
    transcript = begin_aggregation(statement, product)
    verify_rows(transcript, get_generators(statement.context.parameters), rows, aggregation.proof)


@lru_cache(maxsize=MAX_VERIFIED)
def compute_product(statement: Statement) -> bytes:
    """Return Enc(w), the weighted product of all summed commitments. Raises `InvalidProof` for a false statement.

    Remembered as `verify_aggregation` is: of a masked round every replica computes it.
    """
    return multiply_commitments(check_statement(statement), _get_weights(statement))


def aggregate_digest(context: RoundContext, product: bytes) -> bytes:
    """Return H(Enc(w)), which the log keeps of an aggregate (white paper VI.H)."""
    rows = integer_bytes(len(product) // POINT_BYTES)
    return hash_parts("zkfl/encw/v1", context_digest(context), rows, product)


def _get_weights(statement: Statement) -> list[int]:
    return [contribution.weight for contribution in statement.contributions]


def _describe_difference(claimed: bytes, product: bytes) -> str:
    if len(claimed) != len(product):
        return f"the product has {len(claimed)} bytes, {len(product)} are needed"
    byte = next(at for at, (one, other) in enumerate(zip(claimed, product, strict=True)) if one != other)
    return f"row {byte // POINT_BYTES} of Enc(w) is not the weighted product of the commitments"
