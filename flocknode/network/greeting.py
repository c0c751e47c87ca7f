"""Who gets a link: hellos in both directions, and the reasons to refuse one. Keeps no links itself."""

import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress

import structlog
import trio

from flocknode.network.conduct import Conduct
from flocknode.network.errors import LinkRefused, Misbehaviour, StreamLost
from flocknode.network.host import Connection
from flocknode.network.links import SILENCE_POINTS, Link
from flocknode.network.messages import MAX_LINKS, MAX_STATUS_BYTES, PROTOCOL_VERSION, Greeting, Hello, PeerId, Refused
from flocknode.network.streams import MALFORMED_POINTS, Stream, frame
from flocknode.network.vouchers import Voucher, verify_voucher
from protocol.errors import InvalidSignature

MAX_GREETING_BYTES = 2048
HELLO_S = 5.0
# How long a refused peer has to read why.
FAREWELL_S = 0.5
# Links to peers for which no bonded key vouches; the rest is kept for those, so that no crowd shuts them out.
MAX_STRANGERS = 40
SECOND_LINK = "there is a link already"
REFUSED_BY_PEER = "the peer refuses us"
OTHER_CHAIN = "another chain"
OTHER_CHAIN_HELP = (
    "one of the two has the wrong genesis.json, or the address is of another network: compare `chain` in "
    "`flocknode status` on both, and put genesis.json or `network.bootstrap` in config.toml right"
)

log = structlog.get_logger("flocknode.network")


class Greeter:
    """Greets peers on behalf of a node. `is_bonded` says whether a consensus key has a stake behind it now."""

    def __init__(
        self,
        *,
        chain: bytes,
        own_peer: PeerId,
        status: Callable[[], bytes],
        conduct: Conduct,
        voucher: Voucher | None,
        is_bonded: Callable[[bytes], bool],
    ) -> None:
        self._chain = chain
        self._own_peer = own_peer
        self._status = status
        self._conduct = conduct
        self._voucher = voucher
        self._is_bonded = is_bonded
        self._incarnation = secrets.token_bytes(32)
        self._told: dict[PeerId, str] = {}
        # Where this node listens, which is known only once it does.
        self.listen_port = 0

    def own_status(self) -> bytes:
        """Return what this node says of itself."""
        status = self._status()
        assert len(status) <= MAX_STATUS_BYTES, f"a status of {len(status)} bytes"
        return status

    async def greet(self, connection: Connection, stream: Stream, links: Mapping[PeerId, Link]) -> Hello:
        """Exchange hellos and return the peer's. Raises `LinkRefused` if either side refuses."""
        own = Hello(
            PROTOCOL_VERSION, self._chain, self._incarnation, self.own_status(), self.listen_port, self._voucher
        )
        await stream.write(frame(own))
        with trio.move_on_after(HELLO_S) as scope:
            greeting: Greeting = await stream.read_record(Greeting, MAX_GREETING_BYTES)  # type: ignore[arg-type]
        if scope.cancelled_caught:
            raise Misbehaviour(f"no hello within {HELLO_S:g} s", points=SILENCE_POINTS)
        if isinstance(greeting, Refused):
            raise LinkRefused(f"{REFUSED_BY_PEER}: {greeting.reason}")
        self._check_voucher(connection.peer, greeting)
        reason = self._reason_against(connection, greeting, links)
        if reason is not None:
            await self._say_farewell(stream, reason)
            raise LinkRefused(reason)
        self._told.pop(connection.peer, None)
        return greeting

    def tell_refusal(self, peer: PeerId, reason: str) -> None:
        """Say once why there is no link to a peer, however often it tries; a second link is everyday."""
        if SECOND_LINK in reason or self._told.get(peer) == reason:
            return
        advice = {"help": OTHER_CHAIN_HELP} if OTHER_CHAIN in reason else {}
        log.warning("no link", peer=peer, reason=reason, **advice)
        self._told[peer] = reason
        if len(self._told) > MAX_LINKS:
            del self._told[next(iter(self._told))]

    def is_backed(self, peer: PeerId, voucher: Voucher | None, links: Mapping[PeerId, Link]) -> bool:
        """Return whether a peer speaks for a bonded key for which no other linked peer does."""
        if voucher is None or not self._is_bonded(voucher.key):
            return False
        others = (link.voucher for link in links.values() if link.peer != peer)
        return all(other is None or other.key != voucher.key for other in others)

    def _check_voucher(self, peer: PeerId, hello: Hello) -> None:
        if hello.voucher is None or hello.chain != self._chain:
            return
        try:
            verify_voucher(hello.voucher, self._chain, peer)
        except InvalidSignature as error:
            raise Misbehaviour("a voucher that is not for this peer", points=MALFORMED_POINTS) from error

    def _reason_against(self, connection: Connection, hello: Hello, links: Mapping[PeerId, Link]) -> str | None:
        """Return why we do not want a link to the peer, or None."""
        if connection.peer == self._own_peer:
            return "this is the same node"
        if hello.version != PROTOCOL_VERSION:
            return f"protocol version {hello.version} instead of {PROTOCOL_VERSION}"
        if hello.chain != self._chain:
            return f"{OTHER_CHAIN}: {hello.chain.hex()[:16]} instead of {self._chain.hex()[:16]}"
        if self._conduct.is_refused(connection.peer):
            return "refused for misbehaviour"
        existing = links.get(connection.peer)
        if existing is None:
            return None if self._has_room(connection.peer, hello, links) else "too many peers"
        return SECOND_LINK if self._is_better(existing, connection, hello) else None

    def _has_room(self, peer: PeerId, hello: Hello, links: Mapping[PeerId, Link]) -> bool:
        if len(links) >= MAX_LINKS:
            return False
        strangers = sum(not self.is_backed(link.peer, link.voucher, links) for link in links.values())
        return strangers < MAX_STRANGERS or self.is_backed(peer, hello.voucher, links)

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
