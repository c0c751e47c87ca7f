"""The group of the proofs against RFC 9496, and what the wrapper takes care of."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import rbcl

from protocol.errors import InvalidProof
from protocol.ristretto import (
    GROUP_ORDER,
    IDENTITY,
    add_multiples,
    decode_element,
    decode_scalar,
    encode_scalar,
    is_element,
    multiply_base,
)

GROUP: dict[str, Any] = json.loads((Path(__file__).parents[1] / "vectors" / "ristretto255.json").read_text())


def test_the_group_is_rfc_9496() -> None:
    """Appendix A.1 and A.3: multiples of the generator, and hashes mapped to elements."""
    generator = multiply_base(1)
    for index, expected in enumerate(GROUP["multiples"]):
        assert add_multiples([(index, generator)]).hex() == expected
    for text, expected in GROUP["from_hash"].items():
        assert rbcl.crypto_core_ristretto255_from_hash(hashlib.sha512(text.encode()).digest()).hex() == expected


def test_invalid_encodings_are_no_elements() -> None:
    """Appendix A.2, other lengths, and the identity, which the RFC allows and a key must not be."""
    element = multiply_base(1)
    assert is_element(element)
    assert decode_element(element, "the tag") == element
    for encoding in [*map(bytes.fromhex, GROUP["invalid"]), IDENTITY, element[:31], element + b"\0", b""]:
        assert not is_element(encoding)
        with pytest.raises(InvalidProof, match="the tag is not a group element"):
            decode_element(encoding, "the tag")


def test_numbers_have_one_spelling() -> None:
    """What is encoded is decoded; zero, the order and what lies beyond are refused, and so are other lengths."""
    for number in (1, GROUP_ORDER - 1):
        assert decode_scalar(encode_scalar(number)) == decode_scalar(encode_scalar(number - GROUP_ORDER)) == number
    for spelling in (bytes(32), GROUP_ORDER.to_bytes(32, "little"), b"\xff" * 32, bytes([1]), bytes([1]) + bytes(32)):
        with pytest.raises(InvalidProof):
            decode_scalar(spelling)


def test_multiples_by_zero_add_nothing() -> None:
    """libsodium refuses zero; in a sum it is the identity, and terms may cancel out on the way."""
    element = multiply_base(5)
    assert add_multiples([]) == add_multiples([(0, element)]) == add_multiples([(GROUP_ORDER, element)]) == IDENTITY
    assert add_multiples([(1, element), (-1, element), (0, element), (2, element)]) == multiply_base(10)
    assert add_multiples([(2, element)], start=multiply_base(1)) == multiply_base(11)
