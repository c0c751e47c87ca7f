"""Where messages of peers arrive: hands each topic to the part of the node that judges it."""

from collections.abc import Callable

import structlog
import trio

from flocknode.mempool import Mempool
from flocknode.network import PeerId, Topic, Verdict
from flocknode.replica import Replica
from flocknode.rpc.records import PeerChange
from protocol.codec import decode, encode
from protocol.errors import InvalidProof, InvalidSignature, Malformed, ProtocolError

# Transactions told to a peer that just came; the rest reaches it in blocks or from others.
MAX_GREETING = 256
# So many transactions of one message are checked, in about 2 ms, before others have their turn.
CHECKED_AT_ONCE = 16

log = structlog.get_logger()


def encode_transactions(transactions: tuple[bytes, ...]) -> bytes:
    """Return the payload of a message on the transactions' topic."""
    return encode(transactions)


class Inbox:
    """The node's side of the network (`flocknode.network.MessageHandler`)."""

    def __init__(
        self, mempool: Mempool, wall_clock: Callable[[], int], on_peer: Callable[[PeerId, PeerChange], object]
    ) -> None:
        """`wall_clock` returns milliseconds since the Unix epoch; `on_peer` is told who came and went."""
        self._mempool = mempool
        self._wall_clock = wall_clock
        self._on_peer = on_peer
        self.joined_ms: dict[PeerId, int] = {}

    def attach(self, replica: Replica, send: Callable[[PeerId, Topic, bytes], None]) -> None:
        """Name the replica that judges consensus, and the way to answer one peer; both need the network first."""
        self._replica = replica
        self._send = send

    async def handle(self, peer: PeerId, topic: Topic, payload: bytes) -> Verdict:
        """Return what a message of a peer is worth."""
        match topic:
            case Topic.CONSENSUS:
                return await self._replica.handle(peer, payload)
            case Topic.TRANSACTIONS:
                return await self._take_transactions(payload)
            case _:
                return Verdict.IGNORE

    def peer_joined(self, peer: PeerId) -> None:
        """Tell a peer that just came what waits here: it may have missed it."""
        self.joined_ms[peer] = self._wall_clock()
        waiting = self._mempool.all_data()[:MAX_GREETING]
        if waiting:
            self._send(peer, Topic.TRANSACTIONS, encode_transactions(tuple(waiting)))
        self._replica.peer_joined(peer)
        self._on_peer(peer, "joined")

    def peer_left(self, peer: PeerId) -> None:
        """Forget a peer."""
        self.joined_ms.pop(peer, None)
        self._replica.peer_left(peer)
        self._on_peer(peer, "left")

    async def _take_transactions(self, payload: bytes) -> Verdict:
        """Take what is new and may wait; blame only faults that no honest laggard can commit."""
        try:
            transactions = decode(payload, tuple[bytes, ...])
        except Malformed:
            return Verdict.REJECT
        is_new = is_faulty = False
        for number, data in enumerate(transactions, 1):
            if number % CHECKED_AT_ONCE == 0:
                await trio.lowlevel.checkpoint()
            try:
                is_new = self._mempool.add(data) or is_new
            except (Malformed, InvalidSignature, InvalidProof):
                is_faulty = True
                break
            except ProtocolError as error:
                log.debug("transaction ignored", reason=error.message)
        if is_new:
            self._replica.notice_transaction()
        if is_faulty:
            return Verdict.REJECT
        return Verdict.ACCEPT if is_new else Verdict.IGNORE
