"""Performs what the consensus core asks for: signs, logs, sends, keeps time, executes blocks. Read `replica` first."""

from flocknode.replica.interfaces import BlockLog, PendingTransactions, ReplicaNetwork
from flocknode.replica.presence import ReplicaStatus
from flocknode.replica.replica import Replica
from flocknode.replica.signer import ReplicaKeys

__all__ = [
    "BlockLog",
    "PendingTransactions",
    "Replica",
    "ReplicaKeys",
    "ReplicaNetwork",
    "ReplicaStatus",
]
