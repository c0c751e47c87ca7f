"""The libp2p host: this node's identity, its sockets, its connections and the streams on them.

Sockets are opened and accepted here, not by the library: its listeners share a port in silence (SO_REUSEPORT), live in
system tasks that outlast a cancellation, and its dials wait for happy eyeballs and remember failures for a minute.
"""

import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias
from weakref import WeakSet

import structlog
import trio
from libp2p import new_host
from libp2p.crypto.ed25519 import create_new_key_pair
from libp2p.crypto.x25519 import create_new_key_pair as create_noise_key_pair
from libp2p.io.exceptions import IOException
from libp2p.network.config import ConnectionConfig
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect import Multiselect
from libp2p.protocol_muxer.multiselect_client import MultiselectClient
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator
from libp2p.rcmgr.manager import ResourceLimits, ResourceManager
from libp2p.tools.anyio_service import background_trio_service
from multiaddr import Multiaddr

from flocknode.network.addresses import Address
from flocknode.network.budgets import Budget
from flocknode.network.channel import PROTOCOL as NOISE
from flocknode.network.channel import Noise
from flocknode.network.conduct import Conduct
from flocknode.network.errors import Misbehaviour, PeerUnreachable, PortInUse, StreamLost
from flocknode.network.library import Muxers, quiet_library
from flocknode.network.messages import PeerId
from flocknode.network.sockets import Socket
from flocknode.network.streams import Stream

if TYPE_CHECKING:
    from trio_typing import TaskStatus

LISTEN_HOST = "127.0.0.1"
MAX_CONNECTIONS = 128
MAX_HANDSHAKES = 64
# What strangers who say something may cost: a handshake takes five milliseconds of a processor.
HANDSHAKES_PER_S = 20
BURST_HANDSHAKES = 64
MAX_STREAMS_PER_CONNECTION = 32
# From the first byte of a connection to a muxed one, and from there to a link that gossip accepted.
HANDSHAKE_S = 5.0
ADMISSION_S = 10.0
NEGOTIATION_S = 5
# What a stream costs a peer on which it does not even say what it wants to speak.
NEGOTIATION_POINTS = 20

log = structlog.get_logger("flocknode.network")


class Connection:
    """An encrypted, multiplexed connection to one peer. At most one of them per peer carries a link."""

    def __init__(self, raw: Any, *, is_dialled: bool) -> None:
        self.peer: PeerId = str(raw.muxed_conn.peer_id)
        self.is_dialled = is_dialled
        self.admitted = trio.Event()
        self.inbound_streams = 0
        self._raw = raw

    @property
    def remote(self) -> Address:
        """The other end of the socket."""
        host, port = self._raw.muxed_conn.get_remote_address() or ("0.0.0.0", 0)
        return Address(host, port, self.peer)

    @property
    def is_closed(self) -> bool:
        """Whether the connection is gone."""
        return bool(self._raw.muxed_conn.is_closed)

    async def open_stream(self, protocol: str) -> Stream:
        """Return a new stream. Raises `PeerUnreachable` when the peer is gone or does not speak the protocol."""
        raw = None
        try:
            # Shielded, for a stream that the peer has heard of and we have not could never be reset.
            with trio.CancelScope(shield=True, deadline=trio.current_time() + NEGOTIATION_S):
                raw = await self._raw.new_stream()
            if raw is None:
                raise StreamLost("no room for another stream")
            await MultiselectClient().select_one_of([protocol], MultiselectCommunicator(raw), NEGOTIATION_S)
            return Stream(raw)
        except BaseException as error:
            if raw is not None:
                await Stream(raw).reset()
            if not isinstance(error, Exception):
                raise
            raise PeerUnreachable(f"no {protocol} stream to {self.peer}: {error!r}") from error

    @asynccontextmanager
    async def stream(self, protocol: str) -> AsyncIterator[Stream]:
        """Open a stream for the block; closed at its end, reset when the block fails."""
        stream = await self.open_stream(protocol)
        async with stream.closing():
            yield stream

    async def wait_closed(self) -> None:
        """Wait until the connection is gone."""
        await self._raw.muxed_conn.event_closed.wait()

    async def close(self) -> None:
        """Hang up at once, without the library's farewell, which waits for a peer that may not read."""
        with trio.CancelScope(shield=True):
            await self._raw.muxed_conn.secured_conn.close()


