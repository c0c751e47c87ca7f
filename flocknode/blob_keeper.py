"""Keeps the blobs of a home within their quota: what running tasks need stays, of the rest the oldest goes first."""

from collections.abc import Callable, Collection
from typing import Protocol

import structlog
import trio

from flocknode.network.blobs import Progress
from flocknode.network.errors import BlobUnavailable
from protocol.blobs import BlobId
from storage.blobs import BlobStore, StoredBlob

# How often to look whether the quota is exceeded.
COLLECT_S = 60.0
# What is younger stays: a task that is to name it may be on its way to the log.
YOUNG_S = 3600.0

log = structlog.get_logger()


class QuotaExceeded(BlobUnavailable):
    """There is no room for a blob within the quota."""

    number = 131
    help = "Raise `quota_bytes` under [blobs] in config.toml and start the node again."


class BlobSource(Protocol):
    """The part of the network that brings blobs."""

    async def fetch_blob(self, blob: BlobId, *, on_progress: Progress | None = None) -> None:
        """Bring a blob into the store; raises `BlobUnavailable`."""


class BlobKeeper:
    """Fetches blobs into the store and removes others.

    `pinned` returns the blobs that tasks in progress name, `wall_clock` milliseconds since the Unix epoch.
    """

    def __init__(
        self,
        store: BlobStore,
        source: BlobSource,
        *,
        quota_bytes: int,
        pinned: Callable[[], Collection[BlobId]],
        wall_clock: Callable[[], int],
    ) -> None:
        self._store = store
        self._source = source
        self._quota_bytes = quota_bytes
        self._pinned = pinned
        self._wall_clock = wall_clock

    async def run(self) -> None:
        """Collect garbage now and then until cancelled."""
        while True:
            await self._collect(self._quota_bytes)
            await trio.sleep(COLLECT_S)

    async def fetch_blob(self, blob: BlobId, *, on_progress: Progress | None = None) -> None:
        """Bring a blob into the store, at the cost of others that nobody needs.

        Raises `QuotaExceeded` when there is no room even so, and `BlobUnavailable` when no peer delivers it.
        """
        if not self._store.has(blob):
            await self.make_room(blob)
        await self._source.fetch_blob(blob, on_progress=on_progress)

    async def make_room(self, blob: BlobId) -> None:
        """Remove what nobody needs until a blob fits; raises `QuotaExceeded` when it does not even so."""
        left = await self._collect(self._quota_bytes - blob.length, other_than=blob)
        if left + blob.length > self._quota_bytes:
            raise QuotaExceeded(
                f"blob {blob} does not fit: what may not be removed takes up {left} of {self._quota_bytes} bytes",
                have=left,
                need=blob.length,
            )

    async def _collect(self, limit_bytes: int, *, other_than: BlobId | None = None) -> int:
        """Remove what may go until the rest takes up no more than a limit, and return how much that is."""
        pinned = frozenset(self._pinned())
        return await trio.to_thread.run_sync(self._remove_above, limit_bytes, pinned, other_than)

    def _remove_above(self, limit_bytes: int, pinned: frozenset[BlobId], other_than: BlobId | None) -> int:
        stored = [entry for entry in self._store.usage() if entry.blob != other_than]
        total, removed = sum(entry.size_bytes for entry in stored), 0
        for entry in stored:
            if total <= limit_bytes:
                break
            if self._may_go(entry, pinned) and self._store.discard(entry.blob):
                total -= entry.size_bytes
                removed += 1
        if removed:
            log.info("removed blobs", count=removed, left_bytes=total, quota_bytes=self._quota_bytes)
        return total

    def _may_go(self, entry: StoredBlob, pinned: frozenset[BlobId]) -> bool:
        return entry.blob not in pinned and entry.changed_s < self._wall_clock() / 1000 - YOUNG_S
