"""Broadcast among peers over long-lived libp2p streams, and the links it runs on.

A link is one connection with one gossip stream, on which both sides first say hello. What to push, tell of and pull is
decided in `spread`; who gets a link in `greeting`.
"""

import random
from contextlib import suppress

import structlog
import trio

from flocknode.network.addresses import AddressBook
from flocknode.network.budgets import PeerBudgets
from flocknode.network.conduct import MAX_REMEMBERED_PEERS, Conduct
from flocknode.network.errors import LinkRefused, Misbehaviour, StreamLost
from flocknode.network.greeting import REFUSED_BY_PEER, SECOND_LINK, Greeter
from flocknode.network.host import Connection
from flocknode.network.links import Letter, Link, clock_us, short_name
from flocknode.network.messages import (
    ID_BYTES,
    MAX_MESSAGE_BYTES,
    Direct,
    MessageHandler,
    MessageId,
    PeerId,
    PeerInfo,
    Pull,
    Push,
    Refused,
    Status,
    Topic,
    Verdict,
    join_ids,
    split_ids,
)
from flocknode.network.spread import Arrival, Spread
from flocknode.network.streams import Stream, frame, frame_of
from protocol.crypto import hash_parts

PROTOCOL = "/flock/gossip/1"
HEARTBEAT_S = 1.0
# How often to look whether what was announced has come, while something has not.
CHASE_S = 0.1
# How long a link that is second to another may wait for that other one.
SUCCESSION_S = 1.0
REJECT_POINTS = 25
UNDELIVERED_POINTS = 15
# For each message too many that a peer has sent before, and each link too many that a stranger begins.
REPEAT_POINTS = 1
LINKS_POINTS = 25

log = structlog.get_logger("flocknode.network")


