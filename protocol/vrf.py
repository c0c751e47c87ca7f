"""A verifiable random function over ristretto255: the ECVRF construction of RFC 9381 over RFC 9496.

With key x, P = xG, input alpha, and h the group element that alpha hashes to, the **tag** is xh, and a proof shows
log_G P = log_h tag. A key has one tag per input, its pseudonym. `protocol.ring_proof` shows that a tag is that of one
of many keys, without saying which; a plain proof of the same tag claims it later. `ad` is bound by both: whoever shows
a proof says what for. Inputs, contexts and nonces are the caller's; nothing here draws randomness.

    plain proof   tag (32) | c (32) | s (32)
    challenge     H(domain, P, alpha, tag, ad, aG, ah), every part behind its length
"""

from protocol.crypto import hash_parts
from protocol.errors import InvalidProof
from protocol.ristretto import (
    ELEMENT_BYTES,
    add,
    decode_element,
    decode_scalar,
    encode_scalar,
    hash_to_element,
    hash_to_scalar,
    multiply,
    multiply_base,
    nonce,
)

SECRET_BYTES = 32
PROOF_BYTES = 96


# --- keys, tags and outputs ------------------------------------------------------------------------------------------


def key_from_seed(seed: bytes) -> bytes:
    """Return the secret key, a scalar of 32 bytes, that a seed of 32 bytes stands for."""
    assert len(seed) == SECRET_BYTES, "a seed has 32 bytes"
    return encode_scalar(hash_to_scalar("flock/vrf/key", seed))


def public(secret: bytes) -> bytes:
    """Return the public key (32 bytes) of a secret key."""
    return multiply_base(decode_scalar(secret))


def input_element(alpha: bytes) -> bytes:
    """Return h, the element that an input hashes to."""
    return hash_to_element("flock/vrf/group", alpha)


def tag(secret: bytes, alpha: bytes) -> bytes:
    """Return the key's pseudonym (32 bytes) for an input; equal in the plain and in the ring form."""
    return multiply(decode_scalar(secret), input_element(alpha))


def output(tag: bytes) -> bytes:
    """Return the 32 pseudorandom bytes that a verified tag stands for."""
    return hash_parts("flock/vrf/output", tag)


# --- proofs ----------------------------------------------------------------------------------------------------------


def prove(secret: bytes, *, alpha: bytes, ad: bytes, randomness: bytes) -> bytes:
    """Return the proof (96 bytes) of the key's tag for `alpha`, bound to `ad`.

    `randomness` is 32 fresh bytes: two proofs of one input with one nonce would reveal the key, so the nonce is hedged,
    a hash of secret, randomness and message.
    """
    key, base = public(secret), input_element(alpha)
    number = decode_scalar(secret)
    linking_tag = multiply(number, base)
    message = (key, alpha, linking_tag, ad)
    own = nonce("flock/vrf/nonce", secret, randomness, *message)
    challenge = hash_to_scalar("flock/vrf/challenge", *message, multiply_base(own), multiply(own, base))
    return linking_tag + encode_scalar(challenge) + encode_scalar(own - challenge * number)


def verify(public: bytes, *, alpha: bytes, ad: bytes, proof: bytes) -> bytes:
    """Return the tag if the proof shows that it is the key's for `alpha`, bound to `ad`.

    Raises `InvalidProof` for anything else, whatever the bytes are.
    """
    decode_element(public, "the public key")
    if len(proof) != PROOF_BYTES:
        raise InvalidProof(f"the proof has {len(proof)} bytes, {PROOF_BYTES} are needed")
    linking_tag = decode_element(proof[:ELEMENT_BYTES], "the tag")
    challenge = decode_scalar(proof[ELEMENT_BYTES : 2 * ELEMENT_BYTES])
    response = decode_scalar(proof[2 * ELEMENT_BYTES :])
    left = add(multiply_base(response), multiply(challenge, public))
    right = add(multiply(response, input_element(alpha)), multiply(challenge, linking_tag))
    if challenge != hash_to_scalar("flock/vrf/challenge", public, alpha, linking_tag, ad, left, right):
        raise InvalidProof("the proof does not belong to this key, input and context")
    return linking_tag
