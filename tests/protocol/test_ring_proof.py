"""Ring proofs: a tag is that of one of many keys; and everything that must not verify."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import ring_proof, vrf
from protocol.errors import InvalidProof
from protocol.ring_proof import max_ring_size, prove_ring, ring_digest, ring_proof_bytes, verify_ring
from protocol.ristretto import GROUP_ORDER, IDENTITY, add_multiples, encode_scalar, hash_to_scalar, multiply_base
from tests.protocol import ring_reference

KNOWN: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "vrf.json").read_text())["ring"]

ALPHA, AD, RANDOMNESS = b"input", b"context", bytes(range(32))
SECRETS = [vrf.key_from_seed(bytes([index]) * 32) for index in range(5)]
KEYS = [vrf.public(secret) for secret in SECRETS]
RING = KEYS[:3]
PROOF = prove_ring(SECRETS[0], ring=RING, alpha=ALPHA, ad=AD, randomness=RANDOMNESS)
# Where the parts of a proof for three keys, two bits, stand.
PARTS = ("tag", "challenge", "c 1", "c 2", "d 1", "f 1", "u 1", "v 1", "f 2", "u 2", "v 2", "last")
Mutation = Callable[[bytes], bytes]


def prove(secret: bytes, ring: list[bytes], *, ad: bytes = AD, randomness: bytes = RANDOMNESS) -> bytes:
    """Return a proof for the input of this file."""
    return prove_ring(secret, ring=ring, alpha=ALPHA, ad=ad, randomness=randomness)


def verify(proof: bytes, *, ring: list[bytes] = RING, alpha: bytes = ALPHA, ad: bytes = AD) -> bytes:
    """Return the tag of a ring proof, by default in the circumstances it was made for."""
    return verify_ring(ring, alpha=alpha, ad=ad, proof=proof)


@pytest.mark.parametrize("case", KNOWN)
def test_known_answers(case: dict[str, Any]) -> None:
    """Seeds give these rings, digests and proofs, byte by byte; the second verifier takes them too."""
    seeds, ring = ([bytes.fromhex(value) for value in case[name]] for name in ("seeds", "ring"))
    secret = vrf.key_from_seed(seeds[case["own"]])
    alpha, ad, randomness = (bytes.fromhex(case[name]) for name in ("alpha", "ad", "randomness"))
    assert [vrf.public(vrf.key_from_seed(seed)) for seed in seeds] == ring
    assert ring_digest(ring).hex() == case["ring_digest"]
    proof = prove_ring(secret, ring=ring, alpha=alpha, ad=ad, randomness=randomness)
    assert proof.hex() == case["proof"]
    assert verify_ring(ring, alpha=alpha, ad=ad, proof=proof).hex() == case["tag"]
    assert ring_reference.holds(ring, alpha, ad, proof)


# --- what must hold --------------------------------------------------------------------------------------------------


def test_lengths_grow_with_the_logarithm() -> None:
    """A proof has 224 bytes for one or two keys, 704 for 10, and 1,184 for 100 and for the largest ring."""
    assert len(PROOF) == ring_proof_bytes(len(RING)) == 32 * len(PARTS)
    assert [ring_proof_bytes(size) for size in (1, 2, 10, 100, 128)] == [224, 224, 704, 1_184, 1_184]


def test_a_length_bounds_the_ring() -> None:
    """What a proof may cost shows before it is verified; a length that no proof has costs nothing: it is refused."""
    assert [max_ring_size(bytes(ring_proof_bytes(size))) for size in (1, 2, 3, 100, 128)] == [2, 2, 4, 128, 128]
    assert [max_ring_size(bytes(length)) for length in (0, 32, 64, 223, 225, 1_344, 10**6)] == [0] * 7


@given(seed=st.binary(min_size=32, max_size=32), alpha=st.binary(max_size=80), ad=st.binary(max_size=80))
def test_what_is_proven_verifies(seed: bytes, alpha: bytes, ad: bytes) -> None:
    """Any key, input and context: the proof verifies, and gives the one tag of key and input."""
    secret = vrf.key_from_seed(seed)
    ring = list({vrf.public(secret), *KEYS})
    proof = prove_ring(secret, ring=ring, alpha=alpha, ad=ad, randomness=RANDOMNESS)
    assert verify(proof, ring=ring, alpha=alpha, ad=ad) == vrf.tag(secret, alpha)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_every_member_can_prove_in_every_order_of_the_ring(size: int) -> None:
    """The ring is a set: proofs verify however its keys are listed, for rings that fill their bits and for others."""
    ring = KEYS[:size]
    assert ring_digest(ring) == ring_digest(ring[::-1])
    for secret in SECRETS[:size]:
        proof = prove(secret, ring)
        assert verify(proof, ring=ring[::-1]) == vrf.tag(secret, ALPHA)
        assert ring_reference.holds(ring, ALPHA, AD, proof)


def test_tags_repeat_over_contexts_randomness_and_rings() -> None:
    """A key has one pseudonym per input, so that who enters twice is seen to."""
    again = prove(SECRETS[0], KEYS, ad=b"other", randomness=bytes(32))
    assert verify(again, ring=KEYS, ad=b"other") == verify(PROOF) == vrf.tag(SECRETS[0], ALPHA)


def test_fresh_randomness_changes_the_proof_but_not_the_tag() -> None:
    """Two proofs of one statement cannot be told to be of one author but by their tag."""
    other = prove(SECRETS[0], RING, randomness=bytes(32))
    shared = {PROOF[start : start + 32] for start in range(32, len(PROOF), 32)} & {
        other[start : start + 32] for start in range(32, len(other), 32)
    }
    assert other[:32] == PROOF[:32]
    assert not shared


# --- what must not verify --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "circumstances",
    [
        {"ring": KEYS[:4]},
        {"ring": KEYS[1:4]},
        {"ring": [KEYS[0], KEYS[1], KEYS[3]]},
        {"ring": RING[:2]},
        {"alpha": b"inpu"},
        {"alpha": ALPHA + AD[:1], "ad": AD[1:]},
        {"ad": b"contexts"},
    ],
    ids=[
        "a key more",
        "without the signer",
        "another member",
        "a key less",
        "another input",
        "moved",
        "another context",
    ],
)
def test_a_proof_is_bound_to_its_circumstances(circumstances: dict[str, Any]) -> None:
    """Ring, input and context: another one of each is refused, and no byte leaves one for the other."""
    with pytest.raises(InvalidProof):
        verify(PROOF, **circumstances)


def get(proof: bytes, part: str) -> bytes:
    """Return one part of a proof."""
    start = 32 * PARTS.index(part)
    return proof[start : start + 32]


def put(proof: bytes, part: str, value: bytes) -> bytes:
    """Return the proof with one part replaced."""
    start = 32 * PARTS.index(part)
    return proof[:start] + value + proof[start + 32 :]


@pytest.mark.parametrize("part", PARTS)
def test_a_part_that_is_another_is_refused(part: str) -> None:
    """Each part: another valid one, the zero, the group's order, the identity, and what is no encoding."""
    is_point = part == "tag" or part.startswith(("c ", "d "))
    other = multiply_base(7) if is_point else encode_scalar(7)
    for value in (other, bytes(32), GROUP_ORDER.to_bytes(32, "little"), b"\xff" * 32):
        with pytest.raises(InvalidProof):
            verify(put(PROOF, part, value))


