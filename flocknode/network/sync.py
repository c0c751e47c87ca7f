"""Blocks with their commits by range, for a peer that catches up. Verifying them is the receiver's replica's affair."""

from collections import Counter
from typing import Annotated

import trio
from msgspec import Meta

from flocknode.network.errors import Misbehaviour, PeerUnreachable, StreamLost
from flocknode.network.host import Connection
from flocknode.network.messages import BlockSource, PeerId
from flocknode.network.streams import Stream, frame
from protocol.types import Height, Record

PROTOCOL = "/flock/sync/1"
MAX_PAIRS = 256
# An answer ends with the pair that reaches this; a pair is below 2 MiB.
ENOUGH_BYTES = 4 * 1024 * 1024
MAX_ANSWER_BYTES = 8 * 1024 * 1024
MAX_REQUEST_BYTES = 64
MAX_STREAMS_PER_PEER = 4
ANSWER_S = 15.0
IDLE_S = 30.0
WRONG_ANSWER_POINTS = 50


class RangeRequest(Record):
    """Asks for the pairs from a height on, at most `count` of them."""

    first_height: Height
    count: Annotated[int, Meta(ge=1, le=MAX_PAIRS)]


class Pairs(Record):
    """Canonical (block, commit) pairs of successive heights; fewer than asked for, or none, is an honest answer."""

    pairs: Annotated[tuple[bytes, ...], Meta(max_length=MAX_PAIRS)]


class BlockServer:
    """Serves the log of this node, to each peer on few streams at a time: an answer holds megabytes."""

    def __init__(self, source: BlockSource) -> None:
        self._source = source
        self._streams: Counter[PeerId] = Counter()

    async def serve(self, peer: PeerId, stream: Stream) -> None:
        """Answer a peer's requests until it closes the stream; a stream too many ends at once.

        Raises `StreamLost` when the peer closes it, and `Misbehaviour`.
        """
        if self._streams[peer] >= MAX_STREAMS_PER_PEER:
            return
        self._streams[peer] += 1
        try:
            while True:
                with trio.move_on_after(IDLE_S) as scope:
                    request = await stream.read_record(RangeRequest, MAX_REQUEST_BYTES)
                if scope.cancelled_caught:
                    return
                pairs = await trio.to_thread.run_sync(_load, self._source, request)
                await stream.write(frame(Pairs(pairs)))
        finally:
            self._streams[peer] -= 1
            if not self._streams[peer]:
                del self._streams[peer]


async def fetch_blocks(connection: Connection, first_height: int, count: int) -> list[bytes]:
    """Return encoded pairs from `first_height` on: `count` of them or fewer, none if the peer has none.

    Raises `PeerUnreachable`, and `Misbehaviour` for an answer to another question.
    """
    assert first_height >= 0, f"height {first_height}"
    assert count >= 1, f"{count} heights"
    count = min(count, MAX_PAIRS)
    try:
        async with connection.stream(PROTOCOL) as stream:
            with trio.fail_after(ANSWER_S):
                await stream.write(frame(RangeRequest(first_height, count)))
                answer = await stream.read_record(Pairs, MAX_ANSWER_BYTES)
    except (StreamLost, trio.TooSlowError) as error:
        raise PeerUnreachable(f"{connection.peer} sent no blocks: {error!r}") from error
    if len(answer.pairs) > count:
        raise Misbehaviour(f"{len(answer.pairs)} blocks instead of {count}", points=WRONG_ANSWER_POINTS)
    return list(answer.pairs)


def _load(source: BlockSource, request: RangeRequest) -> tuple[bytes, ...]:
    pairs: list[bytes] = []
    size = 0
    for height in range(request.first_height, request.first_height + request.count):
        pair = source.load_pair(height)
        if pair is None:
            break
        pairs.append(pair)
        size += len(pair)
        if size >= ENOUGH_BYTES:
            break
    return tuple(pairs)
