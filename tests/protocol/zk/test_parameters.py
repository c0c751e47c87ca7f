"""The parameters and the table of generators that they name."""

import pytest
from msgspec.structs import replace

from protocol.errors import InvalidProof
from protocol.zk.group import IDENTITY, hash_to_point
from protocol.zk.parameters import (
    MAX_CLIENTS,
    MAX_WEIGHT,
    WEIGHTS_LIMIT,
    ZK_PARAMETERS,
    get_generators,
    parameters_digest,
)
from tests.zk_round import PARAMETERS


def test_the_chains_parameters_name_their_table() -> None:
    """The digest in the code is that of the 1,024 bases which the hash gives."""
    table = get_generators(ZK_PARAMETERS)
    assert len(table.points) == ZK_PARAMETERS.width + 1 == 1_024
    assert table.points[0] == hash_to_point(b"G\0\0\0\1")
    assert table.points[-1] == hash_to_point(b"H")


def test_the_bases_are_distinct_and_their_sum_is_right() -> None:
    """No base stands twice or is the identity; the sum leaves H out."""
    table = get_generators(PARAMETERS)
    assert len({*table.points, IDENTITY}) == PARAMETERS.width + 2
    assert sum(table.points[:-1], IDENTITY) == table.total


def test_another_digest_is_refused() -> None:
    """Bases that somebody else chose, and might know a relation between, are not used."""
    with pytest.raises(InvalidProof, match="other generators"):
        get_generators(replace(PARAMETERS, generators=bytes(32)))
    with pytest.raises(InvalidProof, match="other generators"):
        get_generators(replace(PARAMETERS, width=15))


@pytest.mark.parametrize("width", [4, 5, 6, 8, 1_000, 1_024])
def test_a_width_that_does_not_fold_is_refused(width: int) -> None:
    """With H the number of bases must be a power of two."""
    with pytest.raises(InvalidProof, match="power of two"):
        get_generators(replace(PARAMETERS, width=width))


def test_every_parameter_counts_in_the_digest() -> None:
    """Changing any one of them names another set."""
    others = [
        replace(PARAMETERS, **{name: value})
        for name, value in (
            ("width", 15),
            ("fraction_bits", 15),
            ("max_clients", 63),
            ("max_values", 1),
            ("generators", bytes(32)),
        )
    ]
    assert len({parameters_digest(one) for one in (PARAMETERS, *others)}) == len(PARAMETERS.__struct_fields__) + 1


def test_the_largest_weights_of_all_clients_fit() -> None:
    """However many take part, weights up to the limit add up to less than 2^32."""
    assert MAX_CLIENTS * MAX_WEIGHT < WEIGHTS_LIMIT
