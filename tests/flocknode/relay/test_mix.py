"""A relay: holds until the tick, lets go of all at once, in an order that tells nothing; takes no more than it may."""

import io
import random

import pytest
import trio

from flocknode.blob_keeper import QuotaExceeded
from flocknode.network.errors import ParcelRefused, PeerUnreachable, RelayBusy
from flocknode.relay import mix as mixing
from flocknode.relay.mix import Delivery, Mix
from flocknode.relay.parcels import KEY_BYTES, Envelope, Letter, address_parcel, letter_bytes
from protocol.blobs import compute_blob_id
from protocol.crypto import public_key
from protocol.errors import InvalidProof, NotFound
from storage.errors import StorageError
from tests.relay_world import START_MS, TICK_MS, World, clock_ms

SEED, NEXT, LAST = (bytes([number]) * 32 for number in (1, 2, 3))
BLOB = bytes(range(256)) * 600


class Forward:
    """A wire that keeps what it is given, and fails as often as it is told to."""

    def __init__(self) -> None:
        self.sent, self.failures, self.error = [], 0, PeerUnreachable("down")

    async def __call__(self, key, envelope, chunks) -> None:
        if self.failures:
            self.failures -= 1
            raise self.error
        self.sent.append((trio.current_time(), key, envelope, list(chunks())))


class LastHop:
    """Takes letters whose transaction begins with `good`, and only the blob it was told of."""

    def __init__(self) -> None:
        self.stored, self.published, self.blob, self.deadline_ms = [], [], None, None

    def check(self, transaction: bytes) -> Delivery:
        if not transaction.startswith(b"good"):
            raise NotFound("no such task")
        return Delivery(
            transaction=transaction, tag=transaction[-4:], tick_ms=TICK_MS, deadline_ms=self.deadline_ms, blob=self.blob
        )

    async def store(self, blob, source) -> None:
        if compute_blob_id(source.read(blob.length)) != blob:
            raise InvalidProof("another blob")
        self.stored.append(blob)

    def publish(self, transaction: bytes) -> None:
        self.published.append((trio.current_time(), transaction))


class Stage:
    """One relay with its wire and its last hop."""

    def __init__(self) -> None:
        self.forward, self.last_hop = Forward(), LastHop()
        self.mix = Mix(
            seed=SEED, forward=self.forward, last_hop=self.last_hop, wall_clock=clock_ms, rng=random.Random(1)
        )
        self.rng = random.Random(2)

    async def hand(self, seeds, transaction=b"good", blob=b"", source="peer", spoil=None):
        """Hand the relay a parcel for a path that begins with it; returns the envelope."""
        path = [public_key(seed) for seed in seeds]
        keys = [self.rng.randbytes(KEY_BYTES) for _ in path]
        parcel = address_parcel(path, letter_bytes(transaction, len(blob)), hop_tick_ms=200, keys=keys)
        body = list(parcel.seal(Letter(transaction, io.BytesIO(blob))))
        if spoil is not None:
            body[spoil] = bytes(len(body[spoil]))
        await self.take(source, parcel.envelope, body)
        return parcel.envelope

    async def take(self, source, envelope, body) -> None:
        chunks = iter(body)

        async def read() -> bytes:
            await trio.lowlevel.checkpoint()
            return next(chunks)

        await self.mix.take(source, envelope, self.mix.admit(source, envelope), read)

    def is_empty(self) -> bool:
        return self.mix._reserved_bytes == 0 and not self.mix._counts and not self.mix._held


@pytest.fixture
def stage(nursery) -> Stage:
    stage = Stage()
    nursery.start_soon(stage.mix.run)
    return stage


async def test_parcels_leave_at_the_next_tick_together(stage, autojump_clock) -> None:
    """Whatever came between two ticks leaves at the second."""
    sizes = [100, 9_000, 20_000, 40_000, 70_000, 150_000]
    for size in sizes:
        await stage.hand([SEED, NEXT, LAST], blob=bytes(size))
        await trio.sleep(0.01)
    assert stage.forward.sent == []
    await trio.sleep(0.5)
    times = {round((START_MS + when * 1000) % 200) for when, *_ in stage.forward.sent}
    assert times == {0}
    assert len({when for when, *_ in stage.forward.sent}) == 1
    assert {key for _, key, *_ in stage.forward.sent} == {public_key(NEXT)}
    assert len(stage.forward.sent) == len(sizes)
    assert all(len(body) == envelope.chunks for _, _, envelope, body in stage.forward.sent)
    assert stage.is_empty()


