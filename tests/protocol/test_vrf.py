"""The verifiable random function, its ring form, and everything that must not verify."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rbcl
from hypothesis import given
from hypothesis import strategies as st

from protocol import vrf
from protocol.crypto import join_parts
from protocol.errors import InvalidProof

VECTORS = Path(__file__).parents[1] / "vectors"
GROUP: dict[str, Any] = json.loads((VECTORS / "ristretto255.json").read_text())
KNOWN: dict[str, Any] = json.loads((VECTORS / "vrf.json").read_text())

ALPHA, AD, RANDOMNESS = b"input", b"context", bytes(range(32))
SECRETS = [vrf.key_from_seed(bytes([index]) * 32) for index in range(4)]
KEYS = [vrf.public(secret) for secret in SECRETS]
RING = KEYS[:3]
PROOF = vrf.prove(SECRETS[0], alpha=ALPHA, ad=AD, randomness=RANDOMNESS)
RING_PROOF = vrf.prove_ring(SECRETS[0], ring=RING, alpha=ALPHA, ad=AD, randomness=RANDOMNESS)
IDENTITY = bytes(32)
Mutation = Callable[[bytes], bytes]


def verify(proof: bytes, *, key: bytes = KEYS[0], alpha: bytes = ALPHA, ad: bytes = AD) -> bytes:
    """Return the tag of a plain proof, by default in the circumstances it was made for."""
    return vrf.verify(key, alpha=alpha, ad=ad, proof=proof)


def verify_ring(proof: bytes, *, ring: list[bytes] = RING, alpha: bytes = ALPHA, ad: bytes = AD) -> bytes:
    """Return the tag of a ring proof, by default in the circumstances it was made for."""
    return vrf.verify_ring(ring, alpha=alpha, ad=ad, proof=proof)


# --- known answers ---------------------------------------------------------------------------------------------------


def test_the_group_is_rfc_9496() -> None:
    """Appendix A.1 and A.3: multiples of the generator, and hashes mapped to elements."""
    for index, expected in enumerate(GROUP["multiples"]):
        scalar = index.to_bytes(32, "little")
        assert rbcl.crypto_scalarmult_ristretto255_base_allow_scalar_zero(scalar).hex() == expected
    for text, expected in GROUP["from_hash"].items():
        assert rbcl.crypto_core_ristretto255_from_hash(hashlib.sha512(text.encode()).digest()).hex() == expected


def test_invalid_encodings_are_refused_as_keys_and_as_tags() -> None:
    """Appendix A.2, and the identity, which the RFC allows and a key must not be."""
    assert vrf.is_public_key(bytes.fromhex(GROUP["multiples"][1]))
    for encoding in [*map(bytes.fromhex, GROUP["invalid"]), IDENTITY, KEYS[0][:31], KEYS[0] + b"\0", b""]:
        assert not vrf.is_public_key(encoding)
        with pytest.raises(InvalidProof):
            verify(PROOF, key=encoding)
        with pytest.raises(InvalidProof):
            verify(encoding + PROOF[32:])
        with pytest.raises(InvalidProof):
            verify_ring(encoding + RING_PROOF[32:])
        with pytest.raises(InvalidProof):
            verify_ring(RING_PROOF, ring=[encoding, *RING[1:]])


@pytest.mark.parametrize("case", KNOWN["plain"])
def test_plain_known_answers(case: dict[str, str]) -> None:
    """Seeds give these keys, tags, outputs and proofs, byte by byte."""
    known = {name: bytes.fromhex(value) for name, value in case.items()}
    assert vrf.key_from_seed(known["seed"]) == known["secret"]
    assert vrf.public(known["secret"]) == known["public"]
    assert vrf.tag(known["secret"], known["alpha"]) == known["tag"]
    assert vrf.output(known["tag"]) == known["output"]
    proof = vrf.prove(known["secret"], alpha=known["alpha"], ad=known["ad"], randomness=known["randomness"])
    assert proof == known["proof"]
    assert vrf.verify(known["public"], alpha=known["alpha"], ad=known["ad"], proof=proof) == known["tag"]


@pytest.mark.parametrize("case", KNOWN["ring"])
def test_ring_known_answers(case: dict[str, Any]) -> None:
    """Seeds give these rings, digests and proofs, byte by byte."""
    seeds, ring = ([bytes.fromhex(value) for value in case[name]] for name in ("seeds", "ring"))
    secret = vrf.key_from_seed(seeds[case["own"]])
    alpha, ad, randomness = (bytes.fromhex(case[name]) for name in ("alpha", "ad", "randomness"))
    assert [vrf.public(vrf.key_from_seed(seed)) for seed in seeds] == ring
    assert vrf.ring_digest(ring).hex() == case["ring_digest"]
    proof = vrf.prove_ring(secret, ring=ring, alpha=alpha, ad=ad, randomness=randomness)
    assert proof.hex() == case["proof"]
    assert vrf.verify_ring(ring, alpha=alpha, ad=ad, proof=proof).hex() == case["tag"]


# --- what must hold --------------------------------------------------------------------------------------------------


def test_lengths_are_constant() -> None:
    """A plain proof has 96 bytes; a ring proof 384 for 10 keys and 3,264 for 100."""
    assert len(PROOF) == vrf.PROOF_BYTES == 96
    assert len(RING_PROOF) == vrf.ring_proof_bytes(len(RING))
    assert [vrf.ring_proof_bytes(size) for size in (10, 100)] == [384, 3_264]
    assert [len(part) for part in (SECRETS[0], KEYS[0], PROOF[:32], vrf.output(PROOF[:32]))] == [32] * 4


@given(seed=st.binary(min_size=32, max_size=32), alpha=st.binary(max_size=80), ad=st.binary(max_size=80))
def test_what_is_proven_verifies(seed: bytes, alpha: bytes, ad: bytes) -> None:
    """Any key, input and context: both forms verify and give the one tag of key and input."""
    secret = vrf.key_from_seed(seed)
    key = vrf.public(secret)
    ring = list({key, *KEYS})
    plain = vrf.prove(secret, alpha=alpha, ad=ad, randomness=RANDOMNESS)
    hidden = vrf.prove_ring(secret, ring=ring, alpha=alpha, ad=ad, randomness=RANDOMNESS)
    tags = {verify(plain, key=key, alpha=alpha, ad=ad), verify_ring(hidden, ring=ring, alpha=alpha, ad=ad)}
    assert tags == {vrf.tag(secret, alpha)}


@pytest.mark.parametrize("member", range(3))
def test_every_member_can_prove_in_every_order_of_the_ring(member: int) -> None:
    """The ring is a set: proofs verify however its keys are listed, and its digest is one."""
    proof = vrf.prove_ring(SECRETS[member], ring=RING, alpha=ALPHA, ad=AD, randomness=RANDOMNESS)
    assert verify_ring(proof, ring=RING[::-1]) == vrf.tag(SECRETS[member], ALPHA)
    assert vrf.ring_digest(RING) == vrf.ring_digest(RING[::-1])


def test_one_pseudonym_per_key_and_input() -> None:
    """Tags repeat over contexts, randomness and rings, and differ over keys and inputs."""
    again = vrf.prove_ring(SECRETS[0], ring=KEYS, alpha=ALPHA, ad=b"other", randomness=bytes(32))
    assert verify_ring(again, ring=KEYS, ad=b"other") == verify(PROOF) == verify_ring(RING_PROOF)
    assert len({vrf.tag(secret, alpha) for secret in SECRETS for alpha in (ALPHA, b"next epoch")}) == 2 * len(SECRETS)


def test_nonces_never_repeat_over_messages() -> None:
    """Even with the same randomness, another context means another nonce: the key does not leak.

    With one nonce a for two challenges, s - s' = (c' - c) x would reveal x.
    """
    order = vrf.GROUP_ORDER
    other = vrf.prove(SECRETS[0], alpha=ALPHA, ad=b"other", randomness=RANDOMNESS)
    challenges, responses = (
        [int.from_bytes(proof[start : start + 32], "little") for proof in (PROOF, other)] for start in (32, 64)
    )
    leaked = (responses[0] - responses[1]) * pow(challenges[1] - challenges[0], -1, order) % order
    assert leaked != int.from_bytes(SECRETS[0], "little")


def test_fresh_randomness_changes_the_proof_but_not_the_tag() -> None:
    """Two proofs of one statement cannot be told to be of one author but by their tag."""
    other = vrf.prove_ring(SECRETS[0], ring=RING, alpha=ALPHA, ad=AD, randomness=bytes(32))
    shared = {RING_PROOF[start : start + 32] for start in range(32, len(RING_PROOF), 32)} & {
        other[start : start + 32] for start in range(32, len(other), 32)
    }
    assert other[:32] == RING_PROOF[:32]
    assert not shared


# --- what must not verify --------------------------------------------------------------------------------------------


def add_order(proof: bytes, start: int) -> bytes:
    """Return the proof with a second spelling of one scalar: the group order added."""
    scalar = int.from_bytes(proof[start : start + 32], "little") + vrf.GROUP_ORDER
    return proof[:start] + scalar.to_bytes(32, "little") + proof[start + 32 :]


def set_top_bit(proof: bytes, start: int) -> bytes:
    """Return the proof with the bit set that libsodium's multiplication ignores."""
    return proof[: start + 31] + bytes([proof[start + 31] | 0x80]) + proof[start + 32 :]


