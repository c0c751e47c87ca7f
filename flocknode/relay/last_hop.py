"""The end of the way: this node as the one that publishes what others entered, and keeps their blobs for validators."""

from collections.abc import Awaitable, Callable
from typing import IO

import trio

from flocknode.chain import Chain
from flocknode.mempool import Mempool
from flocknode.relay.mix import Delivery
from flocknode.relay.ticks import compute_tick_ms
from protocol.blobs import RUN_BYTES, BlobId, blob_root, run_root
from protocol.blocks import transaction_id
from protocol.errors import InvalidProof
from protocol.ledger import check_anonymous
from protocol.rules.arena.records import get_submission, get_task
from protocol.transactions import AnonymousTransaction, Submit, open_transaction
from storage.blobs import BlobStore


class _Part:
    """So many bytes of a file from where it stands, as a file."""

    def __init__(self, source: IO[bytes], length: int) -> None:
        self._source = source
        self._left = length

    def read(self, size: int = -1) -> bytes:
        data = self._source.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data


def name_blob(source: IO[bytes], length: int) -> BlobId:
    """Return the name of the next so many bytes of a file, never all of them in memory."""
    part = _Part(source, length)
    roots: list[bytes] = []
    found = 0
    while run := part.read(RUN_BYTES):
        roots.append(run_root(run))
        found += len(run)
    return BlobId(blob_root(roots), found)


class Publisher:
    """The last hop of other nodes' paths (`mix.LastHop`).

    `broadcast` adds a transaction to the mempool and tells peers; `make_room` raises when a blob does not fit.
    """

    def __init__(
        self,
        *,
        chain: Chain,
        mempool: Mempool,
        blobs: BlobStore,
        broadcast: Callable[[bytes], object],
        make_room: Callable[[BlobId], Awaitable[None]],
    ) -> None:
        self._chain = chain
        self._mempool = mempool
        self._blobs = blobs
        self._broadcast = broadcast
        self._make_room = make_room

    def check(self, transaction: bytes) -> Delivery:
        """Return what a letter brings; raises a `ProtocolError` unless it may stand in the next block.

        What is on the log already, or waits to be, came over the other path: its blob may still be missing.
        """
        opened = open_transaction(self._chain.id, transaction)
        if not isinstance(opened, AnonymousTransaction):
            raise InvalidProof("relays publish submissions and openings, nothing that an account signs")
        payload = opened.payload
        blob = payload.blob if isinstance(payload, Submit) else None
        task = get_task(self._chain.view, payload.task)
        found = get_submission(self._chain.view, payload.task, payload.epoch, payload.tag)
        is_entered = found is not None and found.blob == blob and payload.epoch == task.epoch
        if not is_entered and transaction_id(transaction) not in self._mempool:
            check_anonymous(self._chain.state, payload)
        tick_ms = compute_tick_ms(task.spec.settings, payload)
        return Delivery(
            transaction=transaction, tag=payload.tag, tick_ms=tick_ms, deadline_ms=task.deadline_ms, blob=blob
        )

    async def store(self, blob: BlobId, source: IO[bytes]) -> None:
        """Keep a blob for whoever asks; raises `InvalidProof` when the source holds another one, or `QuotaExceeded`.

        Named before it is stored: whatever else the source holds must not come to lie among the blobs.
        """
        start = source.tell()
        if self._blobs.has(blob):
            return
        if await trio.to_thread.run_sync(name_blob, source, blob.length) != blob:
            raise InvalidProof("the letter brings another blob than its transaction names")
        await self._make_room(blob)
        source.seek(start)
        await trio.to_thread.run_sync(self._blobs.put, _Part(source, blob.length))

    def publish(self, transaction: bytes) -> None:
        """Broadcast a transaction; raises a `ProtocolError` when it is too late for it."""
        self._broadcast(transaction)
