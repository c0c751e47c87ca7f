"""Blocks, receipts and the head of the log: what consensus agrees on and storage keeps. No rules live here."""

from protocol.codec import encode
from protocol.crypto import hash_parts, merkle_leaf, merkle_root
from protocol.errors import InvalidBlock
from protocol.tendermint.messages import Commit
from protocol.types import Bytes32, Count, Digest, Height, Record, Round, TimeMs

# The latest time of a block. Far below the largest number that a record holds, so that every deadline and period that
# is counted from it is a time too, whatever a proposer stamps.
MAX_BLOCK_TIME_MS = 2**53


class Header(Record):
    """What the block id is the hash of. Roots and digests of state are those **after the previous block**."""

    chain: Digest
    height: Height
    time_ms: TimeMs
    round: Round
    proposer: Bytes32
    previous_block: Digest
    previous_commit: Digest
    transactions_root: Digest
    state_root: Digest
    receipts_root: Digest
    replicas: Digest
    next_replicas: Digest
    beacon_proof: bytes


class Block(Record):
    """A log entry. It is complete when the next one exists, for that one carries its commit."""

    header: Header
    previous_commit: Commit | None
    transactions: tuple[bytes, ...]


class Receipt(Record):
    """What became of one transaction: error 0, or the number of a class of `protocol.errors` and its message.

    The message is for people. Headers commit to the number alone, so that a reworded sentence forks no chain.
    """

    transaction: Digest
    error: Count
    message: str


class Head(Record):
    """The newest committed height and what the next header says of it; the genesis state is the head of height 0."""

    height: Height
    block_id: Digest
    time_ms: TimeMs
    state_root: Digest
    receipts_root: Digest


def block_id(header: Header) -> bytes:
    """Return the hash that names a block."""
    return hash_parts("flock/block", encode(header))


def commit_digest(commit: Commit | None) -> bytes:
    """Return what a header names its predecessor's commit by; the first block has none."""
    return hash_parts("flock/commit", encode(commit))


def transaction_id(transaction: bytes) -> bytes:
    """Return the hash that names a transaction."""
    return hash_parts("flock/transaction", transaction)


def transactions_root(transactions: tuple[bytes, ...]) -> bytes:
    """Return the Merkle root (RFC 6962) over a block's transactions."""
    return merkle_root([merkle_leaf(transaction) for transaction in transactions])


def receipts_root(receipts: tuple[Receipt, ...]) -> bytes:
    """Return the Merkle root (RFC 6962) over a block's receipts: transaction and error number of each."""
    return merkle_root([merkle_leaf(encode((receipt.transaction, receipt.error))) for receipt in receipts])


def check_body(block: Block) -> None:
    """Return if the header commits to the body; raise `InvalidBlock` otherwise."""
    if block.header.transactions_root != transactions_root(block.transactions):
        raise InvalidBlock("the header names other transactions")
    if block.header.previous_commit != commit_digest(block.previous_commit):
        raise InvalidBlock("the header names another commit of the previous block")
