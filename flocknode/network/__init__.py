"""The network: bytes to and from peers over libp2p. Knows nothing of what messages of consensus or of tasks mean."""

from flocknode.network.errors import BlobUnavailable, NetworkError, PeerUnreachable, PortInUse
from flocknode.network.messages import BlockSource, MessageHandler, PeerId, PeerInfo, RefusedPeer, Topic, Verdict
from flocknode.network.service import Network, Surroundings

__all__ = [
    "BlobUnavailable",
    "BlockSource",
    "MessageHandler",
    "Network",
    "NetworkError",
    "PeerId",
    "PeerInfo",
    "PeerUnreachable",
    "PortInUse",
    "RefusedPeer",
    "Surroundings",
    "Topic",
    "Verdict",
]
