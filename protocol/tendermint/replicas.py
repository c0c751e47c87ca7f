"""The replica set: who votes, with how much power, under which keys; and what makes a commit valid."""

from protocol.codec import encode
from protocol.crypto import hash_parts
from protocol.errors import InvalidCommit, InvalidSignature
from protocol.tendermint.messages import Commit, precommits_of, verify_message
from protocol.types import Address, Amount, Bytes32, Record


class Replica(Record):
    """One voter: its consensus key, the key of its verifiable random function, its power, and the account behind it."""

    key: Bytes32
    vrf_key: Bytes32
    power: Amount
    account: Address


class ReplicaSet(Record):
    """All voters of one height, sorted by key, each key once, each power above zero."""

    replicas: tuple[Replica, ...]

    def total_power(self) -> int:
        """Return the sum of all voting power."""
        return sum(replica.power for replica in self.replicas)

    def get(self, key: bytes) -> Replica | None:
        """Return the replica with this consensus key, if it votes."""
        return next((replica for replica in self.replicas if replica.key == key), None)

    def power_of(self, key: bytes) -> int:
        """Return the voting power of a key, 0 for strangers."""
        replica = self.get(key)
        return replica.power if replica else 0


def make_replica_set(replicas: list[Replica]) -> ReplicaSet:
    """Return the set in its canonical order. Asserts that keys are distinct and powers positive."""
    ordered = tuple(sorted(replicas, key=lambda replica: replica.key))
    assert ordered, "a replica set needs a member"
    assert len({replica.key for replica in ordered}) == len(ordered), "a consensus key stands twice"
    assert all(replica.power > 0 for replica in ordered), "a replica without power"
    return ReplicaSet(ordered)


def replica_set_digest(replicas: ReplicaSet) -> bytes:
    """Return what a block header names the set by."""
    return hash_parts("flock/replicas", encode(replicas))


def is_quorum(power: int, total: int) -> bool:
    """Return whether power is more than 2/3 of the total: 2f + 1 of the paper."""
    return 3 * power > 2 * total


def is_skip(power: int, total: int) -> bool:
    """Return whether power is more than 1/3 of the total: f + 1 of the paper."""
    return 3 * power > total


def verify_commit(chain: bytes, commit: Commit, replicas: ReplicaSet) -> None:
    """Return if distinct members with more than 2/3 of the power signed the commit, sorted and nobody else.

    Raises `InvalidCommit`.
    """
    keys = [entry.replica for entry in commit.signatures]
    if keys != sorted(set(keys)):
        raise InvalidCommit("the commit's signatures are not sorted and distinct")
    power = sum(replicas.power_of(key) for key in keys)
    if any(replicas.get(key) is None for key in keys):
        raise InvalidCommit("the commit is signed by a stranger to the replica set")
    if not is_quorum(power, replicas.total_power()):
        raise InvalidCommit(f"the commit has {power} of {replicas.total_power()} voting power, more than 2/3 is needed")
    try:
        for vote in precommits_of(commit):
            verify_message(chain, vote)
    except InvalidSignature as error:
        raise InvalidCommit("the commit carries a wrong signature") from error
