"""Signed and anonymous transactions, and the checks that need no state."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol.blobs import BlobId
from protocol.codec import encode
from protocol.crypto import public_key, sign
from protocol.errors import InvalidSignature, Malformed, OutOfBounds, ProtocolError
from protocol.models import MetricSpec, mlp_model
from protocol.params import DEVNET
from protocol.transactions import (
    MAX_REMEMBERED_BYTES,
    MAX_TRANSACTION_BYTES,
    AddBounty,
    AnonymousTransaction,
    CreateTask,
    OpenSubmission,
    Payload,
    Resources,
    RevealScores,
    ScoreEntry,
    SealedDataset,
    SignedTransaction,
    TaskSpec,
    Transfer,
    Verdict,
    check_payload,
    open_transaction,
    sign_transaction,
)
from tests.record_strategies import any_of

CHAIN, SEED = b"c" * 32, b"s" * 32
TAG, OTHER_TAG, ROOT = b"1" * 32, b"2" * 32, b"r" * 32
SPEC = TaskSpec(
    "digits",
    mlp_model(64, 8, 10),
    MetricSpec("accuracy", True, 0, 1_000_000),
    SealedDataset(BlobId(b"a" * 32, 1), b"a" * 32, 0),
    SealedDataset(BlobId(b"b" * 32, 1), b"b" * 32, 0),
    2,
    DEVNET.task,
    Resources(256, 5_000),
)


TRANSFER = Transfer(b"t" * 32, 5)


def make(payload: Payload = TRANSFER) -> SignedTransaction:
    return sign_transaction(CHAIN, SEED, payload, nonce=3, expires=9, fee=7)


@settings(max_examples=60, deadline=None)
@given(payload=any_of(Payload))
def test_every_kind_of_payload_is_signed_and_opened(payload):
    """What the types allow comes back from its bytes, or is refused for what it says, never for its signature."""
    try:
        check_payload(payload)
    except (OutOfBounds, Malformed):
        with pytest.raises((OutOfBounds, Malformed)):
            open_transaction(CHAIN, encode(make(payload)))
        return
    assert open_transaction(CHAIN, encode(make(payload))) == make(payload)


@pytest.mark.parametrize(
    "change",
    [
        {"sender": public_key(b"o" * 32)},
        {"nonce": 4},
        {"expires": 10},
        {"fee": 8},
        {"payload": Transfer(b"t" * 32, 6)},
        {"signature": bytes(64)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_the_signature_covers_every_field(change):
    """Whatever is altered on the way, the transaction is nobody's."""
    with pytest.raises(InvalidSignature):
        open_transaction(CHAIN, encode(replace(make(), **change)))


def test_a_transaction_belongs_to_one_chain():
    """On another chain with the same accounts it is no transaction."""
    with pytest.raises(InvalidSignature):
        open_transaction(b"d" * 32, encode(make()))


def test_a_signature_for_another_purpose_is_no_transaction():
    """The domain is signed too."""
    transaction = make()
    content = encode((transaction.sender, 3, 9, 7, transaction.payload))
    with pytest.raises(InvalidSignature):
        open_transaction(CHAIN, encode(replace(transaction, signature=sign(SEED, "flock/vote", CHAIN, content))))


def test_an_account_of_small_order_signs_nothing():
    """The identity's "signatures" verify for some messages in some libraries."""
    weak = replace(make(), sender=b"\x01" + bytes(31), signature=b"\x01" + bytes(63))
    with pytest.raises(InvalidSignature):
        open_transaction(CHAIN, encode(weak))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_altered_bytes_are_refused(data):
    """No bytes other than the original open as a signed transaction; none crash."""
    original = encode(make())
    altered = bytearray(original)
    altered[data.draw(st.integers(0, len(altered) - 1))] = data.draw(st.integers(0, 255))
    if bytes(altered) == original:
        return
    with pytest.raises(ProtocolError):
        open_transaction(CHAIN, bytes(altered))


def test_an_anonymous_transaction_carries_its_payload_only():
    """No signature, no fee, no nonce."""
    transaction = AnonymousTransaction(OpenSubmission(1, 0, TAG, b"k" * 32))
    assert open_transaction(CHAIN, encode(transaction)) == transaction


