"""The schedule of an adversary who decides what arrives when, and hunts for locks that do not hold.

In a round some nodes may be *silenced*: nobody hears their prevotes, or their precommits, so that each of them alone
sees the quorum; if one decides on it, the others must come to the same without it, for it is hidden for a while. And
some may be *blind*: they do not see the proposal in time and vote nil, which lets the others go on with a quorum of
votes for this and that.

Most rounds are drawn one by one. In some heights the first two belong together: in round 0 an outsider alone comes to
lock a block, in round 1 the others lock another one without it, and few of them decide. If then the outsider proposes
its older block, only the later locks keep it from being decided as well.
"""

import random
from dataclasses import dataclass, replace

import trio

from flocknode.replica.wire import BlockProposal, ConsensusMessage, VoteCast
from protocol.codec import decode
from protocol.tendermint.messages import VoteKind

# For how long what belongs to a round does not come through; a round takes a fraction of it.
HELD_S = 0.6
HIDDEN_S = (0.3, 2.0)
# Share of heights in which the first two rounds belong together.
TWOFOLD = 0.3


@dataclass(frozen=True)
class Plan:
    """What happens to one round of one height."""

    until: float
    silenced: frozenset[str]
    kind: VoteKind
    blind: frozenset[str]


@dataclass(frozen=True)
class Roles:
    """Whom things happen to at one height. `blind` and `deciding` are there when its first rounds belong together."""

    outsider: str
    blind: frozenset[str]
    deciding: frozenset[str]


class Hunter:
    """Makes a plan for every round. Without activity it lets everything pass."""

    def __init__(self, dice: random.Random, names: list[str], *, is_active: bool) -> None:
        self._dice = dice
        self._names = names
        self._is_active = is_active
        self._plans: dict[tuple[int, int], Plan] = {}
        self._roles: dict[int, Roles] = {}
        self._hidden_until: dict[str, float] = {}

    def catches(self, sender: str, receiver: str, payload: bytes) -> bool:
        """Return whether a message is to be lost."""
        if not self._is_active:
            return False
        now = trio.current_time()
        match decode(payload, ConsensusMessage):
            case VoteCast(vote):
                plan = self._get_plan(vote.height, vote.round)
                is_caught = now < plan.until and sender in plan.silenced and vote.kind is plan.kind
                if is_caught and vote.kind is VoteKind.PRECOMMIT and vote.block_id is not None:
                    self._hidden_until.setdefault(sender, now + self._dice.uniform(*HIDDEN_S))
                return is_caught
            case BlockProposal(proposal):
                plan = self._get_plan(proposal.height, proposal.round)
                return now < plan.until and receiver in plan.blind
        return False

    def hides(self, name: str) -> bool:
        """Return whether nobody is to hear of a node now."""
        until = self._hidden_until.get(name)
        if until is not None and trio.current_time() >= until:
            del self._hidden_until[name]
        return name in self._hidden_until

    def _get_plan(self, height: int, round: int) -> Plan:
        if (height, round) not in self._plans:
            self._plans[height, round] = self._make_plan(height, round)
        return self._plans[height, round]

    def _make_plan(self, height: int, round: int) -> Plan:
        """Of each height one node is mostly the one that things happen to: it comes to know less, or more."""
        dice, until, nobody = self._dice, trio.current_time() + HELD_S, frozenset[str]()
        if height not in self._roles:
            self._roles[height] = self._cast()
        roles = self._roles[height]
        if roles.deciding and round == 0:
            return Plan(until, frozenset({roles.outsider}), VoteKind.PREVOTE, roles.blind)
        if roles.deciding and round == 1:
            return Plan(until, roles.deciding, VoteKind.PRECOMMIT, frozenset({roles.outsider}))
        if roles.deciding and (first := self._plans.get((height, 0))) is not None:
            # Whoever proposes the outsider's block again is to be believed.
            self._plans[height, 0] = replace(first, until=min(first.until, trio.current_time()))
        somebody = roles.outsider if dice.random() < 0.4 else dice.choice(self._names)
        return Plan(
            until,
            silenced=frozenset({somebody}) if dice.random() < 0.5 else nobody,
            kind=dice.choice(list(VoteKind)),
            blind=frozenset({dice.choice([roles.outsider, *self._names])}) if dice.random() < 0.5 else nobody,
        )

    def _cast(self) -> Roles:
        """Choose the roles of a height: as many of a kind as the others can just not do without."""
        outsider, *others = self._dice.sample(self._names, len(self._names))
        if self._dice.random() >= TWOFOLD:
            return Roles(outsider, frozenset(), frozenset())
        bound = (len(self._names) - 1) // 3
        return Roles(outsider, frozenset(others[:bound]), frozenset(others[-bound:]))
