"""That a tag of the VRF is that of one of many keys, without saying whose: the pseudonyms of blind submissions.

The tag is that of `protocol.vrf`, with the same key, input alpha and element h. Two equations hold for its owner's
key P_l: P_l = xG and tag = xh. Both are one, folded by a weight z that is a hash of ring, alpha, tag and ad, as RFC
9497 (2.2) folds many: Q_l = xB with Q_i = P_i + z tag and B = G + zh. Nothing is lost: answers y1, y2, y3 for one
member under three weights fit only a constant y, the logarithm of both, or else give log_G h, which nobody knows of a
hash. What is then proven is that one of Q_1..Q_N is a known multiple of B: one out of many (Groth and Kohlweiss 2015,
section 3.1, figure 2), which costs about one multiplication a key, and bytes that grow with the logarithm of N.

With n bits, N <= 2^n, the last key standing for all indices from N - 1 on, and Com(v; r) = vK + rG:

    for bit j of l    c_j = Com(l_j; r_j), a_j = Com(alpha_j; s_j), b_j = Com(l_j alpha_j; t_j)
    for k < n         d_k = sum_i p_ik Q_i + rho_k B, where prod_j f_j,i_j(X) = sum_k p_ik X^k,
                      f_j,1(X) = l_j X + alpha_j and f_j,0(X) = X - f_j,1(X)
    challenge         X = H(domain, ring digest, alpha, tag, ad, c_1.., a_1.., b_1.., d_0..)
    answers           f_j = l_j X + alpha_j, u_j = r_j X + s_j, v_j = r_j (X - f_j) + t_j, w = x X^n - sum_k rho_k X^k
    verification      X c_j + a_j = Com(f_j; u_j), (X - f_j) c_j + b_j = Com(0; v_j),
                      sum_i (prod_j f_j,i_j) Q_i - sum_k X^k d_k = wB

    ring proof        tag | X | c_1 .. c_n | d_1 .. d_n-1 | f_1, u_1, v_1 .. f_n, u_n, v_n | w        (32 bytes each)

a_j, b_j and d_0 follow from the equations, so that the challenge alone is compared. The factors of all keys add up to
X^n, so the tag enters once, and not at all into d_k.

Commitments hide perfectly, d_k are uniform, and so are the answers, whoever made the proof; tags are random to all
without the key (DDH). So the proof does not tell whose it is, not even to who can compute logarithms; the tag would.
"""

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from protocol import vrf
from protocol.crypto import hash_parts
from protocol.errors import InvalidProof
from protocol.ristretto import (
    ELEMENT_BYTES,
    GROUP_ORDER,
    add,
    add_multiples,
    decode_element,
    decode_scalar,
    encode_scalar,
    hash_to_element,
    hash_to_scalar,
    is_element,
    multiply,
    multiply_base,
    nonce,
)

MAX_RING_SIZE = 128
# K, apart from the generator and from what inputs hash to.
_BIT_ELEMENT = hash_to_element("flock/vrf/ring/bit")


class _Statement(NamedTuple):
    """What is proven: that one of the keys, with z tag added, is a known multiple of the base B."""

    message: tuple[bytes, bytes, bytes, bytes]
    keys: Sequence[bytes]
    base: bytes
    weighted_tag: bytes

    @property
    def bits(self) -> int:
        """n: at least one, for without any the answer would be the key."""
        return max(1, (len(self.keys) - 1).bit_length())


class _Nonces(NamedTuple):
    """What the prover draws for one bit: alpha, r, s and t of its commitments, rho of the d with its number."""

    alpha: int
    r: int
    s: int
    t: int
    rho: int


class _Bit(NamedTuple):
    """The answers for one bit of the hidden index: f, u, v."""

    factor: int
    opening: int
    product: int


class _Proof(NamedTuple):
    """A ring proof without its tag; `rests` are d_1 to d_n-1."""

    challenge: int
    commitments: Sequence[bytes]
    rests: Sequence[bytes]
    answers: Sequence[_Bit]
    last: int


def ring_proof_bytes(size: int) -> int:
    """Return the exact length of a proof over a ring of `size` keys."""
    return ELEMENT_BYTES * (2 + 5 * max(1, (size - 1).bit_length()))


