"""Peers find each other: told addresses, pinned replicas, reserved slots, and what outlasts a restart."""

import pytest
import structlog
import trio

from flocknode.network import Surroundings
from flocknode.network import exchange as exchange_module
from flocknode.network.errors import StreamLost
from flocknode.network.exchange import Contact, ContactsAsked, ContactsTold
from flocknode.network.gossip import PROTOCOL
from flocknode.network.messages import PROTOCOL_VERSION, Hello
from flocknode.network.streams import frame
from flocknode.network.vouchers import make_voucher, verify_voucher
from protocol.crypto import public_key
from protocol.errors import InvalidSignature

CHAIN = b"c" * 32
SEEDS = {number: bytes([100 + number]) * 32 for number in range(1, 9)}
KEYS = {number: public_key(seed) for number, seed in SEEDS.items()}


class Replica(Surroundings):
    """A node that speaks for a consensus key, and what it thinks of others'."""

    def __init__(self, number: int | None, *, bonded=(), pinned=(), memory_file=None) -> None:
        self.consensus_seed = None if number is None else SEEDS[number]
        self.memory_file = memory_file
        self.bonded = {KEYS[other] for other in bonded}
        self.pinned = {KEYS[other] for other in pinned}

    def bonded_keys(self):
        return self.bonded

    def pinned_keys(self):
        return self.pinned


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    monkeypatch.setattr("flocknode.network.dialer.EXPLORE_S", 0.1)


def test_a_voucher_is_for_one_peer_on_one_chain() -> None:
    """It proves nothing about another peer, another chain, or under another key."""
    voucher = make_voucher(SEEDS[1], CHAIN, "peer")
    verify_voucher(voucher, CHAIN, "peer")
    for wrong in (
        (voucher, CHAIN, "other"),
        (voucher, b"d" * 32, "peer"),
        (type(voucher)(KEYS[2], voucher.signature), CHAIN, "peer"),
    ):
        with pytest.raises(InvalidSignature):
            verify_voucher(*wrong)


async def test_nodes_that_know_one_find_all_others(start, until) -> None:
    """A star becomes a mesh, whoever dials whom."""
    hub = await start(1, wanted_links=16)
    nodes = [hub, *[await start(number, bootstrap=(hub,), wanted_links=16) for number in range(2, 7)]]
    await until(lambda: all(len(node.network.peers) == 5 for node in nodes))


async def test_nobody_looks_for_more_links_than_it_wants(start, until) -> None:
    """With enough peers nobody is asked and nobody dialled."""
    hub = await start(1)
    nodes = [await start(number, bootstrap=(hub,), wanted_links=1) for number in range(2, 6)]
    await until(lambda: len(hub.network.peers) == 4)
    await trio.sleep(0.5)
    assert all(set(node.network.peers) == {hub.peer} for node in nodes)


async def test_a_restarted_node_finds_its_peers_without_a_bootstrap_list(start, until, tmp_path) -> None:
    """Addresses, with the replicas they are of, are kept in the home."""
    file = tmp_path / "peers.json"
    other = await start(1, surroundings=Replica(1))
    node = await start(2, bootstrap=(other,), surroundings=Replica(None, memory_file=file))
    await until(lambda: node.network.peers)
    await node.stop()
    assert file.is_file()
    again = await start(2, wanted_links=16, surroundings=Replica(None, memory_file=file))
    await until(lambda: other.peer in again.network.peers)
    await again.stop()
    pinning = await start(2, surroundings=Replica(None, memory_file=file, pinned=(1,)))
    await until(lambda: other.peer in pinning.network.peers)


async def test_a_refused_peer_stays_refused_after_a_restart(start, attack, until, tmp_path) -> None:
    """Making a node restart does not clear one's name."""
    file = tmp_path / "peers.json"
    node, attacker = await start(1, surroundings=Replica(None, memory_file=file)), await attack()
    stream = await (await attacker.dial(node)).open_stream(PROTOCOL)
    await stream.write(b"\xff" * 100)
    await until(lambda: node.network.refused)
    [refused] = node.network.refused
    assert (refused.peer, refused.seconds) == (attacker.host.peer, pytest.approx(60, abs=5))
    await node.stop()
    again = await start(1, surroundings=Replica(None, memory_file=file))
    assert again.conduct.is_refused(attacker.host.peer)
    with trio.fail_after(5):
        await (await attacker.dial(again)).wait_closed()


