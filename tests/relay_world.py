"""Relays in one process under a clock that tests move: real parcels, ticks and routes; only the wires are made up.

Wires take a random time. Everything that happens is drawn from one seed, and what each relay sees is written down.
"""

import random
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from flocknode.network.errors import PeerUnreachable
from flocknode.relay import routes
from flocknode.relay.mix import Delivery, Mix
from flocknode.relay.parcels import KEY_BYTES, Letter, address_parcel, letter_bytes
from flocknode.relay.ticks import compute_hop_tick_ms
from protocol.crypto import hash_parts, public_key

START_MS = 1_700_000_000_000
LATENCY_S = (0.002, 0.03)
TICK_MS = 1_500


def clock_ms() -> int:
    """Return the time of day as the simulated clock has it."""
    return START_MS + int(trio.current_time() * 1000)


@dataclass
class Relay:
    """One relay and what it has seen: parcels as (when, from whom, its envelope), and what it published."""

    seed: bytes
    mix: Mix
    taken: list[tuple[float, str, object]] = field(default_factory=list)

    @property
    def key(self) -> bytes:
        return public_key(self.seed)


class World:
    """Relays that can all reach each other. `published` has (when, by which relay, transaction) in order."""

    def __init__(self, seed: int, relays: int, *, tick_ms: int = TICK_MS, hop_tick_ms: int | None = None) -> None:
        self.rng = random.Random(seed)
        self.tick_ms = tick_ms
        self.hop_tick_ms = compute_hop_tick_ms(tick_ms) if hop_tick_ms is None else hop_tick_ms
        self.published: list[tuple[float, bytes, bytes]] = []
        self.down: set[bytes] = set()
        self.relays = {relay.key: relay for relay in map(self._make_relay, range(relays))}

    async def run(self, *, task_status=trio.TASK_STATUS_IGNORED) -> None:
        """Run all relays until cancelled."""
        async with trio.open_nursery() as nursery:
            for relay in self.relays.values():
                nursery.start_soon(relay.mix.run)
            task_status.started()

    def layers(self, act: bytes, shuffle: int = 0) -> list[list[bytes]]:
        """Return the layers of an act, as all senders compute them."""
        return routes.make_layers(hash_parts("test", act), sorted(self.relays), routes.HOPS, shuffle)

    async def send(self, sender: str, act: bytes, transaction: bytes, blob_bytes: int = 0) -> list[tuple[bytes, ...]]:
        """Send like a courier: along two paths at once; returns them."""
        paths = routes.choose_paths(self.layers(act), self.rng)
        async with trio.open_nursery() as nursery:
            for path in paths:
                nursery.start_soon(self.send_along, path, sender, transaction, blob_bytes)
        return paths

    async def send_along(self, path, sender: str, transaction: bytes, blob_bytes: int = 0) -> None:
        """Send along one path; nothing happens when its first relay is down."""
        keys = [self.rng.randbytes(KEY_BYTES) for _ in path]
        length = letter_bytes(transaction, blob_bytes)
        parcel = address_parcel(path, length, hop_tick_ms=self.hop_tick_ms, keys=keys)
        with suppress(PeerUnreachable):
            await self.carry(path[0], sender, parcel.envelope, lambda: parcel.seal(Letter(transaction, None)))

    async def carry(self, key: bytes, source: str, envelope, chunks: Callable) -> None:
        """Be the wire to a relay."""
        await trio.sleep(self.rng.uniform(*LATENCY_S))
        relay = self.relays[key]
        if key in self.down:
            raise PeerUnreachable("down")
        relay.taken.append((trio.current_time(), source, envelope))
        body = iter(chunks())

        async def read() -> bytes:
            await trio.lowlevel.checkpoint()
            return next(body)

        await relay.mix.take(source, envelope, relay.mix.admit(source, envelope), read)

    def _make_relay(self, number: int) -> Relay:
        seed = number.to_bytes(32, "big")
        key = public_key(seed)

        async def forward(to: bytes, envelope, chunks) -> None:
            await self.carry(to, key.hex(), envelope, chunks)

        mix = Mix(
            seed=seed,
            forward=forward,
            last_hop=Shelf(self, key),
            wall_clock=clock_ms,
            rng=random.Random(self.rng.random()),
        )
        return Relay(seed, mix)


class Shelf:
    """A last hop that takes every letter; the first 32 bytes of a transaction are its tag."""

    def __init__(self, world: World, key: bytes) -> None:
        self._world, self._key = world, key

    def check(self, transaction: bytes) -> Delivery:
        return Delivery(
            transaction=transaction,
            tag=transaction[:32],
            tick_ms=self._world.tick_ms,
            deadline_ms=None,
            blob=None,
        )

    async def store(self, blob, source) -> None:
        raise AssertionError("no blobs here")

    def publish(self, transaction: bytes) -> None:
        self._world.published.append((trio.current_time(), self._key, transaction))


def first_publications(world: World, transactions: Collection[bytes]) -> dict[bytes, tuple[int, float, bytes]]:
    """Return, for each transaction that was published, its place in the order, when, and by which relay first."""
    found: dict[bytes, tuple[int, float, bytes]] = {}
    for when, relay, transaction in world.published:
        if transaction in transactions and transaction not in found:
            found[transaction] = (len(found), when, relay)
    return found
