"""Messages that were lost on the way come by another one, among real hosts on loopback."""

import random
from contextlib import suppress

import pytest
import trio

from flocknode.network import Topic, Verdict
from flocknode.network.budgets import BURST_LINKS, BURST_REPEATS, STRANGER
from flocknode.network.errors import PeerUnreachable, StreamLost
from flocknode.network.gossip import PROTOCOL, message_id
from flocknode.network.mailbox import Mailbox
from flocknode.network.messages import Pull, Push, Status, join_ids
from flocknode.network.streams import frame, parse

TOPIC = Topic.TRANSACTIONS


def lose_pushes(monkeypatch: pytest.MonkeyPatch, link: object, share: float, seed: int) -> None:
    """Make a link lose a share of the messages that are pushed on it."""
    rng, put = random.Random(seed), link.put

    def put_or_lose(topic: Topic, data: bytes) -> None:
        if not isinstance(parse(data[4:], Push | Status | Pull, 2**21), Push) or rng.random() >= share:
            put(topic, data)

    monkeypatch.setattr(link, "put", put_or_lose)


def heartbeat(ids: list[bytes]) -> bytes:
    return frame(Status(b"", (), join_ids(ids), 0, None))


async def test_what_a_link_loses_is_pulled_from_others(linked, until, monkeypatch) -> None:
    """Every link of four nodes loses a fifth of what is pushed; nobody misses anything, nor hears it twice."""
    nodes = await linked(4)
    for number, link in enumerate(link for node in nodes for link in node.gossip.links.values()):
        lose_pushes(monkeypatch, link, 0.2, seed=number)
    payloads = [b"message %d" % number for number in range(60)]
    for number, payload in enumerate(payloads):
        nodes[number % 4].network.publish(TOPIC, payload)
    await until(lambda: all(len(node.seen.messages) >= 45 for node in nodes))
    for index, node in enumerate(nodes):
        assert sorted(node.seen.payloads) == sorted(set(payloads) - set(payloads[index::4]))
        assert all(info.score == 100 for info in node.network.peers.values())


async def test_a_link_that_is_dead_to_pushes_costs_a_detour(linked, until, monkeypatch) -> None:
    """The third node tells of the message, and delivers it."""
    first, second, third = await linked(3)
    lose_pushes(monkeypatch, first.gossip.links[third.peer], 1.0, seed=0)
    first.network.publish(TOPIC, b"news")
    await until(lambda: third.seen.messages)
    assert second.seen.payloads == third.seen.payloads == [b"news"]


async def test_what_overflows_an_outbox_comes_later(linked, until) -> None:
    """A burst beyond what may wait for a peer reaches it all the same."""
    first, second = await linked(2)
    first.gossip.links[second.peer].outbox._max_items = 20
    payloads = [b"%d" % number for number in range(150)]
    for payload in payloads:
        first.network.publish(TOPIC, payload)
    await until(lambda: len(second.seen.messages) == len(payloads))
    assert sorted(second.seen.payloads) == sorted(payloads)
    assert first.network.peers[second.peer].dropped > 100


async def test_what_overflows_an_inbox_is_asked_for_again(linked, until) -> None:
    """While the handler is busy messages are dropped, and come again; the sender is not to blame."""
    first, second = await linked(2)
    second.seen.gate = trio.Event()
    second.gossip.links[first.peer].inbox._max_items = 80
    payloads = [b"%d" % number for number in range(100)]
    for payload in payloads:
        first.network.publish(TOPIC, payload)
    await until(lambda: second.gossip.links[first.peer].inbox.dropped)
    second.seen.gate.set()
    await until(lambda: len(second.seen.messages) == len(payloads))
    assert sorted(second.seen.payloads) == sorted(payloads)
    assert second.network.peers[first.peer].score == 100


async def test_what_was_not_judged_when_its_sender_left_is_asked_of_others(linked, until, attack) -> None:
    """The copies that came meanwhile were taken for duplicates: they count as announcements."""
    node, other = await linked(2)
    attacker = await attack()
    connection, stream = await attacker.link(node)
    node.seen.gate = trio.Event()
    pushes = [Push(TOPIC, b"first"), Push(TOPIC, b"second")]
    await stream.write(b"".join(map(frame, pushes)))
    await until(lambda: node.gossip.links[attacker.host.peer].being_judged)
    for push in pushes:
        other.network.publish(TOPIC, push.payload)
    await until(lambda: node.network.peers[other.peer].duplicates == 2)
    await connection.close()
    await until(lambda: attacker.host.peer not in node.network.peers)
    assert node.seen.messages == []
    node.seen.gate.set()
    await until(lambda: len(node.seen.messages) == 2)
    assert {peer for peer, _, _ in node.seen.messages} == {other.peer}


