"""Hashes with domain separation, Ed25519 signatures, sealed keys, Merkle trees and the multiset hash of the state.

Thin wrappers over libsodium (pynacl), hashlib and gmpy2. Every hash and every signature names its domain first and
carries the length of each part, so that no bytes signed for one purpose mean something for another.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache

import gmpy2
from nacl import bindings, exceptions
from nacl.signing import SigningKey, VerifyKey

from protocol.errors import InvalidProof, InvalidSignature, Malformed

DIGEST_BYTES = 32
MAX_KNOWN_KEYS = 4096
SEALED_KEY_BYTES = 32 + 16 + 32
# The prime of MuHash3072 (Bitcoin Core, crypto/muhash.h).
MULTISET_MODULUS = gmpy2.mpz(2) ** 3072 - 1103717
MULTISET_BYTES = 384


def join_parts(domain: str, parts: Iterable[bytes]) -> bytes:
    """Return an unambiguous concatenation: every part, the domain first, behind its length in 4 bytes."""
    pieces = [domain.encode(), *parts]
    return b"".join(len(piece).to_bytes(4, "big") + piece for piece in pieces)


def hash_parts(domain: str, *parts: bytes) -> bytes:
    """Return the 32-byte SHA-256 of the parts under a domain."""
    return hashlib.sha256(join_parts(domain, parts)).digest()


def integer_bytes(value: int) -> bytes:
    """Return a non-negative integer below 2^64 as 8 bytes, big endian: sorts like the number."""
    return value.to_bytes(8, "big")


def wide_bytes(value: int) -> bytes:
    """Return a non-negative integer below 2^128 as 16 bytes, big endian."""
    return value.to_bytes(16, "big")


# --- signatures (RFC 8032) -------------------------------------------------------------------------------------------


def public_key(seed: bytes) -> bytes:
    """Return the Ed25519 public key (32 bytes) of a 32-byte seed."""
    return bytes(SigningKey(seed).verify_key)


def sign(seed: bytes, domain: str, *parts: bytes) -> bytes:
    """Return the 64-byte Ed25519 signature of the parts under a domain. Deterministic: asking twice signs once."""
    return SigningKey(seed).sign(join_parts(domain, parts)).signature


def verify(key: bytes, signature: bytes, domain: str, *parts: bytes) -> None:
    """Return if the signature is the key's over the parts; raise `InvalidSignature` otherwise."""
    try:
        VerifyKey(key).verify(join_parts(domain, parts), signature)
    except (exceptions.CryptoError, ValueError, TypeError) as error:
        raise InvalidSignature("the signature does not match the key and the message") from error


# --- a secret sealed to an account, so that publishing the secret later proves what was sealed ----------------------


def seal_key(key: bytes, recipient: bytes) -> bytes:
    """Seal a 32-byte key to an account (80 bytes): a sealed box whose ephemeral secret is H(key, recipient).

    Deterministic on purpose: whoever learns the key later can repeat the sealing and see which boxes were wrong.
    """
    ephemeral_secret = hash_parts("flock/seal", key, recipient)
    ephemeral_public = bindings.crypto_scalarmult_base(ephemeral_secret)
    recipient_curve = _curve_public(recipient)
    return ephemeral_public + bindings.crypto_box(
        key, _seal_nonce(ephemeral_public, recipient_curve), recipient_curve, ephemeral_secret
    )


def open_sealed_key(sealed: bytes, seed: bytes) -> bytes:
    """Return the key sealed to the account with this seed. Raises `InvalidProof` when the box does not open."""
    secret = bindings.crypto_sign_ed25519_sk_to_curve25519(seed + public_key(seed))
    recipient_curve = bindings.crypto_scalarmult_base(secret)
    ephemeral_public, box = sealed[:32], sealed[32:]
    try:
        return bindings.crypto_box_open(box, _seal_nonce(ephemeral_public, recipient_curve), ephemeral_public, secret)
    except (exceptions.CryptoError, ValueError, TypeError) as error:
        raise InvalidProof("the sealed key does not open with this account's key") from error


