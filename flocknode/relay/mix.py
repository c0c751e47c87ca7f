"""What a relay does: takes parcels, holds them until the next tick, and then lets go of all that it has for it at once.

Parcels for other relays leave in random order, letters that end here are published in the order of their tags. Nothing
survives a stop of the node: senders watch for their tags and hand over again.
"""

import random
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Protocol

import structlog
import trio

from flocknode.network.budgets import Budget
from flocknode.network.errors import BlobUnavailable, NetworkError, ParcelRefused, PeerUnreachable, RelayBusy
from flocknode.network.messages import PeerId
from flocknode.relay.parcels import (
    MAX_LETTER_BYTES,
    Envelope,
    Instruction,
    PassOn,
    open_chunk,
    open_envelope,
    pass_on,
    split_letter,
)
from flocknode.relay.ticks import next_tick_ms
from protocol.blobs import BlobId
from protocol.crypto import hash_parts
from protocol.errors import InvalidProof, ProtocolError
from storage.errors import StorageError

# What a relay holds at most, of everybody and of one peer: a busy relay hands over for many senders.
MAX_HELD = 512
MAX_HELD_PER_PEER = 256
MAX_HELD_BYTES = 2 * MAX_LETTER_BYTES
# What one peer may hand over: at once, and for good.
PARCELS_PER_S = 16.0
BURST_PARCELS = 256
BYTES_PER_S = 16 * 1024 * 1024
BURST_BYTES = 2 * MAX_LETTER_BYTES
MAX_PEERS = 1_024
# Envelopes that are remembered: one that comes again tells whoever sent it where the first one went.
MAX_REMEMBERED = 8_192
# Longer parcels lie on the disk, where nothing of them remains.
MEMORY_BYTES = 64 * 1024
# How often a next hop is tried that does not take a parcel, and the pause between.
ATTEMPTS = 3
RETRY_S = 1.0

log = structlog.get_logger("flocknode.relay")

# Hands the next hop, named by its peer key, an envelope and what yields the body; raises a `NetworkError`.
Forward = Callable[[bytes, Envelope, Callable[[], Iterator[bytes]]], Awaitable[None]]
# Returns the next chunk of the body that is being handed over.
ReadChunk = Callable[[], Awaitable[bytes]]


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """A transaction that ends its way here: under which tag, when to publish it, and which blob belongs to it."""

    transaction: bytes
    tag: bytes
    tick_ms: int
    deadline_ms: int | None
    blob: BlobId | None


class LastHop(Protocol):
    """What the rest of the node does with letters that end here."""

    def check(self, transaction: bytes) -> Delivery:
        """Return what a letter brings; raises a `ProtocolError` unless it may stand in the next block."""

    async def store(self, blob: BlobId, source: IO[bytes]) -> None:
        """Keep a blob for whoever asks; raises `InvalidProof` when the source holds another one, or no room for it."""

    def publish(self, transaction: bytes) -> None:
        """Broadcast a transaction; raises a `ProtocolError` when it is too late for it."""


@dataclass(frozen=True)
class _Held:
    """A parcel, or a letter, that waits for its tick."""

    release_ms: int
    source: PeerId
    size_bytes: int
    envelope: Envelope
    next: bytes | None
    delivery: Delivery | None
    body: "SpooledTemporaryFile[bytes] | None"


