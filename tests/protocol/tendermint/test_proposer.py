"""The rotation of proposers against CometBFT's specification."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from protocol.tendermint.proposer import (
    Priorities,
    advance_priorities,
    initial_priorities,
    proposer_of,
    take_turn,
    update_priorities,
)
from protocol.tendermint.replicas import Replica, ReplicaSet, make_replica_set

# CometBFT, types/validator_set_test.go, TestProposerSelection1: powers foo 1000, bar 300, baz 330.
COMETBFT_ORDER = (
    "foo baz foo bar foo foo baz foo bar foo foo baz foo foo bar foo baz foo foo bar foo foo baz foo bar "
    "foo foo baz foo bar foo foo baz foo foo bar foo baz foo foo bar foo baz foo foo bar foo baz foo foo "
    "bar foo baz foo foo foo baz bar foo foo foo baz foo bar foo foo baz foo bar foo foo baz foo bar foo "
    "foo baz foo bar foo foo baz foo foo bar foo baz foo foo bar foo baz foo foo bar foo baz foo foo "
)


def replica(name: str, power: int) -> Replica:
    key = name.encode().ljust(32, b"\0")
    return Replica(key, key, power, key)


def name_of(member: Replica) -> str:
    return member.key.rstrip(b"\0").decode()


def take_turns(replicas: ReplicaSet, priorities: Priorities, turns: int) -> tuple[list[str], Priorities]:
    names = []
    for _ in range(turns):
        member, priorities = take_turn(replicas, priorities)
        names.append(name_of(member))
    return names, priorities


def test_the_order_is_cometbfts() -> None:
    """The known order of three replicas over 99 turns."""
    replicas = make_replica_set([replica("foo", 1000), replica("bar", 300), replica("baz", 330)])
    expected = COMETBFT_ORDER.split()
    assert take_turns(replicas, initial_priorities(replicas), len(expected))[0] == expected


@given(st.lists(st.integers(1, 50), min_size=1, max_size=8))
def test_everybody_proposes_in_proportion_to_power(powers: list[int]) -> None:
    """Over as many turns as there is power, each replica proposes as often as its power says, give or take one."""
    replicas = make_replica_set([replica(f"r{index}", power) for index, power in enumerate(powers)])
    counts = Counter(take_turns(replicas, initial_priorities(replicas), sum(powers))[0])
    assert all(abs(counts[f"r{index}"] - power) <= 1 for index, power in enumerate(powers))


def test_a_round_further_is_a_turn_further_and_heights_advance_by_one() -> None:
    """proposer(h + 1, r) is proposer(h, r + 1)."""
    replicas = make_replica_set([replica("a", 3), replica("b", 2), replica("c", 2)])
    priorities = initial_priorities(replicas)
    following = advance_priorities(replicas, priorities)
    assert [proposer_of(replicas, priorities, round + 1) for round in range(9)] == [
        proposer_of(replicas, following, round) for round in range(9)
    ]


def test_a_new_replica_starts_behind_all_others() -> None:
    """At -1.125 times the power, centred: it does not propose before everybody else did."""
    old = make_replica_set([replica("a", 10), replica("b", 10), replica("c", 10)])
    new = make_replica_set([*old.replicas, replica("d", 10)])
    priorities = update_priorities(old, new, initial_priorities(old))
    # 4 replicas of 40: -45 for the new one, then shifted by the average of -12 (rounded down).
    assert priorities.values == (12, 12, 12, -33)
    assert set(take_turns(new, priorities, 3)[0]) == {"a", "b", "c"}


def test_leaving_and_joining_again_brings_no_turn_forward() -> None:
    """A replica that has just proposed and joins anew waits at least as long."""
    full = make_replica_set([replica(name, 10) for name in "abcd"])
    without = make_replica_set([member for member in full.replicas if name_of(member) != "a"])
    _, priorities = take_turns(full, initial_priorities(full), 1)
    staying = take_turns(full, priorities, 8)[0].index("a")
    gone = update_priorities(full, without, priorities)
    back = update_priorities(without, full, gone)
    assert take_turns(full, back, 8)[0].index("a") >= staying


@given(st.lists(st.integers(1, 1000), min_size=2, max_size=6), st.lists(st.integers(-(10**6), 10**6), min_size=6))
def test_priorities_stay_within_the_window(powers: list[int], values: list[int]) -> None:
    """However far apart they were: two totals, plus what a turn adds and takes."""
    replicas = make_replica_set([replica(f"r{index}", power) for index, power in enumerate(powers)])
    total = sum(powers)
    _, after = take_turns(replicas, Priorities(tuple(values[: len(powers)])), 1)
    assert max(after.values) - min(after.values) <= 2 * total + total + max(powers)
