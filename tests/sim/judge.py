"""Sees everything that happens in a simulated network, and ends it when something happened that never may."""

import hashlib
from dataclasses import dataclass, field

from flocknode.replica.signer import position
from flocknode.replica.wire import BlockProposal, ConsensusMessage, VoteCast
from protocol.blocks import Head
from protocol.codec import decode
from protocol.tendermint.messages import Commit, Proposal, Vote
from protocol.tendermint.replicas import ReplicaSet, verify_commit


class SafetyViolated(AssertionError):
    """Something happened that no fault within the bound may bring about."""


@dataclass
class Judge:
    """What was decided, signed and told so far. `faulty` holds the keys that may contradict themselves."""

    chain: bytes
    replicas: ReplicaSet
    faulty: frozenset[bytes]
    decided: dict[int, tuple[Head, str]] = field(default_factory=dict)
    rounds: dict[int, int] = field(default_factory=dict)
    signed: dict[tuple[bytes, tuple[int, int, int]], Proposal | Vote] = field(default_factory=dict)
    trace: "hashlib._Hash" = field(default_factory=hashlib.sha256)

    def see_head(self, who: str, head: Head, commit: Commit) -> None:
        """Take note that a node has committed a height: the same block and state as all others, by a real quorum."""
        known, first = self.decided.setdefault(head.height, (head, who))
        if known != head:
            raise SafetyViolated(f"{first} and {who} decided height {head.height} differently")
        if (commit.height, commit.block_id) != (head.height, head.block_id):
            raise SafetyViolated(f"{who} keeps the commit of another block with height {head.height}")
        verify_commit(self.chain, commit, self.replicas)
        self.rounds[head.height] = max(commit.round, self.rounds.get(head.height, 0))

    def see_sent(self, who: str, key: bytes | None, payload: bytes, *, is_durable: bool) -> None:
        """Take note of what a node says: its key contradicts nothing it ever signed, and it will not forget it."""
        match decode(payload, ConsensusMessage):
            case VoteCast(message) | BlockProposal(message) if message.replica == key and key not in self.faulty:
                known = self.signed.setdefault((message.replica, position(message)), message)
                if known != message:
                    raise SafetyViolated(f"{who} contradicts itself at {position(message)}")
                if not is_durable:
                    raise SafetyViolated(f"{who} said what it may forget at {position(message)}")

    def record(self, *words: object) -> None:
        """Add a step to the trace, by which two runs of a seed are compared."""
        self.trace.update(repr(words).encode())
