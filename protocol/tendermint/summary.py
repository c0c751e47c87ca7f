"""Anti-entropy: what a replica says of itself while a round stands still, and what a peer that reads it misses.

Gossip loses messages and Tendermint assumes that it does not; this makes up the difference. Pure: the replica sends the
summaries and what they call for.
"""

from typing import Annotated

from msgspec import Meta

from protocol.tendermint.machine import State, Step
from protocol.tendermint.messages import Commit, Proposal, Vote, VoteKind, precommits_of
from protocol.tendermint.proposals import RECENT_ROUNDS, Proposals
from protocol.tendermint.replicas import ReplicaSet
from protocol.tendermint.votes import HeightVotes
from protocol.types import Height, Record, Round

MAX_SUMMARY_ROUNDS = 16
# One answer carries at most so many messages; the next summary calls for the rest.
MAX_MISSING = 256

# Bit i is the replica at position i of the set, lowest bit of the first byte first.
Bitmap = Annotated[bytes, Meta(max_length=128)]


class VoteSummary(Record):
    """Who voted in one round, and whether the votes agree: a quorum for one block or for nil."""

    voters: Bitmap
    has_quorum: bool


class RoundOverview(Record):
    """What is held of one round. `has_proposal`: of the block with a quorum if there is one, otherwise any."""

    round: Round
    has_proposal: bool
    prevotes: VoteSummary
    precommits: VoteSummary


class RoundSummary(Record):
    """Where a replica stands. It tells of the recent rounds, and of older ones that a lock or a decision hangs on."""

    height: Height
    round: Round
    step: Step
    rounds: Annotated[tuple[RoundOverview, ...], Meta(max_length=MAX_SUMMARY_ROUNDS)]


NO_VOTES = VoteSummary(b"", False)


class Holdings:
    """What one replica holds of one height, as anti-entropy sees it."""

    def __init__(self, state: State, replicas: ReplicaSet, votes: HeightVotes, proposals: Proposals) -> None:
        self.state = state
        self.keys = [replica.key for replica in replicas.replicas]
        self.votes = votes
        self.proposals = proposals

    def get_summary(self) -> RoundSummary:
        """Return what to tell peers."""
        overviews = tuple(self._overview(round) for round in self._relevant_rounds())
        return RoundSummary(self.state.height, self.state.round, self.state.step, overviews)

    def get_missing(self, summary: RoundSummary) -> list[Proposal | Vote]:
        """Return what a peer at this height misses of what is held here; earlier rounds first, at most MAX_MISSING."""
        told = {overview.round: overview for overview in summary.rounds}
        missing: list[Proposal | Vote] = []
        for round in sorted({*self._relevant_rounds(), *told}):
            overview = told.get(round, RoundOverview(round, False, NO_VOTES, NO_VOTES))
            if not overview.has_proposal:
                missing += self._wanted_proposals(round)
            missing += self._missing_votes(VoteKind.PREVOTE, round, overview.prevotes)
            missing += self._missing_votes(VoteKind.PRECOMMIT, round, overview.precommits)
        return missing[:MAX_MISSING]

    def _relevant_rounds(self) -> list[int]:
        """The last rounds, the valid rounds of this replica and of the proposals, and where a block was decided."""
        current = self.state.round
        wanted = {round for round, _ in self.votes.committed()}
        wanted |= {
            p.proposal.valid_round for p in self.proposals.of_round(current) if p.proposal.valid_round is not None
        }
        wanted |= {self.state.valid_round} if self.state.valid_round is not None else set()
        recent = set(range(max(0, current - RECENT_ROUNDS + 1), current + 1))
        older = sorted(wanted - recent, reverse=True)[: MAX_SUMMARY_ROUNDS - len(recent)]
        return sorted(recent | set(older))

    def _overview(self, round: int) -> RoundOverview:
        summaries = (self._vote_summary(kind, round) for kind in (VoteKind.PREVOTE, VoteKind.PRECOMMIT))
        wanted = self._quorum_block(round)
        if wanted is None:
            has_proposal = bool(self.proposals.of_round(round))
        else:
            has_proposal = self.proposals.find(round, wanted) is not None
        return RoundOverview(round, has_proposal, *summaries)

    def _vote_summary(self, kind: VoteKind, round: int) -> VoteSummary:
        votes = self.votes.get(kind, round)
        voters = votes.voters()
        bits = sum(1 << position for position, key in enumerate(self.keys) if key in voters)
        return VoteSummary(bits.to_bytes((len(self.keys) + 7) // 8, "little"), votes.has_value_quorum())

    def _quorum_block(self, round: int) -> bytes | None:
        decided = self.votes.get(VoteKind.PRECOMMIT, round).quorum_block()
        return decided or self.votes.get(VoteKind.PREVOTE, round).quorum_block()

    def _wanted_proposals(self, round: int) -> list[Proposal]:
        """Return the proposal of the block with a quorum, or else the first of the round."""
        wanted = self._quorum_block(round)
        if wanted is not None and (proposal := self.proposals.find(round, wanted)) is not None:
            return [proposal]
        return [received.proposal for received in self.proposals.of_round(round)[:1]]

    def _missing_votes(self, kind: VoteKind, round: int, summary: VoteSummary) -> list[Vote]:
        """Return the votes of replicas the peer has not heard; once it heard all of them and still sees no quorum where
        one is seen here, an equivocator told it something else: then the whole quorum."""
        bits = int.from_bytes(summary.voters, "little")
        heard = {key for position, key in enumerate(self.keys) if bits >> position & 1}
        votes = self.votes.get(kind, round)
        unheard = [vote for vote in votes.all_votes() if vote.replica not in heard]
        if unheard or summary.has_quorum or not votes.has_value_quorum():
            return unheard
        return votes.votes_for(votes.quorum_block())


def get_missing_of_commit(commit: Commit, summary: RoundSummary) -> list[Proposal | Vote]:
    """Return the precommits of a commit for a peer that has not decided that height."""
    assert commit.height == summary.height, "a commit of another height"
    return list(precommits_of(commit)[:MAX_MISSING])
