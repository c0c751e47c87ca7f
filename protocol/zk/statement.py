"""What is proven in a round: its context, the commitments that were summed, and the signatures under them.

The context binds a proof to one round of one alliance of one chain, and to its draw; nothing that was made in another
is of use. Rules build these records from the log, never from what an aggregator says.
"""

from typing import Annotated

from msgspec import Meta

from protocol import crypto
from protocol.blobs import BlobId
from protocol.codec import encode
from protocol.errors import InvalidProof, InvalidSignature
from protocol.types import Address, Bytes32, Count, Digest, Record, Signature
from protocol.zk.commitment import Commitment, decode_commitment, row_count
from protocol.zk.group import Point
from protocol.zk.parameters import MAX_CLIENTS, WEIGHTS_LIMIT, ZkParameters
from protocol.zk.transcript import Transcript

Keys = Annotated[tuple[Address, ...], Meta(max_length=MAX_CLIENTS)]


class RoundContext(Record):
    """One round: which, from which model (of `values` numbers), and who was drawn by which beacon, in which order."""

    chain: Digest
    alliance: Count
    round: Count
    model: BlobId
    values: Count
    beacon: Bytes32
    keys: Keys
    parameters: ZkParameters


class Contribution(Record):
    """A client's part in the sum: Enc(w_i), sig_i under it, and the weight a_i that its data gives it (formula L1)."""

    key: Address
    commitment: Commitment
    signature: Signature
    weight: Annotated[int, Meta(ge=1, lt=WEIGHTS_LIMIT)]


class Statement(Record):
    """What the aggregator proves something about: all selected clients, summed or absent, in the context's order.

    Absent is who did not commit, or did not open to the aggregator; only the log can say so.
    """

    context: RoundContext
    contributions: Annotated[tuple[Contribution, ...], Meta(min_length=1, max_length=MAX_CLIENTS)]
    absent: Keys


def context_digest(context: RoundContext) -> bytes:
    """Return ctx, the 32 bytes that name a round in everything that is signed or proven in it."""
    return crypto.hash_parts("flock/zk/context", encode(context))


def count_rows(context: RoundContext) -> int:
    """Return K, the number of rows of each commitment. Raises `InvalidProof` when the model is too large."""
    return row_count(context.parameters, context.values)


# --- signatures ------------------------------------------------------------------------------------------------------


def sign_commitment(seed: bytes, context: RoundContext, commitment: bytes) -> bytes:
    """Return sig_i: a client's signature under its own commitment."""
    return crypto.sign(seed, "flock/zk/commitment", context_digest(context), crypto.public_key(seed), commitment)


def verify_commitment_signature(context: RoundContext, key: bytes, commitment: bytes, signature: bytes) -> None:
    """Return if the client signed this commitment for this round; raise `InvalidProof` otherwise."""
    try:
        crypto.verify(key, signature, "flock/zk/commitment", context_digest(context), key, commitment)
    except InvalidSignature as error:
        raise InvalidProof("the client did not sign this commitment for this round", key=key.hex()) from error


def sign_product(seed: bytes, context: RoundContext, product: bytes) -> bytes:
    """Return sig: the aggregator's signature under Enc(w)."""
    return crypto.sign(seed, "flock/zk/product", context_digest(context), crypto.public_key(seed), product)


def verify_product_signature(context: RoundContext, key: bytes, product: bytes, signature: bytes) -> None:
    """Return if the aggregator signed this product for this round; raise `InvalidProof` otherwise."""
    try:
        crypto.verify(key, signature, "flock/zk/product", context_digest(context), key, product)
    except InvalidSignature as error:
        raise InvalidProof("the aggregator did not sign this product for this round", key=key.hex()) from error


# --- what must hold before any proof is looked at --------------------------------------------------------------------


def check_context(context: RoundContext) -> None:
    """Return if a round like this can be proven; raise `InvalidProof` otherwise."""
    if not 1 <= len(context.keys) <= context.parameters.max_clients:
        raise InvalidProof(f"{len(context.keys)} clients; 1 to {context.parameters.max_clients} can be proven")
    if len(set(context.keys)) != len(context.keys):
        raise InvalidProof("a client was selected twice")
    count_rows(context)


def check_statement(statement: Statement) -> tuple[tuple[Point, ...], ...]:
    """Return the points of all commitments if nobody was left out, weights fit, and every client signed its own.

    Raises `InvalidProof` saying which of it is not so.
    """
    check_context(statement.context)
    _check_clients(statement)
    weights = sum(contribution.weight for contribution in statement.contributions)
    if weights >= WEIGHTS_LIMIT:
        raise InvalidProof(f"weights that add up to {weights}; they must stay below {WEIGHTS_LIMIT}")
    return tuple(_check_contribution(statement.context, contribution) for contribution in statement.contributions)


def _check_clients(statement: Statement) -> None:
    keys, absent = [contribution.key for contribution in statement.contributions], set(statement.absent)
    expected = [key for key in statement.context.keys if key not in absent]
    if keys == expected and len(absent) == len(statement.absent) and absent <= set(statement.context.keys):
        return
    for key in expected:
        if key not in keys:
            raise InvalidProof("a selected client was left out of the sum and is not absent", key=key.hex())
    for key in keys:
        if key not in expected:
            raise InvalidProof("a client was summed that was not selected, or is called absent", key=key.hex())
    raise InvalidProof("the clients, summed and absent, are not those selected, once each and in their order")


def _check_contribution(context: RoundContext, contribution: Contribution) -> tuple[Point, ...]:
    key, commitment = contribution.key, contribution.commitment
    verify_commitment_signature(context, key, commitment, contribution.signature)
    try:
        return decode_commitment(commitment, count_rows(context))
    except InvalidProof as error:
        raise InvalidProof(f"a commitment cannot be read: {error.message}", key=key.hex(), **error.data) from error


# --- transcripts -----------------------------------------------------------------------------------------------------


def begin_knowledge(context: RoundContext, key: bytes, commitment: bytes) -> Transcript:
    """Return the transcript of a client's proof that it knows what it committed to."""
    transcript = Transcript("flock/zk/knowledge/v1")
    transcript.absorb("context", context_digest(context))
    transcript.absorb("client", key, commitment)
    return transcript


def begin_aggregation(statement: Statement, product: bytes) -> Transcript:
    """Return the transcript of the aggregator's proof."""
    transcript = Transcript("flock/zk/aggregation/v1")
    transcript.absorb("context", context_digest(statement.context))
    transcript.absorb("clients", crypto.integer_bytes(len(statement.contributions)), b"".join(statement.absent))
    for part in statement.contributions:
        transcript.absorb("client", part.key, part.commitment, part.signature, crypto.integer_bytes(part.weight))
    transcript.absorb("product", product)
    return transcript
