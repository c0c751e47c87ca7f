"""Parcels: only whom a box is for can open it, only the last hop reads, and lengths tell a size class and no more."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flocknode.relay.parcels import (
    CHUNK_BYTES,
    KEY_BYTES,
    MAC_BYTES,
    MAX_BOX_BYTES,
    MAX_LETTER_BYTES,
    SMALLEST_BYTES,
    Envelope,
    Letter,
    PassOn,
    Publish,
    address_parcel,
    letter_bytes,
    open_chunk,
    open_envelope,
    pass_on,
    size_class,
    split_letter,
)
from protocol.codec import decode, encode
from protocol.crypto import public_key
from protocol.errors import InvalidProof, Malformed

SEEDS = [bytes([number]) * 32 for number in (1, 2, 3)]
PATH = [public_key(seed) for seed in SEEDS]
KEYS = [bytes([number]) * KEY_BYTES for number in (7, 8, 9)]


def make(transaction=b"transaction", blob=b"", path=PATH):
    """Return (outgoing parcel, its body)."""
    parcel = address_parcel(path, letter_bytes(transaction, len(blob)), hop_tick_ms=100, keys=KEYS[: len(path)])
    return parcel, list(parcel.seal(Letter(transaction, io.BytesIO(blob))))


def travel(parcel, body, seeds=SEEDS):
    """Open a parcel hop by hop; return (instructions, the body as the last hop has it)."""
    envelope, instructions = parcel.envelope, []
    for seed in seeds:
        # As each hop reads it off the wire.
        envelope = decode(encode(envelope), Envelope)
        assert {len(chunk) for chunk in body} == {envelope.chunk_bytes}
        assert len(body) == envelope.chunks
        found = open_envelope(envelope, seed)
        body = [open_chunk(chunk, index, found.key) for index, chunk in enumerate(body)]
        instructions.append(found)
        if isinstance(found, PassOn):
            envelope = pass_on(envelope, found)
    return instructions, b"".join(body)


@given(transaction=st.binary(min_size=1, max_size=200), length=st.integers(0, 300_000), hops=st.integers(1, 3))
def test_a_letter_arrives_over_any_number_of_hops(transaction, length, hops):
    """The last hop has transaction and blob and zeros; those before learn the next hop and the tick, nothing else."""
    blob = bytes(index % 251 for index in range(length))
    parcel, body = make(transaction, blob, PATH[:hops])
    instructions, letter = travel(parcel, body, SEEDS[:hops])
    found, start = split_letter(letter[:SMALLEST_BYTES])
    assert found == transaction
    assert letter[start : start + length] == blob
    assert not letter[start + length :].strip(b"\0")
    assert len(letter) == size_class(letter_bytes(transaction, length))
    assert [one.next for one in instructions[:-1]] == PATH[1:hops]
    assert {one.tick_ms for one in instructions[:-1]} <= {100}
    assert isinstance(instructions[-1], Publish)


def test_lengths_tell_the_size_class_alone():
    """Letters of one class look alike in length at every hop; the class is the next power of two."""
    shapes = {
        (make(b"x" * 10, b"y" * length)[0].envelope.chunks, len(make(b"x" * 10, b"y" * length)[1][0]))
        for length in (70_000, 100_000, 131_000)
    }
    assert shapes == {(2, CHUNK_BYTES + 3 * MAC_BYTES)}
    assert [size_class(length) for length in (1, 8192, 8193, 131_072)] == [SMALLEST_BYTES, 8192, 16_384, 131_072]
    boxes = {len(make(b"x" * 10, b"y" * length)[0].envelope.box) for length in (0, 70_000, 1_000_000)}
    assert len(boxes) == 1
    assert boxes.pop() < MAX_BOX_BYTES
    with pytest.raises(Malformed):
        size_class(MAX_LETTER_BYTES + 1)


def test_no_hop_opens_what_is_not_for_it():
    """Not its own box by another key, not the next one's, and no altered box."""
    parcel, _ = make()
    for seed in SEEDS[1:]:
        with pytest.raises(InvalidProof):
            open_envelope(parcel.envelope, seed)
    first = open_envelope(parcel.envelope, SEEDS[0])
    onward = pass_on(parcel.envelope, first)
    with pytest.raises(InvalidProof):
        open_envelope(onward, SEEDS[0])
    for at in (0, 40, len(parcel.envelope.box) - 1):
        box = bytearray(parcel.envelope.box)
        box[at] ^= 1
        with pytest.raises(InvalidProof):
            open_envelope(Envelope(bytes(box), 1, SMALLEST_BYTES + MAC_BYTES), SEEDS[0])


def test_the_body_shows_nothing_before_the_last_hop():
    """Neither transaction nor blob stands in what the first two hops hold, and equal letters look different."""
    transaction, blob = b"a transaction that is long enough", b"weights" * 100
    parcel, body = make(transaction, blob)
    envelope = parcel.envelope
    for seed in SEEDS[:2]:
        todo = open_envelope(envelope, seed)
        body = [open_chunk(chunk, index, todo.key) for index, chunk in enumerate(body)]
        assert transaction not in b"".join(body)
        assert blob[:32] not in b"".join(body)
        envelope = pass_on(envelope, todo)
    other = address_parcel(PATH, letter_bytes(transaction, len(blob)), hop_tick_ms=100, keys=[b"z" * 32] * 3)
    assert list(other.seal(Letter(transaction, io.BytesIO(blob)))) != make(transaction, blob)[1]
    assert other.envelope.box != parcel.envelope.box


def test_an_altered_or_moved_chunk_is_found_out_by_the_next_hop():
    """A relay cannot mark a parcel for one further down the path to know it again."""
    parcel, body = make(blob=b"b" * 200_000)
    key = open_envelope(parcel.envelope, SEEDS[0]).key
    marked = bytearray(body[0])
    marked[-1] ^= 1
    with pytest.raises(InvalidProof):
        open_chunk(bytes(marked), 0, key)
    with pytest.raises(InvalidProof):
        open_chunk(body[1], 0, key)


def test_a_letter_without_a_transaction_and_a_path_without_an_end_are_refused():
    """Whatever the sender wrote into its boxes, a hop neither crashes nor sends what the next could not read."""
    for chunk in (b"", bytes(SMALLEST_BYTES), b"\xff" * SMALLEST_BYTES):
        with pytest.raises(InvalidProof):
            split_letter(chunk)
    shortest = Envelope(b"", 1, SMALLEST_BYTES + MAC_BYTES)
    with pytest.raises(InvalidProof):
        pass_on(shortest, PassOn(KEYS[0], 100, PATH[0], b""))