async def test_parcels_of_a_tick_leave_in_another_order_than_they_came(stage, autojump_clock) -> None:
    """One tick may keep the order by chance, once in 720 times; five in a row do not."""
    orders = []
    for _ in range(5):
        stage.forward.sent.clear()
        for size in (100, 9_000, 20_000, 40_000, 70_000, 150_000):
            await stage.hand([SEED, NEXT, LAST], blob=bytes(size))
        await trio.sleep(1)
        orders.append([envelope.body_bytes for _, _, envelope, _ in stage.forward.sent])
    assert all(len(order) == 6 for order in orders)
    assert any(order != sorted(order) for order in orders)


async def test_letters_are_published_at_their_tick_in_the_order_of_their_tags(stage, autojump_clock) -> None:
    """The order of arrival does not show, nor the moment."""
    for tag in (b"cccc", b"aaaa", b"dddd", b"bbbb"):
        await stage.hand([SEED], transaction=b"good" + tag)
        await trio.sleep(0.02)
    await trio.sleep(3)
    assert [transaction[4:] for _, transaction in stage.last_hop.published] == [b"aaaa", b"bbbb", b"cccc", b"dddd"]
    assert {(START_MS + round(when * 1000)) % TICK_MS for when, _ in stage.last_hop.published} == {0}
    assert stage.is_empty()


async def test_a_letter_close_to_the_deadline_does_not_wait_for_a_tick_after_it(stage, autojump_clock) -> None:
    """The tick is halved until one comes in time."""
    stage.last_hop.deadline_ms = START_MS + 300
    await stage.hand([SEED])
    await trio.sleep(2)
    [(when, _)] = stage.last_hop.published
    assert when * 1000 <= 300


async def test_a_blob_is_stored_only_with_the_transaction_that_names_it(stage, autojump_clock) -> None:
    """Right blob: stored and published. Other bytes, a shorter letter, a worthless transaction: nothing of it stays."""
    stage.last_hop.blob = compute_blob_id(BLOB)
    await stage.hand([SEED], blob=BLOB)
    for transaction, blob, reason in (
        (b"good", BLOB[:-1] + b"x", "another blob"),
        (b"good", b"short", "shorter than the blob"),
        (b"evil", BLOB, "no such task"),
    ):
        with pytest.raises(ParcelRefused, match=reason):
            await stage.hand([SEED], transaction=transaction, blob=blob)
    await trio.sleep(3)
    assert stage.last_hop.stored == [stage.last_hop.blob]
    assert len(stage.last_hop.published) == 1
    assert stage.is_empty()


@pytest.mark.parametrize("error", [QuotaExceeded("full"), StorageError("damaged"), OSError("no space")])
async def test_a_disk_without_room_refuses_a_letter_and_stops_nothing(stage, autojump_clock, error) -> None:
    """The sender is told no and takes other relays; nothing is published, for its blob could not be had."""

    async def fail(blob, source) -> None:
        raise error

    stage.last_hop.blob, stage.last_hop.store = compute_blob_id(BLOB), fail
    with pytest.raises(ParcelRefused):
        await stage.hand([SEED], blob=BLOB)
    await trio.sleep(3)
    assert stage.last_hop.published == []
    assert stage.is_empty()


async def test_what_is_worth_nothing_is_not_read_to_its_end(stage, autojump_clock) -> None:
    """A stranger cannot fill the disk: after the first chunk it is over."""
    parcel = address_parcel([public_key(SEED)], 10 * 65_536, hop_tick_ms=200, keys=[b"k" * 32])
    read, body = [], parcel.seal(Letter(b"evil", None))

    async def next_chunk() -> bytes:
        read.append(next(body))
        return read[-1]

    with pytest.raises(ParcelRefused):
        await stage.mix.take("peer", parcel.envelope, stage.mix.admit("peer", parcel.envelope), next_chunk)
    assert len(read) == 1