StreamHandler: TypeAlias = Callable[[Connection, Stream], Awaitable[None]]


class Host:
    """Listens, dials, and hands streams to the handler of their protocol.

    A handler that raises `StreamLost` lost its peer, one that raises `Misbehaviour` blames it; anything else it raises
    is a bug of ours and ends `run`.
    """

    def __init__(self, *, peer_seed: bytes, handlers: Mapping[str, StreamHandler], conduct: Conduct) -> None:
        quiet_library()
        self._host = _make_host(peer_seed)
        self._handlers = dict(handlers)
        self._mux = Multiselect(dict.fromkeys(handlers))
        self._conduct = conduct
        self._connections: dict[Any, Connection] = {}
        self._sockets: WeakSet[trio.SocketStream] = WeakSet()
        # The oldest first.
        self._handshakes: dict[trio.CancelScope, None] = {}
        self._pace = Budget(per_s=HANDSHAKES_PER_S, burst=BURST_HANDSHAKES)
        self._port = 0
        self.peer: PeerId = str(self._host.get_id())
        self._host.get_network().set_stream_handler(self._accept_stream)

    @property
    def address(self) -> Address:
        """Where this host listens; the port is 0 before `run` has started."""
        return Address(LISTEN_HOST, self._port, self.peer)

    def connections(self) -> list[Connection]:
        """Return the connections that are open now."""
        return [connection for connection in self._connections.values() if not connection.is_closed]

    async def run(
        self,
        listen_port: int,
        may_move: bool = False,
        *,
        task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Listen until cancelled, on any free port if the wanted one is taken and `may_move`. Raises `PortInUse`."""
        listeners = await _open_listeners(listen_port, may_move=may_move)
        self._port = listeners[0].socket.getsockname()[1]
        async with background_trio_service(self._host.get_network()):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self._accept, listeners)
                task_status.started()
                try:
                    await trio.sleep_forever()
                finally:
                    # Writers are shielded against cancellation; without their sockets they end.
                    for stream in list(self._sockets):
                        stream.socket.close()

    async def dial(self, address: Address) -> Connection:
        """Return a new connection to the peer at an address. Raises `PeerUnreachable`."""
        socket = None
        try:
            with trio.fail_after(HANDSHAKE_S):
                socket = await trio.open_tcp_stream(address.host, address.port)
                self._sockets.add(socket)
                raw = RawConnection(Socket(socket), True)
                connection = await self._host.upgrade_outbound_connection(raw, ID.from_string(address.peer))
        except Exception as error:
            if socket is not None:
                socket.socket.close()
            raise PeerUnreachable(f"{address} cannot be dialled: {error!r}") from error
        return self._connection_of(connection)

    async def _accept(self, socket: trio.SocketStream) -> None:
        """Serve one inbound socket until it closes; this returns when it does, and never raises for what peers do.

        Sockets that say nothing cannot keep a newcomer out: the one that has waited longest makes room.
        """
        if not await self._make_room():
            return
        self._sockets.add(socket)
        scope, muxed = trio.CancelScope(deadline=trio.current_time() + HANDSHAKE_S), None
        self._handshakes[scope] = None
        try:
            with scope:
                await trio.lowlevel.wait_readable(socket.socket.fileno())
                await trio.sleep(self._pace.spend(1, trio.current_time()))
                raw = RawConnection(Socket(socket), False)
                muxed = await self._host.upgrade_inbound_connection(raw, Multiaddr(f"/ip4/{LISTEN_HOST}/tcp/0"))
        except Exception as error:  # noqa: BLE001  # bytes of strangers decide what is raised here
            log.debug("handshake failed", error=repr(error))
        finally:
            del self._handshakes[scope]
        if muxed is not None:
            await self._keep(muxed)

    async def _make_room(self) -> bool:
        """Return whether another socket may be served; of those that wait, in either line, the oldest give way."""
        if len(self._handshakes) >= MAX_HANDSHAKES:
            next(scope for scope in self._handshakes if not scope.cancel_called).cancel()
        connections = self.connections()
        if len(connections) < MAX_CONNECTIONS:
            return True
        waiting = (each for each in connections if not each.is_dialled and not each.admitted.is_set())
        oldest = next(waiting, None)
        if oldest is not None:
            await oldest.close()
        return oldest is not None

    async def _keep(self, muxed: Any) -> None:
        """Wait for the end of an accepted connection; hang up if nobody admits its peer in time."""
        found = (raw for raw in self._host.get_network().get_connections(muxed.peer_id) if raw.muxed_conn is muxed)
        raw = next(found, None)
        if raw is None:
            return
        connection = self._connection_of(raw)
        if not self._conduct.is_refused(connection.peer):
            with trio.move_on_after(ADMISSION_S):
                await connection.admitted.wait()
            if connection.admitted.is_set():
                await connection.wait_closed()
        await connection.close()

    def _connection_of(self, raw: Any) -> Connection:
        known = self._connections.get(raw)
        if known is None:
            known = self._connections[raw] = Connection(raw, is_dialled=raw.muxed_conn.is_initiator)
            for gone in [other for other, connection in self._connections.items() if connection.is_closed]:
                del self._connections[gone]
        return known

    async def _accept_stream(self, raw: Any) -> None:
        """Serve one stream that a peer opened; runs in a task of the library."""
        connection = self._connection_of(raw.swarm_conn)
        stream = Stream(raw)
        if connection.inbound_streams >= MAX_STREAMS_PER_CONNECTION or self._conduct.is_refused(connection.peer):
            await stream.reset()
            return
        connection.inbound_streams += 1
        try:
            protocol = await self._negotiate(raw)
            async with stream.closing():
                await self._handlers[protocol](connection, stream)
        except StreamLost as error:
            log.debug("stream lost", peer=connection.peer, error=error.message)
        except Misbehaviour as fault:
            self._conduct.blame(connection.peer, fault)
            await connection.close()
        finally:
            connection.inbound_streams -= 1

    async def _negotiate(self, raw: Any) -> str:
        try:
            protocol, _ = await self._mux.negotiate(MultiselectCommunicator(raw), NEGOTIATION_S)
            return str(protocol)
        except Exception as error:
            await Stream(raw).reset()
            if _is_interruption(error):
                raise StreamLost("the peer gave up before a protocol was agreed") from error
            raise Misbehaviour(f"no protocol agreed: {error!r}", points=NEGOTIATION_POINTS) from error


def _is_interruption(error: BaseException | None) -> bool:
    """Return whether a stream or the patience ended, rather than that what came made no sense."""
    while error is not None:
        if isinstance(error, (IOException, trio.TooSlowError)):
            return True
        error = error.__cause__ or error.__context__
    return False


def _make_host(peer_seed: bytes) -> Any:
    """Return a libp2p host with Noise and yamux only, which dials nobody and forgets nobody by itself."""
    key_pair = create_new_key_pair(peer_seed)
    host = new_host(
        key_pair=key_pair,
        sec_opt={NOISE: Noise(key_pair, noise_privkey=create_noise_key_pair().private_key)},
        resource_manager=ResourceManager(
            ResourceLimits(max_connections=2 * MAX_CONNECTIONS),
            enable_rate_limiting=False,
            enable_circuit_breaker=False,
            enable_memory_limits=False,
            enable_graceful_degradation=False,
            enable_metrics=False,
        ),
        connection_config=ConnectionConfig(
            max_connections=MAX_CONNECTIONS,
            high_watermark=MAX_CONNECTIONS,
            low_watermark=0,
            min_connections=0,
            max_connections_per_peer=4,
        ),
    )
    network = host.get_network()
    network.upgrader.muxer_multistream = Muxers()
    # Identify opens two streams per connection in tasks that outlast the host; nothing here needs what it says.
    for notifee in list(network.notifees):
        network.remove_notifee(notifee)
    return host


async def _open_listeners(port: int, *, may_move: bool) -> list[trio.SocketListener]:
    try:
        return list(await trio.open_tcp_listeners(port, host=LISTEN_HOST))
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        if not may_move:
            raise PortInUse(f"port {port} on {LISTEN_HOST} is taken by another process") from error
        log.warning("the kept port is taken by another process; peers learn the new one", port=port)
        return await _open_listeners(0, may_move=False)
