"""A second verifier of ring proofs: the equations of `protocol.ring_proof`'s docstring one by one, nothing shared.

It knows libsodium, SHA-512 and how parts are joined, and is as slow as equations are.
"""

import hashlib
from collections.abc import Iterable, Sequence

import rbcl

from protocol.crypto import hash_parts, join_parts

ORDER = 2**252 + 27742317777372353535851937790883648493


def _wide(domain: str, *parts: bytes) -> bytes:
    return hashlib.sha512(join_parts(domain, parts)).digest()


def _number(domain: str, *parts: bytes) -> int:
    return int.from_bytes(_wide(domain, *parts), "little") % ORDER


def _element(domain: str, *parts: bytes) -> bytes:
    return bytes(rbcl.crypto_core_ristretto255_from_hash(_wide(domain, *parts)))


def _times(number: int, element: bytes) -> bytes:
    scalar = (number % ORDER).to_bytes(32, "little")
    return bytes(rbcl.crypto_scalarmult_ristretto255(scalar, element)) if any(scalar) else bytes(32)


def _total(elements: Iterable[bytes]) -> bytes:
    total = bytes(32)
    for element in elements:
        total = bytes(rbcl.crypto_core_ristretto255_add(total, element))
    return total


def _factor(values: Sequence[int], x: int, index: int) -> int:
    product = 1
    for bit, value in enumerate(values):
        product = product * (value if index >> bit & 1 else x - value) % ORDER
    return product


def holds(ring: Sequence[bytes], alpha: bytes, ad: bytes, proof: bytes) -> bool:
    """Return whether all equations hold. The proof has the right length, canonical numbers and valid elements."""
    keys = sorted(ring)
    bits = next(bits for bits in range(1, 8) if len(keys) <= 2**bits)
    parts = [proof[at : at + 32] for at in range(0, len(proof), 32)]
    tag, x, commitments, rests = (
        parts[0],
        int.from_bytes(parts[1], "little"),
        parts[2 : 2 + bits],
        parts[2 + bits :][: bits - 1],
    )
    numbers = [int.from_bytes(part, "little") for part in parts[1 + 2 * bits :]]
    f, u, v, w = numbers[0:-1:3], numbers[1:-1:3], numbers[2:-1:3], numbers[-1]

    message = (hash_parts("flock/vrf/ring", *keys), alpha, tag, ad)
    z = _number("flock/vrf/ring/weight", *message)
    one = bytes(rbcl.crypto_scalarmult_ristretto255_base((1).to_bytes(32, "little")))
    base = _total([one, _times(z, _element("flock/vrf/group", alpha))])
    joint = [_total([key, _times(z, tag)]) for key in keys]
    bit_element = _element("flock/vrf/ring/bit")

    first = [_total([_times(f[j], bit_element), _times(u[j], one), _times(-x, commitments[j])]) for j in range(bits)]
    second = [_total([_times(v[j], one), _times(f[j] - x, commitments[j])]) for j in range(bits)]
    spread = [_times(_factor(f, x, index), joint[min(index, len(keys) - 1)]) for index in range(2**bits)]
    known = [_times(-pow(x, k, ORDER), rests[k - 1]) for k in range(1, bits)]
    lowest = _total([*spread, *known, _times(-w, base)])
    return x == _number("flock/vrf/ring/challenge", *message, *commitments, *first, *second, lowest, *rests)
