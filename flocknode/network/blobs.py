"""Blobs from peer to peer: runs of 1 MiB, each proven on arrival, from several peers at once, resumed after a break.

What a blob is and how a run is proven stands in `protocol.blobs`; how it lies on the disk in `storage.blobs`.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, TypeAlias

import structlog
import trio
from msgspec import Meta

from flocknode.network.conduct import Conduct
from flocknode.network.errors import BlobUnavailable, Misbehaviour, PeerUnreachable, StreamLost
from flocknode.network.host import Connection
from flocknode.network.messages import PeerId
from flocknode.network.streams import Stream, frame
from protocol.blobs import RUN_BYTES, BlobId, RunProof, run_bytes
from protocol.errors import InvalidProof
from protocol.types import Count, Record
from storage.blobs import BlobStore
from storage.errors import BlobMissing, Corrupted
from storage.partial_blobs import PartialBlob

PROTOCOL = "/flock/blob/1"
MAX_REQUEST_BYTES = 128
MAX_ANSWER_BYTES = 1024
# Runs asked for on a stream before the first has come, so that neither side waits for the other.
RUNS_AHEAD = 4
WINDOW_BYTES = 2 * RUNS_AHEAD * RUN_BYTES
# Streams at once, to as many peers as there are and two at most to one: while one run is on the way, the next is read
# from a disk there or written to one here.
MAX_STREAMS = 4
STREAMS_PER_SOURCE = 2

MAX_UPLOADS = 16
MAX_UPLOADS_PER_PEER = 4
# A peer that takes longer for a run is given up; after a shorter while, one with nothing else to do asks for it too.
RUN_S = 20.0
PATIENCE_S = 2.0
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


class Here(Record, tag=0):
    """What proves the run. Its bytes follow as they are: in a record they would be copied, and encoded to compare."""

    length: Annotated[int, Meta(ge=1, le=RUN_BYTES)]
    proof: RunProof


class NotHere(Record, tag=1):
    """The peer does not hold the blob."""


class Busy(Record, tag=2):
    """The peer serves too many already; try later."""


Answer = Here | NotHere | Busy


class BlobServer:
    """Serves what the store holds, to some peers at a time."""

    def __init__(self, store: BlobStore) -> None:
        self._store = store
        self._uploads: Counter[PeerId] = Counter()

    async def serve(self, peer: PeerId, stream: Stream) -> None:
        """Answer a peer's requests until it closes the stream. Raises `StreamLost` then, and `Misbehaviour`."""
        is_busy = self._uploads.total() >= MAX_UPLOADS or self._uploads[peer] >= MAX_UPLOADS_PER_PEER
        self._uploads[peer] += 1
        try:
            while True:
                with trio.move_on_after(IDLE_S) as scope:
                    request = await stream.read_record(RunRequest, MAX_REQUEST_BYTES)
                if scope.cancelled_caught:
                    return
                data, answer = (b"", Busy()) if is_busy else await trio.to_thread.run_sync(self._load, request)
                await stream.write(frame(answer) + data)
        finally:
            self._uploads[peer] -= 1
            if not self._uploads[peer]:
                del self._uploads[peer]

    def _load(self, request: RunRequest) -> tuple[bytes, Answer]:
        """Return the answer, and before it the bytes that follow it."""
        try:
            data, proof = self._store.read_run(request.blob, request.first_piece)
        except BlobMissing:
            return b"", NotHere()
        except Corrupted as error:
            log.error("damaged blob", error=str(error))
            return b"", NotHere()
        return data, Here(len(data), proof)


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
            if transfer.left:
                tried = set(providers)
                await transfer.run(held for peer, held in connections().items() if peer not in tried)
            if transfer.left:
                raise BlobUnavailable(
                    f"blob {blob}: {len(transfer.left)} of its runs are missing and none of "
                    f"{len(connections())} connected peers delivers them"
                )
            await trio.to_thread.run_sync(partial.finish)


