"""Strangers who send garbage: the host stays up, honest peers notice nothing, and the sender is refused."""

import os
from contextlib import AsyncExitStack

import pytest
import trio

from flocknode.network import PeerUnreachable, Topic, blobs, gossip, sync
from flocknode.network.budgets import Budget
from flocknode.network.errors import StreamLost
from flocknode.network.host import MAX_HANDSHAKES, MAX_STREAMS_PER_CONNECTION
from flocknode.network.messages import Push
from flocknode.network.streams import frame, frame_of
from protocol.codec import encode

GARBAGE = [
    pytest.param(b"\x00\x00\x00\x05hello", id="no record"),
    pytest.param(b"\xff\xff\xff\xff" + b"x" * 100, id="length of 4 GiB"),
    pytest.param(frame([99, "what"]), id="unknown kind"),
    pytest.param(b"\x00\x00\x00\x02\x91\xc1", id="not MessagePack"),
    pytest.param(frame_of(encode(Push(Topic.CONSENSUS, b"x")) + b"y"), id="bytes behind the record"),
]


@pytest.fixture
async def pair(linked):
    return await linked(2)


@pytest.fixture
def still_works(pair, until):
    """Check that two honest nodes still hear each other over the link they had."""

    async def check() -> None:
        first, second = pair
        first.network.publish(Topic.CONSENSUS, b"ping")
        second.network.publish(Topic.CONSENSUS, b"pong")
        await until(lambda: b"pong" in first.seen.payloads and b"ping" in second.seen.payloads)
        assert first.seen.events == [("joined", second.peer)]

    return check


@pytest.mark.parametrize("garbage", GARBAGE)
async def test_garbage_instead_of_a_hello(pair, attack, until, still_works, garbage: bytes) -> None:
    """Who does not even greet is refused, for all its connections."""
    node, attacker = pair[0], await attack()
    connection = await attacker.dial(node)
    stream = await connection.open_stream(gossip.PROTOCOL)
    await stream.write(garbage)
    await until(lambda: node.conduct.is_refused(attacker.host.peer))
    with trio.fail_after(5):
        await connection.wait_closed()
        await (await attacker.dial(node)).wait_closed()
    await still_works()


@pytest.mark.parametrize("garbage", GARBAGE)
@pytest.mark.parametrize("protocol", [gossip.PROTOCOL, sync.PROTOCOL, blobs.PROTOCOL])
async def test_garbage_after_an_honest_hello(pair, attack, until, still_works, protocol: str, garbage: bytes) -> None:
    """A linked peer that turns bad on any protocol loses its link and is refused."""
    node, attacker = pair[0], await attack()
    connection, stream = await attacker.link(node)
    if protocol != gossip.PROTOCOL:
        stream = await connection.open_stream(protocol)
    await stream.write(garbage)
    await until(lambda: node.conduct.is_refused(attacker.host.peer) and attacker.host.peer not in node.network.peers)
    node.seen.events[:] = [event for event in node.seen.events if event[1] != attacker.host.peer]
    await still_works()


async def test_garbage_instead_of_a_protocol_name(pair, attack, until, still_works) -> None:
    """The library raises what its decoders raise; none of it ends the host, and it adds up."""
    node, attacker = pair[0], await attack()
    for garbage in (
        b"\x04\xff\xfe\xfd\n",
        b"\xff" * 40,
        b"\x03\x00\x00\x00",
        b"\x14/multistream/1.0.0\n\x03\xff\xff\n",
        b"\x01\n",
    ):
        points = node.conduct.points(attacker.host.peer)
        stream = await (await attacker.dial(node))._raw.new_stream()
        await stream.write(garbage)
        await until(lambda points=points: node.conduct.points(attacker.host.peer) > points + 10)
    stream = await (await attacker.dial(node))._raw.new_stream()
    await stream.write(b"\x05abcd\n")
    await until(lambda: node.conduct.is_refused(attacker.host.peer))
    await still_works()


async def test_giving_up_before_a_protocol_is_agreed_is_no_fault(pair, attack, until, still_works) -> None:
    """An honest peer may cancel at any moment; it keeps its link."""
    node, attacker = pair[0], await attack()
    connection, _ = await attacker.link(node)
    held = node.gossip.links[attacker.host.peer].connection
    for end in ("reset", "close"):
        stream = await connection._raw.new_stream()
        await stream.write(b"\x14/multi")
        await until(lambda: held.inbound_streams == 2)
        await getattr(stream, end)()
        await until(lambda: held.inbound_streams == 1)
    assert node.conduct.points(attacker.host.peer) == 0
    assert attacker.host.peer in node.network.peers
    node.seen.events.pop()
    await still_works()


@pytest.mark.parametrize("seed", range(3))
async def test_garbage_below_the_streams(pair, attack, still_works, seed: int) -> None:
    """Encrypted frames that no muxer would send end that connection and nothing else."""
    node, attacker = pair[0], await attack()
    connection = await attacker.dial(node)
    secured = connection._raw.muxed_conn.secured_conn
    headers = [
        b"\x00\x00\x00\x01" + b"\xff" * 8,
        b"\x09" * 12,
        b"\x00\x03\x00\x00" + bytes(8),
        b"\x00\x01\x00\x05" + bytes(8),
    ]
    await secured.write(headers[seed] + bytes([seed]) * 200)
    await secured.write(b"\x00\x00\x00\x00" + bytes(4) + b"\x00\xff\xff\xff")
    await secured.close()
    await still_works()


async def test_garbage_on_the_bare_socket(pair, still_works) -> None:
    """Bytes that are no handshake, half a handshake, and nothing at all."""
    node = pair[0]
    for data in (os.urandom(1000), b"\x13/multistream/1.0.0\n", b"\xff" * 70_000, b""):
        socket = await trio.open_tcp_stream("127.0.0.1", node.port)
        await socket.send_all(data)
        await socket.aclose()
    await still_works()


