"""Many numbers out of a few secret bytes: SHAKE-256 over everything that the numbers may depend on."""

import hashlib

from protocol.crypto import join_parts
from protocol.zk.group import ORDER

RANDOMNESS_BYTES = 32
FACTOR_BYTES = 16
# 128 bits more than the order has: what is left of them modulo r is uniform but for 2^-128.
_WIDE_BYTES = 48


def expand(domain: str, *parts: bytes, length: int) -> bytes:
    """Return `length` bytes that the parts determine and nobody without them can tell from chance."""
    return hashlib.shake_256(join_parts(domain, parts)).digest(length)


def expand_scalars(domain: str, *parts: bytes, count: int) -> list[int]:
    """Return `count` uniform numbers below r."""
    drawn = expand(domain, *parts, length=_WIDE_BYTES * count)
    return [int.from_bytes(drawn[at : at + _WIDE_BYTES], "big") % ORDER for at in range(0, len(drawn), _WIDE_BYTES)]


def expand_factors(randomness: bytes, *, count: int) -> list[int]:
    """Return `count` integers below 2^128 for a private check of many equations at once.

    `randomness` is 32 bytes that whoever made the equations could not know: fresh ones, or a hash of all of them.
    """
    assert len(randomness) == RANDOMNESS_BYTES, f"{RANDOMNESS_BYTES} bytes of randomness"
    drawn = expand("flock/zk/factors", randomness, length=FACTOR_BYTES * count)
    return [int.from_bytes(drawn[at : at + FACTOR_BYTES], "big") for at in range(0, len(drawn), FACTOR_BYTES)]
