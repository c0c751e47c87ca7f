"""The group G1 of BLS12-381: one thin wrapper around arkworks, which trusts its caller in most things.

Its prime order is r. As the library takes points at infinity in many spellings, skips the subgroup check when told to,
reduces scalars in silence and cuts the longer of two lists, everything here is checked before it gets there: points
from outside are decoded, tested for the subgroup, encoded again and compared; scalars are canonical; lists are equally
long.

The subgroup check of many points by one combination with small random factors would be no check: the cofactor is
divisible by 3, so a point of order 3 passes it in one of three tries. Hence every point is checked by itself, once; see
`commitment.decode_commitment`, which remembers.
"""

from collections.abc import Sequence

from py_arkworks_bls12381 import G1Point, Scalar

from protocol.errors import InvalidProof

Point = G1Point

# r, the order of the group.
ORDER = 0x73EDA753299D7D483339D80809A1D80553BDA402FFFE5BFEFFFFFFFF00000001
POINT_BYTES = 48
SCALAR_BYTES = 32
# The suite of RFC 9380, named behind our own prefix, as its section 3.1 asks for.
DOMAIN = "FLOCKNODE-ZK-V01-with-BLS12381G1_XMD:SHA-256_SSWU_RO_"
MAX_HASHED_BYTES = 64

IDENTITY: Point = G1Point.identity()


def decode_point(data: bytes) -> Point:
    """Return the point of 48 compressed bytes (the ZCash form); the identity is one.

    Raises `InvalidProof` for anything but the one canonical encoding of a point of the group.
    """
    if len(data) != POINT_BYTES:
        raise InvalidProof(f"a point has {POINT_BYTES} bytes, not {len(data)}")
    try:
        point = G1Point.from_compressed_bytes(data)
    except ValueError as error:
        raise InvalidProof("the bytes are no point of the group") from error
    if point.to_compressed_bytes() != data:
        raise InvalidProof("a second spelling of a point")
    return point


def decode_points(data: bytes) -> tuple[Point, ...]:
    """Return the points whose encodings stand one after the other. Raises `InvalidProof`, naming which is none."""
    if len(data) % POINT_BYTES:
        raise InvalidProof(f"{len(data)} bytes are no whole number of points of {POINT_BYTES}")
    points = []
    for start in range(0, len(data), POINT_BYTES):
        try:
            points.append(decode_point(data[start : start + POINT_BYTES]))
        except InvalidProof as error:
            index = start // POINT_BYTES
            raise InvalidProof(f"point {index}: {error.message}", point=index) from error
    return tuple(points)


def encode_point(point: Point) -> bytes:
    """Return the 48 bytes of a point."""
    return point.to_compressed_bytes()


def encode_points(points: Sequence[Point]) -> bytes:
    """Return the encodings of points one after the other."""
    return b"".join(point.to_compressed_bytes() for point in points)


def decode_scalar(data: bytes) -> int:
    """Return the number below r of 32 bytes. Raises `InvalidProof` for another length, and from r on."""
    value = int.from_bytes(data, "big")
    if len(data) != SCALAR_BYTES or value >= ORDER:
        raise InvalidProof("a scalar is not canonical: 32 bytes, below the group's order")
    return value


def encode_scalar(value: int) -> bytes:
    """Return the 32 bytes of a number below r."""
    assert 0 <= value < ORDER, "only canonical scalars are encoded"
    return value.to_bytes(SCALAR_BYTES, "big")


def encode_scalars(values: Sequence[int]) -> bytes:
    """Return the encodings of numbers below r one after the other."""
    return b"".join(map(encode_scalar, values))


def hash_to_point(message: bytes) -> Point:
    """Return the point that a short message hashes to; nobody knows how it relates to another (RFC 9380)."""
    assert len(message) <= MAX_HASHED_BYTES, "only short messages are hashed to points"
    return G1Point.hash_to_curve(message, DOMAIN.encode())


def multiply(points: Sequence[Point], scalars: Sequence[int]) -> Point:
    """Return the sum of scalar times point, pair by pair; scalars of 32 bits cost a sixth of full ones."""
    return multiply_encoded(points, list(map(encode_scalar, scalars)))


def multiply_encoded(points: Sequence[Point], scalars: Sequence[bytes]) -> Point:
    """Return the same for encoded scalars, which must be canonical."""
    assert len(points) == len(scalars), f"{len(scalars)} scalars for {len(points)} points"
    # Refuses what is not canonical; only the integers' constructor reduces.
    return G1Point.multiexp_unchecked(list(points), list(map(Scalar.from_be_bytes, scalars)))


def scale(point: Point, scalar: int) -> Point:
    """Return scalar times point."""
    return point * Scalar.from_be_bytes(encode_scalar(scalar))
