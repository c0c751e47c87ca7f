"""What the performer of a duty has at hand."""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import trio

from flocknode.account import AccountKey
from flocknode.chain import Chain
from flocknode.participants.diary import Diary
from flocknode.participants.sender import Sender
from flocknode.relay.courier import Courier
from flocknode.rpc.records import WorkKind
from flocknode.sealing import SealedStream, open_file
from flocknode.trainings import Trainings
from flocknode.work import Advance, Works
from flocknode.worker import Worker
from protocol import vrf
from protocol.blinding import submit_alpha
from protocol.blobs import PIECE_BYTES, BlobId
from protocol.crypto import hash_parts, integer_bytes
from protocol.rules.alliance.records import Alliance
from protocol.rules.arena.records import Task, get_task
from storage.blobs import BlobStore

# Tells people what a duty does: for what, and in words.
Report = Callable[[Task | Alliance, str], None]


class BlobSource(Protocol):
    """The part of the network that brings blobs."""

    async def fetch_blob(self, blob: BlobId, *, on_progress: Advance | None = None) -> None:
        """Bring a blob into the store; raises `BlobUnavailable`. Reports the bytes that are here, and all of them."""


@dataclass(frozen=True, kw_only=True)
class Kit:
    """One account's tools. `randomness` gives fresh secret bytes, `scratch` is a folder for files in clear.

    `alliances` is the folder of the own data of alliances, and of what each of them starts from.

    The account may be locked; what needs its key then raises `KeyLocked`.
    """

    chain: Chain
    account: AccountKey
    sender: Sender
    diary: Diary
    blobs: BlobStore
    # Own submissions until they are claimed: nobody is served from here, so that nobody learns whose they are.
    outbox: BlobStore
    courier: Courier
    source: BlobSource
    worker: Worker
    works: Works
    trainings: Trainings
    scratch: Path
    alliances: Path
    randomness: Callable[[int], bytes]
    report: Report

    @property
    def address(self) -> bytes:
        """The account's address."""
        return self.account.address

    def get_task(self, task: int) -> Task:
        """Return a task as it stands."""
        return get_task(self.chain.view, task)

    def vrf_secret(self, task: int) -> bytes:
        """Return the account's VRF key for one task: derived from its seed, another one for each task."""
        return vrf.key_from_seed(hash_parts("flock/vrf/task", self.account.seed, self.chain.id, integer_bytes(task)))

    def tag(self, task: int, epoch: int) -> bytes:
        """Return the account's pseudonym for an epoch."""
        return vrf.tag(self.vrf_secret(task), submit_alpha(self.chain.id, task, epoch))

    async def seal_into_blob(self, source: Path, key: bytes, *, into: BlobStore | None = None) -> BlobId:
        """Encrypt a file into the blob store, or the one given, off the event loop."""
        size = (await trio.Path(source).stat()).st_size
        with self.track_file("sealing", source.name, size) as report:
            return await trio.to_thread.run_sync(seal_into_blob, into or self.blobs, source, key, report)

    async def show_entered(self, blob: BlobId) -> None:
        """Let others have the blob of an own submission, now that everybody knows whose it is."""
        if self.outbox.has(blob):
            await trio.to_thread.run_sync(copy_blob, self.outbox, self.blobs, blob)
            self.outbox.delete(blob)

    async def open_blob(self, blob: BlobId, target: Path, key: bytes) -> None:
        """Decrypt a blob of the store into a file, off the event loop. Raises `InvalidProof`."""
        with self.track_file("opening", f"blob {blob.root.hex()[:8]}", blob.length) as report:
            await trio.to_thread.run_sync(open_file, self.blobs.path(blob), target, key, report)

    @contextmanager
    def track_file(self, kind: WorkKind, subject: str, total: int) -> Iterator[Callable[[int], None]]:
        """Give the function that a thread reports to how many bytes of a file are done; it ends a cancelled thread."""
        with self.works.track(kind, subject, "bytes") as advance:

            def report(done: int) -> None:
                trio.from_thread.check_cancelled()
                trio.from_thread.run_sync(advance, done, total)

            yield report
            advance(total, total)


def copy_blob(source: BlobStore, target: BlobStore, blob: BlobId) -> None:
    """Put a blob of one store into another."""
    with source.path(blob).open("rb") as file:
        target.put(file)


def seal_into_blob(
    blobs: BlobStore, source: Path, key: bytes, report: Callable[[int], object] = lambda done: None
) -> BlobId:
    """Encrypt a file under a key of its own into the blob store; `report` hears how many bytes are done."""
    with source.open("rb") as clear:
        return blobs.put(io.BufferedReader(SealedStream(clear, key, report), PIECE_BYTES))