def put(proof: bytes, start: int, part: bytes) -> bytes:
    """Return the proof with 32 bytes replaced."""
    return proof[:start] + part + proof[start + 32 :]


@pytest.mark.parametrize(
    "circumstances",
    [{"key": KEYS[1]}, {"alpha": b"inpu"}, {"alpha": b""}, {"ad": b"contexts"}, {"ad": b""}],
    ids=["another key", "another input", "no input", "another context", "no context"],
)
def test_a_plain_proof_is_bound_to_its_circumstances(circumstances: dict[str, bytes]) -> None:
    """Key, input and context: another one of each is refused."""
    with pytest.raises(InvalidProof):
        verify(PROOF, **circumstances)


@pytest.mark.parametrize(
    "circumstances",
    [
        {"ring": KEYS},
        {"ring": KEYS[1:]},
        {"ring": [KEYS[0], KEYS[1], KEYS[3]]},
        {"ring": RING[:2]},
        {"alpha": b"inpu"},
        {"ad": b"contexts"},
    ],
    ids=["a key more", "without the signer", "another member", "a key less", "another input", "another context"],
)
def test_a_ring_proof_is_bound_to_its_circumstances(circumstances: dict[str, Any]) -> None:
    """Ring, input and context: another one of each is refused."""
    with pytest.raises(InvalidProof):
        verify_ring(RING_PROOF, **circumstances)


