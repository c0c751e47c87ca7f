"""Blobs from peer to peer."""

import random

import pytest
import trio

from flocknode.network import BlobUnavailable
from flocknode.network.blobs import PROTOCOL, Answer, Busy, Here, NotHere, RunRequest
from flocknode.network.streams import frame
from protocol.blobs import RUN_BYTES, compute_blob_id

DATA = random.Random(7).randbytes(9 * RUN_BYTES + 12_345)


@pytest.mark.parametrize("length", [0, 1, RUN_BYTES, RUN_BYTES + 1, 3 * RUN_BYTES])
async def test_a_blob_of_any_length_arrives_whole(linked, length: int) -> None:
    """Empty, partial and exact runs; afterwards the store has it and no peer is asked again."""
    fetcher, source = await linked(2)
    blob = source.store.put(DATA[:length])
    await fetcher.network.fetch_blob(blob, providers=[source.peer])
    assert fetcher.store.read(blob) == DATA[:length]
    await source.stop()
    await fetcher.network.fetch_blob(blob)


async def test_progress_is_told_to_the_end(linked) -> None:
    """Bytes here so far and the whole, growing up to it."""
    fetcher, source = await linked(2)
    blob = source.store.put(DATA)
    told: list[tuple[int, int]] = []
    await fetcher.network.fetch_blob(blob, on_progress=lambda done, total: told.append((done, total)))
    assert told == sorted(told)
    assert len(told) == 10
    assert told[-1] == (len(DATA), len(DATA))


async def test_every_peer_is_asked_when_the_providers_fail(linked) -> None:
    """A provider that is gone and one that has nothing do not stop the fetch."""
    fetcher, empty, source = await linked(3)
    blob = source.store.put(DATA)
    await fetcher.network.fetch_blob(blob, providers=["gone", empty.peer])
    assert fetcher.store.has(blob)


async def test_a_blob_of_one_run_is_found_whoever_of_many_peers_holds_it(linked) -> None:
    """The one run is asked of one peer after the other: nobody is passed over while another is being asked."""
    fetcher, *sources = await linked(7)
    for number, source in enumerate(sources):
        blob = source.store.put(DATA[number : number + 1000])
        await fetcher.network.fetch_blob(blob)
        assert fetcher.store.has(blob)


async def test_a_blob_that_nobody_has_is_an_answer_not_a_hang(linked) -> None:
    """The error says how many were asked, and nothing is left that blocks a later attempt."""
    fetcher, source, _ = await linked(3)
    blob = compute_blob_id(DATA)
    with pytest.raises(BlobUnavailable, match="10 of its runs are missing and none of 2 connected peers"):
        await fetcher.network.fetch_blob(blob)
    source.store.put(DATA)
    await fetcher.network.fetch_blob(blob)


async def test_a_fetch_resumes_where_the_peer_left(linked, start, until) -> None:
    """The source dies half way and another one appears: only the rest is fetched."""
    fetcher, source = await linked(2)
    blob = source.store.put(DATA)
    told: list[int] = []

    def stop_half_way(done: int, total: int) -> None:
        told.append(done)
        if len(told) == 4:
            source.scope.cancel()

    with pytest.raises(BlobUnavailable):
        await fetcher.network.fetch_blob(blob, on_progress=stop_half_way)
    assert 4 <= len(told) < 10
    other = await start(3, bootstrap=(fetcher,))
    other.store.put(DATA)
    await until(lambda: other.peer in fetcher.network.peers)
    resumed: list[int] = []
    await fetcher.network.fetch_blob(blob, on_progress=lambda done, total: resumed.append(done))
    assert len(told) + len(resumed) == 10
    assert fetcher.store.read(blob) == DATA


async def test_a_cancelled_fetch_harms_neither_the_link_nor_the_next_attempt(linked, until) -> None:
    """A participant may give up at any moment: the connection stays in step."""
    fetcher, source = await linked(2)
    blob = source.store.put(DATA)
    for steps in range(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetcher.network.fetch_blob, blob)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            nursery.cancel_scope.cancel()
    await fetcher.network.fetch_blob(blob)
    assert fetcher.store.read(blob) == DATA
    assert fetcher.seen.events == [("joined", source.peer)]


async def test_wrong_bytes_cost_the_sender_its_link_and_the_blob_comes_from_another(linked, until, monkeypatch) -> None:
    """A run that does not prove itself is thrown away; nothing false is ever stored."""
    fetcher, liar, honest = await linked(3)
    blob = honest.store.put(DATA)

    def lie(request: RunRequest) -> tuple[bytes, Answer]:
        data, proof = honest.store.read_run(request.blob, request.first_piece)
        return b"\x00" + data[1:], Here(len(data), proof)

    monkeypatch.setattr(liar.network._blob_server, "_load", lie)
    await fetcher.network.fetch_blob(blob, providers=[liar.peer])
    assert fetcher.store.read(blob) == DATA
    assert fetcher.conduct.is_refused(liar.peer)
    await until(lambda: liar.peer not in fetcher.network.peers)


