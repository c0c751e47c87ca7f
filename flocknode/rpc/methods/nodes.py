"""`node.*`: how this daemon is doing."""

import os

from flocknode import __version__
from flocknode.node import Node
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.records import NodeStatus, Peer, PeerList, Stopping


def describe_calm(node: Node) -> str:
    """Return the sentence of cause of a node that nothing keeps waiting."""
    height = node.chain.head.height + 1
    if len(node.mempool):
        return f"height {height} is being agreed on"
    return f"idle: height {height} begins with the next transaction or deadline"


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
            account=node.kit.sender.address.hex(),
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
            cause=replica.cause or describe_calm(node),
        )

    async def peers() -> PeerList:
        """List the peers that the node is connected to."""
        return PeerList(
            peers=tuple(
                Peer(
                    peer=info.peer,
                    address=info.address,
                    is_outbound=info.is_dialled,
                    height=node.peer_height(info.peer),
                    connected_ms=node.inbox.joined_ms.get(info.peer, 0),
                )
                for info in node.network.peers.values()
            )
        )

    async def stop() -> Stopping:
        """Stop the daemon cleanly."""
        node.stopping.set()
        return Stopping(pid=os.getpid())

    return {"node.status": status, "node.peers": peers, "node.stop": stop}
