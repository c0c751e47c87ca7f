"""Blobs from peer to peer: runs of 1 MiB, each proven on arrival, from several peers at once, resumed after a break.

What a blob is and how a run is proven stands in `protocol.blobs`; how it lies on the disk in `storage.blobs`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, TypeAlias

import structlog
import trio
from msgspec import Meta

from flocknode.network.errors import BlobUnavailable, Misbehaviour, PeerUnreachable, StreamLost
from flocknode.network.host import Connection
from flocknode.network.messages import PeerId
from flocknode.network.peers import Conduct
from flocknode.network.streams import Stream, frame
from protocol.blobs import RUN_BYTES, BlobId, RunProof, run_bytes
from protocol.errors import InvalidProof
from protocol.types import Count, Record
from storage.blobs import BlobStore
from storage.errors import BlobMissing, Corrupted
from storage.partial_blobs import PartialBlob

PROTOCOL = "/flock/blob/1"
MAX_REQUEST_BYTES = 128
MAX_ANSWER_BYTES = RUN_BYTES + 4096
# Runs asked for before the first has come, so that neither side waits for the other.
RUNS_AHEAD = 4
MAX_SOURCES = 4
MAX_UPLOADS = 16
# A run that takes longer is asked of another peer.
RUN_S = 20.0
IDLE_S = 30.0
# A peer that answers a question with something else, or a run with other bytes, is refused at once.
WRONG_RUN_POINTS = 100

# Called with the bytes that are here so far and the length of the blob.
Progress: TypeAlias = Callable[[int, int], None]

log = structlog.get_logger("flocknode.network")


class RunRequest(Record):
    """Asks for the run of a blob that starts at a piece."""

    blob: BlobId
    first_piece: Count


class Run(Record, tag=0):
    """The bytes of the run, and what proves them."""

    data: Annotated[bytes, Meta(max_length=RUN_BYTES)]
    proof: RunProof


class NotHere(Record, tag=1):
    """The peer does not hold the blob."""


class Busy(Record, tag=2):
    """The peer serves too many already; try later."""


Answer = Run | NotHere | Busy


class BlobServer:
    """Serves what the store holds."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._uploads = 0

    async def serve(self, stream: Stream) -> None:
        """Answer a peer's requests until it closes the stream. Raises `StreamLost` then, and `Misbehaviour`."""
        is_busy = self._uploads >= MAX_UPLOADS
        self._uploads += 1
        try:
            while True:
                with trio.move_on_after(IDLE_S) as scope:
                    request = await stream.read_record(RunRequest, MAX_REQUEST_BYTES)
                if scope.cancelled_caught:
                    return
                answer = Busy() if is_busy else await trio.to_thread.run_sync(self._load, request)
                await stream.write(frame(answer))
        finally:
            self._uploads -= 1

    def _load(self, request: RunRequest) -> Run | NotHere:
        try:
            return Run(*self._store.read_run(request.blob, request.first_piece))
        except BlobMissing:
            return NotHere()
        except Corrupted as error:
            log.error("damaged blob", error=str(error))
            return NotHere()


