"""What a participant's tools tell of long work on files, which threads do."""

from types import SimpleNamespace

import pytest
import trio

from flocknode.participants.kit import Kit
from flocknode.rpc.events import EventHub
from flocknode.work import Works
from protocol.errors import InvalidProof
from protocol.sealed_pieces import CLEAR_BYTES
from storage.blobs import BlobStore

KEY = b"k" * 32


@pytest.fixture
def told():
    """The events of work."""
    return []


@pytest.fixture
def kit(tmp_path, told):
    """The part of a kit that handles files."""
    hub = EventHub()
    hub.publish = lambda topic, event: told.append(event)
    unused = dict.fromkeys(Kit.__dataclass_fields__, SimpleNamespace())
    return Kit(
        **{**unused, "blobs": BlobStore(tmp_path / "blobs"), "works": Works(hub), "scratch": tmp_path / "scratch"}
    )


async def test_sealing_and_opening_a_blob_are_work_with_progress(kit, told, tmp_path):
    """Both begin with what is done, and end with all of it; the bytes come back."""
    clear = tmp_path / "clear"
    clear.write_bytes(b"7" * (70 * CLEAR_BYTES))
    blob = await kit.seal_into_blob(clear, KEY)
    assert {event.kind for event in told} == {"sealing"}
    assert (told[0].subject, told[0].unit, told[0].state) == ("clear", "bytes", "running")
    assert 0 < told[0].done < told[0].total == clear.stat().st_size
    assert (told[-1].state, told[-1].done) == ("done", clear.stat().st_size)
    told.clear()
    await kit.open_blob(blob, tmp_path / "opened", KEY)
    assert {event.kind for event in told} == {"opening"}
    assert (told[-1].state, told[-1].done, told[-1].total) == ("done", blob.length, blob.length)
    assert (tmp_path / "opened").read_bytes() == clear.read_bytes()


async def test_a_node_that_stops_does_not_wait_for_the_rest_of_a_file(kit, told, tmp_path):
    """Cancelling ends the thread within a few pieces, and leaves nothing in the store."""
    clear = tmp_path / "clear"
    with clear.open("wb") as file:
        file.truncate(2000 * CLEAR_BYTES)
    with trio.CancelScope() as scope:
        kit.works._hub.publish = lambda topic, event: (told.append(event), scope.cancel())
        await kit.seal_into_blob(clear, KEY)
    assert scope.cancelled_caught
    assert (told[-1].state, told[-1].done < clear.stat().st_size / 4) == ("failed", True)
    assert list((tmp_path / "blobs").iterdir()) == []


async def test_a_blob_that_does_not_open_is_failed_work(kit, told, tmp_path):
    """The wrong key ends the work as failed, and leaves no file."""
    (tmp_path / "clear").write_bytes(b"7")
    blob = await kit.seal_into_blob(tmp_path / "clear", KEY)
    with pytest.raises(InvalidProof):
        await kit.open_blob(blob, tmp_path / "opened", b"x" * 32)
    assert told[-1].state == "failed"
    assert not (tmp_path / "opened").exists()
