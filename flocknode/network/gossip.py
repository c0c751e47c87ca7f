"""Broadcast among peers over long-lived libp2p streams, and the links it runs on.

A link is one connection with one gossip stream, on which both sides first say hello. Published messages are pushed to
all linked peers, judged before they are passed on, and recognised when they come again.
"""

import secrets
from collections.abc import Callable
from contextlib import suppress

import structlog
import trio

from flocknode.network.errors import LinkRefused, Misbehaviour, StreamLost
from flocknode.network.host import Connection
from flocknode.network.mailbox import Mailbox
from flocknode.network.messages import (
    MAX_LINKS,
    MAX_MESSAGE_BYTES,
    MAX_STATUS_BYTES,
    PROTOCOL_VERSION,
    SHORT_NAME_BYTES,
    Direct,
    Greeting,
    Hello,
    Message,
    MessageHandler,
    PeerId,
    PeerInfo,
    Push,
    Refused,
    Status,
    Topic,
    Verdict,
)
from flocknode.network.peers import Conduct
from flocknode.network.streams import Stream, frame, frame_of, parse
from protocol.crypto import hash_parts

PROTOCOL = "/flock/gossip/1"
MAX_FRAME_BYTES = MAX_MESSAGE_BYTES + 64
MAX_GREETING_BYTES = 2048
HELLO_S = 5.0
HEARTBEAT_S = 1.0
# A peer that says nothing for so many heartbeats is gone.
SILENCE_S = 10.0
# What one write takes along; an urgent message waits for no more than this.
WRITE_BYTES = 256 * 1024
# How long a refused peer has to read why, and a link that is second to another may wait for that other one.
FAREWELL_S = 0.5
SUCCESSION_S = 1.0
# Half of the messages that are recognised when they come again.
SEEN_GENERATION = 32_768
REJECT_POINTS = 25
SECOND_LINK = "there is a link already"
REFUSED_BY_PEER = "the peer refuses us"

log = structlog.get_logger("flocknode.network")


class Seen:
    """The digests of recent messages: two generations, of which the older one is forgotten when the newer is full."""

    def __init__(self) -> None:
        self._newer: set[bytes] = set()
        self._older: set[bytes] = set()

    def add(self, digest: bytes) -> bool:
        """Return whether the digest is new, and remember it."""
        if digest in self._newer or digest in self._older:
            return False
        self._newer.add(digest)
        if len(self._newer) >= SEEN_GENERATION:
            self._newer, self._older = set(), self._newer
        return True


class Link:
    """One peer that we talk to: what goes out, what came in and is not judged yet, and counters."""

    def __init__(self, connection: Connection, stream: Stream, hello: Hello) -> None:
        self.peer = connection.peer
        self.connection = connection
        self.stream = stream
        self.incarnation = hello.incarnation
        self.status = hello.status
        self.short_name = _short_name(connection.peer)
        self.neighbours: frozenset[bytes] = frozenset()
        self.outbox: Mailbox[bytes] = Mailbox()
        self.inbox: Mailbox[tuple[bytes, Push | Direct]] = Mailbox()
        self.closed = trio.Event()
        self.replaced = trio.Event()
        self.scope = trio.CancelScope()
        self.sent = 0
        self.received = 0
        self.duplicates = 0

    def put(self, topic: Topic, data: bytes) -> None:
        """Have a frame sent; never waits."""
        self.outbox.put(topic, data, len(data))

    async def write(self) -> None:
        """Send what waits, many frames in one write, until the link is lost."""
        while True:
            frames = await self.outbox.take(WRITE_BYTES)
            await self.stream.write(b"".join(frames))
            self.sent += len(frames)

    async def read(self) -> None:
        """Take in what comes, so that the peer's writer never stalls on what we do with it."""
        while True:
            with trio.move_on_after(SILENCE_S) as scope:
                body = await self.stream.read_frame(MAX_FRAME_BYTES)
            if scope.cancelled_caught:
                raise StreamLost(f"silent for {SILENCE_S} s")
            message = parse(body, Message, MAX_FRAME_BYTES)
            if isinstance(message, Refused):
                raise LinkRefused(f"{REFUSED_BY_PEER}: {message.reason}")
            if isinstance(message, Status):
                self.status = message.status
                self.neighbours = frozenset(message.neighbours)
            else:
                self.received += 1
                self.inbox.put(message.topic, (body, message), len(body))