MUTATIONS: dict[str, Mutation] = {
    "another key's tag": lambda proof: put(proof, "tag", vrf.tag(SECRETS[1], ALPHA)),
    "another input's tag": lambda proof: put(proof, "tag", vrf.tag(SECRETS[0], b"other")),
    "the key as tag": lambda proof: put(proof, "tag", KEYS[0]),
    "bits swapped": lambda proof: put(put(proof, "c 1", get(proof, "c 2")), "c 2", get(proof, "c 1")),
    "a factor of nobody": lambda proof: put(proof, "f 1", get(proof, "challenge")),
    "a plain proof": lambda proof: vrf.prove(SECRETS[0], alpha=ALPHA, ad=AD, randomness=RANDOMNESS),
    "all zero": lambda proof: bytes(len(proof)),
    "all ones": lambda proof: b"\xff" * len(proof),
    "empty": lambda proof: b"",
    "tag only": lambda proof: proof[:32],
    "a byte short": lambda proof: proof[:-1],
    "a byte long": lambda proof: proof + b"\0",
    "a scalar short": lambda proof: proof[:-32],
    "a scalar long": lambda proof: proof + proof[-32:],
}


@pytest.mark.parametrize("mutation", MUTATIONS.values(), ids=MUTATIONS.keys())
def test_a_changed_proof_is_refused(mutation: Mutation) -> None:
    """What an attacker has at hand put into its place, and each wrong length."""
    with pytest.raises(InvalidProof):
        verify(mutation(PROOF))


