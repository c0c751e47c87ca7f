"""A real daemon is told everything that peers can say wrongly: who could know better pays, nobody else does."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

import msgpack
import pytest
import trio
from msgspec.structs import replace

from devnet.daemon import Daemon
from flocknode.cli import app
from flocknode.errors import Exit
from flocknode.founding import create_home, make_genesis, save_document
from flocknode.home import Home
from flocknode.keystore import load_account_seed, load_consensus_seed, load_public_keys
from flocknode.network import Topic
from flocknode.network.addresses import parse_address
from flocknode.network.gossip import PROTOCOL, REJECT_POINTS
from flocknode.network.host import Connection
from flocknode.network.messages import PROTOCOL_VERSION, Hello, Push
from flocknode.network.streams import Stream, frame
from flocknode.replica.wire import NewestVoteTold, SummaryTold, VoteCast, sign_summary
from flocknode.rpc.client import open_client
from flocknode.rpc.records import Account, NodeStatus, Outcome, Peer, PeerList
from protocol.codec import encode
from protocol.genesis import genesis_digest
from protocol.tendermint.machine import Step
from protocol.tendermint.messages import Vote, VoteKind, sign_vote
from protocol.tendermint.summary import RoundSummary
from protocol.transactions import SignedTransaction, Transfer, sign_transaction

PATIENCE_S = 20.0
SOMEBODY, OTHER_CHAIN = b"\x0b" * 32, b"o" * 32
FEE = 10**7
SUMMARY = RoundSummary(1, 0, Step.WAITING, ())


@dataclass(frozen=True)
class Insider:
    """Knows the node's own keys: enough to say everything rightly, and so to say it wrongly in one place only."""

    chain: bytes
    account_seed: bytes
    consensus_seed: bytes
    consensus_key: bytes

    def sign(self, *, chain: bytes | None = None, nonce: int = 0, expires: int = 50, fee: int = FEE):
        payload = Transfer(SOMEBODY, 1)
        return sign_transaction(chain or self.chain, self.account_seed, payload, nonce=nonce, expires=expires, fee=fee)

    def alter(self, change: Callable[[list], object]) -> bytes:
        """Return a message with one transaction of which something was changed that is no longer a record."""
        fields = msgpack.unpackb(encode(self.sign()))
        change(fields)
        return encode((msgpack.packb(fields),))

    def vote(self, chain: bytes) -> Vote:
        return sign_vote(chain, self.consensus_seed, kind=VoteKind.PREVOTE, height=1, round=0, block_id=None)


def batch(transaction: SignedTransaction) -> bytes:
    return encode((encode(transaction),))


# What nobody says who is honest, whatever it has missed.
FAULTS: dict[str, tuple[Topic, Callable[[Insider], bytes]]] = {
    "no MessagePack": (Topic.TRANSACTIONS, lambda known: b"\xc1"),
    "no list of transactions": (Topic.TRANSACTIONS, lambda known: b"\x80"),
    "bytes behind the list": (Topic.TRANSACTIONS, lambda known: batch(known.sign()) + b"\x00"),
    "a list that claims to be long": (Topic.TRANSACTIONS, lambda known: b"\xdd\xff\xff\xff\xff"),
    "no transaction": (Topic.TRANSACTIONS, lambda known: encode((b"\xc0",))),
    "an unknown kind of transaction": (Topic.TRANSACTIONS, lambda known: known.alter(lambda it: it.__setitem__(0, 99))),
    "an unknown kind of act": (Topic.TRANSACTIONS, lambda known: known.alter(lambda it: it[5].__setitem__(0, 99))),
    "an unknown field": (Topic.TRANSACTIONS, lambda known: known.alter(lambda it: it.append(0))),
    "a missing field": (Topic.TRANSACTIONS, lambda known: known.alter(list.pop)),
    "a long signature": (Topic.TRANSACTIONS, lambda known: known.alter(lambda it: it.__setitem__(6, it[6] + b"x"))),
    "a negative fee": (Topic.TRANSACTIONS, lambda known: known.alter(lambda it: it.__setitem__(4, -1))),
    "a transaction of another chain": (Topic.TRANSACTIONS, lambda known: batch(known.sign(chain=OTHER_CHAIN))),
    "a transaction that was altered": (Topic.TRANSACTIONS, lambda known: batch(replace(known.sign(), fee=FEE + 1))),
    "a transaction that nobody signed": (
        Topic.TRANSACTIONS,
        lambda known: batch(replace(known.sign(), signature=bytes(64))),
    ),
    "no word of consensus": (Topic.CONSENSUS, lambda known: b"\xc1"),
    "an unknown word of consensus": (Topic.CONSENSUS, lambda known: encode((99, b""))),
    "a vote of another chain": (
        Topic.CONSENSUS,
        lambda known: encode(NewestVoteTold(known.consensus_key, known.vote(OTHER_CHAIN))),
    ),
    "another's vote": (Topic.CONSENSUS, lambda known: encode(NewestVoteTold(SOMEBODY, known.vote(known.chain)))),
    "a summary that was altered": (
        Topic.CONSENSUS,
        lambda known: encode(
            SummaryTold(replace(SUMMARY, height=999), sign_summary(known.chain, known.consensus_seed, SUMMARY).author)
        ),
    ),
    "no offer": (Topic.ANNOUNCEMENTS, lambda known: b"\xc1"),
}
# What may be said in good faith by somebody who is behind, or ahead.
HONEST: dict[str, tuple[Topic, Callable[[Insider], bytes]]] = {
    "a replay": (Topic.TRANSACTIONS, lambda known: batch(known.sign())),
    "an expired transaction": (Topic.TRANSACTIONS, lambda known: batch(known.sign(nonce=1, expires=1))),
    "one that expires too late": (Topic.TRANSACTIONS, lambda known: batch(known.sign(nonce=1, expires=10**9))),
    "a nonce too far ahead": (Topic.TRANSACTIONS, lambda known: batch(known.sign(nonce=10**6))),
    "a fee too low": (Topic.TRANSACTIONS, lambda known: batch(known.sign(nonce=1, fee=0))),
    "a fee that nobody can pay": (Topic.TRANSACTIONS, lambda known: batch(known.sign(nonce=1, fee=10**17))),
    "a vote of long ago": (Topic.CONSENSUS, lambda known: encode(VoteCast(known.vote(known.chain)))),
    "a claim of a great height": (
        Topic.CONSENSUS,
        lambda known: encode(
            SummaryTold(replace(SUMMARY, height=10**6), None),
        ),
    ),
}


