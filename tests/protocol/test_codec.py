"""The canonical form: one record, one byte string, and nothing that a peer sends does more than be refused."""

import tracemalloc

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.blocks import Block, Receipt
from protocol.codec import decode, encode, read
from protocol.errors import Malformed
from protocol.genesis import GenesisDocument
from protocol.rules.arena.records import Task
from protocol.rules.arena.results import EpochResult
from protocol.tendermint.messages import Proposal, Vote
from protocol.transactions import OpenSubmission, Transaction, Transfer
from tests.record_strategies import any_of

KINDS = {
    "Transaction": Transaction,
    "Block": Block,
    "Message": Proposal | Vote,
    "GenesisDocument": GenesisDocument,
    "Task": Task,
    "EpochResult": EpochResult,
}
few = settings(max_examples=25, deadline=None)
every_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS.keys())


@every_kind
@few
@given(data=st.data())
def test_every_record_comes_back(kind, data):
    """Decoding the bytes of a record gives the record, and MessagePack's own unpacker sees an array."""
    record = data.draw(any_of(kind))
    encoded = encode(record)
    assert decode(encoded, kind) == read(encoded, kind) == record
    assert isinstance(msgpack.unpackb(encoded), list)


@every_kind
@few
@given(data=st.data())
def test_altered_bytes_are_refused_or_another_record(kind, data):
    """Whatever happens to bytes on the way, they are refused, or are the one spelling of what they decode to."""
    altered = bytearray(encode(data.draw(any_of(kind))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(altered) - 1))
        match data.draw(st.sampled_from(["set", "insert", "cut", "end"])):
            case "set":
                altered[at] = data.draw(st.integers(0, 255))
            case "insert":
                altered.insert(at, data.draw(st.integers(0, 255)))
            case "cut" if len(altered) > 1:
                del altered[at]
            case _:
                altered += data.draw(st.binary(min_size=1, max_size=3))
    expect_refused_or_canonical(bytes(altered), kind)


@every_kind
@few
@given(data=st.binary(max_size=200))
def test_garbage_is_refused_or_canonical(kind, data):
    """Any bytes at all end in a record or in `Malformed`."""
    expect_refused_or_canonical(data, kind)


def expect_refused_or_canonical(data, kind):
    try:
        record = decode(data, kind)
    except Malformed:
        return
    assert encode(record) == data


TO = b"\x07" * 32
# [1, to, 5]: the array of a `Transfer`, its tag first.
CANONICAL = b"\x93\x01\xc4\x20" + TO + b"\x05"


def test_the_bytes_of_a_record_are_known():
    """A transfer is an array of its tag, the address as bytes, and the smallest spelling of the number."""
    assert encode(Transfer(TO, 5)) == CANONICAL
    assert decode(CANONICAL, Transfer) == Transfer(TO, 5)


@pytest.mark.parametrize(
    "data",
    [
        b"\x93\x01\xc4\x20" + TO + b"\xcc\x05",
        b"\x93\x01\xc4\x20" + TO + b"\xcd\x00\x05",
        b"\x93\x01\xc4\x20" + TO + b"\xcb\x40\x14" + bytes(6),
        b"\x93\x01\xc5\x00\x20" + TO + b"\x05",
        b"\x93\x01\xd9\x20" + TO + b"\x05",
        b"\x93\xcc\x01\xc4\x20" + TO + b"\x05",
        b"\xdc\x00\x03\x01\xc4\x20" + TO + b"\x05",
        b"\xdd\x00\x00\x00\x03\x01\xc4\x20" + TO + b"\x05",
        b"\x93\x01\xc4\x20" + TO + b"\xc3",
        b"\x93\x01\xc4\x20" + TO + b"\xff",
        b"\x93\x01\xc4\x20" + TO + b"\xcf" + b"\xff" * 8,
        b"\x93\x01\xc4\x1f" + TO[1:] + b"\x05",
        b"\x93\x63\xc4\x20" + TO + b"\x05",
        b"\x92\x01\xc4\x20" + TO,
        b"\x94\x01\xc4\x20" + TO + b"\x05\x05",
        CANONICAL + b"\x00",
        CANONICAL[:-1],
        b"\x82\xa2to\xc4\x20" + TO + b"\xa5units\x05",
        b"\xc7\x00\x05",
        b"",
    ],
    ids=[
        "long number", "longer number", "number as float", "long length", "text for bytes", "long tag", "long array",
        "longest array", "true for 1", "negative", "number of 64 bits", "short address", "unknown tag", "missing field",
        "unknown field", "trailing byte", "cut off", "map", "extension", "nothing",
    ],
)  # fmt: skip
def test_a_second_spelling_and_a_wrong_value_are_refused(data):
    """Only the shortest spelling of a record within its ranges decodes."""
    with pytest.raises(Malformed):
        decode(data, Transfer)


@pytest.mark.parametrize("data", [b"", b"\x00", b"\x93\x01", encode((1, 2)) + b"\x00"])
def test_what_was_kept_and_is_damaged_is_refused(data):
    """This node's own bytes are not encoded again to compare; those that are no such record are refused anyway."""
    with pytest.raises(Malformed):
        read(data, tuple[int, int])


def test_text_that_is_not_unicode_is_refused():
    """A name of broken UTF-8 is malformed, not a crash."""
    with pytest.raises(Malformed):
        decode(b"\x93\xc4\x20" + bytes(32) + b"\x00\xa3\xed\xa0\x80", Receipt)


def test_too_many_bytes_are_not_even_read():
    """What is longer than the caller allows is refused by its length."""
    with pytest.raises(Malformed, match="at most 10"):
        decode(CANONICAL, Transfer, max_bytes=10)


@pytest.mark.parametrize("filler", [b"\x90", b"\x80", b"\xc0"], ids=["arrays", "maps", "nils"])
def test_a_bomb_is_refused_before_it_is_built(filler):
    """A million small values where a record belongs cost no memory: the first one that misfits ends it."""
    bomb = b"\xdd" + (2**20).to_bytes(4, "big") + filler * 2**20
    tracemalloc.start()
    try:
        with pytest.raises(Malformed):
            decode(bomb, Transaction)
        assert tracemalloc.get_traced_memory()[1] < 100_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("depth", [100, 100_000])
def test_deep_nesting_is_refused(depth):
    """Arrays within arrays exhaust no stack."""
    with pytest.raises(Malformed):
        decode(b"\x91" * depth, Transaction)


def test_a_claimed_length_is_not_believed():
    """An array or a byte string that says it is longer than the message reserves nothing."""
    for data in (
        b"\xdd\xff\xff\xff\xff",
        b"\x92\x02\x95\x0c\x01\x00\xc6\xff\xff\xff\xff",
        b"\xdc\xff\xff" + b"\x01" * 9,
    ):
        with pytest.raises(Malformed):
            decode(data, Transaction)


def test_a_union_is_told_apart_by_its_tag():
    """The tag of an inner union names the payload's kind."""
    opening = OpenSubmission(1, 0, b"t" * 32, b"k" * 32)
    assert decode(encode(opening), Transfer | OpenSubmission) == opening
