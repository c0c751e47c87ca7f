"""What a rule may know besides the state: constants, the block it stands in, and who proposed that."""

from dataclasses import dataclass

from protocol.params import Params
from protocol.tendermint.replicas import ReplicaSet


@dataclass(frozen=True, kw_only=True)
class Context:
    """The surroundings of one block. `beacon` is the one that this block's proposer made."""

    params: Params
    chain: bytes
    height: int
    time_ms: int
    previous_time_ms: int
    proposer: bytes
    proposer_key: bytes
    replicas: ReplicaSet
    beacon: bytes
