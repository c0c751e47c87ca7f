"""The network as the rest of the node sees it: one object that joins host, gossip, block ranges and blobs."""

import random
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import trio

from flocknode.network import gossip, sync
from flocknode.network.blobs import PROTOCOL as BLOB_PROTOCOL
from flocknode.network.blobs import BlobFetcher, BlobServer, Progress
from flocknode.network.errors import LinkRefused, Misbehaviour, PeerUnreachable, StreamLost
from flocknode.network.host import Connection, Host
from flocknode.network.messages import BlockSource, MessageHandler, PeerId, PeerInfo, Topic
from flocknode.network.peers import Address, Conduct, parse_address
from flocknode.network.streams import Stream
from protocol.blobs import BlobId
from storage.blobs import BlobStore

if TYPE_CHECKING:
    from trio_typing import TaskStatus

# A lost peer is dialled again after a short while that doubles up to a longer one; a second on loopback costs nothing.
REDIAL_S = 0.1
MAX_REDIAL_S = 1.0
# A peer that refuses us, or that we refuse, is tried more rarely.
REFUSED_REDIAL_S = 5.0


class Network:
    """Speaks to peers of one chain. Build it, `run` it in a nursery; the other methods are for while it runs.

    `status` returns what this node says of itself to its peers (at most `messages.MAX_STATUS_BYTES`), asked for once a
    second. Raises `UsageError` for a bootstrap address that is none.
    """

    def __init__(
        self,
        *,
        chain: bytes,
        peer_seed: bytes,
        listen_port: int,
        bootstrap: Sequence[str],
        status: Callable[[], bytes],
        handler: MessageHandler,
        blocks: BlockSource,
        blobs: BlobStore,
    ) -> None:
        self._listen_port = listen_port
        self._bootstrap = [parse_address(text) for text in bootstrap]
        self._blocks = blocks
        self._conduct = Conduct()
        self._blob_server = BlobServer(blobs)
        self._blob_fetcher = BlobFetcher(blobs, self._conduct)
        handlers = {
            gossip.PROTOCOL: self._serve_gossip,
            sync.PROTOCOL: self._serve_blocks,
            BLOB_PROTOCOL: self._serve_blobs,
        }
        self._host = Host(peer_seed=peer_seed, handlers=handlers, conduct=self._conduct)
        self._gossip = gossip.Gossip(
            chain=chain, own_peer=self._host.peer, status=status, handler=handler, conduct=self._conduct
        )

    @property
    def peer(self) -> PeerId:
        """The id of this node's own peer key."""
        return self._host.peer

    @property
    def address(self) -> str:
        """The multiaddress that others dial this node at; known once `run` has started."""
        return str(self._host.address)

    @property
    def peers(self) -> Mapping[PeerId, PeerInfo]:
        """The connected peers of this chain, as they are at this moment."""
        return {peer: self._gossip.describe(link) for peer, link in self._gossip.links.items()}

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, and keep the bootstrap peers dialled, until cancelled. Raises `PortInUse`."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._host.run, self._listen_port)
            nursery.start_soon(self._gossip.beat)
            for address in self._bootstrap:
                if address.peer != self.peer:
                    nursery.start_soon(self._keep_dialled, address)
            task_status.started()

    def publish(self, topic: Topic, payload: bytes) -> None:
        """Broadcast a message of this node. Never waits: what a slow peer cannot take is dropped for that peer."""
        self._gossip.publish(topic, payload)

    def send(self, peer: PeerId, topic: Topic, payload: bytes) -> None:
        """Send a message to one peer, who neither passes it on nor takes it for a duplicate. Never waits."""
        self._gossip.send(peer, topic, payload)

    async def fetch_blocks(self, peer: PeerId, first_height: int, count: int) -> list[bytes]:
        """Return encoded (block, commit) pairs from a height on, unverified: `count`, or fewer, or none.

        Raises `PeerUnreachable` when the peer is gone, too slow, or answers another question.
        """
        link = self._gossip.links.get(peer)
        if link is None:
            raise PeerUnreachable(f"{peer} is not connected")
        try:
            return await sync.fetch_blocks(link.connection, first_height, count)
        except Misbehaviour as fault:
            self._conduct.blame(peer, fault)
            await link.connection.close()
            raise PeerUnreachable(f"{peer} misbehaved: {fault.message}") from fault

    async def fetch_blob(
        self, blob: BlobId, *, providers: Sequence[PeerId] = (), on_progress: Progress | None = None
    ) -> None:
        """Bring a blob into the store, from the providers or else from any connected peer; resumes what was begun.

        Raises `BlobUnavailable` when nobody delivers all of it.
        """
        await self._blob_fetcher.fetch(blob, self._connections, providers=providers, on_progress=on_progress)

    def _connections(self) -> Mapping[PeerId, Connection]:
        return {peer: link.connection for peer, link in self._gossip.links.items()}

    async def _keep_dialled(self, address: Address) -> None:
        """Keep a link to a peer of the bootstrap list, whoever of the two dials it; libp2p never redials."""
        delay_s = REDIAL_S
        while True:
            link = self._gossip.links.get(address.peer)
            if link is not None:
                await link.closed.wait()
                delay_s = REDIAL_S
            elif self._conduct.is_refused(address.peer):
                delay_s = REFUSED_REDIAL_S
            else:
                delay_s = await self._dial(address, delay_s)
            await trio.sleep(delay_s * random.uniform(0.5, 1.5))

    async def _dial(self, address: Address, delay_s: float) -> float:
        """Run a link that we dial until it ends; return how long to wait before the next attempt."""
        try:
            connection = await self._host.dial(address)
            try:
                await self._gossip.dialled(connection)
            finally:
                await connection.close()
        except LinkRefused as refusal:
            return REDIAL_S if gossip.SECOND_LINK in refusal.message else REFUSED_REDIAL_S
        except Misbehaviour as fault:
            self._conduct.blame(address.peer, fault)
            return REFUSED_REDIAL_S
        except (PeerUnreachable, StreamLost):
            return min(2 * delay_s, MAX_REDIAL_S)
        return REDIAL_S

    async def _serve_gossip(self, connection: Connection, stream: Stream) -> None:
        await self._gossip.accepted(connection, stream)

    async def _serve_blocks(self, connection: Connection, stream: Stream) -> None:
        if connection.admitted.is_set():
            await sync.serve_blocks(stream, self._blocks)

    async def _serve_blobs(self, connection: Connection, stream: Stream) -> None:
        if connection.admitted.is_set():
            await self._blob_server.serve(stream)