@lru_cache(maxsize=MAX_KNOWN_KEYS)
def is_account_key(address: bytes) -> bool:
    """Return whether an address is a valid Ed25519 point, so that keys can be sealed to it.

    Cached, since it costs as much as a signature check and every transaction asks it of its sender.
    """
    try:
        _curve_public(address)
    except Malformed:
        return False
    return True


def _curve_public(address: bytes) -> bytes:
    try:
        return bindings.crypto_sign_ed25519_pk_to_curve25519(address)
    except (exceptions.CryptoError, ValueError, RuntimeError) as error:
        raise Malformed("the address is not an Ed25519 public key") from error


def _seal_nonce(ephemeral_public: bytes, recipient_curve: bytes) -> bytes:
    return hash_parts("flock/seal/nonce", ephemeral_public, recipient_curve)[: bindings.crypto_box_NONCEBYTES]


# --- Merkle trees (RFC 6962, section 2.1) ----------------------------------------------------------------------------


def merkle_leaf(data: bytes | memoryview) -> bytes:
    """Return the leaf hash of a piece of data."""
    digest = hashlib.sha256(b"\x00")
    digest.update(data)
    return digest.digest()


def merkle_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over leaf hashes; the root of no leaves is the hash of nothing."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    return merkle_levels(leaves)[-1][0]


def merkle_levels(leaves: Sequence[bytes]) -> tuple[Sequence[bytes], ...]:
    """Return the tree over leaf hashes, from the leaves up to the root.

    A node without a sibling moves up one level as it is.
    """
    levels = [leaves]
    while len(level := levels[-1]) > 1:
        paired = [_merkle_node(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        levels.append([*paired, *level[len(paired) * 2 :]])
    return tuple(levels)


def merkle_path(levels: Sequence[Sequence[bytes]], index: int) -> tuple[bytes, ...]:
    """Return the sibling hashes that prove leaf `index` of a tree from `merkle_levels`, lowest first."""
    siblings = ((level, index >> depth ^ 1) for depth, level in enumerate(levels))
    return tuple(level[sibling] for level, sibling in siblings if sibling < len(level))


def verify_merkle_path(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Return if `leaf` stands at `index` of a tree of `size` leaves with this root; raise `InvalidProof` otherwise."""
    node, position, width, remaining = leaf, index, size, list(path)
    if not 0 <= index < size:
        raise InvalidProof(f"index {index} lies outside a tree of {size} leaves")
    while width > 1:
        if position ^ 1 < width:
            if not remaining:
                raise InvalidProof("the Merkle path is too short")
            sibling = remaining.pop(0)
            node = _merkle_node(sibling, node) if position % 2 else _merkle_node(node, sibling)
        position, width = position // 2, (width + 1) // 2
    if remaining or node != root:
        raise InvalidProof("the Merkle path does not lead to the root")


def _merkle_node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


# --- multiset hash (MuHash3072) --------------------------------------------------------------------------------------


def multiset_element(data: bytes) -> "gmpy2.mpz":
    """Return the group element of one member; never zero, except with negligible probability."""
    return gmpy2.mpz(int.from_bytes(hashlib.shake_256(data).digest(MULTISET_BYTES), "little")) % MULTISET_MODULUS


def multiset_update(product: "gmpy2.mpz", added: Iterable[bytes], removed: Iterable[bytes]) -> "gmpy2.mpz":
    """Return the hash of a multiset after members joined and left; starts from 1, order does not matter."""
    for data in added:
        product = product * multiset_element(data) % MULTISET_MODULUS
    divisor = gmpy2.mpz(1)
    for data in removed:
        divisor = divisor * multiset_element(data) % MULTISET_MODULUS
    if divisor != 1:
        product = product * gmpy2.invert(divisor, MULTISET_MODULUS) % MULTISET_MODULUS
    return product


def multiset_bytes(product: "gmpy2.mpz") -> bytes:
    """Return the 384 bytes that a multiset hash is stored and hashed as."""
    return int(product).to_bytes(MULTISET_BYTES, "little")