class Gossip:
    """All links of this node."""

    def __init__(
        self,
        *,
        chain: bytes,
        own_peer: PeerId,
        status: Callable[[], bytes],
        handler: MessageHandler,
        conduct: Conduct,
    ) -> None:
        self._chain = chain
        self._own_peer = own_peer
        self._status = status
        self._handler = handler
        self._conduct = conduct
        self._incarnation = secrets.token_bytes(32)
        self._seen = Seen()
        self._refusals: dict[PeerId, str] = {}
        self.links: dict[PeerId, Link] = {}

    def publish(self, topic: Topic, payload: bytes) -> None:
        """Send a message of our own to all peers, also if it was sent before."""
        assert len(payload) <= MAX_MESSAGE_BYTES, f"a message of {len(payload)} bytes"
        self._seen.add(_digest(topic, payload))
        data = frame(Push(topic, payload))
        for link in self.links.values():
            link.put(topic, data)

    def send(self, peer: PeerId, topic: Topic, payload: bytes) -> None:
        """Send a message to one peer; nothing happens if it has just left."""
        assert len(payload) <= MAX_MESSAGE_BYTES, f"a message of {len(payload)} bytes"
        link = self.links.get(peer)
        if link is not None:
            link.put(topic, frame(Direct(topic, payload)))

    def describe(self, link: Link) -> PeerInfo:
        """Return what is known of a linked peer."""
        return PeerInfo(
            peer=link.peer,
            address=link.connection.address,
            is_dialled=link.connection.is_dialled,
            status=link.status,
            messages_sent=link.sent,
            messages_received=link.received,
            duplicates=link.duplicates,
            dropped=link.outbox.dropped + link.inbox.dropped,
            fault_points=round(self._conduct.points(link.peer)),
        )

    async def beat(self) -> None:
        """Tell all peers once a second what we say of ourselves, and that we live."""
        while True:
            await trio.sleep(HEARTBEAT_S)
            neighbours = tuple(link.short_name for link in self.links.values())
            data = frame(Status(self._own_status(), neighbours))
            for link in self.links.values():
                link.put(Topic.CONSENSUS, data)

    async def dialled(self, connection: Connection) -> None:
        """Run a link on a connection that we dialled, until it ends.

        Raises `LinkRefused` when one side does not want it, `PeerUnreachable`, `StreamLost` and `Misbehaviour`.
        """
        async with connection.stream(PROTOCOL) as stream:
            await self._serve(connection, stream)

    async def accepted(self, connection: Connection, stream: Stream) -> None:
        """Run a link on a stream that a peer opened, until it ends. Raises `StreamLost` and `Misbehaviour`."""
        with suppress(LinkRefused):
            await self._serve(connection, stream)

    async def _serve(self, connection: Connection, stream: Stream) -> None:
        """Greet the peer, then run the link until it ends; the connection ends with it."""
        try:
            link = Link(connection, stream, await self._greet(connection, stream))
            self._join(link)
            try:
                await self._run(link)
            finally:
                self._leave(link)
        except LinkRefused as refusal:
            self._log_refusal(connection.peer, refusal.message)
            raise
        finally:
            await connection.close()

    async def _run(self, link: Link) -> None:
        """Read, judge and write until the link is lost, replaced, or spoilt by its peer. Raises `LinkRefused`."""
        refusal: LinkRefused | None = None
        try:
            with link.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(link.read)
                    nursery.start_soon(link.write)
                    nursery.start_soon(self._judge_all, link)
        except* StreamLost as lost:
            log.debug("link lost", peer=link.peer, error=str(lost.exceptions[0]))
        except* Misbehaviour as faults:
            for fault in faults.exceptions:
                assert isinstance(fault, Misbehaviour)
                self._conduct.blame(link.peer, fault)
        except* LinkRefused as refusals:
            refusal = LinkRefused(str(refusals.exceptions[0]))
        if refusal is None:
            return
        if SECOND_LINK in refusal.message:
            # The peer has the other link already; when we have it too, the peer was never gone.
            with trio.move_on_after(SUCCESSION_S):
                await link.replaced.wait()
        raise refusal

    # --- coming and going --------------------------------------------------------------------------------------------

    async def _greet(self, connection: Connection, stream: Stream) -> Hello:
        """Exchange hellos and return the peer's. Raises `LinkRefused` if either side refuses."""
        await stream.write(frame(Hello(PROTOCOL_VERSION, self._chain, self._incarnation, self._own_status())))
        with trio.move_on_after(HELLO_S) as scope:
            greeting: Greeting = await stream.read_record(Greeting, MAX_GREETING_BYTES)  # type: ignore[arg-type]
        if scope.cancelled_caught:
            raise StreamLost("no hello")
        if isinstance(greeting, Refused):
            raise LinkRefused(f"{REFUSED_BY_PEER}: {greeting.reason}")
        reason = self._reason_against(connection, greeting)
        if reason is not None:
            await self._say_farewell(stream, reason)
            raise LinkRefused(reason)
        self._refusals.pop(connection.peer, None)
        return greeting

    def _reason_against(self, connection: Connection, hello: Hello) -> str | None:
        """Return why we do not want a link to the peer, or None."""
        if connection.peer == self._own_peer:
            return "this is the same node"
        if hello.version != PROTOCOL_VERSION:
            return f"protocol version {hello.version} instead of {PROTOCOL_VERSION}"
        if hello.chain != self._chain:
            return f"another chain: {hello.chain.hex()[:16]} instead of {self._chain.hex()[:16]}"
        if self._conduct.is_refused(connection.peer):
            return "refused for misbehaviour"
        existing = self.links.get(connection.peer)
        if existing is None:
            return "too many peers" if len(self.links) >= MAX_LINKS else None
        return SECOND_LINK if self._is_better(existing, connection, hello) else None

    def _is_better(self, existing: Link, connection: Connection, hello: Hello) -> bool:
        """Return whether an existing link is to be kept rather than a new one to the same peer.

        Both sides come to the same answer: of two links that cross, the one dialled by the smaller peer id stays. A
        peer that was restarted, or that dials again, knows that the old link is dead.
        """
        if existing.incarnation != hello.incarnation or existing.connection.is_dialled == connection.is_dialled:
            return False
        return existing.connection.is_dialled == (self._own_peer < connection.peer)

    async def _say_farewell(self, stream: Stream, reason: str) -> None:
        """Tell the peer why it is refused; wait for it to hang up, or closing could overtake the reason."""
        with suppress(StreamLost), trio.move_on_after(FAREWELL_S):
            await stream.write(frame(Refused(reason)))
            await stream.drain()

    def _log_refusal(self, peer: PeerId, reason: str) -> None:
        """Say once why a peer is refused, however often it tries; a second link is everyday."""
        if SECOND_LINK not in reason and self._refusals.get(peer) != reason:
            log.warning("no link", peer=peer, reason=reason)
            self._refusals[peer] = reason
            if len(self._refusals) > MAX_LINKS:
                del self._refusals[next(iter(self._refusals))]

    def _join(self, link: Link) -> None:
        existing = self.links.pop(link.peer, None)
        if existing is not None:
            existing.replaced.set()
            existing.scope.cancel()
            if existing.incarnation != link.incarnation:
                self._handler.peer_left(link.peer)
        self.links[link.peer] = link
        link.connection.admitted.set()
        log.debug("link up", peer=link.peer, is_dialled=link.connection.is_dialled)
        if existing is None or existing.incarnation != link.incarnation:
            self._handler.peer_joined(link.peer)

    def _leave(self, link: Link) -> None:
        link.closed.set()
        if self.links.get(link.peer) is link:
            del self.links[link.peer]
            log.debug("link down", peer=link.peer)
            self._handler.peer_left(link.peer)

    def _own_status(self) -> bytes:
        status = self._status()
        assert len(status) <= MAX_STATUS_BYTES, f"a status of {len(status)} bytes"
        return status

    # --- messages ----------------------------------------------------------------------------------------------------

    async def _judge_all(self, link: Link) -> None:
        """Judge what came in from one peer, in order of urgency."""
        while True:
            for body, message in await link.inbox.take(1):
                await self._judge(link, body, message)

    async def _judge(self, link: Link, body: bytes, message: Push | Direct) -> None:
        if isinstance(message, Push) and not self._seen.add(_digest(message.topic, message.payload)):
            link.duplicates += 1
            return
        verdict = await self._handler.handle(link.peer, message.topic, message.payload)
        if verdict is Verdict.REJECT:
            self._blame(link, Misbehaviour(f"a {message.topic.name} message was rejected", points=REJECT_POINTS))
        elif verdict is Verdict.ACCEPT and isinstance(message, Push):
            self._forward(link, message.topic, frame_of(body))

    def _blame(self, link: Link, fault: Misbehaviour) -> None:
        """Count a fault; the peer is disconnected when it has too many."""
        self._conduct.blame(link.peer, fault)
        if self._conduct.is_refused(link.peer):
            link.scope.cancel()

    def _forward(self, source: Link, topic: Topic, data: bytes) -> None:
        """Pass a message on to those whom its sender does not reach itself."""
        for link in self.links.values():
            if link is not source and source.short_name not in link.neighbours:
                link.put(topic, data)


def _short_name(peer: PeerId) -> bytes:
    return hash_parts("flock/peer", peer.encode())[:SHORT_NAME_BYTES]


def _digest(topic: Topic, payload: bytes) -> bytes:
    return hash_parts("flock/gossip", topic.name.encode(), payload)