class Gossip:
    """All links of this node."""

    def __init__(
        self, *, greeter: Greeter, handler: MessageHandler, conduct: Conduct, book: AddressBook, rng: random.Random
    ) -> None:
        self._greeter = greeter
        self._handler = handler
        self._conduct = conduct
        self._book = book
        self._spread = Spread(rng)
        self._budgets: dict[PeerId, PeerBudgets] = {}
        self._wants = trio.Event()
        self.links: dict[PeerId, Link] = {}

    def publish(self, topic: Topic, payload: bytes) -> None:
        """Send a message of our own to all peers, also if it was sent before."""
        assert len(payload) <= MAX_MESSAGE_BYTES, f"a message of {len(payload)} bytes"
        data = frame(Push(topic, payload))
        self._push(self._spread.publish(message_id(topic, payload), topic, data), topic, data)

    def send(self, peer: PeerId, topic: Topic, payload: bytes) -> None:
        """Send a message to one peer; nothing happens if it has just left."""
        assert len(payload) <= MAX_MESSAGE_BYTES, f"a message of {len(payload)} bytes"
        link = self.links.get(peer)
        if link is not None:
            link.put(topic, frame(Direct(topic, payload)))

    def blame(self, peer: PeerId, fault: Misbehaviour) -> None:
        """Count a fault; a linked peer is disconnected when it has too many."""
        self._conduct.blame(peer, fault)
        link = self.links.get(peer)
        if link is not None and self._conduct.is_refused(peer):
            link.scope.cancel()

    def describe(self, link: Link) -> PeerInfo:
        """Return what is known of a linked peer."""
        return PeerInfo(
            peer=link.peer,
            address=str(link.listens_at or link.connection.remote),
            is_dialled=link.connection.is_dialled,
            status=link.status,
            replica=None if link.voucher is None else link.voucher.key,
            messages_sent=link.sent,
            messages_received=link.received,
            bytes_sent=link.sent_bytes,
            bytes_received=link.received_bytes,
            duplicates=link.duplicates,
            dropped=link.dropped,
            latency_us=link.latency_us,
            score=self._conduct.score(link.peer),
        )

    async def beat(self) -> None:
        """Tell all peers once a second what we say of ourselves and which messages we hold, and that we live."""
        while True:
            await trio.sleep(HEARTBEAT_S)
            self._spread.beat()
            status = self._greeter.own_status()
            neighbours = tuple(short_name(peer) for peer in self.links)
            for link in self.links.values():
                # A key may be bonded, or lose its bond, while its link lasts.
                link.budgets.trust(is_backed=self._greeter.is_backed(link.peer, link.voucher, self.links))
                ids = join_ids(self._spread.announce(link.peer))
                link.put(Topic.CONSENSUS, frame(Status(status, neighbours, ids, clock_us(), link.echo_us())))

    async def chase(self) -> None:
        """Ask for what was announced and has not come, and blame who does not deliver."""
        while True:
            await self._wants.wait()
            while self._spread.is_waiting:
                await trio.sleep(CHASE_S)
                busy = {peer for peer, link in self.links.items() if not link.inbox.is_short}
                chase = self._spread.chase(trio.current_time(), busy=busy)
                for peer, ids in chase.pulls.items():
                    self.links[peer].put(Topic.CONSENSUS, frame(Pull(join_ids(ids))))
                for peer in chase.faults:
                    fault = Misbehaviour("messages announced and not delivered", points=UNDELIVERED_POINTS)
                    self.blame(peer, fault)
            self._wants = trio.Event()

    # --- links -------------------------------------------------------------------------------------------------------

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
        budgets = self._budgets_of(connection.peer)
        try:
            if not connection.is_dialled and not budgets.grant_link(trio.current_time()):
                raise Misbehaviour("begins link after link", points=LINKS_POINTS)
            hello = await self._greeter.greet(connection, stream, self.links)
            budgets.trust(is_backed=self._greeter.is_backed(connection.peer, hello.voucher, self.links))
            link = Link(connection, stream, hello, budgets)
            self._join(link)
            try:
                await self._run(link)
            finally:
                self._leave(link)
        except LinkRefused as refusal:
            self._greeter.tell_refusal(connection.peer, refusal.message)
            raise
        finally:
            await connection.close()

    async def _run(self, link: Link) -> None:
        """Read, judge and write until the link is lost, replaced, or spoilt by its peer. Raises `LinkRefused`."""
        refusal: LinkRefused | None = None
        try:
            with link.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._take_all, link)
                    nursery.start_soon(self._write_all, link)
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

    def _join(self, link: Link) -> None:
        existing = self.links.pop(link.peer, None)
        if existing is not None:
            self._spread.leave(link.peer)
            existing.replaced.set()
            existing.scope.cancel()
            if existing.incarnation != link.incarnation:
                self._handler.peer_left(link.peer)
        self.links[link.peer] = link
        self._spread.join(link.peer, short_name(link.peer))
        if link.listens_at is not None:
            self._book.learn(link.listens_at, source=link.peer, voucher=link.voucher)
        link.connection.admitted.set()
        log.debug("link up", peer=link.peer, is_dialled=link.connection.is_dialled)
        if existing is None or existing.incarnation != link.incarnation:
            self._handler.peer_joined(link.peer)

    def _leave(self, link: Link) -> None:
        link.closed.set()
        if self.links.get(link.peer) is link:
            del self.links[link.peer]
            self._spread.leave(link.peer)
            log.debug("link down", peer=link.peer)
            self._handler.peer_left(link.peer)
        # What was not judged any more is asked of whoever else has it.
        for letter in link.take_unjudged():
            if letter.id is not None:
                self._spread.lose(letter.id, trio.current_time())
        self._wake()

    def _budgets_of(self, peer: PeerId) -> PeerBudgets:
        budgets = self._budgets.pop(peer, None) or PeerBudgets()
        while len(self._budgets) >= MAX_REMEMBERED_PEERS:
            del self._budgets[next(iter(self._budgets))]
        self._budgets[peer] = budgets
        return budgets

    # --- messages ----------------------------------------------------------------------------------------------------

    async def _take_all(self, link: Link) -> None:
        """Take in what comes, so that the peer's writer never stalls on what we do with it."""
        while True:
            body, message = await link.read()
            match message:
                case Push(topic, payload):
                    self._take_push(link, Letter(body, message, message_id(topic, payload)))
                case Direct():
                    self._queue(link, Letter(body, message, None))
                case Status():
                    link.status = message.status
                    link.hear_clock(message)
                    self._spread.describe(link.peer, message.neighbours)
                    self._spread.hear(link.peer, _granted(link, message.ids), trio.current_time())
                    self._wake()
                case Pull(ids):
                    link.owed.extend(_granted(link, ids))
                    self._serve_owed(link)
                case Refused(reason):
                    raise LinkRefused(f"{REFUSED_BY_PEER}: {reason}")

    def _take_push(self, link: Link, letter: Letter) -> None:
        """Take in a published message, unless it is known; a peer that sends known ones again and again is blamed."""
        assert letter.id is not None, "published messages have ids"
        arrival = self._spread.arrive(letter.id, link.peer)
        if arrival is Arrival.NEW:
            self._queue(link, letter)
        else:
            link.duplicates += 1
        if arrival is Arrival.REPEAT and not link.budgets.grant_repeat(trio.current_time()):
            self.blame(link.peer, Misbehaviour("sends the same again and again", points=REPEAT_POINTS))

    async def _write_all(self, link: Link) -> None:
        """Send what waits and what the peer asked for, until the link is lost."""
        while True:
            await link.write()
            self._serve_owed(link)

    def _serve_owed(self, link: Link) -> None:
        """Put what was asked for behind what waits, in small portions: what found no room would be gone."""
        while link.owed and link.outbox.is_short:
            for topic, data in self._spread.serve(link.peer, [link.owed.popleft()]):
                link.put(topic, data)

    def _queue(self, link: Link, letter: Letter) -> None:
        """Have a message judged; what it pushes out of the queue, or is itself too much, comes again by a pull."""
        topic, size, now = letter.message.topic, len(letter.body), trio.current_time()
        if topic is not Topic.TRANSACTIONS or link.budgets.grant_transactions(size, now):
            passed_over = link.inbox.put(topic, letter, size)
        else:
            link.passed_over += 1
            passed_over = [letter]
        for lost in passed_over:
            if lost.id is not None:
                self._spread.lose(lost.id, now)
        self._wake()

    def _wake(self) -> None:
        if self._spread.is_waiting:
            self._wants.set()

    async def _judge_all(self, link: Link) -> None:
        """Judge what came in from one peer, in order of urgency."""
        while True:
            [link.being_judged] = await link.inbox.take(1)
            await self._judge(link, link.being_judged)
            link.being_judged = None

    async def _judge(self, link: Link, letter: Letter) -> None:
        topic = letter.message.topic
        verdict = await self._handler.handle(link.peer, topic, letter.message.payload)
        if letter.id is not None:
            if verdict is Verdict.ACCEPT:
                data = frame_of(letter.body)
                self._push(self._spread.accept(letter.id, topic, data, link.peer), topic, data)
            else:
                self._spread.discard(letter.id)
        if verdict is Verdict.REJECT:
            self.blame(
                link.peer, Misbehaviour(f"a message about {topic.name.lower()} was rejected", points=REJECT_POINTS)
            )

    def _push(self, peers: list[PeerId], topic: Topic, data: bytes) -> None:
        for peer in peers:
            self.links[peer].put(topic, data)


def message_id(topic: Topic, payload: bytes) -> MessageId:
    """Return what a published message is told of by."""
    return hash_parts("flock/gossip", topic.name.encode(), payload)[:ID_BYTES]


def _granted(link: Link, data: bytes) -> list[MessageId]:
    """Return as many of the ids that a peer sent as its budget allows."""
    ids = split_ids(data)
    granted = link.budgets.grant_ids(len(ids), trio.current_time())
    link.ids_dropped += len(ids) - granted
    return ids[:granted]
