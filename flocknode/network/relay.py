"""Handing parcels from relay to relay (`/flock/relay/1`): one parcel on a stream, and an answer at either end of it.

What is in a parcel, and what a relay does with it, stands in `flocknode.relay`.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated

import trio
from msgspec import Meta

from flocknode.network.errors import ParcelRefused, PeerUnreachable, RelayBusy, StreamLost
from flocknode.network.host import Connection
from flocknode.network.messages import MAX_REASON_CHARACTERS, PeerId
from flocknode.network.streams import Stream, frame
from flocknode.relay.parcels import MAX_BOX_BYTES, Envelope
from protocol.types import Record

if TYPE_CHECKING:
    from flocknode.relay.mix import Mix

PROTOCOL = "/flock/relay/1"
MAX_OFFER_BYTES = MAX_BOX_BYTES + 64
MAX_ANSWER_BYTES = 4 * MAX_REASON_CHARACTERS + 64
# How long a side waits for the other's next words, and for the next chunk of a body.
ANSWER_S = 10.0
CHUNK_S = 10.0
# How long the last relay may take to hash and store a long blob.
STORE_S = 60.0
MAX_RECEIVING = 16


class GoOn(Record, tag=0):
    """The relay takes the parcel; after the body: it has all of it."""


class Busy(Record, tag=1):
    """The relay holds as much as it may."""


class No(Record, tag=2):
    """The relay does not take this parcel."""

    reason: Annotated[str, Meta(max_length=MAX_REASON_CHARACTERS)]


Answer = GoOn | Busy | No


class RelayServer:
    """Takes parcels off streams."""

    def __init__(self) -> None:
        self._mix: Mix | None = None
        self._receiving = 0

    def attach(self, mix: "Mix") -> None:
        """Name what holds the parcels; until then this node is no relay."""
        self._mix = mix

    async def serve(self, peer: PeerId, stream: Stream) -> None:
        """Take one parcel of a peer. Raises `StreamLost` and `Misbehaviour`."""
        with trio.move_on_after(ANSWER_S) as scope:
            envelope = await stream.read_record(Envelope, MAX_OFFER_BYTES)
        if scope.cancelled_caught:
            return
        if self._mix is None or self._receiving >= MAX_RECEIVING:
            await stream.write(frame(Busy()))
            return
        self._receiving += 1
        try:
            await stream.write(frame(await self._take(self._mix, peer, stream, envelope)))
        finally:
            self._receiving -= 1

    async def _take(self, mix: "Mix", peer: PeerId, stream: Stream, envelope: Envelope) -> Answer:
        async def read() -> bytes:
            with trio.fail_after(CHUNK_S):
                return await stream.read_exactly(envelope.chunk_bytes)

        try:
            instruction = mix.admit(peer, envelope)
            await stream.write(frame(GoOn()))
            await mix.take(peer, envelope, instruction, read)
        except RelayBusy:
            return Busy()
        except ParcelRefused as refusal:
            return No(refusal.message[:MAX_REASON_CHARACTERS])
        except trio.TooSlowError as error:
            raise StreamLost("the rest of a parcel did not come") from error
        return GoOn()


async def hand_over(connection: Connection, envelope: Envelope, chunks: Callable[[], Iterator[bytes]]) -> None:
    """Hand a relay a parcel; returns when it has all of it.

    Raises `RelayBusy`, `ParcelRefused`, `PeerUnreachable` and `Misbehaviour`.
    """
    try:
        async with connection.stream(PROTOCOL) as stream:
            await stream.write(frame(envelope))
            await _expect(stream, ANSWER_S)
            for chunk in chunks():
                with trio.fail_after(CHUNK_S):
                    await stream.write(chunk)
            await _expect(stream, STORE_S)
    except (StreamLost, trio.TooSlowError) as error:
        raise PeerUnreachable(f"{connection.peer} did not take a parcel: {error!r}") from error


async def _expect(stream: Stream, patience_s: float) -> None:
    with trio.fail_after(patience_s):
        answer: Answer = await stream.read_record(Answer, MAX_ANSWER_BYTES)  # type: ignore[arg-type]
    match answer:
        case Busy():
            raise RelayBusy("the relay is busy")
        case No(reason):
            raise ParcelRefused(reason)