class BlobFetcher:
    """Fetches blobs into the store."""

    def __init__(self, store: BlobStore, conduct: Conduct) -> None:
        self._store = store
        self._conduct = conduct
        self._running: dict[BlobId, trio.Lock] = {}

    async def fetch(
        self,
        blob: BlobId,
        connections: Callable[[], Mapping[PeerId, Connection]],
        *,
        providers: Sequence[PeerId] = (),
        on_progress: Progress | None = None,
    ) -> None:
        """Return when the blob is in the store, asking the providers first and then every other connected peer.

        Raises `BlobUnavailable` when all of them failed; what arrived is kept for the next attempt.
        """
        lock = self._running.setdefault(blob, trio.Lock())
        try:
            async with lock:
                if not self._store.has(blob):
                    await self._fetch(blob, connections, providers, on_progress)
        finally:
            if not lock.statistics().tasks_waiting and not lock.locked():
                self._running.pop(blob, None)

    async def _fetch(
        self,
        blob: BlobId,
        connections: Callable[[], Mapping[PeerId, Connection]],
        providers: Sequence[PeerId],
        on_progress: Progress | None,
    ) -> None:
        with await trio.to_thread.run_sync(self._store.open_partial, blob) as partial:
            transfer = Transfer(partial, self._conduct, on_progress)
            await transfer.run(connections()[peer] for peer in providers if peer in connections())
            if transfer.missing:
                tried = set(providers)
                await transfer.run(held for peer, held in connections().items() if peer not in tried)
            if transfer.missing:
                raise BlobUnavailable(
                    f"blob {blob}: {len(transfer.missing)} of its runs are missing and none of "
                    f"{len(connections())} connected peers delivers them"
                )
            await trio.to_thread.run_sync(partial.finish)


class Transfer:
    """One attempt at the missing runs of one blob. `missing` holds those that nobody is asked for at the moment."""

    def __init__(self, partial: PartialBlob, conduct: Conduct, on_progress: Progress | None) -> None:
        self._partial = partial
        self._conduct = conduct
        self._on_progress = on_progress
        self._length = partial.blob.length
        self.missing = deque(partial.missing_runs())
        self._under_way = 0
        self._settled = trio.Event()
        self._done = self._length - sum(run_bytes(self._length, first) for first in self.missing)

    async def run(self, sources: Iterable[Connection]) -> None:
        """Ask the sources, some at once, until no run is missing or all of them have failed or finished."""
        waiting = deque(sources)

        async def work() -> None:
            while waiting and (self.missing or self._under_way):
                if not self.missing:
                    # What others were asked for may come back, and then this source may be the one that has it.
                    await self._settled.wait()
                    continue
                connection = waiting.popleft()
                if await self._fetch_from(connection):
                    waiting.append(connection)

        async with trio.open_nursery() as nursery:
            for _ in range(min(MAX_SOURCES, len(waiting))):
                nursery.start_soon(work)

    async def _fetch_from(self, connection: Connection) -> bool:
        """Take runs from one peer until none is missing (True) or it fails; what it still owes is missing again."""
        asked: deque[int] = deque()
        try:
            async with connection.stream(PROTOCOL) as stream:
                while await self._take_run(stream, asked):
                    pass
                return not asked
        except (PeerUnreachable, StreamLost, trio.TooSlowError) as error:
            log.debug("blob source lost", peer=connection.peer, error=repr(error))
        except Misbehaviour as fault:
            self._conduct.blame(connection.peer, fault)
            await connection.close()
        finally:
            self.missing.extendleft(reversed(asked))
            self._settle(len(asked))
        return False

    def _settle(self, runs: int) -> None:
        """Note that so many runs are no longer under way, and tell who waits for them."""
        self._under_way -= runs
        self._settled.set()
        self._settled = trio.Event()

    async def _take_run(self, stream: Stream, asked: "deque[int]") -> bool:
        """Ask for as many runs as may be under way and store the next one; return whether to go on."""
        with trio.fail_after(RUN_S):
            while self.missing and len(asked) < RUNS_AHEAD:
                asked.append(self.missing.popleft())
                self._under_way += 1
                await stream.write(frame(RunRequest(self._partial.blob, asked[-1])))
            if not asked:
                return False
            answer: Answer = await stream.read_record(Answer, MAX_ANSWER_BYTES)  # type: ignore[arg-type]
        if not isinstance(answer, Run):
            return False
        try:
            await trio.to_thread.run_sync(self._partial.write_run, asked[0], answer.data, answer.proof)
        except InvalidProof as error:
            raise Misbehaviour(f"wrong bytes for a blob: {error}", points=WRONG_RUN_POINTS) from error
        asked.popleft()
        self._settle(1)
        self._done += len(answer.data)
        if self._on_progress is not None:
            self._on_progress(self._done, self._length)
        return True