class Transfer:
    """One attempt at the missing runs of one blob. `left` holds the runs that are not here."""

    def __init__(self, partial: PartialBlob, conduct: Conduct, on_progress: Progress | None) -> None:
        self._partial = partial
        self._conduct = conduct
        self._on_progress = on_progress
        self._length = partial.blob.length
        # Runs to be asked for; those of them that have come meanwhile are passed over.
        self._missing = deque(partial.missing_runs())
        self.left = set(self._missing)
        # How many peers owe a run, and when the last of them was asked.
        self._under_way: dict[int, tuple[int, float]] = {}
        self._settled = trio.Event()
        self._done = self._length - sum(run_bytes(self._length, first) for first in self.left)

    async def run(self, sources: Iterable[Connection]) -> None:
        """Ask the sources, some at once, until no run is left or all of them have failed or finished."""
        waiting = deque(STREAMS_PER_SOURCE * list(sources))
        async with trio.open_nursery() as nursery:
            for _ in range(min(MAX_STREAMS, len(waiting))):
                nursery.start_soon(self._work, waiting, nursery.cancel_scope)

    async def _work(self, waiting: "deque[Connection]", scope: trio.CancelScope) -> None:
        """Ask one source after the other; the last run to come ends the wait for those who were asked for it too."""
        while waiting and self.left:
            if not self._has_missing():
                # What others were asked for may come back, and then this source may be the one that has it.
                with trio.move_on_after(PATIENCE_S):
                    await self._settled.wait()
                continue
            connection = waiting.popleft()
            if await self._fetch_from(connection):
                waiting.append(connection)
        if not self.left:
            scope.cancel()

    def _has_missing(self) -> bool:
        """Return whether there is a run to ask for: one that others take too long for is asked for twice."""
        while self._missing and self._missing[0] not in self.left:
            self._missing.popleft()
        if not self._missing:
            now = trio.current_time()
            late = [first for first, (_, asked_at) in self._under_way.items() if asked_at <= now - PATIENCE_S]
            for first in late[:RUNS_AHEAD]:
                self._under_way[first] = (self._under_way[first][0], now)
                self._missing.append(first)
        return bool(self._missing)

    async def _fetch_from(self, connection: Connection) -> bool:
        """Take runs from one peer until none is missing (True) or it fails; what it still owes is missing again."""
        asked: deque[int] = deque()
        try:
            async with connection.stream(PROTOCOL) as stream:
                await stream.widen(WINDOW_BYTES)
                while await self._take_run(stream, asked):
                    pass
                return not asked
        except (PeerUnreachable, StreamLost, trio.TooSlowError) as error:
            log.debug("blob source lost", peer=connection.peer, error=repr(error))
        except Misbehaviour as fault:
            self._conduct.blame(connection.peer, fault)
            await connection.close()
        finally:
            for first in reversed(asked):
                self._release(first)
            self._settle()
        return False

    async def _take_run(self, stream: Stream, asked: "deque[int]") -> bool:
        """Ask for as many runs as may be under way and store the next one; return whether to go on."""
        with trio.fail_after(RUN_S):
            while len(asked) < RUNS_AHEAD and self._missing:
                first_piece = self._missing.popleft()
                if first_piece in self.left:
                    asked.append(first_piece)
                    self._engage(first_piece)
                    await stream.write(frame(RunRequest(self._partial.blob, first_piece)))
            if not asked:
                return False
            answer: Answer = await stream.read_record(Answer, MAX_ANSWER_BYTES)  # type: ignore[arg-type]
            if not isinstance(answer, Here):
                return False
            data = await stream.read_exactly(answer.length)
        await self._keep(asked[0], data, answer.proof)
        self._release(asked.popleft())
        self._settle()
        return True

    async def _keep(self, first_piece: int, data: bytes, proof: RunProof) -> None:
        """Store a run, unless another peer was faster. Raises `Misbehaviour` when it is not the blob's."""
        if first_piece in self.left:
            try:
                await trio.to_thread.run_sync(self._partial.write_run, first_piece, data, proof)
            except InvalidProof as error:
                raise Misbehaviour(f"wrong bytes for a blob: {error}", points=WRONG_RUN_POINTS) from error
        if first_piece in self.left:
            self.left.discard(first_piece)
            self._done += len(data)
            if self._on_progress is not None:
                self._on_progress(self._done, self._length)

    def _engage(self, first_piece: int) -> None:
        """Note that one more peer owes a run."""
        count, _ = self._under_way.get(first_piece, (0, 0.0))
        self._under_way[first_piece] = (count + 1, trio.current_time())

    def _release(self, first_piece: int) -> None:
        """Note that a peer no longer owes a run; when nobody does and it is not here, it is missing again."""
        count, asked_at = self._under_way.pop(first_piece)
        if count > 1:
            self._under_way[first_piece] = (count - 1, asked_at)
        elif first_piece in self.left:
            self._missing.appendleft(first_piece)

    def _settle(self) -> None:
        """Tell who waits that something came or will not come."""
        self._settled.set()
        self._settled = trio.Event()
