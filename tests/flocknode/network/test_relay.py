"""Parcels on real sockets: from a sender to a relay it may have to dial, from relay to relay, and what is refused."""

import io
import random

import pytest
import trio

from flocknode.network import PeerUnreachable, Surroundings
from flocknode.network import relay as wire
from flocknode.network.errors import ParcelRefused, RelayBusy
from flocknode.network.providers import key_of, peer_of
from flocknode.network.service import read_wall_clock
from flocknode.network.streams import frame
from flocknode.relay.mix import Delivery, Mix
from flocknode.relay.parcels import KEY_BYTES, Letter, address_parcel, letter_bytes
from protocol.crypto import public_key

BLOB = bytes(range(256)) * 3_000


class Bonded(Surroundings):
    """A replica's node, in a set of replicas."""

    def __init__(self, seed: bytes, seeds) -> None:
        self.consensus_seed = seed
        self.keys = frozenset(public_key(one) for one in seeds)

    def bonded_keys(self):
        return self.keys


class Shelf:
    """A last hop that takes everything."""

    def __init__(self) -> None:
        self.published = []

    def check(self, transaction) -> Delivery:
        return Delivery(transaction=transaction, tag=transaction, tick_ms=40, deadline_ms=None, blob=None)

    async def store(self, blob, source) -> None:
        raise AssertionError("no blob was named")

    def publish(self, transaction) -> None:
        self.published.append(transaction)


SEEDS = [bytes([100 + number]) * 32 for number in range(4)]


@pytest.fixture
async def relays(start, until, nursery):
    """Three bonded nodes and one that is not, all linked; each with its mix."""
    nodes = []
    for number, seed in enumerate(SEEDS):
        nodes.append(await start(number + 1, bootstrap=tuple(nodes), surroundings=Bonded(seed, SEEDS[:3])))
    for number, node in enumerate(nodes):
        node.shelf = Shelf()
        node.mix = Mix(
            seed=bytes([number + 1]) * 32,
            forward=node.network.pass_on,
            last_hop=node.shelf,
            wall_clock=read_wall_clock,
            rng=random.Random(number),
        )
        node.network.attach_relay(node.mix)
        nursery.start_soon(node.mix.run)
    await until(lambda: all(len(node.network.peers) == len(SEEDS) - 1 for node in nodes))
    return nodes


def address(nodes, blob=BLOB, transaction=b"transaction"):
    """Return what `hand_over` takes for a path over some nodes."""
    path = [key_of(node.peer) for node in nodes]
    keys = [bytes([number]) * KEY_BYTES for number in range(len(path))]
    parcel = address_parcel(path, letter_bytes(transaction, len(blob)), hop_tick_ms=40, keys=keys)
    return parcel.envelope, lambda: parcel.seal(Letter(transaction, io.BytesIO(blob)))


async def test_a_parcel_goes_from_relay_to_relay_and_is_published_by_the_last(relays, start, until) -> None:
    """The sender is a node without a bond; it knows the relays by their vouchers."""
    sender = relays[3]
    assert set(sender.network.relays()) == {public_key(seed) for seed in SEEDS[:3]}
    assert sender.peer not in relays[0].network.relays().values()
    await sender.network.hand_over(relays[0].peer, *address(relays[:3]))
    await until(lambda: relays[2].shelf.published)
    assert [node.shelf.published for node in relays] == [[], [], [b"transaction"], []]
    assert [node.mix.passed_on for node in relays] == [1, 1, 0, 0]


async def test_a_relay_that_is_known_and_not_linked_is_dialled(relays, start, until) -> None:
    """As a sender with few links must do."""
    sender = await start(9, bootstrap=(relays[1],), surroundings=Bonded(b"9" * 32, SEEDS[:3]), wanted_links=2)
    await until(lambda: len(sender.network.relays()) == 3)
    for link in list(sender.gossip.links.values()):
        if link.peer == relays[0].peer:
            await link.connection.close()
    await sender.network.hand_over(relays[0].peer, *address(relays[:3]))
    await until(lambda: relays[2].shelf.published)


async def test_relays_pass_on_to_relays_only(relays) -> None:
    """A sender cannot have them send anything to a node without a bond."""
    await relays[3].network.hand_over(relays[0].peer, *address([relays[0], relays[3], relays[1]]))
    with trio.fail_after(10):
        while not relays[0].mix.lost:  # noqa: ASYNC110  # a mix rings no bell
            await trio.sleep(0.02)
    assert not relays[3].shelf.published
    assert relays[3].mix._seen == {}
    with pytest.raises(ParcelRefused):
        await relays[0].network.pass_on(key_of(relays[3].peer), *address([relays[3]]))
    with pytest.raises(ParcelRefused):
        await relays[0].network.pass_on(b"no key at all" + bytes(19), *address([relays[3]]))


async def test_the_answers_of_a_relay_reach_who_asked(relays, monkeypatch) -> None:
    """Refused with the reason, busy, gone: each is an error of its own, and nobody is blamed."""
    sender = relays[3]
    with pytest.raises(ParcelRefused, match="does not open"):
        await sender.network.hand_over(relays[0].peer, *address([relays[1]]))
    monkeypatch.setattr(wire, "MAX_RECEIVING", 0)
    with pytest.raises(RelayBusy):
        await sender.network.hand_over(relays[0].peer, *address([relays[0]]))
    with pytest.raises(PeerUnreachable):
        await sender.network.hand_over(peer_of(public_key(b"?" * 32)), *address([relays[0]]))
    assert {info.score for node in relays for info in node.network.peers.values()} == {100}


async def test_a_sender_that_stops_midway_or_sends_garbage_is_let_go(relays, attack, until, monkeypatch) -> None:
    """Half a parcel is dropped after a while; what is no parcel at all costs its sender points."""
    monkeypatch.setattr(wire, "CHUNK_S", 0.2)
    node, attacker = relays[0], await attack()
    connection, _ = await attacker.link(node)
    envelope, chunks = address([node])
    stream = await connection.open_stream(wire.PROTOCOL)
    await stream.write(frame(envelope))
    await stream.read_record(wire.GoOn, 64)
    await stream.write(next(chunks()))
    await until(lambda: node.mix._counts)
    await until(lambda: not node.mix._counts)
    assert node.mix._reserved_bytes == 0
    stream = await connection.open_stream(wire.PROTOCOL)
    await stream.write(b"\x00\x00\x00\x05hello")
    await until(lambda: attacker.host.peer not in node.network.peers)
