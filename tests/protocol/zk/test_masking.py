"""Masked mode: sums come out, single updates do not, and who spoils the sum is found."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import InvalidProof
from protocol.zk.aggregation import aggregate_digest
from protocol.zk.commitment import aggregate_bytes
from protocol.zk.consultation import consult
from protocol.zk.group import ORDER, multiply
from protocol.zk.mask_keys import derive_seeds, mask_public_key
from protocol.zk.masking import (
    Masked,
    add_masked,
    contradicts,
    decode_masked,
    encode_masked,
    mask_opening,
    open_masks,
)
from protocol.zk.opening import Aggregate, Opening, add_openings
from protocol.zk.parameters import get_generators
from protocol.zk.statement import context_digest
from tests.zk_round import PARAMETERS, VALUES, filled, play

ROUND = play(4)
KEYS = ROUND.context.keys
SECRETS = [filled(f"mask {index}") for index in range(4)]
PUBLIC = dict(zip(KEYS, map(mask_public_key, SECRETS), strict=True))
DIGEST = context_digest(ROUND.context)
SEEDS = [
    derive_seeds(
        secret, client=key, peers={peer: public for peer, public in PUBLIC.items() if peer != key}, context=DIGEST
    )
    for key, secret in zip(KEYS, SECRETS, strict=True)
]
CHECK = filled("check")


def mask(index: int, opening: Opening) -> Masked:
    """Return what a client sends."""
    return mask_opening(opening, weight=ROUND.weights[index], key=KEYS[index], seeds=SEEDS[index])


MASKED = [mask(index, opening) for index, opening in enumerate(ROUND.openings)]


def find_liars(vectors: list[Masked]) -> list[int]:
    """Return whose vector contradicts his commitment, all secrets being open."""
    return [
        index
        for index, vector in enumerate(vectors)
        if contradicts(
            PARAMETERS,
            ROUND.points[index],
            open_masks(vector, key=KEYS[index], seeds=SEEDS[index]),
            weight=ROUND.weights[index],
            randomness=CHECK,
        )
    ]


def test_masks_cancel_and_the_sum_is_the_aggregate() -> None:
    """Values as integers of 64 bits, blindings modulo r; and the sum opens the product on the log: the whole proof."""
    total, expected = add_masked(MASKED), add_openings(ROUND.openings, ROUND.weights)
    assert total.values.dtype == np.int64
    assert total.values.tolist() == expected.values.tolist()
    assert total.blindings == expected.blindings
    consult(
        ROUND.context,
        digest=aggregate_digest(ROUND.context, ROUND.aggregation.product),
        weights=ROUND.weights,
        product=ROUND.aggregation.product,
        aggregate=total,
        randomness=CHECK,
    )


@settings(max_examples=20)
@given(clients=st.integers(1, 4), data=st.data())
def test_masks_cancel_whatever_is_masked(clients: int, data: st.DataObject) -> None:
    """Any updates and weights of any number of clients."""
    keys = KEYS[:clients]
    value, scalar = st.integers(-(2**31) + 1, 2**31 - 1), st.integers(0, ORDER - 1)
    weights = data.draw(st.lists(st.integers(1, 2**30 - 1), min_size=clients, max_size=clients))
    openings = [
        Opening(np.array(data.draw(st.lists(value, min_size=2, max_size=2)), np.int32), (data.draw(scalar),))
        for _ in keys
    ]
    masked = [
        mask_opening(
            opening, weight=weight, key=key, seeds={peer: seed for peer, seed in seeds.items() if peer in keys}
        )
        for opening, weight, key, seeds in zip(openings, weights, keys, SEEDS, strict=False)
    ]
    total, expected = add_masked(masked), add_openings(openings, weights)
    assert total.values.tolist() == expected.values.tolist()
    assert total.blindings == expected.blindings


def test_a_masked_vector_tells_nothing_by_itself() -> None:
    """No value and no blinding shows through, and equal updates look different."""
    plain = [mask_opening(opening, weight=1, key=KEYS[0], seeds={}) for opening in ROUND.openings[:2]]
    hidden = [mask_opening(ROUND.openings[0], weight=1, key=KEYS[index], seeds=SEEDS[index]) for index in range(2)]
    seen = [set(vector.values.tolist()) | set(vector.blindings) for vector in (plain[0], *hidden)]
    assert all(one.isdisjoint(other) for one, other in itertools.combinations(seen, 2))


def test_without_one_vector_the_masks_stay() -> None:
    """Whoever is missing leaves his masks behind: the others' sum is noise, not their sum."""
    total = add_masked(MASKED[:3])
    expected = add_openings(ROUND.openings[:3], ROUND.weights[:3])
    assert all(a != b for a, b in zip(total.values.tolist(), expected.values.tolist(), strict=True))


def test_a_masked_vector_decodes_to_what_was_encoded() -> None:
    """Its length is known before; another one, and a blinding of r, are refused."""
    data = encode_masked(MASKED[0])
    assert len(data) == aggregate_bytes(PARAMETERS, VALUES)
    decoded = decode_masked(PARAMETERS, VALUES, data)
    assert decoded.values.tolist() == MASKED[0].values.tolist()
    assert decoded.blindings == MASKED[0].blindings
    for changed in (data[:-1], data + b"\0", b"", data[:-32] + ORDER.to_bytes(32, "big")):
        with pytest.raises(InvalidProof):
            decode_masked(PARAMETERS, VALUES, changed)


def test_opened_masks_show_the_update() -> None:
    """With his seeds, a client's vector is a_i times his update."""
    for index, vector in enumerate(MASKED):
        opened = open_masks(vector, key=KEYS[index], seeds=SEEDS[index])
        weight = ROUND.weights[index]
        assert opened.values.tolist() == [weight * value for value in ROUND.openings[index].values.tolist()]
        assert opened.blindings == tuple(weight * blinding % ORDER for blinding in ROUND.openings[index].blindings)
    assert find_liars(MASKED) == []


@pytest.mark.parametrize("liar", range(4))
def test_who_contradicts_his_commitment_is_found(liar: int) -> None:
    """One value off by one spoils the sum, and with open secrets points to its author alone."""
    values = MASKED[liar].values.copy()
    values[11] += np.uint64(1)
    vectors = [vector._replace(values=values) if index == liar else vector for index, vector in enumerate(MASKED)]
    assert find_liars(vectors) == [liar]
    blindings = ((MASKED[liar].blindings[0] + 1) % ORDER, *MASKED[liar].blindings[1:])
    vectors = [vector._replace(blindings=blindings) if index == liar else vector for index, vector in enumerate(MASKED)]
    assert find_liars(vectors) == [liar]


@pytest.mark.parametrize("value", [2**31 + 1, -(2**31) - 1])
def test_a_vector_beyond_the_range_of_updates_is_a_contradiction(value: int) -> None:
    """Though it fits its commitment: or sums modulo 2^64 could go wrong with nobody to blame.

    A client can commit to numbers that no update has, for it proves that it knows them, not that they are small.
    """
    table, weight = get_generators(PARAMETERS).points, 5
    for number, is_beyond in ((value, True), (value - value // abs(value), False)):
        commitment = [multiply(table, [number % ORDER, *[0] * 6, 9])]
        opened = Aggregate(np.array([weight * number]), (weight * 9,))
        assert contradicts(PARAMETERS, commitment, opened, weight=weight, randomness=CHECK) is is_beyond
