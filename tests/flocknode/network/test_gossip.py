"""Links and broadcast among real hosts on loopback."""

import os
import time

import pytest
import structlog
import trio

from flocknode.network import PortInUse, Topic, Verdict
from flocknode.network.gossip import PROTOCOL
from flocknode.network.messages import PROTOCOL_VERSION, Hello, Push, Refused
from flocknode.network.streams import frame


async def test_a_message_reaches_everybody_once(linked, until) -> None:
    """Five meshed nodes: each of them hears each message of the others exactly once, and not its own."""
    nodes = await linked(5)
    sent = {node.peer: os.urandom(200) for node in nodes}
    for node in nodes:
        node.network.publish(Topic.TRANSACTIONS, sent[node.peer])
    await until(lambda: all(len(node.seen.messages) >= 4 for node in nodes))
    for node in nodes:
        assert sorted(node.seen.payloads) == sorted(data for peer, data in sent.items() if peer != node.peer)


async def test_a_message_is_passed_on_only_after_it_was_accepted(start, until) -> None:
    """In a line of three the middle decides what the end hears; the sender of a rejected message pays."""
    middle = await start(1)
    first, last = await start(2, bootstrap=(middle,)), await start(3, bootstrap=(middle,))
    await until(lambda: len(middle.network.peers) == 2)
    for verdict in (Verdict.REJECT, Verdict.IGNORE, Verdict.ACCEPT):
        middle.seen.verdict = verdict
        first.network.publish(Topic.CONSENSUS, verdict.value.encode())
        await until(lambda verdict=verdict: verdict.value.encode() in middle.seen.payloads)
    await until(lambda: last.seen.messages)
    assert last.seen.messages == [(middle.peer, Topic.CONSENSUS, b"accept")]
    assert middle.network.peers[first.peer].score < 100
    assert middle.network.peers[last.peer].score == 100


async def test_a_rejected_sender_is_disconnected_in_the_end(start, until) -> None:
    """Rejects add up to a refusal, which holds against redialling."""
    judge = await start(1)
    judge.seen.verdict = Verdict.REJECT
    sender = await start(2, bootstrap=(judge,))
    await until(lambda: sender.network.peers)
    for number in range(5):
        sender.network.publish(Topic.TRANSACTIONS, b"bad%d" % number)
    await until(lambda: ("left", sender.peer) in judge.seen.events)
    assert judge.conduct.is_refused(sender.peer)


async def test_a_direct_message_is_neither_passed_on_nor_taken_for_a_duplicate(linked, until) -> None:
    """Anti-entropy may say again what gossip has said, as often as it takes."""
    first, second, third = await linked(3)
    first.network.publish(Topic.CONSENSUS, b"vote")
    await until(lambda: second.seen.messages and third.seen.messages)
    first.network.send(second.peer, Topic.CONSENSUS, b"vote")
    first.network.send(second.peer, Topic.CONSENSUS, b"vote")
    await until(lambda: len(second.seen.messages) == 3)
    assert third.seen.payloads == [b"vote"]


async def test_duplicates_are_counted_and_not_judged_again(attack, start, until) -> None:
    """The same push twice costs one judgement."""
    node, attacker = await start(1), await attack()
    _, stream = await attacker.link(node)
    push = frame(Push(Topic.TRANSACTIONS, b"again"))
    await stream.write(push + push + frame(Push(Topic.TRANSACTIONS, b"other")))
    await until(lambda: len(node.seen.messages) == 2)
    assert node.network.peers[attacker.host.peer].duplicates == 1


async def test_a_block_proposal_of_more_than_a_megabyte_passes(linked, until) -> None:
    """Large frames arrive whole, in both directions at once."""
    nodes = await linked(3)
    proposals = [os.urandom(1_200_000) for _ in nodes]
    for node, proposal in zip(nodes, proposals, strict=True):
        node.network.publish(Topic.CONSENSUS, proposal)
    await until(lambda: all(len(node.seen.messages) == 2 for node in nodes))
    for node, own in zip(nodes, proposals, strict=True):
        assert sorted(node.seen.payloads) == sorted(set(proposals) - {own})


