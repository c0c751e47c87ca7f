"""The schedule of an adversary who decides what arrives when, and hunts for locks that do not hold.

In a round one node may be *silenced*: nobody hears its prevote, or its precommit, so that it alone sees the quorum; if
it decides on it, the others must come to the same without it, for it is hidden for a while. And one may be *blind*: it
does not see the proposal in time and votes nil, which lets the others go on with a quorum of votes for this and that.
"""

import random
from dataclasses import dataclass

import trio

from flocknode.replica.wire import BlockProposal, ConsensusMessage, VoteCast
from protocol.codec import decode
from protocol.tendermint.messages import VoteKind

# For how long what belongs to a round does not come through; a round takes a fraction of it.
HELD_S = 0.6
HIDDEN_S = (0.3, 2.0)


@dataclass(frozen=True)
class Plan:
    """What happens to one round of one height."""

    until: float
    silenced: str | None
    kind: VoteKind
    blind: str | None


class Hunter:
    """Makes a plan for every round. Without activity it lets everything pass."""

    def __init__(self, dice: random.Random, names: list[str], *, is_active: bool) -> None:
        self._dice = dice
        self._names = names
        self._is_active = is_active
        self._plans: dict[tuple[int, int], Plan] = {}
        self._outsiders: dict[int, str] = {}
        self._hidden_until: dict[str, float] = {}

    def catches(self, sender: str, receiver: str, payload: bytes) -> bool:
        """Return whether a message is to be lost."""
        if not self._is_active:
            return False
        now = trio.current_time()
        match decode(payload, ConsensusMessage):
            case VoteCast(vote):
                plan = self._get_plan(vote.height, vote.round)
                is_caught = now < plan.until and sender == plan.silenced and vote.kind is plan.kind
                if is_caught and vote.kind is VoteKind.PRECOMMIT and vote.block_id is not None:
                    self._hidden_until.setdefault(sender, now + self._dice.uniform(*HIDDEN_S))
                return is_caught
            case BlockProposal(proposal):
                plan = self._get_plan(proposal.height, proposal.round)
                return now < plan.until and receiver == plan.blind
        return False

    def hides(self, name: str) -> bool:
        """Return whether nobody is to hear of a node now."""
        until = self._hidden_until.get(name)
        if until is not None and trio.current_time() >= until:
            del self._hidden_until[name]
        return name in self._hidden_until

    def _get_plan(self, height: int, round: int) -> Plan:
        if (height, round) not in self._plans:
            self._plans[height, round] = self._make_plan(height)
        return self._plans[height, round]

    def _make_plan(self, height: int) -> Plan:
        """Of each height one node is mostly the one that things happen to: it comes to know less, or more."""
        dice = self._dice
        outsider = self._outsiders.setdefault(height, dice.choice(self._names))
        somebody = outsider if dice.random() < 0.4 else dice.choice(self._names)
        return Plan(
            until=trio.current_time() + HELD_S,
            silenced=somebody if dice.random() < 0.5 else None,
            kind=dice.choice(list(VoteKind)),
            blind=dice.choice([outsider, *self._names]) if dice.random() < 0.5 else None,
        )
