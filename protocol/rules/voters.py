"""The replica sets around the current height, the proposer priorities and the beacon: state that consensus runs on."""

from protocol.state import Overlay, StateView, Table
from protocol.tendermint.proposer import Priorities, advance_priorities, update_priorities
from protocol.tendermint.replicas import ReplicaSet
from protocol.types import Digest, Record


class Voters(Record):
    """Who votes, seen from the next height: `current` votes on it, `previous` signed its predecessor's commit.

    A change of bonds in height H enters `following` and so votes from H + 2 on.
    """

    previous: ReplicaSet
    current: ReplicaSet
    following: ReplicaSet
    priorities: Priorities
    beacon: Digest


VOTERS = Table(b"V", Voters)


def get_voters(state: StateView) -> Voters:
    """Return the record; every state has one."""
    voters = VOTERS.get(state)
    assert voters is not None, "a state without replicas"
    return voters


def put_voters(state: Overlay, voters: Voters) -> None:
    """Set the record."""
    VOTERS.put(state, voters)


def advance_voters(state: Overlay, beacon: bytes) -> None:
    """Move on by one height: the following set becomes the current one, and the turn to propose passes on."""
    voters = get_voters(state)
    put_voters(
        state,
        Voters(
            previous=voters.current,
            current=voters.following,
            following=voters.following,
            priorities=update_priorities(
                voters.current, voters.following, advance_priorities(voters.current, voters.priorities)
            ),
            beacon=beacon,
        ),
    )