def test_no_bit_can_be_flipped() -> None:
    """Every single bit of a proof counts."""
    proof = prove(SECRETS[0], KEYS[:2])
    for bit in range(8 * len(proof)):
        flipped = bytearray(proof)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidProof):
            verify(bytes(flipped), ring=KEYS[:2])


@given(proof=st.one_of(st.binary(max_size=200), st.binary(min_size=384, max_size=384)), key=st.binary(max_size=40))
def test_garbage_is_refused_and_nothing_else(proof: bytes, key: bytes) -> None:
    """Whatever the bytes are, the answer is `InvalidProof`."""
    with pytest.raises(InvalidProof):
        verify(proof)
    with pytest.raises(InvalidProof):
        verify(PROOF, ring=[key, *RING])


def draw_nonces(bits: int) -> list[ring_proof._Nonces]:
    """Return nonces for a prover that is not bound to what `prove_ring` sees to."""
    names = ring_proof._Nonces._fields
    return [
        ring_proof._Nonces(*(hash_to_scalar("nonce", name.encode(), bytes([bit])) for name in names))
        for bit in range(bits)
    ]


def test_a_stranger_cannot_prove() -> None:
    """A key outside the ring has no place to sign from, and its proof fits no ring without it, wherever it pretends."""
    with pytest.raises(AssertionError, match="does not hold"):
        prove(SECRETS[3], RING)
    with pytest.raises(InvalidProof):
        verify(prove(SECRETS[3], [*RING[:2], KEYS[3]]))
    statement = ring_proof._make_statement(sorted(RING), ALPHA, vrf.tag(SECRETS[3], ALPHA), AD)
    for pretended in range(4):
        forged = ring_proof._prove(statement, pretended, int.from_bytes(SECRETS[3], "little"), draw_nonces(2))
        with pytest.raises(InvalidProof):
            verify(vrf.tag(SECRETS[3], ALPHA) + ring_proof._encode(forged))


def test_a_members_key_does_not_prove_another_tag() -> None:
    """The holder of a key cannot show a pseudonym that is not the key's: neither a stranger's nor a random one."""
    own = sorted(RING).index(KEYS[0])
    for other in (vrf.tag(SECRETS[1], ALPHA), vrf.tag(SECRETS[0], b"other"), multiply_base(7)):
        statement = ring_proof._make_statement(sorted(RING), ALPHA, other, AD)
        forged = ring_proof._prove(statement, own, int.from_bytes(SECRETS[0], "little"), draw_nonces(2))
        with pytest.raises(InvalidProof):
            verify(other + ring_proof._encode(forged))


def test_a_tag_cannot_be_fitted_to_a_weight_chosen_before() -> None:
    """With z known first, tag = (y B - P) / z is anybody's, and y answers for it; but z is a hash of the tag."""
    weight, answer = (hash_to_scalar("chosen", bytes([index])) for index in range(2))
    inverse = pow(weight, -1, GROUP_ORDER)
    base = add_multiples([(1, multiply_base(1)), (weight, vrf.input_element(ALPHA))])
    fitted = add_multiples([(answer * inverse, base), (-inverse, KEYS[0])])
    honest = ring_proof._make_statement(KEYS[:1], ALPHA, fitted, AD)
    chosen = honest._replace(base=base, weighted_tag=add_multiples([(weight, fitted)]))
    forged = ring_proof._prove(chosen, 0, answer, draw_nonces(1))
    assert ring_proof._holds(chosen, forged), "under that weight the proof would verify"
    with pytest.raises(InvalidProof):
        verify(fitted + ring_proof._encode(forged), ring=KEYS[:1])


@pytest.mark.parametrize(
    "ring", [[], [KEYS[0], KEYS[0]], [*RING, KEYS[0]], [*RING, IDENTITY], [bytes([index]) * 32 for index in range(129)]]
)
def test_a_ring_that_is_none_is_refused(ring: list[bytes]) -> None:
    """Empty, a key twice, the identity, and more than 128 keys: neither digest, nor proof, nor verification."""
    with pytest.raises(InvalidProof):
        ring_digest(ring)
    with pytest.raises(InvalidProof):
        verify(bytes(ring_proof_bytes(len(ring) or 1)), ring=ring)
    with pytest.raises(InvalidProof):
        prove(SECRETS[0], ring)


def test_too_little_randomness_is_a_bug() -> None:
    """A nonce is never made from less, or from something else, than 32 bytes."""
    with pytest.raises(AssertionError):
        prove(SECRETS[0], RING, randomness=bytes(31))