def max_ring_size(proof: bytes) -> int:
    """Return over how many keys a proof of this length can be at most; 0 for a length that no proof has."""
    bits, rest = divmod(len(proof) - 2 * ELEMENT_BYTES, 5 * ELEMENT_BYTES)
    return 1 << bits if rest == 0 and 0 < bits < MAX_RING_SIZE.bit_length() else 0


def ring_digest(ring: Iterable[bytes]) -> bytes:
    """Return what names a set of distinct public keys, in whatever order they come. Raises `InvalidProof`."""
    return hash_parts("flock/vrf/ring", *_canonical_ring(ring))


def prove_ring(secret: bytes, *, ring: Iterable[bytes], alpha: bytes, ad: bytes, randomness: bytes) -> bytes:
    """Return a proof that the tag for `alpha` is one of the ring's, bound to `ad`, without saying whose.

    The ring must hold the key's public key. `randomness` is 32 fresh bytes, hedged as in `vrf.prove`. Raises
    `InvalidProof` for a ring that no proof can be made for.
    """
    keys, own_key, linking_tag = _canonical_ring(ring), vrf.public(secret), vrf.tag(secret, alpha)
    assert own_key in keys, "the ring does not hold the key's public key"
    statement = _make_statement(keys, alpha, linking_tag, ad)
    nonces = [
        _Nonces(
            *(
                nonce(f"flock/vrf/ring/nonce/{name}", secret, randomness, *statement.message, bytes([bit]))
                for name in _Nonces._fields
            )
        )
        for bit in range(statement.bits)
    ]
    return linking_tag + _encode(_prove(statement, keys.index(own_key), int.from_bytes(secret, "little"), nonces))


def verify_ring(ring: Iterable[bytes], *, alpha: bytes, ad: bytes, proof: bytes) -> bytes:
    """Return the tag if the proof shows that it is that of one of the ring's keys for `alpha`, bound to `ad`.

    Raises `InvalidProof` for anything else, whatever the bytes are; also for a ring with a key that is no group
    element, with a key twice, with none, or with more than 128.
    """
    keys = _canonical_ring(ring)
    if len(proof) != ring_proof_bytes(len(keys)):
        raise InvalidProof(f"the proof has {len(proof)} bytes, {ring_proof_bytes(len(keys))} are needed")
    linking_tag = decode_element(proof[:ELEMENT_BYTES], "the tag")
    statement = _make_statement(keys, alpha, linking_tag, ad)
    if not _holds(statement, _decode(statement.bits, proof[ELEMENT_BYTES:])):
        raise InvalidProof("the proof does not belong to this ring, input and context")
    return linking_tag


# --- the statement ---------------------------------------------------------------------------------------------------


def _canonical_ring(ring: Iterable[bytes]) -> Sequence[bytes]:
    return _check_ring(tuple(sorted(ring)))


# All submissions of an epoch are over one ring, and its keys' checks are a tenth of a proof's.
@lru_cache(maxsize=64)
def _check_ring(keys: tuple[bytes, ...]) -> tuple[bytes, ...]:
    if not 1 <= len(keys) <= MAX_RING_SIZE:
        raise InvalidProof(f"a ring of {len(keys)} keys; 1 to {MAX_RING_SIZE} are allowed")
    if len(set(keys)) != len(keys):
        raise InvalidProof("a key stands twice in the ring")
    if not all(map(is_element, keys)):
        raise InvalidProof("a key of the ring is not a group element")
    return keys


def _make_statement(keys: Sequence[bytes], alpha: bytes, linking_tag: bytes, ad: bytes) -> _Statement:
    message = (hash_parts("flock/vrf/ring", *keys), alpha, linking_tag, ad)
    weight = hash_to_scalar("flock/vrf/ring/weight", *message)
    base = add(multiply_base(1), multiply(weight, vrf.input_element(alpha)))
    return _Statement(message, keys, base, multiply(weight, linking_tag))


# --- proving ---------------------------------------------------------------------------------------------------------