async def test_an_id_is_served_once_and_only_when_the_message_was_good(attack, linked, until) -> None:
    """Asking again brings nothing, and neither does asking for what was not accepted."""
    node, other = await linked(2)
    attacker = await attack()
    _, stream = await attacker.link(node)
    node.network.publish(TOPIC, b"good")
    node.seen.verdict = Verdict.IGNORE
    other.network.publish(TOPIC, b"ignored")
    await until(lambda: node.seen.messages)
    ids = [message_id(TOPIC, b"good"), message_id(TOPIC, b"ignored"), bytes(16)]
    await stream.write(2 * frame(Pull(join_ids(ids))))
    await until(lambda: node.network.peers[attacker.host.peer].messages_received == 2)
    node.network.send(attacker.host.peer, TOPIC, b"the end")
    pushed = []
    with trio.fail_after(5):
        while b"the end" not in (body := await stream.read_frame(10_000)):
            pushed.append(body)
    assert sum(b"good" in body for body in pushed) == 2, "once pushed and once on demand"
    assert not any(b"ignored" in body for body in pushed)


async def test_ids_that_are_announced_and_never_delivered_cost_points(attack, start, until, monkeypatch) -> None:
    """A liar is asked, and scored when nothing comes."""
    monkeypatch.setattr("flocknode.network.spread.DEBT_S", 0.5)
    node, attacker = await start(1), await attack()
    _, stream = await attacker.link(node)
    await stream.write(heartbeat([bytes([number]) * 16 for number in range(50)]))
    asked = (await stream.read_record(Status | Pull, 10_000), await stream.read_record(Status | Pull, 10_000))
    assert any(isinstance(message, Pull) and len(message.ids) == 50 * 16 for message in asked)
    await until(lambda: node.network.peers[attacker.host.peer].score < 100)
    assert node.network.peers[attacker.host.peer].score >= 80, "all of it is one fault"


async def test_more_ids_than_a_peer_may_send_are_not_looked_at(attack, start, until, monkeypatch) -> None:
    """The rest of the flood is counted as dropped."""
    monkeypatch.setattr("flocknode.network.budgets.STRANGER", STRANGER._replace(ids_per_s=1, burst_ids=1000))
    monkeypatch.setattr("flocknode.network.spread.GRACE_S", 60)
    node, attacker = await start(1), await attack()
    _, stream = await attacker.link(node)
    for batch in range(3):
        await stream.write(heartbeat([(1024 * batch + number).to_bytes(16, "big") for number in range(1024)]))
    await until(lambda: node.network.peers[attacker.host.peer].dropped > 2000)
    assert len(node.gossip._spread._wanted) < 1100


async def test_a_flood_of_messages_is_read_at_the_rate(attack, linked, until, monkeypatch) -> None:
    """A flooder waits; the others' messages pass meanwhile."""
    slow = STRANGER._replace(messages_per_s=50, burst_messages=10)
    monkeypatch.setattr("flocknode.network.budgets.STRANGER", slow)
    attacker = await attack()
    node, other = await linked(2)
    _, stream = await attacker.link(node)
    started = trio.current_time()
    await stream.write(b"".join(frame(Push(TOPIC, b"flood %d" % number)) for number in range(60)))
    other.network.publish(TOPIC, b"ping")
    await until(lambda: b"ping" in node.seen.payloads)
    assert trio.current_time() - started < 0.5
    await until(lambda: len(node.seen.messages) == 61)
    assert trio.current_time() - started > 0.8


async def test_a_budget_outlasts_the_link(attack, start, until) -> None:
    """Hanging up and coming again is no way to have more."""
    node, attacker = await start(1), await attack()
    connection, _ = await attacker.link(node)
    budgets = node.gossip.links[attacker.host.peer].budgets
    await connection.close()
    await until(lambda: not node.network.peers)
    await attacker.link(node)
    assert node.gossip.links[attacker.host.peer].budgets is budgets