class Mix:
    """The parcels of one relay. `seed` is that of its peer key, `wall_clock` returns ms since the Unix epoch."""

    def __init__(
        self,
        *,
        seed: bytes,
        forward: Forward,
        last_hop: LastHop,
        wall_clock: Callable[[], int],
        rng: random.Random,
        scratch: str | None = None,
    ) -> None:
        self._seed = seed
        self._forward = forward
        self._last_hop = last_hop
        self._wall_clock = wall_clock
        self._rng = rng
        self._scratch = scratch
        self._held: list[_Held] = []
        self._reserved_bytes = 0
        self._counts: Counter[PeerId] = Counter()
        self._budgets: OrderedDict[PeerId, tuple[Budget, Budget]] = OrderedDict()
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._arrived = trio.Event()
        self.passed_on = self.published = self.lost = 0

    def describe(self) -> str:
        """Return what became of the parcels of others since the start, in words."""
        held = f", {len(self._held)} held" if self._held else ""
        return f"{self.passed_on} passed on, {self.published} published, {self.lost} lost{held}"

    def admit(self, source: PeerId, envelope: Envelope) -> Instruction:
        """Return what to do with a parcel that a peer offers. Raises `RelayBusy` or `ParcelRefused`."""
        now = trio.current_time()
        count = self._counts.total()
        if count >= MAX_HELD or self._reserved_bytes + envelope.body_bytes > MAX_HELD_BYTES:
            raise RelayBusy("the relay holds as much as it may")
        if self._counts[source] >= MAX_HELD_PER_PEER or not self._grant(source, envelope.body_bytes, now):
            raise RelayBusy("the relay takes no more of this peer for now")
        digest = hash_parts("flock/relay/seen", envelope.box)
        if digest in self._seen:
            raise ParcelRefused("this envelope came before")
        try:
            instruction = open_envelope(envelope, self._seed)
        except InvalidProof as error:
            raise ParcelRefused(error.message) from error
        self._seen[digest] = None
        if len(self._seen) > MAX_REMEMBERED:
            self._seen.popitem(last=False)
        return instruction

    async def take(self, source: PeerId, envelope: Envelope, instruction: Instruction, read: ReadChunk) -> None:
        """Take an admitted parcel in. Raises `ParcelRefused`, and whatever `read` raises."""
        self._reserved_bytes += envelope.body_bytes
        self._counts[source] += 1
        body = SpooledTemporaryFile(MEMORY_BYTES, dir=self._scratch)  # noqa: SIM115  # closed by `_let_go`
        held = None
        try:
            if isinstance(instruction, PassOn):
                held = await self._take_parcel(source, envelope, instruction, read, body)
            else:
                held = await self._take_letter(source, envelope, instruction.key, read, body)
            self._held.append(held)
            self._arrived.set()
        except (ProtocolError, BlobUnavailable, StorageError, OSError) as error:
            raise ParcelRefused(str(error)) from error
        finally:
            if held is None:
                body.close()
                self._release(source, envelope.body_bytes)

    async def run(self) -> None:
        """Let go of what is due, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                self._arrived = trio.Event()
                due = min((held.release_ms for held in self._held), default=None)
                if due is None:
                    await self._arrived.wait()
                    continue
                wait_ms = due - self._wall_clock()
                if wait_ms > 0:
                    with trio.move_on_after(wait_ms / 1000):
                        await self._arrived.wait()
                else:
                    self._release_due(nursery)

    # --- taking ------------------------------------------------------------------------------------------------------

    async def _take_parcel(
        self, source: PeerId, envelope: Envelope, todo: PassOn, read: ReadChunk, body: "SpooledTemporaryFile[bytes]"
    ) -> _Held:
        onward = pass_on(envelope, todo)
        for index in range(envelope.chunks):
            body.write(open_chunk(await read(), index, todo.key))
        release_ms = next_tick_ms(self._wall_clock(), todo.tick_ms)
        return _Held(release_ms, source, envelope.body_bytes, onward, todo.next, None, body)

    async def _take_letter(
        self, source: PeerId, envelope: Envelope, key: bytes, read: ReadChunk, body: "SpooledTemporaryFile[bytes]"
    ) -> _Held:
        """Take a letter that ends here; the rest of one whose transaction is worth nothing is not even read."""
        first = open_chunk(await read(), 0, key)
        transaction, start = split_letter(first)
        delivery = self._last_hop.check(transaction)
        if delivery.blob is not None and start + delivery.blob.length > envelope.body_bytes:
            raise InvalidProof("the letter is shorter than the blob that it names")
        body.write(first)
        for index in range(1, envelope.chunks):
            body.write(open_chunk(await read(), index, key))
        if delivery.blob is not None:
            body.seek(start)
            await self._last_hop.store(delivery.blob, body)
        body.close()
        release_ms = next_tick_ms(self._wall_clock(), delivery.tick_ms, delivery.deadline_ms)
        return _Held(release_ms, source, envelope.body_bytes, envelope, None, delivery, None)

    def _grant(self, source: PeerId, size_bytes: int, now: float) -> bool:
        """Take one parcel off a peer's budgets; return whether they had that much. An offer counts, taken or not."""
        parcels, volume = self._budgets.get(source) or (
            Budget(per_s=PARCELS_PER_S, burst=BURST_PARCELS),
            Budget(per_s=BYTES_PER_S, burst=BURST_BYTES),
        )
        self._budgets[source] = parcels, volume
        self._budgets.move_to_end(source)
        if len(self._budgets) > MAX_PEERS:
            self._budgets.popitem(last=False)
        return parcels.grant(1, now) == 1 and volume.grant(size_bytes, now) == size_bytes

    # --- letting go --------------------------------------------------------------------------------------------------

    def _release_due(self, nursery: trio.Nursery) -> None:
        now_ms = self._wall_clock()
        due = [held for held in self._held if held.release_ms <= now_ms]
        self._held = [held for held in self._held if held.release_ms > now_ms]
        letters = [held for held in due if held.delivery is not None]
        parcels = [held for held in due if held.delivery is None]
        self._rng.shuffle(parcels)
        for held in sorted(letters, key=lambda held: (held.release_ms, held.delivery.tag if held.delivery else b"")):
            self._publish(held)
        for held in parcels:
            nursery.start_soon(self._pass_on, held)

    def _publish(self, held: _Held) -> None:
        assert held.delivery is not None, "only letters are published"
        self._release(held.source, held.size_bytes)
        try:
            self._last_hop.publish(held.delivery.transaction)
            self.published += 1
        except ProtocolError as error:
            # Also what came over another path and is on the log by now.
            log.debug("relayed transaction not published", reason=error.message)

    async def _pass_on(self, held: _Held) -> None:
        """Hand a parcel to the next hop, with a few attempts; then it is lost, and its sender will notice."""
        body = held.body
        assert body is not None, "a parcel has a body"
        assert held.next is not None, "a parcel has a way to go"
        chunk_bytes = held.envelope.chunk_bytes

        def chunks() -> Iterator[bytes]:
            body.seek(0)
            return iter(lambda: body.read(chunk_bytes), b"")

        try:
            for attempt in range(ATTEMPTS):
                try:
                    await self._forward(held.next, held.envelope, chunks)
                    self.passed_on += 1
                    return
                except (RelayBusy, PeerUnreachable) as error:
                    log.debug("next hop does not take a parcel", attempt=attempt + 1, reason=error.message)
                    await trio.sleep(RETRY_S)
                except (NetworkError, OSError) as error:
                    log.debug("next hop refuses a parcel", reason=str(error))
                    break
            self.lost += 1
            log.debug("parcel lost", lost=self.lost)
        finally:
            body.close()
            self._release(held.source, held.size_bytes)

    def _release(self, source: PeerId, size_bytes: int) -> None:
        self._reserved_bytes -= size_bytes
        self._counts[source] -= 1
        if not self._counts[source]:
            del self._counts[source]