async def test_a_replica_keeps_links_to_other_replicas_and_dials_them_again(start, until) -> None:
    """Found by hearsay with a voucher, although no more links are wanted; after a break it is linked again."""
    hub = await start(1)
    other = await start(2, bootstrap=(hub,), surroundings=Replica(2))
    await until(lambda: hub.network.peers)
    node = await start(3, bootstrap=(hub,), wanted_links=2, surroundings=Replica(3, pinned=(2,)))
    await until(lambda: other.peer in node.network.peers)
    assert node.network.peers[other.peer].replica == KEYS[2]
    node.network._dialer._wanted_links = 0
    await node.gossip.links[other.peer].connection.close()
    await until(lambda: other.peer not in node.network.peers)
    await until(lambda: other.peer in node.network.peers)


async def test_slots_are_kept_for_bonded_peers(start, until, monkeypatch) -> None:
    """A crowd of strangers fills its share and no more; each key has one place."""
    monkeypatch.setattr("flocknode.network.greeting.MAX_STRANGERS", 1)
    node = await start(1, surroundings=Replica(None, bonded=(4, 5)))
    first = await start(2, bootstrap=(node,))
    await until(lambda: first.peer in node.network.peers)
    stranger = await start(3, bootstrap=(node,), surroundings=Replica(3))
    bonded = [await start(number, bootstrap=(node,), surroundings=Replica(number)) for number in (4, 5)]
    await until(lambda: all(other.peer in node.network.peers for other in bonded))
    copycat = await start(6, bootstrap=(node,), surroundings=Replica(4))
    await until(lambda: copycat.network._greeter._told and stranger.network._greeter._told)
    assert set(node.network.peers) == {first.peer, *(other.peer for other in bonded)}
    assert copycat.network._greeter._told == {node.peer: "the peer refuses us: too many peers"}


async def test_a_forged_voucher_is_refused(start, attack, until) -> None:
    """Somebody else's voucher, which everybody may have, opens no door."""
    node, attacker = await start(1, surroundings=Replica(None, bonded=(4,))), await attack()
    stolen = make_voucher(SEEDS[4], CHAIN, "its own peer")
    stream = await (await attacker.dial(node)).open_stream(PROTOCOL)
    await stream.write(frame(Hello(PROTOCOL_VERSION, CHAIN, b"i" * 32, b"", 0, stolen)))
    await until(lambda: node.conduct.is_refused(attacker.host.peer))
    assert not node.network.peers


@pytest.mark.parametrize(
    "contact",
    [
        Contact("/ip4/127.0.0.1/tcp/1", None),
        Contact(
            "/ip4/127.0.0.1/tcp/4001/p2p/12D3KooWJWoaqZhDaoEFshF7Rh1bpY9ohihFhzcW6d69Lr2NASuq",
            make_voucher(SEEDS[1], CHAIN, "another"),
        ),
    ],
    ids=["no address", "wrong voucher"],
)
async def test_who_tells_of_peers_that_cannot_be_is_refused(start, attack, until, contact: Contact) -> None:
    """An honest peer never passes such a thing on, for it checked it itself."""

    async def lie(connection, stream) -> None:
        await stream.read_record(ContactsAsked, 100)
        await stream.write(frame(ContactsTold((contact,))))

    attacker = await attack(handlers={exchange_module.PROTOCOL: lie})
    node = await start(1, wanted_links=16)
    await attacker.link(node)
    await until(lambda: node.conduct.is_refused(attacker.host.peer))


async def test_strangers_without_a_link_are_told_nothing(start, attack) -> None:
    """Who is not admitted learns no addresses."""
    node, attacker = await start(1), await attack()
    stream = await (await attacker.dial(node)).open_stream(exchange_module.PROTOCOL)
    await stream.write(frame(ContactsAsked()))
    with pytest.raises(StreamLost, match="reading failed"):
        await stream.read_frame(1000)


async def test_the_advice_on_another_chain_says_what_to_do(start, until) -> None:
    """The reason alone does not tell a person which file to look at."""
    with structlog.testing.capture_logs() as records:
        ours = await start(1)
        await start(2, bootstrap=(ours,), chain=b"d" * 32)
        await until(lambda: sum(record["event"] == "no link" for record in records) == 2)
    assert all("genesis.json" in record["help"] for record in records if record["event"] == "no link")


async def test_a_kept_port_that_was_taken_is_given_up_with_a_word(start) -> None:
    """Only where the port was not asked for by name."""
    first = await start(1)
    second = await start(2, port=first.port, may_move=True)
    assert second.port != first.port