def _prove(statement: _Statement, own: int, logarithm: int, nonces: Sequence[_Nonces]) -> _Proof:
    """Return the proof for the key at index `own`."""
    bits = [own >> position & 1 for position in range(statement.bits)]
    drawn = list(zip(bits, nonces, strict=True))
    commitments = [_commit(bit, one.r) for bit, one in drawn]
    firsts = [_commit(one.alpha, one.s) for one in nonces]
    seconds = [_commit(bit * one.alpha, one.t) for bit, one in drawn]
    rests = [
        add_multiples(zip(factors, statement.keys, strict=True), start=multiply(one.rho, statement.base))
        for factors, one in zip(_expand(statement, bits, [one.alpha for one in nonces]), nonces, strict=True)
    ]
    x = _challenge(statement, commitments, firsts, seconds, rests)
    answers = []
    for bit, one in drawn:
        factor = bit * x + one.alpha
        answers.append(_Bit(factor, one.r * x + one.s, one.r * (x - factor) + one.t))
    masks = sum(one.rho * pow(x, power, GROUP_ORDER) for power, one in enumerate(nonces))
    return _Proof(x, commitments, rests[1:], answers, logarithm * pow(x, statement.bits, GROUP_ORDER) - masks)


def _expand(statement: _Statement, bits: Sequence[int], alphas: Sequence[int]) -> list[list[int]]:
    """Return p_ik for each power k < n and each key i; the last key has the sums of all indices that it stands for."""
    size = len(statement.keys)
    table = [[0] * size for _ in bits]
    for index in range(1 << len(bits)):
        polynomial = [1]
        for position, (own, alpha) in enumerate(zip(bits, alphas, strict=True)):
            bit = index >> position & 1
            shifted = [0, *polynomial] if bit == own else [0] * (len(polynomial) + 1)
            constant = alpha if bit else -alpha
            scaled = [constant * one % GROUP_ORDER for one in polynomial]
            polynomial = [one + other for one, other in zip(shifted, [*scaled, 0], strict=True)]
        for row, coefficient in zip(table, polynomial, strict=False):
            row[min(index, size - 1)] += coefficient
    return table


# --- verifying -------------------------------------------------------------------------------------------------------


def _holds(statement: _Statement, proof: _Proof) -> bool:
    x = proof.challenge
    firsts, seconds = [], []
    for commitment, (factor, opening, product) in zip(proof.commitments, proof.answers, strict=True):
        firsts.append(add_multiples([(-x, commitment)], start=_commit(factor, opening)))
        seconds.append(add_multiples([(factor - x, commitment)], start=multiply_base(product)))
    factors = _multiply_out(statement, [(x - one.factor, one.factor) for one in proof.answers])
    powers = [pow(x, k, GROUP_ORDER) for k in range(statement.bits + 1)]
    first_rest = add_multiples(
        (
            *zip(factors, statement.keys, strict=True),
            (powers[-1], statement.weighted_tag),
            *((-power, rest) for power, rest in zip(powers[1:-1], proof.rests, strict=True)),
            (-proof.last, statement.base),
        )
    )
    return x == _challenge(statement, proof.commitments, firsts, seconds, (first_rest, *proof.rests))


def _multiply_out(statement: _Statement, factors: Sequence[tuple[int, int]]) -> list[int]:
    """Return the product of the bits' factors for each key; the last key's are those of all that it stands for."""
    products = [1]
    for zero, one in factors:
        products = [
            *(product * zero % GROUP_ORDER for product in products),
            *(product * one % GROUP_ORDER for product in products),
        ]
    last = len(statement.keys) - 1
    return [*products[:last], sum(products[last:])]


def _commit(value: int, blinding: int) -> bytes:
    """Return Com(v; r) = vK + rG."""
    return add_multiples([(value, _BIT_ELEMENT)], start=multiply_base(blinding))


def _challenge(statement: _Statement, *elements: Sequence[bytes]) -> int:
    return hash_to_scalar("flock/vrf/ring/challenge", *statement.message, *(one for some in elements for one in some))


# --- bytes -----------------------------------------------------------------------------------------------------------


def _encode(proof: _Proof) -> bytes:
    scalars = [one for answer in proof.answers for one in answer]
    encoded = [encode_scalar(one) for one in (*scalars, proof.last)]
    return b"".join((encode_scalar(proof.challenge), *proof.commitments, *proof.rests, *encoded))


def _decode(bits: int, data: bytes) -> _Proof:
    parts = [data[start : start + ELEMENT_BYTES] for start in range(0, len(data), ELEMENT_BYTES)]
    elements = [decode_element(part, "an element of the proof") for part in parts[1 : 2 * bits]]
    numbers = [decode_scalar(part) for part in parts[2 * bits :]]
    answers = [_Bit(*numbers[start : start + 3]) for start in range(0, 3 * bits, 3)]
    return _Proof(decode_scalar(parts[0]), elements[:bits], elements[bits:], answers, numbers[-1])
