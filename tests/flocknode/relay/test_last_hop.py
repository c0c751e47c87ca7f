"""The last relay: publishes what may stand in the next block, and keeps a blob only with what names it."""

import io
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from flocknode.mempool import Mempool
from flocknode.relay.last_hop import Publisher, name_blob
from protocol.blobs import BlobId, compute_blob_id
from protocol.codec import decode, encode
from protocol.errors import InvalidProof, NotEligible, ProtocolError
from protocol.rules.arena.records import Phase
from protocol.transactions import AnonymousTransaction, Transfer, sign_transaction
from storage.blobs import BlobStore
from tests.arena_play import Play

DATA = bytes(range(250)) * 20


class Full(Exception):
    """No room."""


class Stage:
    """A last hop on the ledger of a task that takes submissions."""

    def __init__(self, folder) -> None:
        self.play, self.blobs = Play().begin(), BlobStore(folder)
        assert self.play.phase is Phase.SUBMIT
        self.told, self.is_full = [], False
        self.chain = SimpleNamespace(id=self.play.ledger.chain)
        self.follow()
        self.mempool = Mempool(self.chain.state)
        self.publisher = Publisher(
            chain=self.chain,
            mempool=self.mempool,
            blobs=self.blobs,
            broadcast=lambda data: self.mempool.add(data) and self.told.append(data),
            make_room=self.make_room,
        )

    def follow(self) -> None:
        self.chain.state, self.chain.view = self.play.ledger.before, self.play.ledger.state

    async def make_room(self, blob) -> None:
        if self.is_full:
            raise Full

    def entered(self, number=0) -> bytes:
        """Return a trainer's submission, not sent yet."""
        self.play.ledger.submit(self.play.trainers[number], self.play.task, self.play.epoch)
        return self.play.ledger.pending.pop()


@pytest.fixture
def stage(tmp_path) -> Stage:
    return Stage(tmp_path)


def payload_of(data: bytes):
    return decode(data, AnonymousTransaction).payload


def test_a_submission_that_may_stand_in_the_next_block_is_taken(stage) -> None:
    """With its tag, its blob, and the ticks and the deadline of the task's phase; publishing tells the peers once."""
    data = stage.entered()
    delivery = stage.publisher.check(data)
    settings = stage.play.record.spec.settings
    assert (delivery.tag, delivery.blob) == (payload_of(data).tag, payload_of(data).blob)
    assert delivery.tick_ms == settings.submit_phase_ms // 40
    assert delivery.deadline_ms == stage.play.record.deadline_ms
    stage.publisher.publish(data)
    stage.publisher.publish(data)
    assert stage.told == [data]
    assert stage.publisher.check(data).blob == payload_of(data).blob, "waiting already: it came over the other path"


def test_what_no_block_would_take_is_refused(stage) -> None:
    """Forged proofs, other phases, signed transactions and noise: nothing of them is stored or published."""
    payload = payload_of(stage.entered())
    forged = AnonymousTransaction(replace(payload, blob=BlobId(bytes(32), 1)))
    late = AnonymousTransaction(replace(payload, epoch=1))
    person = stage.play.stranger
    signed = sign_transaction(stage.chain.id, person.seed, Transfer(bytes(32), 1), nonce=0, expires=9, fee=10**9)
    for data in (encode(forged), encode(late), encode(signed), b"noise"):
        with pytest.raises(ProtocolError):
            stage.publisher.check(data)


def test_the_blob_of_what_is_on_the_log_is_still_taken(stage) -> None:
    """A relay that published a submission may have forgotten its blob; another blob is not taken for it."""
    data = stage.entered()
    stage.play.ledger.pending.append(data)
    stage.play.ledger.block()
    stage.follow()
    stage.mempool.advance(stage.chain.state, (data,))
    assert stage.publisher.check(data).blob == payload_of(data).blob
    other = AnonymousTransaction(replace(payload_of(data), blob=BlobId(bytes(32), 1)))
    with pytest.raises((NotEligible, ProtocolError)):
        stage.publisher.check(encode(other))


def test_the_blobs_of_epochs_that_are_over_are_nobodys_business(stage) -> None:
    """Who replays the submission of an earlier epoch has nothing stored."""
    data = stage.entered()
    stage.play.submit().draw().open().commit({}).reveal().claim()
    stage.follow()
    stage.mempool.advance(stage.chain.state, ())
    assert stage.play.epoch == 1
    with pytest.raises(ProtocolError):
        stage.publisher.check(data)


async def test_only_the_named_blob_is_stored_and_never_in_place_of_another(stage) -> None:
    """Who sends the bytes of a blob that is here under another name neither adds nor removes anything."""
    held = stage.blobs.put(b"a dataset")
    blob = compute_blob_id(DATA)
    padded = io.BytesIO(b"head" + DATA + bytes(100))
    padded.seek(4)
    await stage.publisher.store(blob, padded)
    assert stage.blobs.read(blob) == DATA
    with pytest.raises(InvalidProof):
        await stage.publisher.store(BlobId(bytes(32), 9), io.BytesIO(b"a dataset"))
    with pytest.raises(InvalidProof):
        await stage.publisher.store(BlobId(blob.root, blob.length + 1), io.BytesIO(DATA))
    assert set(stage.blobs.list()) == {held, blob}


async def test_what_does_not_fit_is_not_stored(stage) -> None:
    """The quota is the operator's."""
    stage.is_full = True
    with pytest.raises(Full):
        await stage.publisher.store(compute_blob_id(DATA), io.BytesIO(DATA))
    assert stage.blobs.list() == ()


@pytest.mark.parametrize("length", [0, 1, 65_536, 1_048_576, 1_048_577, 2_500_000])
def test_a_stream_is_named_like_its_bytes(length) -> None:
    """Whatever follows it in the file."""
    data = bytes(index % 251 for index in range(length))
    assert name_blob(io.BytesIO(data + b"rest"), length) == compute_blob_id(data)
