"""Canonical MessagePack: one record, one byte string.

Records become arrays with integer tags; there are no maps, no floats and no defaults on the wire. Decoding unpacks,
converts to the typed record and encodes again: only the canonical bytes of a record decode to it, so that nobody can
give one record two hashes.
"""

from typing import Any, TypeVar

import msgpack
import msgspec

from protocol.errors import Malformed

T = TypeVar("T")

MAX_DECODE_BYTES = 8 * 1024 * 1024


def encode(record: Any) -> bytes:
    """Return the canonical bytes of a record, or of a plain value made of integers, bytes, text, tuples and None."""
    return msgpack.packb(msgspec.to_builtins(record, builtin_types=(bytes,)), use_bin_type=True)  # type: ignore[no-any-return]


def decode(data: bytes, kind: type[T], *, max_bytes: int = MAX_DECODE_BYTES) -> T:
    """Return the record of type `kind` (a union works) that `data` is the canonical encoding of.

    Raises `Malformed` for anything else: too long, not MessagePack, wrong types, values out of range, unknown fields or
    tags, trailing bytes, or a second spelling of the same record.
    """
    if len(data) > max_bytes:
        raise Malformed(f"{len(data)} bytes, at most {max_bytes} are allowed")
    try:
        # Lengths are bounded by the input itself, since every element takes at least one byte.
        plain = msgpack.unpackb(data, use_list=True, raw=False, strict_map_key=True, max_ext_len=0)
        record = msgspec.convert(plain, kind)
        canonical = encode(record)
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise Malformed(f"not a valid record: {error}") from error
    if canonical != data:
        raise Malformed("not in canonical form")
    return record
