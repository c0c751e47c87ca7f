"""The network as the rest of the node sees it: one object that joins host, gossip, dialling, block ranges and blobs."""

import random
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from flocknode.network import exchange, gossip, relay, sync
from flocknode.network.addresses import AddressBook, parse_address
from flocknode.network.blobs import PROTOCOL as BLOB_PROTOCOL
from flocknode.network.blobs import BlobFetcher, BlobServer, Progress
from flocknode.network.conduct import Conduct
from flocknode.network.dialer import WANTED_LINKS, Dialer
from flocknode.network.errors import Misbehaviour, ParcelRefused, PeerUnreachable
from flocknode.network.greeting import Greeter
from flocknode.network.host import Connection, Host
from flocknode.network.memory import PeerMemory
from flocknode.network.messages import BlockSource, MessageHandler, PeerId, PeerInfo, RefusedPeer, Topic, Verdict
from flocknode.network.providers import Announcer, Providers, key_of
from flocknode.network.streams import Stream
from flocknode.network.vouchers import make_voucher
from flocknode.relay.parcels import Envelope
from protocol.blobs import BlobId
from storage.blobs import BlobStore

if TYPE_CHECKING:
    from trio_typing import TaskStatus

    from flocknode.relay.mix import Mix

# Providers that are not linked are dialled for a blob, so many of them.
MAX_PROVIDERS_DIALLED = 3
# What a fault costs that the rest of the node reports: blocks with a forged commit, for one.
REPORTED_POINTS = 60


def read_wall_clock() -> int:
    """Return the time of day, in milliseconds since the Unix epoch."""
    return time.time_ns() // 10**6


class Surroundings:
    """What a node tells its network of itself and the chain; the defaults are those of a node that knows neither.

    `consensus_seed` vouches for this node's peer id. `bonded_keys` are the consensus keys with a stake behind them,
    `pinned_keys` those of them to stay linked to. `known_blobs` are those that tasks in progress name, `offered_blobs`
    those of them that may be known to come from this node. `memory_file` is where addresses and refusals are kept.
    """

    consensus_seed: bytes | None = None
    memory_file: Path | None = None

    def bonded_keys(self) -> Collection[bytes]:
        """Return the consensus keys for whose nodes slots are reserved."""
        return ()

    def pinned_keys(self) -> Collection[bytes]:
        """Return the consensus keys whose nodes this one keeps a link to."""
        return ()

    def known_blobs(self) -> Collection[BlobId]:
        """Return the blobs whose providers are worth knowing."""
        return ()

    def offered_blobs(self) -> Collection[BlobId]:
        """Return the blobs that this node says it holds, if it does."""
        return ()


class Router:
    """Stands between gossip and the node: who offers blobs is the network's own affair."""

    def __init__(self, handler: MessageHandler, providers: Providers) -> None:
        self._handler = handler
        self._providers = providers
        self.peer_joined = handler.peer_joined
        self.peer_left = handler.peer_left

    async def handle(self, peer: PeerId, topic: Topic, payload: bytes) -> Verdict:
        """Return what a message of a peer is worth."""
        if topic is Topic.ANNOUNCEMENTS:
            return self._providers.judge(payload)
        return await self._handler.handle(peer, topic, payload)