async def test_altered_and_repeated_parcels_are_refused(stage, autojump_clock) -> None:
    """A marked chunk goes no further; an envelope that comes twice would show where the first one went."""
    with pytest.raises(ParcelRefused):
        await stage.hand([SEED, NEXT, LAST], blob=BLOB, spoil=2)
    envelope = await stage.hand([SEED, NEXT, LAST])
    with pytest.raises(ParcelRefused, match="came before"):
        stage.mix.admit("another", envelope)
    with pytest.raises(ParcelRefused):
        stage.mix.admit("peer", Envelope(b"no box", envelope.chunks, envelope.chunk_bytes))
    await trio.sleep(1)
    assert len(stage.forward.sent) == 1
    assert stage.is_empty()


async def test_a_source_that_fails_midway_leaves_nothing_behind(stage, autojump_clock) -> None:
    """What was reserved for it is free again."""
    parcel = address_parcel([public_key(SEED), public_key(NEXT)], 200_000, hop_tick_ms=200, keys=[b"k" * 32, b"l" * 32])
    body = list(parcel.seal(Letter(b"good", None)))
    with pytest.raises((StopIteration, RuntimeError)):
        await stage.take("peer", parcel.envelope, body[:2])
    assert stage.is_empty()


async def test_one_peer_and_all_together_are_bounded(stage, autojump_clock, monkeypatch) -> None:
    """Who hands over too much is told to wait, others are not; and the relay as a whole has its bound."""
    monkeypatch.setattr(mixing, "MAX_HELD_PER_PEER", 3)
    monkeypatch.setattr(mixing, "MAX_HELD", 5)
    for _ in range(3):
        await stage.hand([SEED], source="greedy")
    with pytest.raises(RelayBusy):
        await stage.hand([SEED], source="greedy")
    for _ in range(2):
        await stage.hand([SEED], source="modest")
    with pytest.raises(RelayBusy):
        await stage.hand([SEED], source="late")
    await trio.sleep(2)
    await stage.hand([SEED], source="greedy")
    monkeypatch.setattr(mixing, "MAX_HELD_BYTES", 1)
    with pytest.raises(RelayBusy):
        await stage.hand([SEED], source="late")


async def test_the_rate_of_one_peer_is_bounded(stage, autojump_clock) -> None:
    """Offers beyond the burst are turned away, taken or not; with time there is room again."""
    for _ in range(mixing.BURST_PARCELS):
        with pytest.raises(ParcelRefused):
            stage.mix.admit("flood", Envelope(b"", 1, 8_208))
    with pytest.raises(RelayBusy):
        stage.mix.admit("flood", Envelope(b"", 1, 8_208))
    await stage.hand([SEED], source="honest")
    await trio.sleep(1)
    with pytest.raises(ParcelRefused):
        stage.mix.admit("flood", Envelope(b"", 1, 8_208))


@pytest.mark.parametrize(("failures", "arrives"), [(2, True), (3, False)])
async def test_a_next_hop_that_is_busy_is_tried_again_and_then_given_up(
    stage, autojump_clock, failures, arrives
) -> None:
    """A few attempts; then the parcel is lost, which its sender notices by its tag."""
    stage.forward.failures = failures
    await stage.hand([SEED, NEXT])
    await trio.sleep(10)
    assert bool(stage.forward.sent) is arrives
    assert (stage.mix.passed_on, stage.mix.lost) == ((1, 0) if arrives else (0, 1))
    assert stage.is_empty()


async def test_a_next_hop_that_refuses_is_not_asked_again(stage, autojump_clock) -> None:
    """What is no relay, or what it will never take, is given up at once."""
    stage.forward.failures, stage.forward.error = 1, ParcelRefused("no")
    await stage.hand([SEED, NEXT])
    await trio.sleep(10)
    assert stage.forward.sent == []
    assert stage.is_empty()


async def test_a_relay_that_drops_costs_nothing_where_the_other_path_is_disjoint(nursery, autojump_clock) -> None:
    """Six relays, every one of them down in turn: each submission is published all the same, over three hops."""
    for number in range(6):
        world = World(number, 6)
        await nursery.start(world.run)
        world.down.add(sorted(world.relays)[number])
        await world.send("trainer", b"submit", b"t" * 40)
        await trio.sleep(10)
        assert [transaction for _, _, transaction in world.published] == [b"t" * 40]
        assert sum(len(relay.taken) for relay in world.relays.values()) >= 3
