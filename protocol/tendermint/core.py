"""The consensus core: joins block proposals with thresholds and applies the rules of Algorithm 1. Read this first.

One entry, `Core.step(input) -> effects`. It holds no clock, no bytes of blocks, no keys to sign with: messages come in
with their signatures checked, and what is to be done goes out as values. Given the same inputs in the same order it
does the same, which is what the write-ahead log relies on.

What is at hand is joined into events in one fixed order: a decision of any round, a later round, then the rules of the
current round as the paper lists them. The machine ignores what it was told before, so the events are told until nothing
changes.
"""

from collections.abc import Iterable, Iterator

from protocol.tendermint import machine
from protocol.tendermint.early import EarlyMessages
from protocol.tendermint.events import (
    BlockBuilt,
    BlockChecked,
    CommitReceived,
    Effect,
    EvidenceFound,
    HeightAdvanced,
    HeightStarted,
    Input,
    ProposalReceived,
    SignProposal,
    SignVote,
    TimeoutExpired,
    TimeoutKind,
    ValidateBlock,
    VoteReceived,
)
from protocol.tendermint.machine import State, Step
from protocol.tendermint.messages import Commit, CommitSignature, Proposal, Vote, VoteKind, precommits_of
from protocol.tendermint.proposals import Proposals
from protocol.tendermint.proposer import Priorities, take_turn
from protocol.tendermint.replicas import ReplicaSet
from protocol.tendermint.summary import Holdings, RoundSummary, get_missing_of_commit
from protocol.tendermint.votes import HeightVotes

# Proposals further ahead than this are ignored: whose turn it is costs work by the round.
MAX_ROUNDS_AHEAD = 1000