async def test_who_sends_the_same_again_and_again_is_refused(attack, linked, until) -> None:
    """A message that everybody knows is no way to keep a node busy; its honest sender keeps a clean score."""
    attacker = await attack()
    node, other = await linked(2)
    other.network.publish(TOPIC, b"news")
    await until(lambda: node.seen.payloads == [b"news"])
    _, stream = await attacker.link(node)
    again = frame(Push(TOPIC, b"news"))
    await stream.write(again * BURST_REPEATS)
    await until(lambda: node.gossip.links[attacker.host.peer].received == BURST_REPEATS)
    assert node.conduct.score(attacker.host.peer) == 100
    await stream.write(again * 200)
    await until(lambda: node.conduct.is_refused(attacker.host.peer) and attacker.host.peer not in node.network.peers)
    assert node.seen.payloads == [b"news"]
    assert node.conduct.score(other.peer) == 100


async def test_who_repeats_many_messages_in_turn_is_refused_too(attack, start, until) -> None:
    """It is the peer's own repeats that count, however many other messages come between two of them."""
    node, attacker = await start(1), await attack()
    _, stream = await attacker.link(node)
    with suppress(StreamLost):
        for _ in range(3):
            await stream.write(b"".join(frame(Push(TOPIC, b"%d" % number)) for number in range(200)))
    await until(lambda: node.conduct.is_refused(attacker.host.peer))


async def test_a_strangers_transactions_are_bounded_and_hold_up_nothing_else(attack, linked, until) -> None:
    """Beyond the budget they are passed over unjudged; what else it sends passes, and so do the same from others."""
    attacker = await attack()
    node, other = await linked(2)
    _, stream = await attacker.link(node)
    budget = STRANGER.burst_transaction_bytes
    messages = [bytes([number]) * 16_384 for number in range(2 * budget // 16_384)]
    await stream.write(b"".join(frame(Push(TOPIC, message)) for message in messages))
    await stream.write(frame(Push(Topic.CONSENSUS, b"a vote")))
    await until(lambda: b"a vote" in node.seen.payloads)
    assert node.network.peers[attacker.host.peer].dropped > len(messages) // 4
    judged = [payload for _, topic, payload in node.seen.messages if topic is TOPIC]
    assert len(judged) < 3 * len(messages) // 4
    missed = next(message for message in reversed(messages) if message not in judged)
    other.network.publish(TOPIC, missed)
    await until(lambda: missed in node.seen.payloads)
    assert node.conduct.score(attacker.host.peer) == 100


async def test_two_peers_that_tell_the_same_news_are_not_at_fault(attack, start, until) -> None:
    """Each sends every message once, the second one all of them late."""
    node, first, second = await start(1), await attack(b"x"), await attack(b"y")
    news = b"".join(frame(Push(TOPIC, b"%d" % number)) for number in range(200))
    for attacker in (first, second):
        _, stream = await attacker.link(node)
        await stream.write(news)
        await until(lambda peer=attacker.host.peer: node.gossip.links[peer].received >= 200)
    await until(lambda: len(node.seen.messages) == 200)
    assert node.gossip.links[second.host.peer].duplicates == 200
    assert node.conduct.score(first.host.peer) == node.conduct.score(second.host.peer) == 100


async def test_a_stranger_that_begins_link_after_link_is_refused(attack, start, until) -> None:
    """Greetings cost more than messages; a new link does not pay them."""
    node, attacker = await start(1), await attack()
    links = 0
    while not node.conduct.is_refused(attacker.host.peer):
        connection = await attacker.dial(node)
        with suppress(PeerUnreachable, StreamLost):
            stream = await connection.open_stream(PROTOCOL)
            await stream.read_frame(4096)
        links += 1
        await connection.close()
        assert links < 2 * BURST_LINKS
    assert links >= BURST_LINKS


async def test_the_round_trip_is_measured_by_heartbeats(linked, until) -> None:
    """Both sides know it after two of them, and the bytes that went to and fro."""
    first, second = await linked(2)
    await until(lambda: first.network.peers[second.peer].latency_us and second.network.peers[first.peer].latency_us)
    info = first.network.peers[second.peer]
    assert 0 < info.latency_us < 1_000_000
    assert info.bytes_sent > 0 < info.bytes_received
    assert info.messages_sent > 0 < info.messages_received


def test_a_mailbox_tells_what_it_dropped() -> None:
    """So that it can be asked for again."""
    box: Mailbox[str] = Mailbox(max_items=1)
    assert box.put(TOPIC, "old", 1) == []
    assert box.put(TOPIC, "new", 1) == ["old"]
    assert box.clear() == ["new"]
    assert len(box) == 0