async def test_neighbours_are_not_told_what_the_sender_tells_them(linked, until) -> None:
    """Once peers have said whom they are linked to, a full mesh passes nothing on."""
    nodes = await linked(4)
    spreads = [node.gossip._spread for node in nodes]
    await until(lambda: all(len(peer.neighbours) == 3 for spread in spreads for peer in spread._peers.values()))
    nodes[0].network.publish(Topic.CONSENSUS, b"once")
    await until(lambda: all(node.seen.messages for node in nodes[1:]))
    nodes[0].network.send(nodes[1].peer, Topic.TRANSACTIONS, b"after everything")
    await until(lambda: b"after everything" in nodes[1].seen.payloads)
    assert all(link.duplicates == 0 for node in nodes for link in node.gossip.links.values())


async def test_a_slow_handler_of_one_peer_keeps_nobody_waiting(linked, until, trusting) -> None:
    """A node whose replica is stuck still takes in, and its peers go on among themselves."""
    stuck, second, third = await linked(3)
    stuck.seen.gate = trio.Event()
    for number in range(500):
        second.network.publish(Topic.TRANSACTIONS, b"%d" % number + bytes(20_000))
    await until(lambda: len(third.seen.messages) == 500)
    assert stuck.seen.messages == []
    stuck.seen.gate.set()
    await until(lambda: len(stuck.seen.messages) == 500)


async def test_a_peer_that_does_not_read_blocks_nobody_and_is_bounded(attack, linked, until, trusting) -> None:
    """What a silent peer does not take is dropped, for it alone."""
    first, second = await linked(2)
    attacker = await attack()
    await attacker.link(first)
    started = time.monotonic()
    for number in range(40):
        first.network.publish(Topic.TRANSACTIONS, bytes([number]) * 1_000_000)
        await until(lambda number=number: len(second.seen.messages) > number)
    assert time.monotonic() - started < 4, "the silent peer held the others up"
    assert first.network.peers[attacker.host.peer].dropped > 0
    assert first.network.peers[second.peer].dropped == 0


async def test_another_chain_is_refused_with_the_reason_on_both_sides(start, until) -> None:
    """Nodes of two networks do not mix; each side says why, once, in its log."""
    with structlog.testing.capture_logs() as records:
        ours = await start(1)
        theirs = await start(2, bootstrap=(ours,), chain=b"d" * 32)

        def reasons() -> list[str]:
            return [record["reason"] for record in records if record["event"] == "no link"]

        await until(lambda: len(reasons()) == 2)
    assert sorted(reasons()) == [
        f"another chain: {'63' * 8} instead of {'64' * 8}",
        f"another chain: {'64' * 8} instead of {'63' * 8}",
    ]
    assert not ours.network.peers
    assert not theirs.network.peers
    assert ours.seen.events == theirs.seen.events == []
    assert not ours.conduct.is_refused(theirs.peer), "it may come back with the right chain"


async def test_a_full_node_refuses_with_the_reason_and_blames_nobody(start, until, monkeypatch) -> None:
    """The refused side may have begun to talk already; that is no fault, and it keeps trying."""
    monkeypatch.setattr("flocknode.network.greeting.MAX_LINKS", 1)
    full = await start(1)
    first = await start(2, bootstrap=(full,))
    await until(lambda: full.network.peers and first.network.peers)
    with structlog.testing.capture_logs() as records:
        late = await start(3, bootstrap=(full,))
        refused = {"event": "no link", "peer": full.peer, "reason": "the peer refuses us: too many peers"}
        await until(lambda: any(record | refused == record for record in records))
    late.network.publish(Topic.CONSENSUS, bytes(1_000_000))
    await until(lambda: not late.network.peers)
    assert full.conduct.points(late.peer) == late.conduct.points(full.peer) == 0
    assert set(full.network.peers) == {first.peer}


