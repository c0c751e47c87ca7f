"""The sender: never directly, saved before it is sent, watched until it is on the log, told when relays are few."""

from types import SimpleNamespace

import pytest
import structlog
import trio

from flocknode.mempool import Mempool
from flocknode.network.errors import PeerUnreachable
from flocknode.network.providers import peer_of
from flocknode.participants.diary import Diary
from flocknode.relay import courier as couriers
from flocknode.relay.courier import IDLE, Courier
from protocol.blocks import transaction_id
from protocol.codec import decode
from protocol.crypto import public_key
from protocol.errors import ProtocolError
from protocol.rules.arena.records import Phase
from protocol.rules.voters import get_voters
from protocol.transactions import AnonymousTransaction
from tests.arena_play import STEP_MS, Play


class Notes:
    """A diary's pages in memory."""

    def __init__(self) -> None:
        self.pages = {}

    def put(self, key, value) -> None:
        self.pages[key] = value

    def get(self, key):
        return self.pages.get(key)


class Relays:
    """The relays of a ledger's replicas, of which some are away; what is handed to them is written down."""

    def __init__(self, stage) -> None:
        self.stage, self.away, self.deaf, self.handed, self.holders = stage, set(), set(), [], set()

    def relays(self):
        replicas = get_voters(self.stage.play.ledger.state).current.replicas
        return {
            replica.key: peer_of(public_key(replica.key)) for replica in replicas if replica.account not in self.away
        }

    def is_offered(self, blob):
        return blob in self.holders

    async def hand_over(self, peer, envelope, chunks) -> None:
        if peer in self.deaf:
            raise PeerUnreachable("deaf")
        assert self.stage.notes.pages, "saved before it is sent"
        self.handed.append((trio.current_time(), peer, envelope, b"".join(chunks())))
        await self.stage.on_handed()


class Stage:
    """A courier of the first trainer, whose submissions get to the log when the test says so."""

    def __init__(self, min_hops=2) -> None:
        self.play = Play().begin()
        self.notes = Notes()
        self.network = Relays(self)
        self.min_hops = min_hops
        self.included = {}
        self.chain = SimpleNamespace(id=self.play.ledger.chain, find_receipt=self.included.get)
        self.follow()
        self.mempool = Mempool(self.chain.state)
        self.courier = self.make_courier()
        self.play.ledger.submit(self.play.trainers[0], self.play.task, 0)
        self.data = self.play.ledger.pending.pop()
        self.payload = decode(self.data, AnonymousTransaction).payload
        self.arrives_after = 1
        self.now_ms = self.chain.state.head.time_ms

    def make_courier(self) -> Courier:
        return Courier(
            chain=self.chain,
            mempool=self.mempool,
            address=self.play.trainers[0].address,
            diary=Diary(self.notes),
            network=self.network,
            wall_clock=lambda: self.now_ms,
            randomness=lambda size: b"r" * size,
            min_hops=self.min_hops,
        )

    def follow(self) -> None:
        ledger = self.play.ledger
        self.chain.state, self.chain.view, self.chain.replicas = (
            ledger.before,
            ledger.state,
            get_voters(ledger.state).current,
        )

    async def on_handed(self) -> None:
        """Have the submission come out once so many parcels are handed over."""
        if len(self.network.handed) == self.arrives_after:
            self.mempool.add(self.data)
            self.play.ledger.pending.append(self.data)
            self.play.ledger.block()
            self.follow()
            self.included[transaction_id(self.data)] = (1, 0, SimpleNamespace(error=0))

    def others(self):
        play = self.play
        return [person.address for person in (play.creator, play.stranger, *play.validators)]

    async def deliver(self, blob=None):
        with trio.fail_after(600):
            return await self.courier.deliver(self.payload, blob)


@pytest.fixture
def blob(tmp_path):
    path = tmp_path / "blob"
    path.write_bytes(b"b" * 5_000)
    return path


async def test_a_submission_leaves_along_two_paths_and_never_by_itself(autojump_clock, blob) -> None:
    """Nothing is told to peers or put into the own mempool; both paths get the whole letter, over three hops."""
    stage = Stage()
    stage.arrives_after = 2
    included = await stage.deliver(blob)
    assert included.height == 1
    assert len(stage.network.handed) == 2
    assert len({peer for _, peer, _, _ in stage.network.handed}) == 2, "five relays: two of them are first ones"
    assert {envelope.body_bytes for _, _, envelope, _ in stage.network.handed} == {8192 + 3 * 16}
    route = Diary(stage.notes).load_route(b"submit", stage.play.task, 0)
    assert {len(path) for path in route.paths} == {3}
    assert stage.courier.status == IDLE