def test_short_transactions_are_remembered_and_long_ones_are_not():
    """Opening the same bytes again is free, but strangers cannot fill the memory with long transactions."""
    short = encode(make())
    assert open_transaction(CHAIN, short) is open_transaction(CHAIN, bytes(bytearray(short)))
    entries = tuple(ScoreEntry(bytes([n]) * 32, Verdict.UNFETCHABLE, 0, None, None) for n in range(120))
    long = encode(make(RevealScores(1, 0, bytes(32), entries)))
    assert len(long) > MAX_REMEMBERED_BYTES
    assert open_transaction(CHAIN, long) == open_transaction(CHAIN, long)
    assert open_transaction(CHAIN, long) is not open_transaction(CHAIN, long)


def test_what_is_longer_than_any_transaction_is_not_read():
    """The bound holds before anything is decoded."""
    with pytest.raises(Malformed, match="at most"):
        open_transaction(CHAIN, bytes(MAX_TRANSACTION_BYTES + 1))


@pytest.mark.parametrize(
    "payload",
    [
        Transfer(b"t" * 32, 0),
        AddBounty(1, 0),
        CreateTask(replace(SPEC, dataset_b=replace(SPEC.dataset_b, key_hash=b"a" * 32)), 1, 1),
        CreateTask(replace(SPEC, dataset_b=replace(SPEC.dataset_b, blob=BlobId(b"a" * 32, 2))), 1, 1),
        CreateTask(replace(SPEC, model=mlp_model(64)), 1, 1),
        CreateTask(replace(SPEC, metric=MetricSpec("accuracy", False, 0, 1)), 1, 1),
        CreateTask(replace(SPEC, settings=replace(DEVNET.task, trainer_share_millionths=0)), 1, 1),
    ],
    ids=[
        "no units",
        "no bounty",
        "one key",
        "one dataset",
        "no layers",
        "wrong direction",
        "shares",
    ],
)
def test_what_no_state_could_allow_is_out_of_bounds(payload):
    """Refused before it costs anybody a lookup."""
    with pytest.raises(OutOfBounds):
        check_payload(payload)


def test_a_possible_task_passes():
    """The spec that the refusals above vary is itself fine."""
    check_payload(CreateTask(SPEC, 1, 1))


def scored(tag: bytes) -> ScoreEntry:
    return ScoreEntry(tag, Verdict.SCORED, 5, ROOT, None)


@pytest.mark.parametrize(
    "entries",
    [
        (scored(OTHER_TAG), scored(TAG)),
        (scored(TAG), scored(TAG)),
        (ScoreEntry(TAG, Verdict.SCORED, 5, None, None),),
        (ScoreEntry(TAG, Verdict.UNFETCHABLE, 0, ROOT, None),),
        (ScoreEntry(TAG, Verdict.UNFETCHABLE, 1, None, None),),
        (ScoreEntry(TAG, Verdict.INVALID, 0, None, None),),
        (ScoreEntry(TAG, Verdict.INVALID, 1, ROOT, None),),
        (ScoreEntry(TAG, Verdict.INVALID, 0, ROOT, OTHER_TAG),),
    ],
    ids=[
        "unsorted", "twice", "no root", "root of nothing", "score of nothing", "invalid without root",
        "score of an invalid one", "copy of an invalid one",
    ],
)  # fmt: skip
def test_score_entries_that_contradict_themselves_are_malformed(entries):
    """Sorted and distinct by tag, and each verdict with exactly what belongs to it."""
    with pytest.raises(Malformed):
        check_payload(RevealScores(1, 0, bytes(32), entries))


def test_consistent_score_entries_pass():
    """One of each verdict."""
    entries = (
        scored(TAG),
        ScoreEntry(OTHER_TAG, Verdict.UNFETCHABLE, 0, None, None),
        ScoreEntry(b"3" * 32, Verdict.INVALID, 0, ROOT, None),
        ScoreEntry(b"4" * 32, Verdict.SCORED, 0, ROOT, TAG),
    )
    check_payload(RevealScores(1, 0, bytes(32), entries))
