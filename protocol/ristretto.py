"""The group ristretto255 (RFC 9496) as proofs use it: checks of what comes from outside, hashes, sums of multiples.

Elements are 32 bytes. Scalars are numbers modulo the group's order, which is prime, so there is no cofactor.

libsodium's answers to bad input are zeros, exceptions or silence, by function. So everything from outside is checked
before it is multiplied: exact lengths, canonical scalars and points, neither zero nor the identity.
"""

import hashlib
from collections.abc import Iterable

import rbcl

from protocol.crypto import join_parts
from protocol.errors import InvalidProof

ELEMENT_BYTES = 32
RANDOMNESS_BYTES = 32
GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
IDENTITY = bytes(ELEMENT_BYTES)


# --- what comes from outside -----------------------------------------------------------------------------------------


def is_element(point: bytes) -> bool:
    """Return whether bytes are the canonical encoding of an element other than the identity."""
    return (
        len(point) == ELEMENT_BYTES and point != IDENTITY and bool(rbcl.crypto_core_ristretto255_is_valid_point(point))
    )


def decode_element(point: bytes, what: str) -> bytes:
    """Return the element that bytes encode; raises `InvalidProof`, which names it as `what`."""
    if not is_element(point):
        raise InvalidProof(f"{what} is not a group element")
    return point


def decode_scalar(scalar: bytes) -> int:
    """Return the number that 32 bytes encode; raises `InvalidProof` for zero and for another spelling."""
    number = int.from_bytes(scalar, "little")
    if len(scalar) != ELEMENT_BYTES or not 0 < number < GROUP_ORDER:
        raise InvalidProof("a scalar of the proof is zero or not canonical")
    return number


def encode_scalar(number: int) -> bytes:
    """Return the 32 bytes of a number modulo the group's order."""
    return (number % GROUP_ORDER).to_bytes(ELEMENT_BYTES, "little")


# --- hashes ----------------------------------------------------------------------------------------------------------


def hash_to_element(domain: str, *parts: bytes) -> bytes:
    """Return an element of which nobody knows a logarithm."""
    return bytes(rbcl.crypto_core_ristretto255_from_hash(_wide_hash(domain, parts)))


def hash_to_scalar(domain: str, *parts: bytes) -> int:
    """Return a number from 1 to the group's order, evenly drawn; every part counts behind its length."""
    number = int.from_bytes(rbcl.crypto_core_ristretto255_scalar_reduce(_wide_hash(domain, parts)), "little")
    assert number, "a hash is zero with probability 2^-252"
    return number


def nonce(domain: str, secret: bytes, randomness: bytes, *message: bytes) -> int:
    """Return a number that nobody can foresee: a hash of secret, 32 fresh bytes and message (hedged).

    Another message gives another one even if the randomness repeats.
    """
    assert len(randomness) == RANDOMNESS_BYTES, "a nonce needs 32 bytes of randomness"
    return hash_to_scalar(domain, secret, randomness, *message)


def _wide_hash(domain: str, parts: Iterable[bytes]) -> bytes:
    return hashlib.sha512(join_parts(domain, tuple(parts))).digest()


# --- multiples; every element was checked or computed here -----------------------------------------------------------


def multiply_base(number: int) -> bytes:
    """Return a multiple of the generator; the number is not zero."""
    assert number % GROUP_ORDER, "only numbers other than zero are multiplied"
    return bytes(rbcl.crypto_scalarmult_ristretto255_base(encode_scalar(number)))


def multiply(number: int, point: bytes) -> bytes:
    """Return a multiple of an element; neither the number is zero nor the element the identity."""
    assert number % GROUP_ORDER, "only numbers other than zero are multiplied"
    return bytes(rbcl.crypto_scalarmult_ristretto255(encode_scalar(number), point))


def add(left: bytes, right: bytes) -> bytes:
    """Return the sum of two elements."""
    return bytes(rbcl.crypto_core_ristretto255_add(left, right))


def add_multiples(terms: Iterable[tuple[int, bytes]], *, start: bytes = IDENTITY) -> bytes:
    """Return `start` and the multiples of these elements added up; those by zero add nothing."""
    total = start
    for number, point in terms:
        if number % GROUP_ORDER:
            product = multiply(number, point)
            total = product if total == IDENTITY else add(total, product)
    return total
