"""The sender's side: hands submissions and openings to relays, and watches until they are on the log.

Nothing is ever sent directly. Where fewer relays are there than a path wants, that is told, in the log and in the
node's status, and waited out for half of the phase; then shorter paths do, down to the fewest hops that the
configuration allows; with still fewer, the node waits, and misses the phase rather than give its operator away.
"""

import random
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import structlog
import trio

from flocknode.chain import Chain
from flocknode.mempool import Mempool
from flocknode.network.errors import NetworkError
from flocknode.network.messages import PeerId
from flocknode.network.providers import key_of
from flocknode.participants.diary import Diary, Route
from flocknode.participants.sender import Included
from flocknode.relay import routes
from flocknode.relay.parcels import KEY_BYTES, Envelope, Letter, address_parcel, letter_bytes
from flocknode.relay.ticks import compute_hop_tick_ms, compute_tick_ms
from protocol.blobs import BlobId
from protocol.blocks import transaction_id
from protocol.codec import encode
from protocol.ledger import check_anonymous
from protocol.rules.arena.records import Phase, get_task
from protocol.transactions import AnonymousPayload, AnonymousTransaction, Submit

# How often to look for the tag, and for relays when there are too few.
LOOK_S = 0.2
# How long a tag may be late before further paths are tried, besides ticks and transfers.
GRACE_S = 4.0
RETRY_S = 1.0
# How long nobody may offer an entered blob before it is handed over again, and how many times.
OFFER_S = 15.0
MAX_REPEATS = 3

IDLE = "nothing to send"

log = structlog.get_logger("flocknode.relay")


class RelayNetwork(Protocol):
    """The part of the network that the courier needs."""

    def relays(self) -> Mapping[bytes, PeerId]:
        """Return the relays that can be reached, by consensus key."""

    def is_offered(self, blob: BlobId) -> bool:
        """Return whether some peer says that it holds a blob."""

    async def hand_over(self, peer: PeerId, envelope: Envelope, chunks: Callable[[], Iterator[bytes]]) -> None:
        """Hand a relay a parcel; raises a `NetworkError`."""


