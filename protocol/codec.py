"""Canonical MessagePack: one record, one byte string.

Records become arrays with integer tags; there are no maps, no floats and no defaults on the wire. Decoding reads the
typed record and encodes it again: only the canonical bytes of a record decode to it, so that nobody can give one record
two hashes.
"""

from functools import lru_cache
from typing import Any, TypeVar

import msgpack
import msgspec

from protocol.errors import Malformed

T = TypeVar("T")

MAX_DECODE_BYTES = 8 * 1024 * 1024
# Decoders are built once; a program decodes to no more kinds than it names.
MAX_DECODERS = 256

# One for all, for a fresh one costs as much as packing a record. It keeps nothing from one call to the next, and plain
# values run no code of ours, so no other thread can come in between.
_packer = msgpack.Packer(use_bin_type=True)


def encode(record: Any) -> bytes:
    """Return the canonical bytes of a record, or of a plain value made of integers, bytes, text, tuples and None."""
    return _packer.pack(msgspec.to_builtins(record, builtin_types=(bytes,)))  # type: ignore[no-any-return]


def decode(data: bytes, kind: type[T], *, max_bytes: int = MAX_DECODE_BYTES) -> T:
    """Return the record of type `kind` (a union works) that `data` is the canonical encoding of.

    Raises `Malformed` for anything else: too long, not MessagePack, wrong types, values out of range, unknown fields or
    tags, trailing bytes, or a second spelling of the same record.
    """
    if len(data) > max_bytes:
        raise Malformed(f"{len(data)} bytes, at most {max_bytes} are allowed")
    try:
        # Typed all the way: the first byte that does not fit ends it, so what is decoded is never larger than the kind
        # allows. A general decoder would build millions of nested lists first, which takes seconds.
        record: T = get_decoder(kind).decode(data)  # type: ignore[arg-type]
        canonical = encode(record)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Malformed(f"not a valid record: {error}") from error
    if canonical != data:
        raise Malformed("not in canonical form")
    return record


def read(data: bytes, kind: type[T]) -> T:
    """Return the record of type `kind` that `encode` made these bytes of.

    For what never left this node, or was decoded before it was kept: that the bytes are canonical is not checked again.
    Raises `Malformed` for bytes that are damaged so that they are no such record.
    """
    try:
        record: T = get_decoder(kind).decode(data)  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise Malformed(f"not a valid record: {error}") from error
    return record


def prepare_decoders(base: type[msgspec.Struct]) -> None:
    """Work out how a record, and all that derive from it, are decoded; a program with threads does so before the first.

    msgspec does it where a record is first met, and lets other threads see it half done: then the process dies.
    """
    msgspec.msgpack.Decoder(base)
    for kind in base.__subclasses__():
        prepare_decoders(kind)


@lru_cache(maxsize=MAX_DECODERS)
def get_decoder(kind: Any) -> "msgspec.msgpack.Decoder[Any]":
    """Return the decoder to one type or union."""
    return msgspec.msgpack.Decoder(kind)
