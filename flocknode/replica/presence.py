"""Who of the replica set was heard from lately, and in one sentence why a replica makes no progress."""

from collections.abc import Callable

from flocknode.network.messages import PeerId
from protocol.tendermint.machine import State, Step
from protocol.tendermint.replicas import Replica, ReplicaSet, is_quorum
from protocol.types import Bytes32, Count, Height, Record, Round

# A replica that said nothing for so long is taken for offline; summaries come more often.
ONLINE_S = 6.0
MAX_NAMED = 8


class ReplicaStatus(Record):
    """How a replica is doing: `height` is the one being agreed on, powers are in units of bonded stake.

    `missing` holds the consensus keys that were not heard from lately. `cause` says why nothing commits; it is empty
    while all is well or nothing is to be done.
    """

    height: Height
    round: Round
    step: Step
    is_voter: bool
    is_catching_up: bool
    power_online: Count
    power_total: Count
    missing: tuple[Bytes32, ...]
    cause: str


class Presence:
    """When each replica was last heard from, directly or through others; times in seconds of one monotonic clock."""

    def __init__(self, own_key: bytes | None, name_of: Callable[[Replica], str]) -> None:
        self._own_key = own_key
        self._name_of = name_of
        self._heard: dict[bytes, float] = {}
        self._spoken_by: dict[PeerId, bytes] = {}

    def hear(self, key: bytes, now: float) -> None:
        """Note a signed message of a member of the set."""
        self._heard[key] = now

    def hear_directly(self, peer: PeerId, key: bytes, now: float) -> None:
        """Note that a peer is the node of a replica."""
        self._spoken_by[peer] = key
        self.hear(key, now)

    def lose(self, peer: PeerId) -> None:
        """Note that a peer is gone, and its replica with it until it is heard again."""
        key = self._spoken_by.pop(peer, None)
        if key is not None:
            self._heard.pop(key, None)

    def get_missing(self, replicas: ReplicaSet, now: float) -> list[Replica]:
        """Return who was not heard from lately; also forget who left the set."""
        members = {replica.key for replica in replicas.replicas}
        self._heard = {key: at for key, at in self._heard.items() if key in members}
        oldest = now - ONLINE_S
        return [
            replica
            for replica in replicas.replicas
            if replica.key != self._own_key and self._heard.get(replica.key, oldest) <= oldest
        ]

    def explain(self, state: State, replicas: ReplicaSet, now: float) -> str:
        """Return the sentence of cause of a round that stands still, empty when there is nothing to agree on."""
        missing = self.get_missing(replicas, now)
        total = replicas.total_power()
        online = total - sum(replica.power for replica in missing)
        if not is_quorum(online, total):
            return f"power online {_percent(online, total)} (need > 66.7 %)  missing {self._names(missing)}"
        if state.step in (Step.WAITING, Step.DECIDED):
            return ""
        text = f"round {state.round} is in step {state.step.name.lower()}, power online {_percent(online, total)}"
        return f"{text}  missing {self._names(missing)}" if missing else text

    def _names(self, replicas: list[Replica]) -> str:
        names = sorted(self._name_of(replica) for replica in replicas)
        more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
        return ", ".join(names[:MAX_NAMED]) + more


def _percent(part: int, whole: int) -> str:
    return f"{100 * part // whole} %"
