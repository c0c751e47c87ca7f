"""What goes into the consensus core and what comes out of it: plain values, so that a log of inputs replays it.

Inputs are records with tags, for the write-ahead log keeps them. Effects are requests: whoever owns the core performs
them and feeds the outcome back as an input.
"""

from enum import IntEnum

from protocol.tendermint.messages import Commit, Proposal, Vote, VoteKind
from protocol.tendermint.proposer import Priorities
from protocol.tendermint.replicas import ReplicaSet
from protocol.types import Digest, Height, Record, Round


class TimeoutKind(IntEnum):
    """The three timeouts of Algorithm 1."""

    PROPOSE = 1
    PREVOTE = 2
    PRECOMMIT = 3


# --- inputs ----------------------------------------------------------------------------------------------------------


class HeightStarted(Record, tag=1):
    """There is something to agree on: the wait before round 0 of this height is over."""

    height: Height


class TimeoutExpired(Record, tag=2):
    """A timeout that `ScheduleTimeout` asked for has passed."""

    kind: TimeoutKind
    height: Height
    round: Round


class ProposalReceived(Record, tag=3):
    """A block proposal with a valid signature, whose block's bytes are at hand.

    `is_timely` says whether the block's time was close to the own clock on arrival; only a fresh proposal is judged by
    it, or locks would deadlock.
    """

    proposal: Proposal
    is_timely: bool


class VoteReceived(Record, tag=4):
    """A vote with a valid signature."""

    vote: Vote


class BlockBuilt(Record, tag=5):
    """The block that `GetBlock` asked for exists."""

    height: Height
    round: Round
    block_id: Digest


class BlockChecked(Record, tag=6):
    """The verdict that `ValidateBlock` asked for: valid(v) of the paper, by the block and the state alone."""

    height: Height
    block_id: Digest
    is_valid: bool


class CommitReceived(Record, tag=7):
    """A verified commit of a block whose bytes are at hand: how a replica that is behind catches up."""

    commit: Commit


class HeightAdvanced(Record, tag=8):
    """The decided block is stored; these are the next height, its replica set and where the rotation stands."""

    height: Height
    replicas: ReplicaSet
    priorities: Priorities


Input = (
    HeightStarted
    | TimeoutExpired
    | ProposalReceived
    | VoteReceived
    | BlockBuilt
    | BlockChecked
    | CommitReceived
    | HeightAdvanced
)


# --- effects ---------------------------------------------------------------------------------------------------------


class SignProposal(Record):
    """Sign this proposal, make it durable, broadcast it with the block, and feed it back as `ProposalReceived`."""

    height: Height
    round: Round
    valid_round: Round | None
    block_id: Digest


class SignVote(Record):
    """Sign this vote, make it durable, broadcast it, and feed it back as `VoteReceived`."""

    kind: VoteKind
    height: Height
    round: Round
    block_id: Digest | None


class ScheduleTimeout(Record):
    """Feed `TimeoutExpired` after the timeout of this kind and round."""

    kind: TimeoutKind
    height: Height
    round: Round


class GetBlock(Record):
    """Build a block to propose; feed `BlockBuilt`."""

    height: Height
    round: Round


class ValidateBlock(Record):
    """Check this block against the state; feed `BlockChecked`."""

    height: Height
    round: Round
    block_id: Digest


class Decide(Record):
    """The height is decided: store the commit's block; feed `HeightAdvanced`.

    More than 2/3 of the power call the block valid. If it contradicts the own state, the node must stop.
    """

    commit: Commit


class EvidenceFound(Record):
    """Two messages that one replica signed and no honest one would have."""

    first: Proposal | Vote
    second: Proposal | Vote


Effect = SignProposal | SignVote | ScheduleTimeout | GetBlock | ValidateBlock | Decide | EvidenceFound
