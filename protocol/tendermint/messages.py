"""What replicas sign and send: proposals, votes, and the commits that are made of precommits.

Every message signs the chain's digest with it, so that no vote counts on another chain.
"""

from enum import IntEnum

from protocol import crypto
from protocol.codec import encode
from protocol.types import Bytes32, Digest, Height, Record, Round, Signature


class VoteKind(IntEnum):
    """The two kinds of votes of Algorithm 1."""

    PREVOTE = 1
    PRECOMMIT = 2


class Proposal(Record, tag=1):
    """PROPOSAL(h, r, v, vr) of the paper; the block itself travels beside it. `valid_round` None is the paper's -1."""

    height: Height
    round: Round
    valid_round: Round | None
    block_id: Digest
    replica: Bytes32
    signature: Signature


class Vote(Record, tag=2):
    """PREVOTE(h, r, id) or PRECOMMIT(h, r, id); `block_id` None is a vote for nil."""

    kind: VoteKind
    height: Height
    round: Round
    block_id: Digest | None
    replica: Bytes32
    signature: Signature


class CommitSignature(Record):
    """One replica's precommit inside a commit."""

    replica: Bytes32
    signature: Signature


class Commit(Record):
    """Precommits of more than 2/3 of the voting power for one block: what made it final. Sorted by replica."""

    height: Height
    round: Round
    block_id: Digest
    signatures: tuple[CommitSignature, ...]


def sign_proposal(
    chain: bytes, seed: bytes, *, height: int, round: int, valid_round: int | None, block_id: bytes
) -> Proposal:
    """Return the proposal signed with a replica's 32-byte consensus seed."""
    parts = _proposal_parts(chain, height, round, valid_round, block_id)
    signature = crypto.sign(seed, "flock/proposal", *parts)
    return Proposal(height, round, valid_round, block_id, crypto.public_key(seed), signature)


def sign_vote(chain: bytes, seed: bytes, *, kind: VoteKind, height: int, round: int, block_id: bytes | None) -> Vote:
    """Return the vote signed with a replica's 32-byte consensus seed."""
    signature = crypto.sign(seed, "flock/vote", *_vote_parts(chain, kind, height, round, block_id))
    return Vote(kind, height, round, block_id, crypto.public_key(seed), signature)


def verify_message(chain: bytes, message: Proposal | Vote) -> None:
    """Return if the message carries its replica's signature; raise `InvalidSignature` otherwise."""
    match message:
        case Proposal(height, round, valid_round, block_id, replica, signature):
            crypto.verify(
                replica, signature, "flock/proposal", *_proposal_parts(chain, height, round, valid_round, block_id)
            )
        case Vote(kind, height, round, block_id, replica, signature):
            crypto.verify(replica, signature, "flock/vote", *_vote_parts(chain, kind, height, round, block_id))


def precommits_of(commit: Commit) -> tuple[Vote, ...]:
    """Return the votes that a commit stands for."""
    return tuple(
        Vote(VoteKind.PRECOMMIT, commit.height, commit.round, commit.block_id, entry.replica, entry.signature)
        for entry in commit.signatures
    )


def _proposal_parts(
    chain: bytes, height: int, round: int, valid_round: int | None, block_id: bytes
) -> tuple[bytes, ...]:
    return chain, encode((height, round, valid_round, block_id))


def _vote_parts(chain: bytes, kind: VoteKind, height: int, round: int, block_id: bytes | None) -> tuple[bytes, ...]:
    return chain, encode((int(kind), height, round, block_id))
