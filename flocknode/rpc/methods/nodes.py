"""`node.*`: how this daemon is doing."""

import os

from flocknode import __version__
from flocknode.network import PeerInfo
from flocknode.node import Node
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.records import NodeStatus, Peer, PeerList, RefusedPeer, Stopping, WorkList


def describe_peer(node: Node, info: PeerInfo) -> Peer:
    """Return what is known of a connected peer."""
    return Peer(
        peer=info.peer,
        address=info.address,
        is_outbound=info.is_dialled,
        consensus_key=None if info.replica is None else info.replica.hex(),
        height=node.peer_height(info.peer),
        connected_ms=node.inbox.joined_ms.get(info.peer, 0),
        messages_sent=info.messages_sent,
        messages_received=info.messages_received,
        bytes_sent=info.bytes_sent,
        bytes_received=info.bytes_received,
        duplicates=info.duplicates,
        dropped=info.dropped,
        latency_us=info.latency_us,
        score=info.score,
    )


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace."""

    async def status() -> NodeStatus:
        """Say how the node is doing, and why it makes progress or does not."""
        head, replica = node.chain.head, node.replica.status()
        return NodeStatus(
            name=node.config.name,
            version=__version__,
            pid=os.getpid(),
            home=str(node.home.path.absolute()),
            started_ms=node.started_ms,
            chain=node.chain.id.hex(),
            peer=node.network.peer,
            address=node.network.address,
            account=node.kit.address.hex(),
            is_locked=node.kit.account.is_locked,
            consensus_key=node.consensus_key.hex(),
            is_replica=node.chain.replicas.get(node.consensus_key) is not None,
            is_catching_up=replica.is_catching_up,
            height=head.height,
            block=head.block_id.hex(),
            state_root=head.state_root.hex(),
            time_ms=head.time_ms,
            round=replica.round,
            peers=len(node.network.peers),
            pending_transactions=len(node.mempool),
            worker=node.worker_state(),
            relaying=f"{node.kit.courier.status}; for others: {node.mix.describe()}",
            cause=node.describe_cause(),
        )

    async def peers() -> PeerList:
        """List the peers that the node is connected to, and those that it refuses."""
        return PeerList(
            peers=tuple(describe_peer(node, info) for info in node.network.peers.values()),
            refused=tuple(
                RefusedPeer(peer=refused.peer, reason=refused.reason, seconds=refused.seconds)
                for refused in node.network.refused
            ),
        )

    async def work() -> WorkList:
        """List the long work that is under way: training, evaluating, fetching, catching up."""
        return WorkList(works=node.kit.works.list())

    async def stop() -> Stopping:
        """Stop the daemon cleanly."""
        node.stopping.set()
        return Stopping(pid=os.getpid())

    return {"node.status": status, "node.peers": peers, "node.work": work, "node.stop": stop}