def test_bytes_do_not_move_between_the_parts() -> None:
    """Input and context are length-prefixed: a byte cannot leave one for the other."""
    with pytest.raises(InvalidProof):
        verify(PROOF, alpha=ALPHA + AD[:1], ad=AD[1:])
    with pytest.raises(InvalidProof):
        verify_ring(RING_PROOF, alpha=ALPHA + AD[:1], ad=AD[1:])


MUTATIONS: dict[str, Mutation] = {
    "another key's tag": lambda proof: put(proof, 0, vrf.tag(SECRETS[1], ALPHA)),
    "another input's tag": lambda proof: put(proof, 0, vrf.tag(SECRETS[0], b"other")),
    "the key as tag": lambda proof: put(proof, 0, KEYS[0]),
    "identity as tag": lambda proof: put(proof, 0, IDENTITY),
    "zero challenge": lambda proof: put(proof, 32, bytes(32)),
    "zero response": lambda proof: put(proof, 64, bytes(32)),
    "group order as response": lambda proof: put(proof, 64, vrf.GROUP_ORDER.to_bytes(32, "little")),
    "second spelling of the challenge": lambda proof: add_order(proof, 32),
    "second spelling of the response": lambda proof: add_order(proof, 64),
    "second spelling of the last scalar": lambda proof: add_order(proof, len(proof) - 32),
    "top bit of the challenge": lambda proof: set_top_bit(proof, 32),
    "top bit of the response": lambda proof: set_top_bit(proof, 64),
    "challenge and response swapped": lambda proof: proof[:32] + proof[64:96] + proof[32:64] + proof[96:],
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
    """Each field in each wrong form, and each wrong length, in both forms."""
    with pytest.raises(InvalidProof):
        verify(mutation(PROOF))
    with pytest.raises(InvalidProof):
        verify_ring(mutation(RING_PROOF))


def test_no_bit_can_be_flipped() -> None:
    """Every single bit of both proofs counts."""
    for proof, check in ((PROOF, verify), (RING_PROOF, verify_ring)):
        for bit in range(8 * len(proof)):
            flipped = bytearray(proof)
            flipped[bit // 8] ^= 1 << bit % 8
            with pytest.raises(InvalidProof):
                check(bytes(flipped))


@given(proof=st.one_of(st.binary(max_size=200), st.binary(min_size=96, max_size=96)), key=st.binary(max_size=40))
def test_garbage_is_refused_and_nothing_else(proof: bytes, key: bytes) -> None:
    """Whatever the bytes are, the answer is `InvalidProof`."""
    with pytest.raises(InvalidProof):
        verify(proof)
    with pytest.raises(InvalidProof):
        verify(PROOF, key=key)
    with pytest.raises(InvalidProof):
        verify_ring(proof)
    with pytest.raises(InvalidProof):
        verify_ring(RING_PROOF, ring=[key, *RING])


def test_the_two_forms_do_not_pass_for_each_other() -> None:
    """A ring of one has proofs as long as plain ones; their domains differ."""
    alone = vrf.prove_ring(SECRETS[0], ring=KEYS[:1], alpha=ALPHA, ad=AD, randomness=RANDOMNESS)
    assert len(alone) == len(PROOF)
    with pytest.raises(InvalidProof):
        verify(alone)
    with pytest.raises(InvalidProof):
        verify_ring(PROOF, ring=KEYS[:1])


def test_a_stranger_cannot_prove() -> None:
    """A key outside the ring has no place to sign from, and its proof in a larger ring does not fit the smaller."""
    with pytest.raises(AssertionError, match="does not hold"):
        vrf.prove_ring(SECRETS[3], ring=RING, alpha=ALPHA, ad=AD, randomness=RANDOMNESS)
    foreign = vrf.prove_ring(SECRETS[3], ring=[*RING[:2], KEYS[3]], alpha=ALPHA, ad=AD, randomness=RANDOMNESS)
    with pytest.raises(InvalidProof):
        verify_ring(foreign)


def test_a_tag_cannot_be_fitted_to_a_weight_chosen_before() -> None:
    """With z known first, tag = (y B - P) / z is anybody's, and y answers for it; but z is a hash of the tag."""
    weight, answer, nonce = (vrf.key_from_seed(bytes([index]) * 32) for index in (10, 11, 12))
    group = rbcl.crypto_core_ristretto255_from_hash(hashlib.sha512(join_parts("flock/vrf/group", (ALPHA,))).digest())
    generator = rbcl.crypto_scalarmult_ristretto255_base((1).to_bytes(32, "little"))
    base = rbcl.crypto_core_ristretto255_add(generator, rbcl.crypto_scalarmult_ristretto255(weight, group))
    joint_key = rbcl.crypto_scalarmult_ristretto255(answer, base)
    fitted = rbcl.crypto_scalarmult_ristretto255(
        rbcl.crypto_core_ristretto255_scalar_invert(weight),
        rbcl.crypto_core_ristretto255_sub(joint_key, KEYS[0]),
    )
    message = (vrf.ring_digest(KEYS[:1]), ALPHA, fitted, AD)
    commitment = rbcl.crypto_scalarmult_ristretto255(nonce, base)
    challenge = rbcl.crypto_core_ristretto255_scalar_reduce(
        hashlib.sha512(join_parts("flock/vrf/ring/challenge", (*message, commitment))).digest()
    )
    response = rbcl.crypto_core_ristretto255_scalar_sub(
        nonce, rbcl.crypto_core_ristretto255_scalar_mul(challenge, answer)
    )
    again = rbcl.crypto_core_ristretto255_add(
        rbcl.crypto_scalarmult_ristretto255(response, base), rbcl.crypto_scalarmult_ristretto255(challenge, joint_key)
    )
    assert again == commitment, "under that weight the proof would verify"
    with pytest.raises(InvalidProof):
        verify_ring(fitted + challenge + response, ring=KEYS[:1])


@pytest.mark.parametrize(
    "ring", [[], [KEYS[0], KEYS[0]], [*RING, KEYS[0]], [*RING, IDENTITY], [bytes([index]) * 32 for index in range(129)]]
)
def test_a_ring_that_is_none_is_refused(ring: list[bytes]) -> None:
    """Empty, a key twice, the identity, and more than 128 keys: neither digest, nor proof, nor verification."""
    with pytest.raises(InvalidProof):
        vrf.ring_digest(ring)
    with pytest.raises(InvalidProof):
        verify_ring(bytes(vrf.ring_proof_bytes(len(ring))), ring=ring)
    with pytest.raises(InvalidProof):
        vrf.prove_ring(SECRETS[0], ring=ring, alpha=ALPHA, ad=AD, randomness=RANDOMNESS)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_too_little_randomness_is_a_bug(length: int) -> None:
    """A nonce is never made from less, or from something else, than 32 bytes."""
    with pytest.raises(AssertionError):
        vrf.prove(SECRETS[0], alpha=ALPHA, ad=AD, randomness=bytes(length))
    with pytest.raises(AssertionError):
        vrf.key_from_seed(bytes(length))
