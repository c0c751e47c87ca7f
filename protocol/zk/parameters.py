"""The numbers that a proof depends on, and the table of generators that their digest names."""

from functools import lru_cache
from typing import Annotated, NamedTuple

from msgspec import Meta

from protocol.codec import encode
from protocol.crypto import hash_parts
from protocol.errors import InvalidProof
from protocol.types import Digest, Record
from protocol.zk.group import Point, encode_points, hash_to_point, multiply

MIN_WIDTH, MAX_WIDTH = 3, 2**12 - 1
MAX_CLIENTS = 64
MAX_VALUES = 2**19
# Tables that one process keeps: the chain's, and those of files from elsewhere.
MAX_TABLES = 4
# Values of updates lie strictly between -2^31 and 2^31.
VALUE_LIMIT = 2**31
# The sum of all weights stays below, so that the weighted sum of updates fits 64 bits.
WEIGHTS_LIMIT = 2**32
# So a weight may be this at most, whoever else takes part.
MAX_WEIGHT = WEIGHTS_LIMIT // MAX_CLIENTS - 1


class ZkParameters(Record):
    """What all proofs of a chain share.

    `width` is m: how many values one row, that is one point of a commitment, holds; m + 1 is a power of two. Values are
    in units of 2^-`fraction_bits`. `generators` is the digest of the table that `make_generators` gives.
    """

    width: Annotated[int, Meta(ge=MIN_WIDTH, le=MAX_WIDTH)]
    fraction_bits: Annotated[int, Meta(ge=0, le=30)]
    max_clients: Annotated[int, Meta(ge=1, le=MAX_CLIENTS)]
    max_values: Annotated[int, Meta(ge=1, le=MAX_VALUES)]
    generators: Digest


class Generators(NamedTuple):
    """The bases of all commitments: G_1 .. G_m and H, in this order, and the sum of the first m."""

    points: tuple[Point, ...]
    total: Point


def make_generators(width: int) -> Generators:
    """Return G_j = H2C("G" | j in 4 bytes) for j from 1, and H = H2C("H"). Half a millisecond for each."""
    bases = tuple(hash_to_point(b"G" + index.to_bytes(4, "big")) for index in range(1, width + 1))
    return Generators((*bases, hash_to_point(b"H")), multiply(bases, [1] * width))


def make_parameters(*, width: int) -> ZkParameters:
    """Return the usual parameters with another width of rows."""
    table = make_generators(width)
    return ZkParameters(width, 16, MAX_CLIENTS, MAX_VALUES, _table_digest(table))


def parameters_digest(parameters: ZkParameters) -> bytes:
    """Return what names the parameters, generators included."""
    return hash_parts("flock/zk/parameters", encode(parameters))


@lru_cache(maxsize=MAX_TABLES)
def get_generators(parameters: ZkParameters) -> Generators:
    """Return the table of generators, made once (0.5 s at width 1,023) and compared with the parameters' digest.

    Raises `InvalidProof` for a width that does not fold, and for another digest.
    """
    if parameters.width & (parameters.width + 1):
        raise InvalidProof(f"a width of {parameters.width}: with one more it must be a power of two")
    table = make_generators(parameters.width)
    if _table_digest(table) != parameters.generators:
        raise InvalidProof("the parameters name other generators than those that their width gives")
    return table


def _table_digest(table: Generators) -> bytes:
    return hash_parts("flock/zk/generators", encode_points(table.points))


# What chains use: 1,024 bases fold to 4 in 8 steps, and a proof has 944 bytes.
ZK_PARAMETERS = ZkParameters(
    width=1_023,
    fraction_bits=16,
    max_clients=MAX_CLIENTS,
    max_values=MAX_VALUES,
    generators=bytes.fromhex("0db409912af64fe79ff0b9a96986b82cdf0eefb6a72d6d3c68f4caddaecedaac"),
)
