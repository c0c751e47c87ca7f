"""Who proposes: weighted round robin by priority, as CometBFT specifies it (spec/consensus/proposer-selection).

Every turn each replica's priority grows by its power; the highest proposes and pays the total power back. Over time
each replica proposes in proportion to its power, and nobody can gain by leaving and joining again.
"""

from typing import Annotated

from msgspec import Meta

from protocol.tendermint.replicas import Replica, ReplicaSet
from protocol.types import MAX_INTEGER, Record

Priority = Annotated[int, Meta(ge=-MAX_INTEGER, le=MAX_INTEGER)]
# Priorities may lie at most this many times the total power apart.
WINDOW = 2


class Priorities(Record):
    """One priority per replica, in the order of the set: where the rotation stands before a height's first turn."""

    values: tuple[Priority, ...]


def initial_priorities(replicas: ReplicaSet) -> Priorities:
    """Return the priorities of a genesis set: nobody is ahead of anybody."""
    return Priorities((0,) * len(replicas.replicas))


def take_turn(replicas: ReplicaSet, priorities: Priorities) -> tuple[Replica, Priorities]:
    """Return whose turn it is and the priorities after it. Of equals the lower key is first."""
    assert len(priorities.values) == len(replicas.replicas), "priorities of another set"
    total = replicas.total_power()
    settled = _centre(_rescale(priorities.values, WINDOW * total))
    raised = [value + replica.power for value, replica in zip(settled, replicas.replicas, strict=True)]
    first = raised.index(max(raised))
    raised[first] -= total
    return replicas.replicas[first], Priorities(tuple(raised))


def advance_priorities(replicas: ReplicaSet, priorities: Priorities) -> Priorities:
    """Return the priorities of the next height: one turn further, whatever round decided."""
    return take_turn(replicas, priorities)[1]


def proposer_of(replicas: ReplicaSet, priorities: Priorities, round: int) -> Replica:
    """Return proposer(h, round) of the paper: whoever has the turn after `round` others were skipped. O(round)."""
    proposer, priorities = take_turn(replicas, priorities)
    for _ in range(round):
        proposer, priorities = take_turn(replicas, priorities)
    return proposer


def update_priorities(old: ReplicaSet, new: ReplicaSet, priorities: Priorities) -> Priorities:
    """Return the priorities of a changed set: who stays keeps its own, who is new starts at -1.125 times the power.

    That power is the total after the joins and before the departures, so that leaving and joining again is no way to
    propose sooner.
    """
    kept = {replica.key: value for replica, value in zip(old.replicas, priorities.values, strict=True)}
    departed = sum(replica.power for replica in old.replicas if new.get(replica.key) is None)
    power = new.total_power() + departed
    values = tuple(kept.get(replica.key, -(power + power // 8)) for replica in new.replicas)
    return Priorities(_centre(_rescale(values, WINDOW * new.total_power())))


def _rescale(values: tuple[int, ...], window: int) -> tuple[int, ...]:
    """Shrink the distance between the highest and the lowest to the window; divides towards zero."""
    distance = max(values) - min(values)
    if distance <= window:
        return values
    ratio = -(-distance // window)
    return tuple(value // ratio if value >= 0 else -(-value // ratio) for value in values)


def _centre(values: tuple[int, ...]) -> tuple[int, ...]:
    """Shift all so that they average zero, but for the remainder."""
    average = sum(values) // len(values)
    return tuple(value - average for value in values)
