"""Fetching what others have committed: one range from one peer at a time. Verifying and appending is the replica's."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog
import trio

from flocknode.network.errors import NetworkError
from flocknode.network.messages import PeerId
from flocknode.replica.interfaces import ReplicaNetwork

log = structlog.get_logger("flocknode.replica")

RANGE_BLOCKS = 64
# How long a peer that promised blocks and gave none, or wrong ones, is not asked again.
AVOID_S = 10.0


@dataclass(frozen=True)
class RangeFetched:
    """What a peer answered: encoded (block, commit) pairs of successive heights, unverified."""

    peer: PeerId
    first_height: int
    pairs: list[bytes]


class CatchUp:
    """Whether the log is behind what peers claim, and the one request that is under way.

    A claim is not believed, only followed up: it silences nobody, and whoever cannot back it is avoided for a while.
    """

    def __init__(self, network: ReplicaNetwork, deliver: Callable[[RangeFetched], object]) -> None:
        self._network = network
        self._deliver = deliver
        self._avoided: dict[PeerId, float] = {}
        self._claims: dict[PeerId, int] = {}
        self.is_fetching = False

    def hear_claim(self, peer: PeerId, height: int) -> None:
        """Note that a peer says it has committed a height."""
        self._claims[peer] = max(height, self._claims.get(peer, 0))

    def forget(self, peer: PeerId) -> None:
        """Note that a peer is gone."""
        self._claims.pop(peer, None)
        self._avoided.pop(peer, None)

    def avoid(self, peer: PeerId) -> None:
        """Do not ask a peer for a while: its answer was not what it claimed."""
        self._claims.pop(peer, None)
        self._avoided[peer] = trio.current_time() + AVOID_S

    def target(self, height: int) -> int:
        """Return the highest height that a peer claims, at least `height`."""
        now = trio.current_time()
        usable = (claim for peer, claim in self._claims.items() if self._avoided.get(peer, now) <= now)
        return max(usable, default=height)

    def request(self, nursery: trio.Nursery, height: int) -> None:
        """Ask for the heights after `height`, if a peer claims them and no request is under way."""
        target = self.target(height)
        if target <= height or self.is_fetching:
            return
        now = trio.current_time()
        sources = [
            peer
            for peer, claim in sorted(self._claims.items())
            if claim == target and self._avoided.get(peer, now) <= now
        ]
        self.is_fetching = True
        nursery.start_soon(self._fetch, sources[0], height + 1, min(RANGE_BLOCKS, target - height))

    async def _fetch(self, peer: PeerId, first_height: int, count: int) -> None:
        pairs: list[bytes] = []
        try:
            pairs = await self._network.fetch_blocks(peer, first_height, count)
        except NetworkError as error:
            log.info("a peer gave no blocks", peer=peer, height=first_height, reason=str(error))
        self.is_fetching = False
        self._deliver(RangeFetched(peer, first_height, pairs[:count]))
