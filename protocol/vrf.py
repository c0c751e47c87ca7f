"""A verifiable random function over ristretto255, and its ring form: the pseudonyms of blind submissions.

Plain form: the ECVRF construction of RFC 9381 over ristretto255 (RFC 9496), whose prime order leaves no cofactor. With
key x, P = xG, input alpha, and h the group element that alpha hashes to, the **tag** is xh, and a proof shows
log_G P = log_h tag. Ring form: LSAG (Liu, Wei, Wong 2004), the same tag with a proof that its key is one of a ring.
So a key has one pseudonym per input, and a plain proof of the same tag claims it later. `ad` is bound by both: whoever
shows a proof says what for. Inputs, contexts and nonces are the caller's; nothing here draws randomness.

LSAG shows two equations for a member, P = xG and tag = xh. Here both are one, folded by a weight z that is a hash of
ring, alpha, tag and ad, as RFC 9497 (2.2) folds many: Q = xB with Q = P + z tag and B = G + zh, which costs two
multiplications a member instead of four. Nothing is lost: answers y1, y2, y3 for one member under three weights fit
only a constant y, the logarithm of both, or else give log_G h, which nobody knows of a hash. What hides the signer is
the same, for the proof is uniform whoever made it, and tags are random to all without the key (DDH).

    plain proof   tag (32) | c (32) | s (32)
    challenge     H(domain, P, alpha, tag, ad, aG, ah), every part behind its length
    ring proof    tag (32) | c_1 (32) | s_1 .. s_n (32 each), the ring sorted
    weight        z = H(domain, ring digest, alpha, tag, ad)
    challenge     c_i+1 = H(domain, ring digest, alpha, tag, ad, s_i B + c_i Q_i)

libsodium's answers to bad input are zeros, exceptions or silence, by function. So everything from outside is checked
before it is multiplied: exact lengths, canonical scalars and points, neither zero nor the identity.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache

import rbcl

from protocol.crypto import hash_parts, join_parts
from protocol.errors import InvalidProof

SECRET_BYTES = 32
PUBLIC_BYTES = 32
TAG_BYTES = 32
OUTPUT_BYTES = 32
RANDOMNESS_BYTES = 32
PROOF_BYTES = 96
# A ring proof costs two multiplications a member to check.
MAX_RING_SIZE = 128

GROUP_ORDER = 2**252 + 27742317777372353535851937790883648493
_ELEMENT_BYTES = 32
_IDENTITY = bytes(_ELEMENT_BYTES)
_ONE = (1).to_bytes(_ELEMENT_BYTES, "little")
# Stands in front of an element among the parts of a hash.
_ELEMENT_LENGTH = _ELEMENT_BYTES.to_bytes(4, "big")


def ring_proof_bytes(size: int) -> int:
    """Return the exact length of a proof over a ring of `size` keys."""
    return _ELEMENT_BYTES * (2 + size)


def count_ring_members(proof: bytes) -> int:
    """Return over how many keys a ring proof of this length is; 0 for what is too short for one."""
    return max(0, len(proof) // _ELEMENT_BYTES - 2)


# --- keys, tags and outputs ------------------------------------------------------------------------------------------


def key_from_seed(seed: bytes) -> bytes:
    """Return the secret key, a scalar of 32 bytes, that a seed of 32 bytes stands for."""
    assert len(seed) == SECRET_BYTES, "a seed has 32 bytes"
    return _hash_to_scalar("flock/vrf/key", seed)


def public(secret: bytes) -> bytes:
    """Return the public key (32 bytes) of a secret key."""
    return _multiply_base(secret)


def is_public_key(key: bytes) -> bool:
    """Return whether bytes are a canonical group element other than the identity."""
    return _is_element(key)


def tag(secret: bytes, alpha: bytes) -> bytes:
    """Return the key's pseudonym (32 bytes) for an input; equal in the plain and in the ring form."""
    return _multiply(secret, _hash_to_group(alpha))


def output(tag: bytes) -> bytes:
    """Return the 32 pseudorandom bytes that a verified tag stands for."""
    return hash_parts("flock/vrf/output", tag)


def ring_digest(ring: Iterable[bytes]) -> bytes:
    """Return what names a set of distinct public keys, in whatever order they come. Raises `InvalidProof`."""
    return hash_parts("flock/vrf/ring", *_canonical_ring(ring))


# --- plain form ------------------------------------------------------------------------------------------------------


