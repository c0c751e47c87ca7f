"""What travels between relays: a submission with its blob, or an opening, in one box for each hop. Pure.

A parcel is an envelope and a body. The envelope is a sealed box to the hop's own peer key, in it what to do, the key of
the body's outer layer, and the next hop's box. The body comes in chunks of one length, each encrypted once for every
hop; what the last one finds in it is a letter: the transaction, the blob, and zeros up to a size class. So no hop but
the last sees more than a size class, and none but the first sees who sent it.
"""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Protocol

from msgspec import Meta
from nacl import bindings, exceptions

from flocknode.relay.ticks import MAX_TICK_MS, MIN_TICK_MS
from protocol.codec import decode, encode
from protocol.crypto import public_key
from protocol.errors import InvalidProof, Malformed
from protocol.types import Bytes32, Record

KEY_BYTES = bindings.crypto_secretbox_KEYBYTES
MAC_BYTES = bindings.crypto_secretbox_MACBYTES
# The smallest size class takes a ring proof over 128 keys; each class is twice the one before.
SMALLEST_BYTES = 8 * 1024
CHUNK_BYTES = 64 * 1024
MAX_CHUNKS = 2**15
MAX_LETTER_BYTES = MAX_CHUNKS * CHUNK_BYTES
LENGTH_BYTES = 4
MAX_LAYERS = 8
MAX_BOX_BYTES = 2_048


class PassOn(Record, tag=0):
    """What a hop on the way finds: the peer key to pass the parcel on to, at the next tick of this length."""

    key: Bytes32
    tick_ms: Annotated[int, Meta(ge=MIN_TICK_MS, le=MAX_TICK_MS)]
    next: Bytes32
    inner: Annotated[bytes, Meta(max_length=MAX_BOX_BYTES)]


class Publish(Record, tag=1):
    """What the last hop finds: the letter is for it."""

    key: Bytes32


Instruction = PassOn | Publish


class Envelope(Record):
    """What a hop is handed first: its box, and how long the body is that follows."""

    box: Annotated[bytes, Meta(max_length=MAX_BOX_BYTES)]
    chunks: Annotated[int, Meta(ge=1, le=MAX_CHUNKS)]
    chunk_bytes: Annotated[int, Meta(ge=SMALLEST_BYTES + MAC_BYTES, le=CHUNK_BYTES + MAX_LAYERS * MAC_BYTES)]

    @property
    def body_bytes(self) -> int:
        """How long the body is."""
        return self.chunks * self.chunk_bytes


class Readable(Protocol):
    """What a letter, or a blob for one, is read from."""

    def read(self, size: int = -1, /) -> bytes:
        """Return so many bytes, fewer only at the end."""


@dataclass(frozen=True)
class Outgoing:
    """A parcel at its sender: the envelope for the first hop, and what the body is made of, chunk by chunk."""

    envelope: Envelope
    keys: tuple[bytes, ...]

    def seal(self, letter: Readable) -> Iterator[bytes]:
        """Yield the body of a letter as it leaves the sender."""
        clear_bytes = self.envelope.chunk_bytes - len(self.keys) * MAC_BYTES
        for index in range(self.envelope.chunks):
            chunk = letter.read(clear_bytes).ljust(clear_bytes, b"\0")
            for key in reversed(self.keys):
                chunk = bindings.crypto_secretbox(chunk, _nonce(index), key)
            yield chunk


class Letter:
    """A letter to be read: length and bytes of the transaction, then the blob."""

    def __init__(self, transaction: bytes, blob: Readable | None) -> None:
        self._parts: list[Readable] = [io.BytesIO(len(transaction).to_bytes(LENGTH_BYTES, "big") + transaction)]
        if blob is not None:
            self._parts.append(blob)

    def read(self, size: int = -1, /) -> bytes:
        """Return so many bytes, fewer only at the end."""
        data = b""
        while self._parts and len(data) < size:
            more = self._parts[0].read(size - len(data))
            data += more
            if not more:
                del self._parts[0]
        return data


def letter_bytes(transaction: bytes, blob_bytes: int) -> int:
    """Return how long a letter is before it is padded."""
    return LENGTH_BYTES + len(transaction) + blob_bytes


def size_class(length: int) -> int:
    """Return how long a letter is made: the next power of two, from 8 KiB on. Raises `Malformed` for too long ones."""
    if length > MAX_LETTER_BYTES:
        raise Malformed(f"a letter of {length} bytes, relays take at most {MAX_LETTER_BYTES}")
    return max(SMALLEST_BYTES, 1 << (length - 1).bit_length())


def address_parcel(path: Sequence[bytes], length: int, *, hop_tick_ms: int, keys: Sequence[bytes]) -> Outgoing:
    """Return a parcel for a letter of some length along a path of peer keys; `keys` are fresh, one for each hop."""
    assert len(path) == len(keys) <= MAX_LAYERS, "a key for each hop"
    padded = size_class(length)
    clear_bytes = min(padded, CHUNK_BYTES)
    box = _seal(Publish(keys[-1]), path[-1])
    for hop in range(len(path) - 2, -1, -1):
        box = _seal(PassOn(keys[hop], hop_tick_ms, path[hop + 1], box), path[hop])
    envelope = Envelope(box, padded // clear_bytes, clear_bytes + len(path) * MAC_BYTES)
    return Outgoing(envelope, tuple(keys))


def open_envelope(envelope: Envelope, seed: bytes) -> Instruction:
    """Return what a hop with this peer seed is to do. Raises `InvalidProof` when the box is not for it."""
    public = bindings.crypto_sign_ed25519_pk_to_curve25519(public_key(seed))
    secret = bindings.crypto_sign_ed25519_sk_to_curve25519(seed + public_key(seed))
    try:
        clear = bindings.crypto_box_seal_open(envelope.box, public, secret)
        instruction: Instruction = decode(clear, Instruction)  # type: ignore[arg-type]
    except (exceptions.CryptoError, ValueError, TypeError, Malformed) as error:
        raise InvalidProof("the envelope does not open with this node's key") from error
    return instruction


def pass_on(envelope: Envelope, instruction: PassOn) -> Envelope:
    """Return the envelope for the next hop. Raises `InvalidProof` when its chunks would be too short."""
    if envelope.chunk_bytes < SMALLEST_BYTES + 2 * MAC_BYTES:
        raise InvalidProof("there is no layer left for the next hop")
    return Envelope(instruction.inner, envelope.chunks, envelope.chunk_bytes - MAC_BYTES)


def open_chunk(chunk: bytes, index: int, key: bytes) -> bytes:
    """Return a chunk without its outer layer. Raises `InvalidProof` when somebody altered it."""
    try:
        return bindings.crypto_secretbox_open(chunk, _nonce(index), key)
    except (exceptions.CryptoError, ValueError, TypeError) as error:
        raise InvalidProof("a chunk of a parcel does not open") from error


def split_letter(first_chunk: bytes) -> tuple[bytes, int]:
    """Return the transaction at the front of a letter, and where the blob begins. Raises `InvalidProof`."""
    length = int.from_bytes(first_chunk[:LENGTH_BYTES], "big")
    start = LENGTH_BYTES + length
    if length == 0 or start > len(first_chunk):
        raise InvalidProof("a letter without a transaction")
    return first_chunk[LENGTH_BYTES:start], start


def _seal(instruction: Instruction, recipient: bytes) -> bytes:
    return bindings.crypto_box_seal(encode(instruction), bindings.crypto_sign_ed25519_pk_to_curve25519(recipient))


def _nonce(index: int) -> bytes:
    return index.to_bytes(bindings.crypto_secretbox_NONCEBYTES, "big")
