"""Blocks by range from a peer."""

import pytest

from flocknode.network import PeerUnreachable, sync
from flocknode.network.errors import StreamLost
from flocknode.network.streams import frame


async def test_blocks_come_by_range_and_stop_where_the_peer_does(linked) -> None:
    """As many as asked for, in order; fewer at the head; none beyond it."""
    asker, source = await linked(2)
    source.seen.pairs = {height: b"pair %d" % height for height in range(1, 301)}
    assert await asker.network.fetch_blocks(source.peer, 5, 3) == [b"pair 5", b"pair 6", b"pair 7"]
    assert await asker.network.fetch_blocks(source.peer, 300, 10) == [b"pair 300"]
    assert await asker.network.fetch_blocks(source.peer, 301, 10) == []
    assert len(await asker.network.fetch_blocks(source.peer, 1, 1000)) == sync.MAX_PAIRS


async def test_an_answer_is_bounded_in_bytes_and_a_large_pair_still_comes(linked) -> None:
    """Large blocks come some at a time, so that a range never exceeds what a peer takes."""
    asker, source = await linked(2)
    source.seen.pairs = {height: bytes([height]) * 1_500_000 for height in range(1, 9)}
    first = await asker.network.fetch_blocks(source.peer, 1, 8)
    assert first == [bytes([height]) * 1_500_000 for height in (1, 2, 3)]


async def test_a_peer_that_is_gone_or_does_not_answer_is_named(linked, start, until, monkeypatch) -> None:
    """The caller learns at once that it must ask another one."""
    monkeypatch.setattr("flocknode.network.sync.ANSWER_S", 0.2)
    asker, source = await linked(2)
    with pytest.raises(PeerUnreachable, match="nobody is not connected"):
        await asker.network.fetch_blocks("nobody", 1, 1)

    async def silent(self, peer, stream) -> None:
        await stream.read_frame(1000)
        await stream.read_frame(1000)

    monkeypatch.setattr("flocknode.network.sync.BlockServer.serve", silent)
    with pytest.raises(PeerUnreachable, match="sent no blocks"):
        await asker.network.fetch_blocks(source.peer, 1, 1)
    assert source.peer in asker.network.peers, "slow is not hostile"


async def test_an_answer_to_another_question_costs_the_link(linked, monkeypatch) -> None:
    """More blocks than were asked for are no honest mistake."""

    async def generous(self, peer, stream) -> None:
        await stream.read_frame(1000)
        await stream.write(frame(sync.Pairs((b"a", b"b", b"c"))))

    asker, source = await linked(2)
    monkeypatch.setattr("flocknode.network.sync.BlockServer.serve", generous)
    with pytest.raises(PeerUnreachable, match="3 blocks instead of 2"):
        await asker.network.fetch_blocks(source.peer, 1, 2)
    assert asker.conduct.points(source.peer) > 0


async def test_what_the_node_reports_is_scored_and_in_the_end_refused(linked, until) -> None:
    """A wrong block shows only when it is verified: then it costs points, the second time the link; gone or not."""
    asker, source = await linked(2)
    asker.network.blame(source.peer, "a wrong block 7")
    assert asker.network.peers[source.peer].score == 40
    asker.network.blame(source.peer, "a wrong block 7")
    await until(lambda: source.peer not in asker.network.peers)
    [refused] = asker.network.refused
    assert (refused.peer, refused.reason) == (source.peer, "a wrong block 7")
    asker.network.blame("gone", "a wrong block 8")
    assert asker.conduct.points("gone") > 0


async def test_a_peer_asks_on_a_bounded_number_of_streams(attack, start) -> None:
    """Answers hold megabytes; the streams beyond end, and the others go on."""
    node, attacker = await start(1), await attack()
    node.seen.pairs = {1: b"pair"}
    connection, _ = await attacker.link(node)
    question = frame(sync.RangeRequest(1, 1))
    streams = [await connection.open_stream(sync.PROTOCOL) for _ in range(sync.MAX_STREAMS_PER_PEER)]
    for stream in streams:
        await stream.write(question)
        assert (await stream.read_record(sync.Pairs, 100)).pairs == (b"pair",)
    surplus = await connection.open_stream(sync.PROTOCOL)
    with pytest.raises(StreamLost):
        await surplus.read_frame(100)
    await streams[0].write(question)
    assert (await streams[0].read_record(sync.Pairs, 100)).pairs == (b"pair",)