class Core:
    """One replica's view of one height after another. `own_key` None, or a stranger's, only follows."""

    state: State
    replicas: ReplicaSet
    votes: HeightVotes
    proposals: Proposals
    # Where the rotation stands after the turns in `_proposers`.
    _turn: Priorities

    def __init__(
        self,
        own_key: bytes | None,
        height: int,
        replicas: ReplicaSet,
        priorities: Priorities,
        *,
        last_commit: Commit | None = None,
    ) -> None:
        self.own_key = own_key
        self.last_commit = last_commit
        self._early = EarlyMessages()
        self._begin(height, replicas, priorities)

    def step(self, event: Input) -> list[Effect]:
        """Take one input and return what is to be done, in order. Inputs of other heights change nothing."""
        match event:
            case HeightAdvanced(height, replicas, priorities):
                assert height == self.state.height + 1, "heights advance by one"
                self._begin(height, replicas, priorities)
                return []
            case ProposalReceived(message) | VoteReceived(message) if message.height == self.state.height + 1:
                if self.replicas.get(message.replica) is not None:
                    self._early.hold(message, event)
                return []
        effects = self._absorb(event)
        return effects + self._settle()

    def take_held_inputs(self) -> list[ProposalReceived | VoteReceived]:
        """Return the messages that came before their height did, now that it has begun; feed them like any other."""
        return self._early.take()

    def get_kept(self) -> list[ProposalReceived | VoteReceived | BlockChecked]:
        """Return what is at hand of this height: with the state, all that `restore` needs. Votes come first.

        Bounded by the rounds that passed, however much came in: a replica's later rounds replace each other.
        """
        votes = [VoteReceived(vote) for vote in self.votes.all_votes()]
        checked = [BlockChecked(self.state.height, *verdict) for verdict in self.proposals.verdicts.items()]
        return [*votes, *self.proposals.all_received(), *checked]

    def restore(self, state: State, kept: Iterable[Input]) -> list[Effect]:
        """Bring a core that has just begun this height to where another was; return the timeouts that run there."""
        assert state.height == self.state.height, "the state of another height"
        self.state = state
        self.votes.enter_round(state.round)
        for event in kept:
            match event:
                case VoteReceived(vote):
                    self.votes.add(vote)
                case ProposalReceived():
                    self.proposals.add(event, current_round=state.round)
                case BlockChecked(_, block_id, is_valid):
                    self.proposals.judge(block_id, is_valid)
        return [*machine.get_timeouts(state)]

    def proposer(self, round: int) -> bytes:
        """Return the key of proposer(h, round)."""
        while len(self._proposers) <= round:
            replica, self._turn = take_turn(self.replicas, self._turn)
            self._proposers.append(replica.key)
        return self._proposers[round]

    def has_signed(self, effect: SignProposal | SignVote) -> bool:
        """Return whether the own message that an effect asks for, or one in its place, is at hand already."""
        match effect:
            case SignVote(kind, height, round):
                is_held = self.own_key in self.votes.get(kind, round).voters()
            case SignProposal(height, round):
                is_held = any(p.proposal.replica == self.own_key for p in self.proposals.of_round(round))
        return is_held or height != self.state.height

    def holds(self, message: Proposal | Vote) -> bool:
        """Return whether this message is at hand, of this height or held for the next."""
        if message.height != self.state.height:
            return message in self._early.messages_of(message.replica)
        if isinstance(message, Vote):
            return self.votes.get(message.kind, message.round).holds(message)
        return self.proposals.find(message.round, message.block_id) is not None

    def newest_vote_of(self, replica: bytes) -> Vote | None:
        """Return the newest vote of a replica that is at hand: what it must not contradict after losing its memory."""
        votes = [message for message in self._early.messages_of(replica) if isinstance(message, Vote)]
        votes += self.votes.votes_of(replica)
        votes += precommits_of(self.last_commit) if self.last_commit is not None else ()
        own = (vote for vote in votes if vote.replica == replica)
        return max(own, key=lambda vote: (vote.height, vote.round, vote.kind), default=None)

    def block_ids(self) -> set[bytes]:
        """Return the ids of the blocks whose bytes are still of use."""
        return {*self._early.block_ids(), *self.proposals.block_ids()}

    def summary(self) -> RoundSummary:
        """Return what to tell peers while the round stands still."""
        return self._holdings().get_summary()

    def get_missing(self, summary: RoundSummary) -> list[Proposal | Vote]:
        """Return what a peer with this summary misses: of this height, or the commit of the one before."""
        if summary.step == Step.DECIDED:
            return []
        if summary.height == self.state.height:
            return self._holdings().get_missing(summary)
        if self.last_commit is not None and summary.height == self.last_commit.height:
            return get_missing_of_commit(self.last_commit, summary)
        return []

    def _begin(self, height: int, replicas: ReplicaSet, priorities: Priorities) -> None:
        self.state = State(height)
        self.replicas = replicas
        self.votes = HeightVotes(replicas)
        self.proposals = Proposals(self._has_quorum)
        self._turn = priorities
        self._proposers: list[bytes] = []

    def _holdings(self) -> Holdings:
        return Holdings(self.state, self.replicas, self.votes, self.proposals)

    # --- taking inputs in --------------------------------------------------------------------------------------------

    def _absorb(self, event: Input) -> list[Effect]:
        """Take an input of this height into what is at hand, or straight to the machine."""
        height = self.state.height
        match event:
            case HeightStarted(of) if of == height:
                return self._start()
            case ProposalReceived(proposal) if proposal.height == height:
                return self._add_proposal(event)
            case VoteReceived(vote) if vote.height == height:
                return self._add_vote(vote)
            case BlockChecked(of, block_id, is_valid) if of == height:
                self.proposals.judge(block_id, is_valid)
            case BlockBuilt(of, round, block_id) if of == height:
                return self._apply(machine.OwnBlock(round, block_id))
            case TimeoutExpired(kind, of, round) if of == height:
                # Only the current round's timeout needs to know who is next.
                is_next = round == self.state.round and kind == TimeoutKind.PRECOMMIT and self._is_own_turn(round + 1)
                return self._apply(machine.Expired(kind, round, is_next))
            case CommitReceived(commit) if commit.height == height:
                return self._apply(machine.BlockAndCommit(commit))
        return []

    def _start(self) -> list[Effect]:
        return self._apply(machine.RoundZero(self._is_own_turn(0))) if self.state.step == Step.WAITING else []

    def _add_vote(self, vote: Vote) -> list[Effect]:
        if self.replicas.get(vote.replica) is None or self.state.step == Step.DECIDED:
            return []
        started = self._start()
        contradicted = self.votes.add(vote)
        return started if contradicted is None else [*started, EvidenceFound(contradicted, vote)]

    def _add_proposal(self, received: ProposalReceived) -> list[Effect]:
        proposal, current = received.proposal, self.state.round
        is_near = proposal.round <= current + MAX_ROUNDS_AHEAD
        if self.state.step == Step.DECIDED or not is_near or proposal.replica != self.proposer(proposal.round):
            return []
        started = self._start()
        earlier = self.proposals.of_round(proposal.round)[:1]
        if not self.proposals.add(received, current_round=current):
            return started
        if len(self.proposals.of_round(proposal.round)) == 2:
            started.append(EvidenceFound(earlier[0].proposal, proposal))
        if proposal.block_id not in self.proposals.verdicts:
            started.append(ValidateBlock(proposal.height, proposal.round, proposal.block_id))
        return started

    def _has_quorum(self, round: int, block_id: bytes) -> bool:
        return any(self.votes.get(kind, round).quorum_block() == block_id for kind in VoteKind)

    # --- joining what is at hand into events ------------------------------------------------------------------------

    def _settle(self) -> list[Effect]:
        """Tell the machine every event until it changes no more."""
        effects: list[Effect] = []
        is_settled = False
        while not is_settled:
            before = self.state
            for event in self._events():
                effects += self._apply(event)
                if self.state != before:
                    break
            is_settled = self.state == before
        return effects

    def _events(self) -> Iterator[machine.Input]:
        """Yield what has come true, in the order of priority."""
        yield from self._decisions()  # L49
        if (later := self.votes.skip_round()) is not None:  # L55
            yield machine.LaterRound(later, self._is_own_turn(later))
        yield from self._judged_proposals()  # L22, L28
        round = self.state.round
        prevotes, precommits = self.votes.get(VoteKind.PREVOTE, round), self.votes.get(VoteKind.PRECOMMIT, round)
        polka = prevotes.quorum_block()
        if polka is not None and self.proposals.find(round, polka) and self.proposals.verdicts.get(polka):  # L36
            yield machine.ProposalAndPolka(polka)
        if prevotes.has_nil_quorum():  # L44
            yield machine.NilPolka()
        if prevotes.has_any_quorum():  # L34
            yield machine.AnyPrevotes()
        if precommits.has_any_quorum():  # L47
            yield machine.AnyPrecommits()

    def _decisions(self) -> Iterator[machine.Input]:
        for round, block_id in self.votes.committed():
            if self.proposals.find(round, block_id) is not None:
                precommits = self.votes.get(VoteKind.PRECOMMIT, round).votes_for(block_id)
                signatures = tuple(CommitSignature(vote.replica, vote.signature) for vote in precommits)
                yield machine.BlockAndCommit(Commit(self.state.height, round, block_id, signatures))

    def _judged_proposals(self) -> Iterator[machine.Input]:
        """Yield the current round's proposals whose block was checked; a repeated one once its polka is seen."""
        for received in self.proposals.of_round(self.state.round):
            proposal = received.proposal
            is_valid = self.proposals.verdicts.get(proposal.block_id)
            if is_valid is None:
                continue
            if proposal.valid_round is None:
                yield machine.FreshProposal(proposal.block_id, is_valid and received.is_timely)
            elif self.votes.get(VoteKind.PREVOTE, proposal.valid_round).quorum_block() == proposal.block_id:
                yield machine.ReproposalAndPolka(proposal.block_id, proposal.valid_round, is_valid)

    def _apply(self, event: machine.Input) -> list[Effect]:
        """Let the machine take an event; keep what the new state is, and what it asks of this replica."""
        before = self.state
        self.state, effects = machine.apply(before, event)
        if self.state.round != before.round:
            self.votes.enter_round(self.state.round)
            self.proposals.enter_round(self.state.round)
        if self.state.step == Step.DECIDED and isinstance(event, machine.BlockAndCommit):
            self.last_commit = event.commit
        is_voter = self.own_key is not None and self.replicas.get(self.own_key) is not None
        return [effect for effect in effects if is_voter or not isinstance(effect, SignProposal | SignVote)]

    def _is_own_turn(self, round: int) -> bool:
        return self.own_key is not None and self.proposer(round) == self.own_key
