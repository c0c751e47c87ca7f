"""The verifiable random function, and everything that must not verify."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import vrf
from protocol.errors import InvalidProof
from protocol.ristretto import GROUP_ORDER, IDENTITY, is_element

VECTORS = Path(__file__).parents[1] / "vectors"
GROUP: dict[str, Any] = json.loads((VECTORS / "ristretto255.json").read_text())
KNOWN: dict[str, Any] = json.loads((VECTORS / "vrf.json").read_text())

ALPHA, AD, RANDOMNESS = b"input", b"context", bytes(range(32))
SECRETS = [vrf.key_from_seed(bytes([index]) * 32) for index in range(4)]
KEYS = [vrf.public(secret) for secret in SECRETS]
PROOF = vrf.prove(SECRETS[0], alpha=ALPHA, ad=AD, randomness=RANDOMNESS)
Mutation = Callable[[bytes], bytes]


def verify(proof: bytes, *, key: bytes = KEYS[0], alpha: bytes = ALPHA, ad: bytes = AD) -> bytes:
    """Return the tag of a plain proof, by default in the circumstances it was made for."""
    return vrf.verify(key, alpha=alpha, ad=ad, proof=proof)


# --- known answers ---------------------------------------------------------------------------------------------------


def test_invalid_encodings_are_refused_as_keys_and_as_tags() -> None:
    """Appendix A.2, and the identity, which the RFC allows and a key must not be."""
    assert is_element(bytes.fromhex(GROUP["multiples"][1]))
    for encoding in [*map(bytes.fromhex, GROUP["invalid"]), IDENTITY, KEYS[0][:31], KEYS[0] + b"\0", b""]:
        assert not is_element(encoding)
        with pytest.raises(InvalidProof):
            verify(PROOF, key=encoding)
        with pytest.raises(InvalidProof):
            verify(encoding + PROOF[32:])


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


# --- what must hold --------------------------------------------------------------------------------------------------


def test_lengths_are_constant() -> None:
    """A proof has 96 bytes, all else 32."""
    assert len(PROOF) == vrf.PROOF_BYTES == 96
    assert [len(part) for part in (SECRETS[0], KEYS[0], PROOF[:32], vrf.output(PROOF[:32]))] == [32] * 4


@given(seed=st.binary(min_size=32, max_size=32), alpha=st.binary(max_size=80), ad=st.binary(max_size=80))
def test_what_is_proven_verifies(seed: bytes, alpha: bytes, ad: bytes) -> None:
    """Any key, input and context: the proof verifies and gives the one tag of key and input."""
    secret = vrf.key_from_seed(seed)
    key = vrf.public(secret)
    proof = vrf.prove(secret, alpha=alpha, ad=ad, randomness=RANDOMNESS)
    assert verify(proof, key=key, alpha=alpha, ad=ad) == vrf.tag(secret, alpha)


def test_one_pseudonym_per_key_and_input() -> None:
    """Tags repeat over contexts and randomness, and differ over keys and inputs."""
    again = vrf.prove(SECRETS[0], alpha=ALPHA, ad=b"other", randomness=bytes(32))
    assert verify(again, ad=b"other") == verify(PROOF)
    assert len({vrf.tag(secret, alpha) for secret in SECRETS for alpha in (ALPHA, b"next epoch")}) == 2 * len(SECRETS)


def test_nonces_never_repeat_over_messages() -> None:
    """Even with the same randomness, another context means another nonce: the key does not leak.

    With one nonce a for two challenges, s - s' = (c' - c) x would reveal x.
    """
    order = GROUP_ORDER
    other = vrf.prove(SECRETS[0], alpha=ALPHA, ad=b"other", randomness=RANDOMNESS)
    challenges, responses = (
        [int.from_bytes(proof[start : start + 32], "little") for proof in (PROOF, other)] for start in (32, 64)
    )
    leaked = (responses[0] - responses[1]) * pow(challenges[1] - challenges[0], -1, order) % order
    assert leaked != int.from_bytes(SECRETS[0], "little")


# --- what must not verify --------------------------------------------------------------------------------------------


def add_order(proof: bytes, start: int) -> bytes:
    """Return the proof with a second spelling of one scalar: the group order added."""
    scalar = int.from_bytes(proof[start : start + 32], "little") + GROUP_ORDER
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
def test_a_proof_is_bound_to_its_circumstances(circumstances: dict[str, bytes]) -> None:
    """Key, input and context: another one of each is refused."""
    with pytest.raises(InvalidProof):
        verify(PROOF, **circumstances)


def test_bytes_do_not_move_between_the_parts() -> None:
    """Input and context are length-prefixed: a byte cannot leave one for the other."""
    with pytest.raises(InvalidProof):
        verify(PROOF, alpha=ALPHA + AD[:1], ad=AD[1:])


MUTATIONS: dict[str, Mutation] = {
    "another key's tag": lambda proof: put(proof, 0, vrf.tag(SECRETS[1], ALPHA)),
    "another input's tag": lambda proof: put(proof, 0, vrf.tag(SECRETS[0], b"other")),
    "the key as tag": lambda proof: put(proof, 0, KEYS[0]),
    "identity as tag": lambda proof: put(proof, 0, IDENTITY),
    "zero challenge": lambda proof: put(proof, 32, bytes(32)),
    "zero response": lambda proof: put(proof, 64, bytes(32)),
    "group order as response": lambda proof: put(proof, 64, GROUP_ORDER.to_bytes(32, "little")),
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
    """Each field in each wrong form, and each wrong length."""
    with pytest.raises(InvalidProof):
        verify(mutation(PROOF))


def test_no_bit_can_be_flipped() -> None:
    """Every single bit of a proof counts."""
    for bit in range(8 * len(PROOF)):
        flipped = bytearray(PROOF)
        flipped[bit // 8] ^= 1 << bit % 8
        with pytest.raises(InvalidProof):
            verify(bytes(flipped))


@given(proof=st.one_of(st.binary(max_size=200), st.binary(min_size=96, max_size=96)), key=st.binary(max_size=40))
def test_garbage_is_refused_and_nothing_else(proof: bytes, key: bytes) -> None:
    """Whatever the bytes are, the answer is `InvalidProof`."""
    with pytest.raises(InvalidProof):
        verify(proof)
    with pytest.raises(InvalidProof):
        verify(PROOF, key=key)


@pytest.mark.parametrize("length", [0, 31, 33])
def test_too_little_randomness_is_a_bug(length: int) -> None:
    """A nonce is never made from less, or from something else, than 32 bytes."""
    with pytest.raises(AssertionError):
        vrf.prove(SECRETS[0], alpha=ALPHA, ad=AD, randomness=bytes(length))
    with pytest.raises(AssertionError):
        vrf.key_from_seed(bytes(length))
