"""Blobs within their quota: what tasks need stays, the oldest of the rest goes, and nothing is lost that is in use."""

import os
from pathlib import Path

import pytest
import structlog
import trio

from flocknode.blob_keeper import COLLECT_S, YOUNG_S, BlobKeeper, QuotaExceeded
from protocol.blobs import BlobId, compute_blob_id
from storage.blobs import BlobStore

SIZE = 100_000
NOW_S = 1_000_000
# A blob of that size with the roots of its runs, in blocks of 4 KiB.
ON_DISK = 25 * 4096 + 4096


class Source:
    """A network that has every blob made of one repeated byte."""

    def __init__(self, store: BlobStore) -> None:
        self.store = store

    async def fetch_blob(self, blob: BlobId, *, on_progress=None) -> None:
        for number in range(256):
            if compute_blob_id(bytes([number]) * SIZE) == blob:
                self.store.put(bytes([number]) * SIZE)
                on_progress(SIZE, SIZE)


class World:
    """A store with blobs that came one after the other, and its keeper."""

    def __init__(self, folder: Path, *, room_for: int) -> None:
        self.store = BlobStore(folder)
        self.pinned: set[BlobId] = set()
        self.keeper = BlobKeeper(
            self.store,
            Source(self.store),
            quota_bytes=room_for * ON_DISK,
            pinned=lambda: self.pinned,
            wall_clock=lambda: NOW_S * 1000,
        )

    def put(self, number: int, *, age_s: float) -> BlobId:
        blob = self.store.put(bytes([number]) * SIZE)
        for file in (self.store.path(blob), self.store.path(blob).with_name(f"{blob}.runs")):
            os.utime(file, (NOW_S - age_s, NOW_S - age_s))
        return blob

    async def collect(self) -> None:
        with trio.move_on_after(COLLECT_S / 2):
            await self.keeper.run()


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "blobs", room_for=3)


async def test_the_oldest_that_nobody_needs_goes_first(world, autojump_clock) -> None:
    """Down to the quota and no further; a line says so."""
    blobs = [world.put(number, age_s=YOUNG_S * (10 - number)) for number in range(5)]
    world.pinned = {blobs[0]}
    with structlog.testing.capture_logs() as records:
        await world.collect()
    assert {blob for blob in blobs if world.store.has(blob)} == {blobs[0], blobs[3], blobs[4]}
    assert [(record["event"], record["count"]) for record in records] == [("removed blobs", 2)]


async def test_what_is_pinned_or_young_stays_whatever_the_quota(world, autojump_clock) -> None:
    """A task in progress may need more than the quota; a blob that is about to be named is not taken from it."""
    pinned = [world.put(number, age_s=2 * YOUNG_S) for number in range(3)]
    young = [world.put(10 + number, age_s=YOUNG_S / 2) for number in range(3)]
    world.pinned = set(pinned)
    await world.collect()
    assert all(world.store.has(blob) for blob in pinned + young)


async def test_a_blob_under_way_is_not_removed_and_what_was_left_behind_is(world, autojump_clock) -> None:
    """A part that nobody fetches any more counts like a whole blob."""
    for number in range(3):
        world.put(number, age_s=0)
    begun, given_up = (compute_blob_id(bytes([number]) * SIZE) for number in (50, 51))
    with world.store.open_partial(begun):
        with world.store.open_partial(given_up) as partial:
            partial.write_run(0, bytes([51]) * SIZE, ())
        for file in (world.store._directory).glob("*.partial*"):
            os.utime(file, (NOW_S - 2 * YOUNG_S, NOW_S - 2 * YOUNG_S))
        await world.collect()
        left = {stored.blob for stored in world.store.usage()}
        assert begun in left
        assert given_up not in left


async def test_a_fetch_makes_room_for_itself(world) -> None:
    """Before the first byte comes, and with the progress passed on."""
    old = [world.put(number, age_s=YOUNG_S * (10 - number)) for number in range(3)]
    wanted, told = compute_blob_id(bytes([77]) * SIZE), []
    await world.keeper.fetch_blob(wanted, on_progress=lambda *progress: told.append(progress))
    assert [world.store.has(blob) for blob in [*old, wanted]] == [False, True, True, True]
    assert told == [(SIZE, SIZE)]


async def test_a_fetch_without_room_says_what_to_do_and_removes_nothing_for_nothing(world) -> None:
    """The error names the setting; a blob that is here already needs no room."""
    world.pinned = {world.put(number, age_s=2 * YOUNG_S) for number in range(3)}
    with pytest.raises(QuotaExceeded, match="does not fit") as caught:
        await world.keeper.fetch_blob(compute_blob_id(bytes([77]) * SIZE))
    assert "quota_bytes" in caught.value.help
    assert caught.value.data["need"] == SIZE
    await world.keeper.fetch_blob(next(iter(world.pinned)), on_progress=lambda *_: None)


def test_usage_counts_all_files_of_a_blob_oldest_first(world, tmp_path) -> None:
    """Whole blobs with their roots, parts with theirs, and no other file."""
    newer, older = world.put(1, age_s=10), world.put(2, age_s=20)
    (tmp_path / "blobs" / "notes.txt").write_text("x")
    assert [stored.blob for stored in world.store.usage()] == [older, newer]
    assert {stored.size_bytes for stored in world.store.usage()} == {ON_DISK}
    assert world.store.discard(older)
    assert [stored.blob for stored in world.store.usage()] == [newer]