class Courier:
    """The way of one account's anonymous transactions. `wall_clock` returns milliseconds since the Unix epoch."""

    def __init__(
        self,
        *,
        chain: Chain,
        mempool: Mempool,
        address: bytes,
        diary: Diary,
        network: RelayNetwork,
        wall_clock: Callable[[], int],
        randomness: Callable[[int], bytes],
        min_hops: int,
    ) -> None:
        self._chain = chain
        self._mempool = mempool
        self._address = address
        self._diary = diary
        self._network = network
        self._wall_clock = wall_clock
        self._randomness = randomness
        self._min_hops = min_hops
        self._rng = random.SystemRandom()
        self.status = IDLE

    async def deliver(self, payload: AnonymousPayload, blob: Path | None = None) -> Included:
        """Return once a submission, with its blob, or an opening is on the log.

        Raises a `ProtocolError` when it can no longer get there, and `Malformed` when relays do not take that much.
        """
        data = encode(AnonymousTransaction(payload))
        route, after = self._load_route(payload), -1
        try:
            while True:
                included = self._look(data, payload)
                if included is not None:
                    return included
                if transaction_id(data) in self._mempool:
                    await trio.sleep(LOOK_S)
                    continue
                route = route or self._choose_route(payload, after=after)
                if route is None:
                    await trio.sleep(LOOK_S)
                    continue
                await self._try(route, data, payload, blob)
                after, route = route.shuffle, None
        finally:
            self._tell(IDLE)

    async def keep_held(self, payload: Submit, blob: Path) -> None:
        """Return once somebody offers an entered blob, and hand it over again when nobody does for long.

        A last hop may publish a submission and forget its blob, and then nobody could evaluate it.
        """
        data = encode(AnonymousTransaction(payload))
        for _ in range(MAX_REPEATS):
            with trio.move_on_after(OFFER_S):
                while not self._network.is_offered(payload.blob):  # noqa: ASYNC110  # peers' offers ring no bell
                    await trio.sleep(LOOK_S)
                return
            task = get_task(self._chain.view, payload.task)
            if task.epoch != payload.epoch or task.phase not in (Phase.OPEN, Phase.SCORE):
                return
            last = self._load_saved(payload)
            route = self._choose_route(payload, after=-1 if last is None else last.shuffle)
            if route is not None:
                log.warning("nobody offers the entered model, so it is handed over again", task=payload.task)
                await self._hand_over(route, data, payload, blob)

    # --- one attempt -------------------------------------------------------------------------------------------------

    def _look(self, data: bytes, payload: AnonymousPayload) -> Included | None:
        """Return where the transaction stands on the log, None while it may still get there; raises otherwise."""
        identity = transaction_id(data)
        found = self._chain.find_receipt(identity)
        if found is not None:
            return Included(identity, found[0], found[2])
        if identity in self._mempool.refusals:
            raise self._mempool.refusals[identity]
        if identity not in self._mempool:
            check_anonymous(self._chain.state, payload)
        return None

    async def _try(self, route: Route, data: bytes, payload: AnonymousPayload, blob: Path | None) -> None:
        """Hand over along a route and wait as long as the tag may take to appear."""
        began_at = trio.current_time()
        self._tell(f"hands over along {len(route.paths)} paths of {len(route.paths[0])} relays")
        if not await self._hand_over(route, data, payload, blob):
            await trio.sleep(RETRY_S)
            return
        hops = len(route.paths[0])
        tick_ms = self._tick_ms(payload)
        transfers_s = 2 * hops * (trio.current_time() - began_at)
        self._tell("waits for its tag to appear")
        with trio.move_on_after((tick_ms + hops * compute_hop_tick_ms(tick_ms)) / 1000 + transfers_s + GRACE_S):
            while transaction_id(data) not in self._mempool and self._chain.find_receipt(transaction_id(data)) is None:
                self._look(data, payload)
                await trio.sleep(LOOK_S)
            return
        log.warning("a tag did not appear in time: tries other relays", task=payload.task, epoch=payload.epoch)

    async def _hand_over(self, route: Route, data: bytes, payload: AnonymousPayload, blob: Path | None) -> bool:
        """Hand over along all paths of a route at once; return whether some first relay took it."""
        taken: list[routes.Path] = []

        async def along(path: routes.Path) -> None:
            try:
                await self._hand_over_along(path, data, payload, blob)
                taken.append(path)
            except (NetworkError, OSError) as error:
                log.debug("a relay did not take a parcel", relay=path[0].hex()[:8], reason=str(error))

        async with trio.open_nursery() as nursery:
            for path in route.paths:
                nursery.start_soon(along, path)
        return bool(taken)

    async def _hand_over_along(
        self, path: routes.Path, data: bytes, payload: AnonymousPayload, blob: Path | None
    ) -> None:
        peers = [self._network.relays().get(relay) for relay in path]
        keys = [None if peer is None else key_of(peer) for peer in peers]
        known = [key for key in keys if key is not None]
        if peers[0] is None or len(known) < len(path):
            raise NetworkError("a relay of the path is gone")
        parcel = address_parcel(
            known,
            letter_bytes(data, payload.blob.length if isinstance(payload, Submit) else 0),
            hop_tick_ms=compute_hop_tick_ms(self._tick_ms(payload)),
            keys=[self._randomness(KEY_BYTES) for _ in path],
        )
        with open_letter(data, blob) as letter:
            await self._network.hand_over(peers[0], parcel.envelope, lambda: parcel.seal(letter))

    # --- routes ------------------------------------------------------------------------------------------------------

    def _load_saved(self, payload: AnonymousPayload) -> Route | None:
        return self._diary.load_route(kind_of(payload), payload.task, payload.epoch)

    def _load_route(self, payload: AnonymousPayload) -> Route | None:
        """Return the way that was chosen before a restart, if its relays are still there."""
        saved = self._load_saved(payload)
        reachable = self._network.relays()
        usable = saved is not None and all(relay in reachable for path in saved.paths for relay in path)
        return saved if usable else None

    def _choose_route(self, payload: AnonymousPayload, *, after: int) -> Route | None:
        """Return a way through relays, saved before it is used; None while there are too few, which is told."""
        eligible = routes.find_eligible(
            self._chain.view, self._chain.replicas, payload.task, payload.epoch, self._address
        )
        reachable = [relay for relay in eligible if relay in self._network.relays()]
        hops = self._count_hops(eligible, reachable, is_late=self._is_late(payload))
        if hops is None:
            return None
        seed = routes.name_seed(self._chain.id, payload)
        shuffle, layers = routes.find_shuffle(seed, eligible, reachable, hops, after + 1)
        route = Route(shuffle, tuple(routes.choose_paths(layers, self._rng)))
        self._diary.save_route(kind_of(payload), payload.task, payload.epoch, route)
        return route

    def _count_hops(self, eligible: Sequence[bytes], reachable: Collection[bytes], *, is_late: bool) -> int | None:
        """Return over how many relays a path goes now, None to wait; anything short of the full number is told."""
        best, here = min(routes.HOPS, len(eligible)), min(routes.HOPS, len(reachable))
        if here < self._min_hops:
            self._tell(
                f"waits: {here} relays that are no trainers' can be reached, a path needs {self._min_hops} at least",
                is_trouble=True,
            )
            return None
        if here < best and not is_late:
            self._tell(f"waits: {here} of {best} relays that a path wants can be reached", is_trouble=True)
            return None
        if here < routes.HOPS:
            self._tell(f"sends over {here} relays instead of {routes.HOPS}: there are no more", is_trouble=True)
        return here

    def _is_late(self, payload: AnonymousPayload) -> bool:
        """Return whether half of the phase is over."""
        task = get_task(self._chain.view, payload.task)
        settings = task.spec.settings
        phase_ms = settings.submit_phase_ms if isinstance(payload, Submit) else settings.open_phase_ms
        return task.deadline_ms is not None and task.deadline_ms - self._wall_clock() < phase_ms // 2

    def _tick_ms(self, payload: AnonymousPayload) -> int:
        return compute_tick_ms(get_task(self._chain.view, payload.task).spec.settings, payload)

    def _tell(self, status: str, *, is_trouble: bool = False) -> None:
        """Say what happens in the node's status, and trouble once in the log."""
        if is_trouble and status != self.status:
            log.warning("anonymous sending", status=status, help="`flocknode status` lists the peers.")
        self.status = status


def kind_of(payload: AnonymousPayload) -> bytes:
    """Return what the diary calls the way of a payload."""
    return b"submit" if isinstance(payload, Submit) else b"open"


@contextmanager
def open_letter(transaction: bytes, blob: Path | None) -> Iterator[Letter]:
    """Open a letter for reading, with the file of its blob."""
    with ExitStack() as stack:
        yield Letter(transaction, None if blob is None else stack.enter_context(blob.open("rb")))
