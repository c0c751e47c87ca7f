"""What misbehaviour costs: fault points, and refusals for a while. Knows nothing of messages."""

from typing import NamedTuple, TypeVar

import structlog
import trio

from flocknode.network.errors import Misbehaviour
from flocknode.network.messages import MAX_SCORE, PeerId

# Fault points at which a peer is disconnected and refused, and how fast they are forgiven.
FAULT_LIMIT = 100
FORGIVEN_PER_S = 1.0
# A first refusal lasts so long; each further one twice as long as the last, unless that is long ago.
REFUSAL_S = 60.0
MAX_REFUSAL_S = 3600.0
REFUSAL_REMEMBERED_S = 24 * 3600.0
MAX_REMEMBERED_PEERS = 4096

T = TypeVar("T")

log = structlog.get_logger("flocknode.network")


class Refusal(NamedTuple):
    """Why a peer is, or was, not talked to: until when (seconds of trio's clock), and how many times so far."""

    reason: str
    until: float
    times: int


class Conduct:
    """Remembers faults. Points fade with time; a peer that reaches the limit is refused for a while."""

    def __init__(self) -> None:
        self._points: dict[PeerId, tuple[float, float]] = {}
        self._refusals: dict[PeerId, Refusal] = {}

    def blame(self, peer: PeerId, fault: Misbehaviour) -> None:
        """Count a fault of a peer."""
        now = trio.current_time()
        points = self.points(peer) + fault.points
        _remember(self._points, peer, (points, now))
        log.debug("peer at fault", peer=peer, fault=fault.message, points=round(points))
        if points >= FAULT_LIMIT and not self.is_refused(peer):
            self._refuse(peer, fault.message, now)

    def points(self, peer: PeerId) -> float:
        """Return the fault points that a peer has now."""
        points, since = self._points.get(peer, (0.0, 0.0))
        return max(0.0, points - FORGIVEN_PER_S * (trio.current_time() - since))

    def score(self, peer: PeerId) -> int:
        """Return how well a peer behaves: from 0, refused, to 100, no fault that is not forgiven."""
        return 0 if self.is_refused(peer) else max(0, MAX_SCORE - round(MAX_SCORE * self.points(peer) / FAULT_LIMIT))

    def is_refused(self, peer: PeerId) -> bool:
        """Return whether the peer misbehaved too much lately to be talked to."""
        refusal = self._refusals.get(peer)
        return refusal is not None and trio.current_time() < refusal.until

    def refusals(self) -> dict[PeerId, Refusal]:
        """Return the refusals in force, and those that would make the next one longer."""
        oldest = trio.current_time() - REFUSAL_REMEMBERED_S
        return {peer: refusal for peer, refusal in self._refusals.items() if refusal.until > oldest}

    def restore(self, peer: PeerId, refusal: Refusal) -> None:
        """Take back a refusal from before the last stop; none lasts longer than it could have then."""
        longest = trio.current_time() + MAX_REFUSAL_S
        _remember(self._refusals, peer, refusal._replace(until=min(refusal.until, longest)))

    def _refuse(self, peer: PeerId, reason: str, now: float) -> None:
        earlier = self._refusals.get(peer)
        times = 1
        if earlier is not None and earlier.until > now - REFUSAL_REMEMBERED_S:
            times += earlier.times
        seconds = min(REFUSAL_S * 2 ** min(times - 1, 16), MAX_REFUSAL_S)
        _remember(self._refusals, peer, Refusal(reason, now + seconds, times))
        log.warning("peer refused", peer=peer, reason=reason, seconds=round(seconds), times=times)


def _remember(memory: dict[PeerId, T], peer: PeerId, value: T) -> None:
    memory.pop(peer, None)
    if len(memory) >= MAX_REMEMBERED_PEERS:
        del memory[next(iter(memory))]
    memory[peer] = value
