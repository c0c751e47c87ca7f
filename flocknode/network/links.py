"""One peer that we talk to: the frames that go out and come in, counted and held to what a peer may send."""

from collections import deque
from dataclasses import dataclass

import trio

from flocknode.network.addresses import Address
from flocknode.network.budgets import PeerBudgets
from flocknode.network.errors import Misbehaviour
from flocknode.network.host import Connection
from flocknode.network.mailbox import Mailbox
from flocknode.network.messages import (
    MAX_MESSAGE_BYTES,
    MAX_PULLED_IDS,
    SHORT_NAME_BYTES,
    Direct,
    Hello,
    Message,
    MessageId,
    PeerId,
    Push,
    Status,
    Topic,
)
from flocknode.network.streams import Stream, parse
from protocol.crypto import hash_parts

MAX_FRAME_BYTES = MAX_MESSAGE_BYTES + 64
# A peer that says nothing for so many heartbeats is gone. That is a fault, for it held a slot; rarely is one honest.
SILENCE_S = 10.0
SILENCE_POINTS = 30
# What one write takes along; an urgent message waits for no more than this.
WRITE_BYTES = 256 * 1024


@dataclass(frozen=True)
class Letter:
    """A message that waits to be judged: its frame's body, and its id if it was published."""

    body: bytes
    message: Push | Direct
    id: MessageId | None


class Link:
    """The gossip stream to one peer, with its queues and counters."""

    def __init__(self, connection: Connection, stream: Stream, hello: Hello, budgets: PeerBudgets) -> None:
        self.peer = connection.peer
        self.connection = connection
        self.incarnation = hello.incarnation
        self.status = hello.status
        self.voucher = hello.voucher
        self._listen_port = hello.listen_port
        self.budgets = budgets
        self.outbox: Mailbox[bytes] = Mailbox()
        self.inbox: Mailbox[Letter] = Mailbox()
        # What the peer asked for and was not sent yet.
        self.owed: deque[MessageId] = deque(maxlen=2 * MAX_PULLED_IDS)
        self.being_judged: Letter | None = None
        self.closed = trio.Event()
        self.replaced = trio.Event()
        self.scope = trio.CancelScope()
        self.sent = self.sent_bytes = 0
        self.received = self.received_bytes = 0
        self.duplicates = 0
        self.ids_dropped = self.passed_over = 0
        self.latency_us: int | None = None
        self._stream = stream
        # The peer's clock as last heard, and when that was, in microseconds.
        self._heard_clock: tuple[int, int] | None = None

    @property
    def dropped(self) -> int:
        """What was lost for want of room in a queue or a budget."""
        return self.outbox.dropped + self.inbox.dropped + self.ids_dropped + self.passed_over

    @property
    def listens_at(self) -> Address | None:
        """Where the peer can be dialled: where we dialled it, or what it says itself."""
        if self.connection.is_dialled:
            return self.connection.remote
        return self.connection.remote._replace(port=self._listen_port) if self._listen_port else None

    def take_unjudged(self) -> list[Letter]:
        """Return what came in and was not judged to the end, and forget it."""
        current = [] if self.being_judged is None else [self.being_judged]
        self.being_judged = None
        return current + self.inbox.clear()

    def put(self, topic: Topic, data: bytes) -> None:
        """Have a frame sent; never waits."""
        self.outbox.put(topic, data, len(data))

    async def write(self) -> None:
        """Wait for something to send, and send it with what else waits in one write. Raises `StreamLost`."""
        frames = await self.outbox.take(WRITE_BYTES)
        data = b"".join(frames)
        await self._stream.write(data)
        self.sent += len(frames)
        self.sent_bytes += len(data)

    async def read(self) -> tuple[bytes, Message]:
        """Return the next message with its frame's body, once the peer's budget allows for it.

        Raises `StreamLost`, and `Misbehaviour` for what is no message and for silence.
        """
        with trio.move_on_after(SILENCE_S) as scope:
            body = await self._stream.read_frame(MAX_FRAME_BYTES)
        if scope.cancelled_caught:
            raise Misbehaviour(f"silent for {SILENCE_S:g} s", points=SILENCE_POINTS)
        self.received += 1
        self.received_bytes += len(body)
        delay_s = self.budgets.spend_message(len(body), trio.current_time())
        if delay_s:
            await trio.sleep(delay_s)
        return body, parse(body, Message, MAX_FRAME_BYTES)

    def hear_clock(self, status: Status) -> None:
        """Take in the times of a heartbeat, and with them how long a round trip takes."""
        now_us = clock_us()
        self._heard_clock = status.clock_us, now_us
        if status.echo_us is not None and status.echo_us <= now_us:
            self.latency_us = now_us - status.echo_us

    def echo_us(self) -> int | None:
        """Return what the peer's clock must show by what it last said, without the way."""
        return None if self._heard_clock is None else self._heard_clock[0] + clock_us() - self._heard_clock[1]


def clock_us() -> int:
    """Return microseconds of trio's clock, which begins anywhere."""
    return round(trio.current_time() * 1_000_000)


def short_name(peer: PeerId) -> bytes:
    """Return the few bytes that a peer is called by among its neighbours."""
    return hash_parts("flock/peer", peer.encode())[:SHORT_NAME_BYTES]