class World:
    """One daemon that decides alone, and what is known of it."""

    def __init__(self, folder: Path) -> None:
        self.daemon = Daemon("alice", Home(folder / "alice"), folder / "alice.out")
        home = self.daemon.home
        create_home(home, genesis=None, port=None, bootstrap=(), name=None, passphrase=None)
        document = make_genesis([home], preset="devnet", name="t", balance_units=10**15, bond_units=10**12)
        save_document(home.genesis_file, document)
        key = load_public_keys(home).consensus
        self.known = Insider(genesis_digest(document), load_account_seed(home, None), load_consensus_seed(home), key)
        self.address = ""

    async def link(self, attacker) -> tuple[Connection, Stream]:
        """Let an attacker dial and greet like an honest peer."""
        connection = await attacker.host.dial(parse_address(self.address))
        stream = await connection.open_stream(PROTOCOL)
        await stream.write(frame(Hello(PROTOCOL_VERSION, self.known.chain, b"i" * 32, b"", 0, None)))
        await stream.read_frame(4096)
        return connection, stream

    async def peers(self) -> PeerList:
        async with open_client(self.daemon.home) as client:
            return await client.call("node.peers", PeerList)

    async def until_peer(self, attacker, is_so: Callable[[Peer], bool]) -> Peer:
        """Return what the daemon says of an attacker once that is so."""
        with trio.fail_after(PATIENCE_S):
            while True:
                for peer in (await self.peers()).peers:
                    if peer.peer == attacker.host.peer and is_so(peer):
                        return peer
                await trio.sleep(0.02)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    try:
        world.daemon.start()
        world.address = (await world.daemon.wait_ready()).address
        yield world
    finally:
        with trio.CancelScope(shield=True):
            await world.daemon.stop()


async def test_who_says_what_no_honest_peer_says_pays_and_the_daemon_goes_on(world, attack) -> None:
    """Each fault costs its sender as much as it must, and what may be honest nothing; no unit moves that should not."""
    async with open_client(world.daemon.home) as client:
        sent = await client.call("tx.submit", Outcome, transaction=encode(world.known.sign()).hex())
        assert sent.status == "included"
    for number, (name, (topic, make)) in enumerate({**FAULTS, **HONEST}.items()):
        print(name)
        attacker = await attack(bytes([number + 1]))
        connection, stream = await world.link(attacker)
        await stream.write(frame(Push(topic, make(world.known))))
        lowest = 100 - REJECT_POINTS
        if name in FAULTS:
            found = await world.until_peer(attacker, lambda peer: peer.score < 100)
            assert lowest <= found.score <= lowest + 5, name
        else:
            # The second message is judged after the first.
            await stream.write(frame(Push(topic, b"\xc1" + bytes([number]))))
            found = await world.until_peer(attacker, lambda peer: peer.score < 100)
            assert found.score >= lowest, name
        await connection.close()
    async with open_client(world.daemon.home) as client:
        paid = await client.call("account.show", Account, address=SOMEBODY.hex())
        assert (paid.balance_units, paid.nonce) == (1, 0)
        sent = await client.call("tx.transfer", Outcome, to=SOMEBODY.hex(), amount_units=1)
        assert sent.status == "included"
        status = await client.call("node.status", NodeStatus)
        assert status.pending_transactions == 0
    assert "Traceback" not in world.daemon.output.read_text()
    await world.daemon.stop()
    assert world.daemon.status == 0
    home = str(world.daemon.home.path)
    assert await trio.to_thread.run_sync(app.run, ["log", "verify", "--home", home]) == Exit.OK


async def test_who_goes_on_with_it_is_refused_by_name(world, attack) -> None:
    """Points add up: the link ends, the log says why, and coming again is of no use."""
    attacker = await attack()
    connection, stream = await world.link(attacker)
    for number in range(6):
        await stream.write(frame(Push(Topic.TRANSACTIONS, b"\xc1" + bytes([number]))))
    with trio.fail_after(PATIENCE_S):
        await connection.wait_closed()
        await (await attacker.host.dial(parse_address(world.address))).wait_closed()
    found = await world.peers()
    assert [(refused.peer, refused.reason) for refused in found.refused] == [
        (attacker.host.peer, "a message about transactions was rejected")
    ]
    assert f"peer refused  peer={attacker.host.peer}" in world.daemon.output.read_text()
