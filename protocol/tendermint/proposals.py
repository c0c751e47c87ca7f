"""The block proposals of one height: which are kept, and what was found out about their blocks. Knows no thresholds."""

from collections.abc import Callable, Iterator

from protocol.tendermint.events import ProposalReceived
from protocol.tendermint.messages import Proposal

# Proposals of earlier rounds are kept only if their block reached a quorum there.
RECENT_ROUNDS = 4

# Whether the block reached a quorum of prevotes or precommits in the round.
HasQuorum = Callable[[int, bytes], bool]


class Proposals:
    """Two proposals of each recent round, so that an equivocation can be shown; and any whose block reached a quorum.

    Of rounds beyond the current one a proposer's highest is kept, and no other.
    """

    def __init__(self, has_quorum: HasQuorum) -> None:
        self._has_quorum = has_quorum
        self._rounds: dict[int, list[ProposalReceived]] = {}
        self._later: dict[bytes, int] = {}
        self.verdicts: dict[bytes, bool] = {}

    def add(self, received: ProposalReceived, *, current_round: int) -> bool:
        """Keep a proposal of its round's proposer; return whether it is new and kept."""
        proposal = received.proposal
        kept = self._rounds.get(proposal.round, [])
        if any(known.proposal.block_id == proposal.block_id for known in kept):
            return False
        is_crowded = len(kept) >= 2 or proposal.round <= current_round - RECENT_ROUNDS
        if is_crowded and not self._has_quorum(proposal.round, proposal.block_id):
            return False
        if proposal.round > current_round and not self._make_room(proposal.replica, proposal.round):
            return False
        self._rounds.setdefault(proposal.round, []).append(received)
        return True

    def of_round(self, round: int) -> list[ProposalReceived]:
        """Return the proposals of a round in the order of their arrival."""
        return self._rounds.get(round, [])

    def find(self, round: int, block_id: bytes) -> Proposal | None:
        """Return the proposal of this block in this round, if it is held."""
        return next((p.proposal for p in self.of_round(round) if p.proposal.block_id == block_id), None)

    def enter_round(self, round: int) -> None:
        """Make this round the current one: earlier ones count as recent from now on, or as old."""
        self._later = {replica: later for replica, later in self._later.items() if later > round}
        for old in [known for known in self._rounds if known <= round - RECENT_ROUNDS]:
            self._rounds[old] = [p for p in self._rounds[old] if self._has_quorum(old, p.proposal.block_id)]
            if not self._rounds[old]:
                del self._rounds[old]
        self._forget_verdicts()

    def judge(self, block_id: bytes, is_valid: bool) -> None:
        """Remember whether the block of a kept proposal is valid."""
        if block_id in self.block_ids():
            self.verdicts[block_id] = is_valid

    def all_received(self) -> list[ProposalReceived]:
        """Return every kept proposal in the order of arrival within its round."""
        return [received for kept in self._rounds.values() for received in kept]

    def block_ids(self) -> Iterator[bytes]:
        """Yield the id of every block that a kept proposal names."""
        for received in self._rounds.values():
            yield from (entry.proposal.block_id for entry in received)

    def _make_room(self, replica: bytes, round: int) -> bool:
        known = self._later.get(replica)
        if known is not None and known > round:
            return False
        if known is not None and known < round:
            self._rounds.pop(known, None)
            self._forget_verdicts()
        self._later[replica] = round
        return True

    def _forget_verdicts(self) -> None:
        held = set(self.block_ids())
        self.verdicts = {block_id: is_valid for block_id, is_valid in self.verdicts.items() if block_id in held}
