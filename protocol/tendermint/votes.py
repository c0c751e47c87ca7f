"""The votes of one height: who voted for what, and which thresholds that reaches. Knows nothing of steps.

Each replica counts once in a round's total and once for each value it signed: an equivocator may stand in two tallies,
but two quorums still share an honest replica, and one that hears the wrong vote first can still see the quorum that
others saw. What is kept is bounded: see `RoundVotes.add` and `HeightVotes.add`.
"""

from collections.abc import Iterator

from protocol.tendermint.messages import Vote, VoteKind
from protocol.tendermint.replicas import ReplicaSet, is_quorum, is_skip


class RoundVotes:
    """The votes of one kind in one round."""

    def __init__(self, powers: dict[bytes, int]) -> None:
        self._powers = powers
        self._total = sum(powers.values())
        self._by_replica: dict[bytes, list[Vote]] = {}
        self._first_power: dict[bytes | None, int] = {}
        self._power: dict[bytes | None, int] = {}

    def add(self, vote: Vote) -> Vote | None:
        """Count a vote of a member; return the member's first vote when this one is its first to contradict it.

        Of a replica's votes are kept: the first, the first that contradicts it, and one for any value that more than
        1/3 of the power voted for first. So at most four, and those of every possible quorum are among them.
        """
        votes = self._by_replica.setdefault(vote.replica, [])
        if any(known.block_id == vote.block_id for known in votes):
            return None
        is_supported = is_skip(self._first_power.get(vote.block_id, 0), self._total)
        if len(votes) >= 2 and not is_supported:
            return None
        power = self._powers[vote.replica]
        if not votes:
            self._first_power[vote.block_id] = self._first_power.get(vote.block_id, 0) + power
        self._power[vote.block_id] = self._power.get(vote.block_id, 0) + power
        votes.append(vote)
        return votes[0] if len(votes) == 2 else None

    def forget(self, replica: bytes) -> None:
        """Take back all votes of a replica."""
        for position, vote in enumerate(self._by_replica.pop(replica, [])):
            self._power[vote.block_id] -= self._powers[replica]
            if position == 0:
                self._first_power[vote.block_id] -= self._powers[replica]

    def holds(self, vote: Vote) -> bool:
        """Return whether this very vote is among them."""
        return vote in self._by_replica.get(vote.replica, ())

    def voters(self) -> frozenset[bytes]:
        """Return the keys of those who voted."""
        return frozenset(self._by_replica)

    def all_votes(self) -> Iterator[Vote]:
        """Yield everything kept, by key."""
        for replica in sorted(self._by_replica):
            yield from self._by_replica[replica]

    def numbered_votes(self) -> Iterator[tuple[int, Vote]]:
        """Yield everything kept with its place among its replica's votes, 0 for the first."""
        for votes in self._by_replica.values():
            yield from enumerate(votes)

    def votes_for(self, block_id: bytes | None) -> list[Vote]:
        """Return the votes for a value, by key."""
        return [vote for vote in self.all_votes() if vote.block_id == block_id]

    def has_any_quorum(self) -> bool:
        """Return whether replicas with more than 2/3 of the power voted, for whatever."""
        return is_quorum(sum(self._powers[replica] for replica in self._by_replica), self._total)

    def has_nil_quorum(self) -> bool:
        """Return whether more than 2/3 of the power voted nil."""
        return is_quorum(self._power.get(None, 0), self._total)

    def quorum_block(self) -> bytes | None:
        """Return the block that more than 2/3 of the power voted for, if there is one."""
        reached = (block_id for block_id, power in self._power.items() if is_quorum(power, self._total))
        return next((block_id for block_id in reached if block_id is not None), None)

    def has_value_quorum(self) -> bool:
        """Return whether more than 2/3 of the power agree, on a block or on nil."""
        return self.has_nil_quorum() or self.quorum_block() is not None


class HeightVotes:
    """All votes of one height: every round up to the current one, and one later round of each replica."""

    def __init__(self, replicas: ReplicaSet) -> None:
        self.current_round = 0
        self._powers = {replica.key: replica.power for replica in replicas.replicas}
        self._total = replicas.total_power()
        self._rounds: dict[tuple[VoteKind, int], RoundVotes] = {}
        self._later: dict[bytes, int] = {}

    def get(self, kind: VoteKind, round: int) -> RoundVotes:
        """Return the votes of a kind and round; none of them where nobody voted."""
        return self._rounds.get((kind, round)) or RoundVotes(self._powers)

    def add(self, vote: Vote) -> Vote | None:
        """Count a vote; return the vote it contradicts, if it is the first to do so.

        Strangers' votes are ignored. Of rounds beyond the current one a replica's highest is kept, and no other.
        """
        if vote.replica not in self._powers:
            return None
        if vote.round > self.current_round and not self._make_room(vote.replica, vote.round):
            return None
        key = (vote.kind, vote.round)
        if key not in self._rounds:
            self._rounds[key] = RoundVotes(self._powers)
        return self._rounds[key].add(vote)

    def enter_round(self, round: int) -> None:
        """Raise the current round, so that all votes up to it are kept."""
        self.current_round = round
        self._later = {replica: later for replica, later in self._later.items() if later > round}

    def skip_round(self) -> int | None:
        """Return the highest round beyond the current one that more than 1/3 of the power reached (L55).

        A vote of a still later round counts: its sender has passed this one, and an honest one is among them.
        """
        power = 0
        for replica, round in sorted(self._later.items(), key=lambda entry: -entry[1]):
            power += self._powers[replica]
            if is_skip(power, self._total):
                return round
        return None

    def all_votes(self) -> list[Vote]:
        """Return everything kept, in an order in which `add` keeps it again: first votes before those against them."""
        numbered = ((n, vote) for kept in self._rounds.values() for n, vote in kept.numbered_votes())
        return [vote for _, vote in sorted(numbered, key=lambda entry: entry[0])]

    def votes_of(self, replica: bytes) -> list[Vote]:
        """Return all votes of a replica."""
        return [vote for kept in self._rounds.values() for vote in kept.all_votes() if vote.replica == replica]

    def committed(self) -> Iterator[tuple[int, bytes]]:
        """Yield (round, block) wherever more than 2/3 of the power precommitted a block."""
        for (kind, round), votes in self._rounds.items():
            if kind == VoteKind.PRECOMMIT and (block_id := votes.quorum_block()) is not None:
                yield round, block_id

    def _make_room(self, replica: bytes, round: int) -> bool:
        known = self._later.get(replica)
        if known is not None and known > round:
            return False
        if known is not None and known < round:
            self._forget(replica, known)
        self._later[replica] = round
        return True

    def _forget(self, replica: bytes, round: int) -> None:
        for kind in VoteKind:
            votes = self.get(kind, round)
            votes.forget(replica)
            if not votes.voters():
                self._rounds.pop((kind, round), None)