def prove(secret: bytes, *, alpha: bytes, ad: bytes, randomness: bytes) -> bytes:
    """Return the proof (96 bytes) of the key's tag for `alpha`, bound to `ad`.

    `randomness` is 32 fresh bytes: two proofs of one input with one nonce would reveal the key, so the nonce is hedged,
    a hash of secret, randomness and message.
    """
    key, base = public(secret), _hash_to_group(alpha)
    linking_tag = _multiply(secret, base)
    message = (key, alpha, linking_tag, ad)
    nonce = _nonce("flock/vrf/nonce", secret, randomness, *message)
    challenge = _hash_to_scalar("flock/vrf/challenge", *message, _multiply_base(nonce), _multiply(nonce, base))
    return linking_tag + challenge + _respond(nonce, challenge, secret)


def verify(public: bytes, *, alpha: bytes, ad: bytes, proof: bytes) -> bytes:
    """Return the tag if the proof shows that it is the key's for `alpha`, bound to `ad`.

    Raises `InvalidProof` for anything else, whatever the bytes are.
    """
    if not _is_element(public):
        raise InvalidProof("the public key is not a group element")
    linking_tag, challenge, response = _split_proof(proof, PROOF_BYTES)
    base = _hash_to_group(alpha)
    left = _combine(response, None, challenge, public)
    right = _combine(response, base, challenge, linking_tag)
    if challenge != _hash_to_scalar("flock/vrf/challenge", public, alpha, linking_tag, ad, left, right):
        raise InvalidProof("the proof does not belong to this key, input and context")
    return linking_tag


# --- ring form -------------------------------------------------------------------------------------------------------


def prove_ring(secret: bytes, *, ring: Iterable[bytes], alpha: bytes, ad: bytes, randomness: bytes) -> bytes:
    """Return a proof that the tag for `alpha` is one of the ring's, bound to `ad`, without saying whose.

    The ring must hold the key's public key. `randomness` is 32 fresh bytes, hedged as in `prove`. Raises `InvalidProof`
    for a ring that no proof can be made for.
    """
    keys, own_key, base = _canonical_ring(ring), public(secret), _hash_to_group(alpha)
    assert own_key in keys, "the ring does not hold the key's public key"
    linking_tag, size, own = _multiply(secret, base), len(keys), keys.index(own_key)
    message = (hash_parts("flock/vrf/ring", *keys), alpha, linking_tag, ad)
    responses = [
        _nonce("flock/vrf/ring/nonce", secret, randomness, *message, index.to_bytes(4, "big")) for index in range(size)
    ]
    nonce = responses[own]
    challenges, begun = [b""] * size, _begin_hash("flock/vrf/ring/challenge", *message)
    joint_base, joint_keys = _fold(message, base, keys)
    commitment = _multiply(nonce, joint_base)
    for step in range(1, size + 1):
        index = (own + step) % size
        challenges[index] = _end_challenge(begun, commitment)
        commitment = _combine(responses[index], joint_base, challenges[index], joint_keys[index])
    responses[own] = _respond(nonce, challenges[own], secret)
    return linking_tag + challenges[0] + b"".join(responses)


def verify_ring(ring: Iterable[bytes], *, alpha: bytes, ad: bytes, proof: bytes) -> bytes:
    """Return the tag if the proof shows that it is that of one of the ring's keys for `alpha`, bound to `ad`.

    Raises `InvalidProof` for anything else, whatever the bytes are; also for a ring with a key that is no group
    element, with a key twice, with none, or with more than 128.
    """
    keys = _canonical_ring(ring)
    linking_tag, first, *responses = _split_proof(proof, ring_proof_bytes(len(keys)))
    base = _hash_to_group(alpha)
    message = (hash_parts("flock/vrf/ring", *keys), alpha, linking_tag, ad)
    challenge, begun = first, _begin_hash("flock/vrf/ring/challenge", *message)
    joint_base, joint_keys = _fold(message, base, keys)
    for key, response in zip(joint_keys, responses, strict=True):
        challenge = _end_challenge(begun, _combine(response, joint_base, challenge, key))
    if challenge != first:
        raise InvalidProof("the proof does not belong to this ring, input and context")
    return linking_tag


def _fold(message: tuple[bytes, bytes, bytes, bytes], base: bytes, keys: Sequence[bytes]) -> tuple[bytes, list[bytes]]:
    """Return B = G + zh, and Q = P + z tag of each key P of the ring."""
    _, _, linking_tag, _ = message
    weight = _hash_to_scalar("flock/vrf/ring/weight", *message)
    weighted_tag = _multiply(weight, linking_tag)
    joint_base = _add(_multiply_base(_ONE), _multiply(weight, base))
    joint_keys = [_add(key, weighted_tag) for key in keys]
    if _IDENTITY in (joint_base, *joint_keys):
        raise InvalidProof("a key and the tag cancel out")
    return joint_base, joint_keys