async def test_a_refused_link_that_already_carries_messages_costs_nothing(attack, start, until) -> None:
    """A peer that sent a proposal before it read our refusal is not blamed for it."""
    node, attacker = await start(1), await attack()
    connection = await attacker.dial(node)
    stream = await connection.open_stream(PROTOCOL)
    await stream.write(frame(Hello(PROTOCOL_VERSION, b"d" * 32, b"i" * 32, b"", 0, None)))
    await stream.write(frame(Push(Topic.CONSENSUS, bytes(1_000_000))))
    await stream.read_record(Hello, 4096)
    assert "another chain" in (await stream.read_record(Refused, 4096)).reason
    await stream.close()
    await connection.wait_closed()
    assert node.conduct.points(attacker.host.peer) == 0


async def test_crossing_dials_end_in_one_link(start, until, nursery) -> None:
    """Two nodes that dial each other at the same time keep the same one of the two links."""
    for attempt in range(5):
        pair = first, second = await start(10 + attempt), await start(20 + attempt)
        for node, other in (pair, pair[::-1]):
            nursery.start_soon(node.network._dialer.keep, other.network._host.address)
        await until(lambda first=first, second=second: first.network.peers and second.network.peers)
        await until(lambda pair=pair: all(len(node.network._host.connections()) == 1 for node in pair))
        first.network.publish(Topic.CONSENSUS, b"ping")
        second.network.publish(Topic.CONSENSUS, b"pong")
        await until(lambda first=first, second=second: first.seen.messages and second.seen.messages)
        assert first.network.peers[second.peer].is_dialled != second.network.peers[first.peer].is_dialled
        assert first.seen.events == [("joined", second.peer)]
        assert second.seen.events == [("joined", first.peer)]


async def test_a_restarted_peer_replaces_its_dead_link_whoever_dialled_it(attack, start, until) -> None:
    """A new process of a peer is heard although the link to the old one, which has precedence, still seems to live."""
    node_peer = (await start(1)).peer

    async def old_process(connection, stream) -> None:
        await stream.read_record(Hello, 4096)
        await stream.write(frame(Hello(PROTOCOL_VERSION, b"c" * 32, b"1" * 32, b"old", 0, None)))
        await trio.sleep_forever()

    for seed in (b"a", b"b", b"d", b"e", b"f"):
        attacker = await attack(seed, {PROTOCOL: old_process})
        if attacker.host.peer > node_peer:
            break
    node = await start(1, bootstrap=(str(attacker.host.address),))
    await until(lambda: node.network.peers)
    assert node.network.peers[attacker.host.peer].is_dialled
    await attacker.link(node, incarnation=b"2")
    await until(lambda: not node.network.peers[attacker.host.peer].is_dialled)
    assert [event for event, _ in node.seen.events] == ["joined", "left", "joined"]


async def test_status_is_told_at_once_and_then_again(linked, until) -> None:
    """What a node says of itself is known from the hello on."""
    first, second = await linked(2)
    assert first.network.peers[second.peer].status == b"node 2"
    assert second.network.peers[first.peer].address.endswith(first.peer)


async def test_two_nodes_never_share_a_port(start) -> None:
    """The second node on a port is told so; nobody shares it in silence."""
    first = await start(1)
    with pytest.RaisesGroup(
        pytest.RaisesExc(PortInUse, match=f"port {first.port} on 127.0.0.1 is taken"), flatten_subgroups=True
    ):
        async with trio.open_nursery():
            await start(2, port=first.port)


async def test_a_node_stops_within_a_second_under_load(linked, until, trusting) -> None:
    """Cancellation ends readers, writers, transfers and listeners, and the port is free again."""
    nodes = await linked(4)
    for number in range(20):
        nodes[0].network.publish(Topic.TRANSACTIONS, bytes([number]) * 1_000_000)
    await until(lambda: nodes[1].seen.messages)
    started = time.monotonic()
    await nodes[0].stop()
    assert time.monotonic() - started < 1
    listener = (await trio.open_tcp_listeners(nodes[0].port, host="127.0.0.1"))[0]
    await listener.aclose()
    await until(lambda: all(nodes[0].peer not in node.network.peers for node in nodes[1:]))
    assert nodes[1].seen.events[-1] == ("left", nodes[0].peer)
