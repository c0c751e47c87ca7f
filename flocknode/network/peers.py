"""Whom this node talks to: addresses to keep dialled, and what misbehaviour costs. Knows nothing of messages."""

from typing import NamedTuple, TypeVar

import structlog
import trio
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from flocknode.errors import UsageError
from flocknode.network.errors import Misbehaviour
from flocknode.network.messages import PeerId

# Fault points at which a peer is disconnected and refused, how fast they are forgiven, and for how long it is refused.
FAULT_LIMIT = 100
FORGIVEN_PER_S = 1.0
REFUSAL_S = 60.0
MAX_REMEMBERED_PEERS = 4096

T = TypeVar("T")

log = structlog.get_logger("flocknode.network")


class Address(NamedTuple):
    """Where a peer listens, and who must answer there."""

    host: str
    port: int
    peer: PeerId

    def __str__(self) -> str:
        return f"/ip4/{self.host}/tcp/{self.port}/p2p/{self.peer}"


def parse_address(text: str) -> Address:
    """Return the address in a multiaddress like `/ip4/127.0.0.1/tcp/4001/p2p/12D3...`. Raises `UsageError`."""
    try:
        address = Multiaddr(text)
        host, port, peer = (address.value_for_protocol(name) for name in ("ip4", "tcp", "p2p"))
        return Address(host, int(port), peer)
    except (MultiaddrError, ValueError, TypeError) as error:
        raise UsageError(
            f"{text!r} is not an address of a peer: {error}", help="Write /ip4/HOST/tcp/PORT/p2p/PEER."
        ) from error


class Conduct:
    """Remembers faults. Points fade with time; a peer that reaches the limit is refused for a while."""

    def __init__(self) -> None:
        self._points: dict[PeerId, tuple[float, float]] = {}
        self._refused_until: dict[PeerId, float] = {}

    def blame(self, peer: PeerId, fault: Misbehaviour) -> None:
        """Count a fault of a peer."""
        now = trio.current_time()
        points = self.points(peer) + fault.points
        _remember(self._points, peer, (points, now))
        log.debug("peer at fault", peer=peer, fault=fault.message, points=points)
        if points >= FAULT_LIMIT and not self.is_refused(peer):
            _remember(self._refused_until, peer, now + REFUSAL_S)
            log.warning("peer refused", peer=peer, reason=fault.message, seconds=REFUSAL_S)

    def points(self, peer: PeerId) -> float:
        """Return the fault points that a peer has now."""
        points, since = self._points.get(peer, (0.0, 0.0))
        return max(0.0, points - FORGIVEN_PER_S * (trio.current_time() - since))

    def is_refused(self, peer: PeerId) -> bool:
        """Return whether the peer misbehaved too much lately to be talked to."""
        return trio.current_time() < self._refused_until.get(peer, 0.0)


def _remember(memory: dict[PeerId, T], peer: PeerId, value: T) -> None:
    memory.pop(peer, None)
    if len(memory) >= MAX_REMEMBERED_PEERS:
        del memory[next(iter(memory))]
    memory[peer] = value
