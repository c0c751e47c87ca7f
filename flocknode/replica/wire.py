"""What replicas say to each other under the topic of consensus. Proposals and votes are published, the rest is told to
one peer."""

from typing import Annotated

from msgspec import Meta

from protocol import crypto
from protocol.codec import encode
from protocol.tendermint.messages import Proposal, Vote
from protocol.tendermint.summary import RoundSummary
from protocol.types import Bytes32, Record, Signature

# A block of the largest size, its commit, and room for the rest of the message.
MAX_BLOCK_BYTES = 2 * 1024 * 1024 - 1024


class BlockProposal(Record, tag=1):
    """A proposal with the canonical bytes of its block."""

    proposal: Proposal
    block: Annotated[bytes, Meta(max_length=MAX_BLOCK_BYTES)]


class VoteCast(Record, tag=2):
    """A vote."""

    vote: Vote


class Author(Record):
    """The replica that says something of itself, and its signature."""

    replica: Bytes32
    signature: Signature


class SummaryTold(Record, tag=3):
    """Where the sender stands: calls for what it misses. Signed by replicas, so that others see who is there."""

    summary: RoundSummary
    author: Author | None


class NewestVoteAsked(Record, tag=4):
    """A replica that has just started asks what it signed last, lest its memory be older than that."""

    replica: Bytes32


class NewestVoteTold(Record, tag=5):
    """The newest vote of the replica that the sender holds, if any."""

    replica: Bytes32
    vote: Vote | None


ConsensusMessage = BlockProposal | VoteCast | SummaryTold | NewestVoteAsked | NewestVoteTold


def sign_summary(chain: bytes, seed: bytes, summary: RoundSummary) -> SummaryTold:
    """Return the summary signed with a replica's consensus seed."""
    signature = crypto.sign(seed, "flock/summary", chain, encode(summary))
    return SummaryTold(summary, Author(crypto.public_key(seed), signature))


def verify_summary(chain: bytes, told: SummaryTold) -> None:
    """Return if the summary has no author or its author's signature; raise `InvalidSignature` otherwise."""
    if told.author is not None:
        crypto.verify(told.author.replica, told.author.signature, "flock/summary", chain, encode(told.summary))