async def test_a_peer_that_stalls_loses_its_runs_to_another(linked, monkeypatch) -> None:
    """A source that takes questions and gives no answers costs its time limit, once."""
    monkeypatch.setattr("flocknode.network.blobs.RUN_S", 0.3)
    fetcher, stalling, honest = await linked(3)
    blob = honest.store.put(DATA)

    async def take_only(peer, stream) -> None:
        while True:
            await stream.read_frame(1000)

    monkeypatch.setattr(stalling.network._blob_server, "serve", take_only)
    await fetcher.network.fetch_blob(blob, providers=[stalling.peer])
    assert fetcher.store.has(blob)
    assert not fetcher.conduct.is_refused(stalling.peer)


async def test_runs_of_a_slow_peer_are_asked_of_a_faster_one(linked, monkeypatch) -> None:
    """A source that delivers, but slowly, holds up nobody who has another one."""
    monkeypatch.setattr("flocknode.network.blobs.PATIENCE_S", 0.2)
    fetcher, slow, fast = await linked(3)
    blob = fast.store.put(DATA)
    slow.store.put(DATA)
    answer = slow.network._blob_server.serve

    async def dawdle(peer, stream) -> None:
        await trio.sleep(5)
        await answer(peer, stream)

    monkeypatch.setattr(slow.network._blob_server, "serve", dawdle)
    told: list[int] = []
    with trio.fail_after(4):
        await fetcher.network.fetch_blob(blob, on_progress=lambda done, _: told.append(done))
    assert fetcher.store.read(blob) == DATA
    assert len(told) == 10
    assert told[-1] == len(DATA)
    assert slow.peer in fetcher.network.peers


@pytest.mark.parametrize("liars", [1, 4])
async def test_a_crowd_of_liars_and_silent_peers_cannot_keep_a_blob_away(linked, monkeypatch, liars: int) -> None:
    """One honest peer among them is enough; each liar is refused."""
    monkeypatch.setattr("flocknode.network.blobs.RUN_S", 0.5)
    fetcher, honest, stalling, *others = await linked(3 + liars)
    blob = honest.store.put(DATA)

    async def take_only(peer, stream) -> None:
        while True:
            await stream.read_frame(1000)

    monkeypatch.setattr(stalling.network._blob_server, "serve", take_only)
    for liar in others:
        monkeypatch.setattr(liar.network._blob_server, "_load", lambda request: (bytes(100), Here(100, ())))
    await fetcher.network.fetch_blob(blob)
    assert fetcher.store.read(blob) == DATA
    refused = {peer.peer for peer in fetcher.network.refused}
    assert refused <= {liar.peer for liar in others}
    assert refused


async def test_several_sources_share_the_work(linked) -> None:
    """With three holders each of them serves a part of the runs."""
    fetcher, *sources = await linked(4)
    served = dict.fromkeys((source.peer for source in sources), 0)
    for source in sources:
        blob = source.store.put(DATA * 3)

        def count(request, source=source, load=source.network._blob_server._load):
            served[source.peer] += 1
            return load(request)

        source.network._blob_server._load = count
    await fetcher.network.fetch_blob(blob)
    assert all(served.values())
    assert sum(served.values()) == 28


async def test_one_peer_takes_only_its_share_of_uploads(attack, start, until) -> None:
    """Others are served while one opens streams without end."""
    node, attacker, other = await start(1), await attack(b"x"), await attack(b"y")
    blob = node.store.put(DATA)
    connection, _ = await attacker.link(node)
    answers = []
    for _ in range(6):
        stream = await connection.open_stream(PROTOCOL)
        await stream.write(frame(RunRequest(blob, 0)))
        answers.append(await stream.read_record(Answer, 2_000_000))
    assert [type(answer) for answer in answers] == 4 * [Here] + 2 * [Busy]
    stream = await (await other.link(node))[0].open_stream(PROTOCOL)
    await stream.write(frame(RunRequest(blob, 0)))
    assert isinstance(await stream.read_record(Answer, 2_000_000), Here)


async def test_a_busy_peer_says_so_and_another_is_asked(linked, monkeypatch) -> None:
    """Uploads are bounded; the answer is honest."""
    fetcher, busy, honest = await linked(3)
    blob = honest.store.put(DATA)
    busy.store.put(DATA)
    busy.network._blob_server._uploads[fetcher.peer] = 4
    await fetcher.network.fetch_blob(blob, providers=[busy.peer])
    assert fetcher.store.has(blob)


async def test_two_fetches_of_one_blob_are_one_transfer(linked) -> None:
    """The second caller waits for the first."""
    fetcher, source = await linked(2)
    blob = source.store.put(DATA)
    told: list[int] = []
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(lambda: fetcher.network.fetch_blob(blob, on_progress=lambda done, _: told.append(done)))
    assert len(told) == 10


async def test_answers_without_data_are_small() -> None:
    """Both ways to say no fit a handful of bytes, so that asking around is cheap."""
    assert len(frame(NotHere())) == len(frame(Busy())) == 6