# --- what comes from outside -----------------------------------------------------------------------------------------


def _canonical_ring(ring: Iterable[bytes]) -> Sequence[bytes]:
    return _check_ring(tuple(sorted(ring)))


# All submissions of an epoch are over one ring, and its keys' checks are a tenth of a proof's.
@lru_cache(maxsize=64)
def _check_ring(keys: tuple[bytes, ...]) -> tuple[bytes, ...]:
    if not 1 <= len(keys) <= MAX_RING_SIZE:
        raise InvalidProof(f"a ring of {len(keys)} keys; 1 to {MAX_RING_SIZE} are allowed")
    if len(set(keys)) != len(keys):
        raise InvalidProof("a key stands twice in the ring")
    if not all(map(_is_element, keys)):
        raise InvalidProof("a key of the ring is not a group element")
    return keys


def _split_proof(proof: bytes, length: int) -> Sequence[bytes]:
    if len(proof) != length:
        raise InvalidProof(f"the proof has {len(proof)} bytes, {length} are needed")
    linking_tag, *scalars = (proof[start : start + _ELEMENT_BYTES] for start in range(0, length, _ELEMENT_BYTES))
    if not _is_element(linking_tag):
        raise InvalidProof("the tag is not a group element")
    if not all(map(_is_scalar, scalars)):
        raise InvalidProof("a scalar of the proof is zero or not canonical")
    return linking_tag, *scalars


def _is_element(point: bytes) -> bool:
    return (
        len(point) == _ELEMENT_BYTES
        and point != _IDENTITY
        and bool(rbcl.crypto_core_ristretto255_is_valid_point(point))
    )


def _is_scalar(scalar: bytes) -> bool:
    return len(scalar) == _ELEMENT_BYTES and 0 < int.from_bytes(scalar, "little") < GROUP_ORDER


# --- the group; every argument was checked or computed here ----------------------------------------------------------


def _hash_to_group(alpha: bytes) -> bytes:
    return bytes(rbcl.crypto_core_ristretto255_from_hash(_wide_hash("flock/vrf/group", alpha)))


def _hash_to_scalar(domain: str, *parts: bytes) -> bytes:
    return _reduce(_wide_hash(domain, *parts))


def _reduce(wide: bytes) -> bytes:
    scalar = bytes(rbcl.crypto_core_ristretto255_scalar_reduce(wide))
    assert scalar != _IDENTITY, "a hash is zero with probability 2^-252"
    return scalar


def _wide_hash(domain: str, *parts: bytes) -> bytes:
    return _begin_hash(domain, *parts).digest()


def _begin_hash(domain: str, *parts: bytes) -> "hashlib._Hash":
    return hashlib.sha512(join_parts(domain, parts))


def _end_challenge(begun: "hashlib._Hash", element: bytes) -> bytes:
    """Return what `_hash_to_scalar` gives with an element more: what all members of a ring share is hashed once."""
    whole = begun.copy()
    whole.update(_ELEMENT_LENGTH + element)
    return _reduce(whole.digest())


def _nonce(domain: str, secret: bytes, randomness: bytes, *message: bytes) -> bytes:
    assert len(randomness) == RANDOMNESS_BYTES, "a nonce needs 32 bytes of randomness"
    return _hash_to_scalar(domain, secret, randomness, *message)


def _respond(nonce: bytes, challenge: bytes, secret: bytes) -> bytes:
    """Return nonce - challenge * secret; zero with probability 2^-252."""
    product = rbcl.crypto_core_ristretto255_scalar_mul(challenge, secret)
    return bytes(rbcl.crypto_core_ristretto255_scalar_sub(nonce, product))


def _combine(response: bytes, base: bytes | None, challenge: bytes, element: bytes) -> bytes:
    """Return response * base + challenge * element; `base` None is the generator."""
    first = _multiply_base(response) if base is None else _multiply(response, base)
    return _add(first, _multiply(challenge, element))


def _add(left: bytes, right: bytes) -> bytes:
    return bytes(rbcl.crypto_core_ristretto255_add(left, right))


def _multiply_base(scalar: bytes) -> bytes:
    assert _is_scalar(scalar), "only canonical scalars are multiplied"
    return bytes(rbcl.crypto_scalarmult_ristretto255_base(scalar))


def _multiply(scalar: bytes, point: bytes) -> bytes:
    assert _is_scalar(scalar), "only canonical scalars are multiplied"
    return bytes(rbcl.crypto_scalarmult_ristretto255(scalar, point))