class Network:
    """Speaks to peers of one chain. Build it, `run` it in a nursery; the other methods are for while it runs.

    `status` returns what this node says of itself to its peers (at most `messages.MAX_STATUS_BYTES`), asked for once a
    second; `wall_clock` milliseconds since the Unix epoch. With `may_move`, another port is taken when `listen_port` is
    in use. Fewer `wanted_links` than the bootstrap list gives keep the node from looking for more peers. Raises
    `UsageError` for a bootstrap address that is none.
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
        wall_clock: Callable[[], int] = read_wall_clock,
        surroundings: Surroundings | None = None,
        may_move: bool = False,
        wanted_links: int = WANTED_LINKS,
    ) -> None:
        around = self._surroundings = surroundings or Surroundings()
        self._listen_port = listen_port
        self._may_move = may_move
        self._rng = random.Random()
        self._conduct = Conduct()
        self._book = AddressBook()
        self._memory = PeerMemory(
            around.memory_file, chain=chain, book=self._book, conduct=self._conduct, wall_clock=wall_clock
        )
        self._block_server = sync.BlockServer(blocks)
        self._blob_server = BlobServer(blobs)
        self._relay_server = relay.RelayServer()
        self._blob_fetcher = BlobFetcher(blobs, self._conduct)
        self._providers = Providers(chain, is_of_use=lambda blob: blob in around.known_blobs(), wall_clock=wall_clock)
        handlers = {
            gossip.PROTOCOL: self._serve_gossip,
            sync.PROTOCOL: self._serve_blocks,
            exchange.PROTOCOL: self._serve_contacts,
            BLOB_PROTOCOL: self._serve_blobs,
            relay.PROTOCOL: self._serve_parcels,
        }
        self._host = Host(peer_seed=peer_seed, handlers=handlers, conduct=self._conduct)
        self._greeter = self._make_greeter(chain, status, around)
        self._gossip = gossip.Gossip(
            greeter=self._greeter,
            handler=Router(handler, self._providers),
            conduct=self._conduct,
            book=self._book,
            rng=self._rng,
        )
        self._announcer = Announcer(
            peer_seed=peer_seed,
            chain=chain,
            store=blobs,
            offered=around.offered_blobs,
            address=lambda: self.address,
            publish=self._gossip.publish,
            wall_clock=wall_clock,
        )
        self._dialer = self._make_dialer(chain, bootstrap, around, wanted_links)

    def _make_dialer(self, chain: bytes, bootstrap: Sequence[str], around: Surroundings, wanted_links: int) -> Dialer:
        return Dialer(
            host=self._host,
            gossip=self._gossip,
            conduct=self._conduct,
            book=self._book,
            chain=chain,
            bootstrap=[parse_address(text) for text in bootstrap],
            pinned_keys=around.pinned_keys,
            wanted_links=wanted_links,
            rng=self._rng,
        )

    def _make_greeter(self, chain: bytes, status: Callable[[], bytes], around: Surroundings) -> Greeter:
        seed = around.consensus_seed
        return Greeter(
            chain=chain,
            own_peer=self._host.peer,
            status=status,
            conduct=self._conduct,
            voucher=None if seed is None else make_voucher(seed, chain, self._host.peer),
            is_bonded=lambda key: key in around.bonded_keys(),
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

    @property
    def refused(self) -> Sequence[RefusedPeer]:
        """The peers that are refused for misbehaviour."""
        now = trio.current_time()
        return [
            RefusedPeer(peer, refusal.reason, round(refusal.until - now))
            for peer, refusal in self._conduct.refusals().items()
            if refusal.until > now
        ]

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Listen, and keep links, until cancelled. Raises `PortInUse`."""
        self._memory.restore()
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._host.run, self._listen_port, self._may_move)
                self._greeter.listen_port = self._host.address.port
                for part in (self._gossip.beat, self._gossip.chase, self._dialer.run, self._announcer.run):
                    nursery.start_soon(part)
                nursery.start_soon(self._memory.run)
                task_status.started()
        finally:
            self._memory.save()

    def publish(self, topic: Topic, payload: bytes) -> None:
        """Broadcast a message of this node. Never waits: what a slow peer cannot take it asks for later."""
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

    def blame(self, peer: PeerId, reason: str) -> None:
        """Count a fault of a peer that only the rest of the node could see; too many, and it is refused."""
        self._gossip.blame(peer, Misbehaviour(reason, points=REPORTED_POINTS))

    async def fetch_blob(
        self, blob: BlobId, *, providers: Sequence[PeerId] = (), on_progress: Progress | None = None
    ) -> None:
        """Bring a blob into the store, resuming what was begun: from the providers named here or announced, some of
        whom are dialled for it, or else from any connected peer.

        Raises `BlobUnavailable` when nobody delivers all of it.
        """
        offered = [address for address in self._providers.find(blob) if address.peer != self.peer]
        unlinked = [address for address in offered if address.peer not in self._gossip.links]
        for address in unlinked[:MAX_PROVIDERS_DIALLED]:
            await self._dialer.link_to(address)
        announced = [address.peer for address in offered if address.peer not in providers]
        await self._blob_fetcher.fetch(
            blob, self._connections, providers=[*providers, *announced], on_progress=on_progress
        )
        self._announcer.refresh()

    def is_offered(self, blob: BlobId) -> bool:
        """Return whether some peer says that it holds a blob."""
        return bool(self._providers.find(blob))

    def attach_relay(self, mix: "Mix") -> None:
        """Name what holds the parcels that peers hand over; until then this node is no relay."""
        self._relay_server.attach(mix)

    def relays(self) -> Mapping[bytes, PeerId]:
        """Return the nodes of bonded keys that are linked or can be dialled, by consensus key."""
        bonded = self._surroundings.bonded_keys()
        heard = {
            entry.voucher.key: entry.address.peer
            for entry in self._book.entries()
            if entry.voucher is not None and not entry.failures and not self._conduct.is_refused(entry.address.peer)
        }
        linked = {link.voucher.key: peer for peer, link in self._gossip.links.items() if link.voucher is not None}
        known = {**heard, **linked}
        return {key: peer for key, peer in known.items() if key in bonded and peer != self.peer and key_of(peer)}

    async def hand_over(self, peer: PeerId, envelope: Envelope, chunks: Callable[[], Iterator[bytes]]) -> None:
        """Hand a relay a parcel, dialling it if need be; returns when it has all of it.

        Raises `RelayBusy`, `ParcelRefused` and `PeerUnreachable`.
        """
        address = self._book.find(peer)
        if peer not in self._gossip.links and address is not None:
            await self._dialer.link_to(address)
        link = self._gossip.links.get(peer)
        if link is None:
            raise PeerUnreachable(f"{peer} is not connected")
        try:
            await relay.hand_over(link.connection, envelope, chunks)
        except Misbehaviour as fault:
            self._gossip.blame(peer, fault)
            raise PeerUnreachable(f"{peer} misbehaved: {fault.message}") from fault

    async def pass_on(self, key: bytes, envelope: Envelope, chunks: Callable[[], Iterator[bytes]]) -> None:
        """Hand a parcel to the relay with a peer key, like `hand_over`; never to a node without a bonded key."""
        peer = next((peer for peer in self.relays().values() if key_of(peer) == key), None)
        if peer is None:
            raise ParcelRefused("the next hop is no relay that this node knows")
        await self.hand_over(peer, envelope, chunks)

    def _connections(self) -> Mapping[PeerId, Connection]:
        return {peer: link.connection for peer, link in self._gossip.links.items()}

    async def _serve_gossip(self, connection: Connection, stream: Stream) -> None:
        await self._gossip.accepted(connection, stream)

    async def _serve_blocks(self, connection: Connection, stream: Stream) -> None:
        if connection.admitted.is_set():
            await self._block_server.serve(connection.peer, stream)

    async def _serve_contacts(self, connection: Connection, stream: Stream) -> None:
        if connection.admitted.is_set():
            await exchange.serve_contacts(stream, self._book, self._rng)

    async def _serve_parcels(self, connection: Connection, stream: Stream) -> None:
        if connection.admitted.is_set():
            await self._relay_server.serve(connection.peer, stream)

    async def _serve_blobs(self, connection: Connection, stream: Stream) -> None:
        if connection.admitted.is_set():
            await self._blob_server.serve(connection.peer, stream)