async def test_connections_that_say_nothing_are_bounded_and_end(pair, until, still_works, monkeypatch) -> None:
    """Of more sockets than may wait the oldest are closed at once, the others when their time is over."""
    monkeypatch.setattr("flocknode.network.host.HANDSHAKE_S", 0.3)
    node = pair[0]
    sockets = [await trio.open_tcp_stream("127.0.0.1", node.port) for _ in range(MAX_HANDSHAKES + 20)]
    await until(lambda: 0 < len(node.network._host._handshakes) <= MAX_HANDSHAKES)
    with trio.fail_after(5):
        for socket in sockets:
            while await socket.receive_some(4096):
                pass
            await socket.aclose()
    await still_works()


async def open_silent_sockets(port: int, *, task_status: "trio.TaskStatus[None]") -> None:
    """Open sockets that say nothing: as many as may wait, and then on and on."""
    async with AsyncExitStack() as stack:
        for _ in range(MAX_HANDSHAKES):
            await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
        task_status.started()
        while True:
            await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", port))
            await trio.sleep(0.02)


async def test_a_newcomer_gets_in_past_sockets_that_say_nothing(start, until, nursery, monkeypatch) -> None:
    """They hold every place and more of them come all the time; they cost no share of the handshakes, and the oldest
    makes room."""
    monkeypatch.setattr("flocknode.network.host.HANDSHAKE_S", 60)
    node = await start(1)
    await nursery.start(open_silent_sockets, node.port)
    await until(lambda: len(node.network._host._handshakes) >= MAX_HANDSHAKES - 1)
    newcomer = await start(2, bootstrap=(node,))
    await until(lambda: newcomer.peer in node.network.peers)


async def test_a_newcomer_gets_in_past_connections_without_a_link(start, attack, until, monkeypatch) -> None:
    """Whoever shook hands and does not greet makes room, the oldest first."""
    monkeypatch.setattr("flocknode.network.host.ADMISSION_S", 60)
    monkeypatch.setattr("flocknode.network.host.MAX_CONNECTIONS", 8)
    node = await start(1)
    idle = [await (await attack(bytes([100 + number]))).dial(node) for number in range(8)]
    await until(lambda: len(node.network._host.connections()) == 8)
    newcomer = await start(2, bootstrap=(node,))
    await until(lambda: newcomer.peer in node.network.peers)
    await until(lambda: idle[0].is_closed)
    assert not idle[-1].is_closed


async def test_handshakes_are_paced_for_all_strangers_together(attack, start) -> None:
    """Identities cost nothing, so a crowd of new ones has no more handshakes than one of them."""
    node = await start(1)
    node.network._host._pace = Budget(per_s=4, burst=3)
    attackers = [await attack(bytes([100 + number])) for number in range(6)]
    began = trio.current_time()
    async with trio.open_nursery() as dialling:
        for attacker in attackers:
            dialling.start_soon(attacker.dial, node)
    assert trio.current_time() - began > 0.7


async def test_a_connection_without_a_link_ends(pair, attack, still_works, monkeypatch) -> None:
    """Who connects and never greets is sent away, and is served nothing meanwhile."""
    monkeypatch.setattr("flocknode.network.host.ADMISSION_S", 0.3)
    attacker = await attack()
    connection = await attacker.dial(pair[0])
    stream = await connection.open_stream(sync.PROTOCOL)
    with pytest.raises(StreamLost, match="reading failed"):
        await stream.read_frame(100)
    with trio.fail_after(5):
        await connection.wait_closed()
    await still_works()


async def test_who_says_no_hello_is_scored_and_in_the_end_refused(
    pair, attack, until, still_works, monkeypatch
) -> None:
    """One slow greeting is forgiven, many at once are not."""
    monkeypatch.setattr("flocknode.network.greeting.HELLO_S", 0.2)
    node, attacker = pair[0], await attack()
    await (await attacker.dial(node)).open_stream(gossip.PROTOCOL)
    await until(lambda: node.conduct.points(attacker.host.peer) > 0)
    assert not node.conduct.is_refused(attacker.host.peer)
    for _ in range(4):
        await (await attacker.dial(node)).open_stream(gossip.PROTOCOL)
    await until(lambda: node.conduct.is_refused(attacker.host.peer))
    await still_works()


async def test_a_linked_peer_that_falls_silent_loses_its_link_and_points(
    pair, attack, until, still_works, monkeypatch
) -> None:
    """Its slot is free for others; it may come back, but not do that over and over."""
    monkeypatch.setattr("flocknode.network.links.SILENCE_S", 1.5)
    monkeypatch.setattr("flocknode.network.links.SILENCE_POINTS", 60)
    node, attacker = pair[0], await attack()
    for _ in range(3):
        if not node.conduct.is_refused(attacker.host.peer):
            connection, _ = await attacker.link(node)
            with trio.fail_after(5):
                await connection.wait_closed()
    assert node.conduct.is_refused(attacker.host.peer)
    node.seen.events[:] = [event for event in node.seen.events if event[1] != attacker.host.peer]
    await still_works()


async def test_streams_of_one_connection_are_bounded(pair, attack, still_works) -> None:
    """A peer cannot open streams without end."""
    attacker = await attack()
    connection, _ = await attacker.link(pair[0])
    for _ in range(MAX_STREAMS_PER_CONNECTION - 1):
        await connection.open_stream(blobs.PROTOCOL)
    with pytest.raises(PeerUnreachable, match="no /flock/blob/1 stream"):
        await connection.open_stream(blobs.PROTOCOL)
    pair[0].seen.events.pop()
    await still_works()