async def test_a_tag_that_does_not_appear_is_sent_over_other_relays(autojump_clock, blob) -> None:
    """Relays that take a parcel and drop it cost a while; each attempt shuffles the layers anew, and says so."""
    stage = Stage()
    stage.arrives_after = 5
    with structlog.testing.capture_logs() as told:
        await stage.deliver(blob)
    assert len(stage.network.handed) in (5, 6)
    gaps = [
        later - sooner
        for (sooner, *_), (later, *_) in zip(stage.network.handed[1::2], stage.network.handed[2::2], strict=False)
    ]
    assert all(couriers.GRACE_S < gap < 20 for gap in gaps)
    assert sum("tries other relays" in entry["event"] for entry in told) == 2
    assert Diary(stage.notes).load_route(b"submit", stage.play.task, 0).shuffle >= 2


async def test_a_relay_that_cannot_be_reached_costs_a_moment_only(autojump_clock, blob) -> None:
    """When no first hop takes it, others are tried at once."""
    stage = Stage()
    peers = list(stage.network.relays().values())
    stage.network.deaf = set(peers[:4])
    began_at = trio.current_time()
    stage.network.deaf -= {peers[0]}
    await stage.deliver(blob)
    assert trio.current_time() - began_at < 30


async def test_a_restarted_node_takes_the_same_relays(autojump_clock, blob) -> None:
    """Another route would show the sender to further relays; the diary has the one that was taken."""
    stage = Stage()
    with trio.move_on_after(1):
        stage.arrives_after = 99
        await stage.deliver(blob)
    first = {peer for _, peer, _, _ in stage.network.handed}
    route = Diary(stage.notes).load_route(b"submit", stage.play.task, 0)
    stage.courier, stage.arrives_after = stage.make_courier(), 4
    await stage.deliver(blob)
    assert {peer for _, peer, _, _ in stage.network.handed} == first
    assert Diary(stage.notes).load_route(b"submit", stage.play.task, 0) == route


async def test_with_too_few_relays_it_waits_and_says_so(autojump_clock, blob) -> None:
    """Two of five: waited out for half of the phase, then a path of two; told in the status and once in the log."""
    stage = Stage()
    stage.network.away = set(stage.others()[:3])
    with structlog.testing.capture_logs() as told:
        with trio.move_on_after(5):
            await stage.deliver(blob)
        assert stage.network.handed == []
        assert len([entry for entry in told if "2 of 3 relays" in entry.get("status", "")]) == 1
        stage.now_ms = stage.play.record.deadline_ms - stage.play.record.spec.settings.submit_phase_ms // 2 + 1
        await stage.deliver(blob)
    assert any("2 relays instead of 3" in entry.get("status", "") for entry in told)
    assert {envelope.body_bytes for _, _, envelope, _ in stage.network.handed} == {8192 + 2 * 16}


async def test_below_the_fewest_hops_it_never_sends(autojump_clock, blob) -> None:
    """One relay would see sender and submission both, none would be the network itself: it misses the phase instead."""
    for here in (1, 0):
        stage = Stage()
        stage.network.away = set(stage.others()[here:])
        stage.now_ms = stage.play.record.deadline_ms - 1
        seen = set()

        async def watch(stage=stage, seen=seen) -> None:
            await trio.sleep(1)
            seen.add(stage.courier.status)
            for _ in range(20):
                stage.play.ledger.block(after_ms=STEP_MS)
                stage.follow()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            with pytest.raises(ProtocolError):
                await stage.deliver(blob)
        assert stage.play.epoch == 1, "the first epoch is over"
        assert stage.network.handed == []
        assert len(stage.mempool) == 0
        assert f"waits: {here} relays" in seen.pop()


async def test_one_hop_has_to_be_asked_for(autojump_clock, blob) -> None:
    """`network.min_hops = 1` lets a small private network do with a single relay."""
    stage = Stage(min_hops=1)
    stage.network.away = set(stage.others()[1:])
    stage.now_ms = stage.play.record.deadline_ms - 1
    await stage.deliver(blob)
    assert {envelope.body_bytes for _, _, envelope, _ in stage.network.handed} == {8192 + 16}


async def test_what_can_no_longer_get_there_is_told(autojump_clock, blob) -> None:
    """Another submission of the same tag came first: the reason is the ledger's, and nothing is sent."""
    stage = Stage()
    stage.play.ledger.submit(stage.play.trainers[0], stage.play.task, 0)
    stage.play.ledger.block()
    stage.follow()
    with pytest.raises(ProtocolError):
        await stage.deliver(blob)
    assert stage.network.handed == []


async def test_a_blob_that_nobody_offers_is_handed_over_again(autojump_clock, blob) -> None:
    """A last hop published the submission and forgot its blob; once somebody offers it, that is enough."""
    stage = Stage()
    stage.network.holders.add(stage.payload.blob)
    await stage.courier.keep_held(stage.payload, blob)
    assert stage.network.handed == []
    stage.network.holders.clear()
    stage.arrives_after = 99
    stage.play.submit().draw()
    stage.follow()
    assert stage.play.phase is Phase.OPEN
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.courier.keep_held, stage.payload, blob)
        await trio.sleep(couriers.OFFER_S + 1)
        assert len(stage.network.handed) == 2
        stage.network.holders.add(stage.payload.blob)
    assert len(stage.network.handed) == 2
