"""Masked mode: the aggregator learns the sum of the updates and none of them.

Every pair of clients shares a seed of 32 bytes (`mask_keys`), an X25519 secret hashed for the round. It expands to a
mask modulo 2^64 for each value and modulo r for each blinding; of a pair, the client with the smaller key adds it to
a_i W_i and a_i s_i, the other takes it off. So all masks cancel in the sum, and any vector alone is noise. Whoever is
missing leaves his masks behind: the round is run again without him, with fresh keys, blindings and commitments.

If the sum does not open Enc(w), clients publish their X25519 secrets of the round, which only serve it: that opens
their masks, at the price of their updates' secrecy, and shows whose vector contradicts his commitment.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InvalidProof
from protocol.zk.commitment import aggregate_bytes
from protocol.zk.expansion import expand, expand_scalars
from protocol.zk.group import ORDER, SCALAR_BYTES, Point, decode_scalar, encode_scalars, scale
from protocol.zk.opening import Aggregate, Opening, opens
from protocol.zk.parameters import VALUE_LIMIT, WEIGHTS_LIMIT, ZkParameters

MASK_BYTES = 8


class Masked(NamedTuple):
    """A client's masked vector: values (d,) modulo 2^64, and a blinding modulo r for each of the K rows."""

    values: NDArray[np.uint64]
    blindings: tuple[int, ...]


# --- what a client sends, and the sum of it --------------------------------------------------------------------------


def mask_opening(opening: Opening, *, weight: int, key: bytes, seeds: Mapping[bytes, bytes]) -> Masked:
    """Return a_i (W_i, s_i) behind the masks that the client `key` shares with its peers, whose keys name the seeds."""
    assert 0 < weight < WEIGHTS_LIMIT, "a weight is positive and below 2^32"
    values = (opening.values.astype(np.int64) * weight).view(np.uint64)
    blindings = [weight * blinding for blinding in opening.blindings]
    return _apply_masks(Masked(values, tuple(blindings)), key, seeds, sign=1)


def add_masked(vectors: Sequence[Masked]) -> Aggregate:
    """Return w and s, which open Enc(w), if the vectors are those of all clients that share masks."""
    total = vectors[0].values.copy()
    for vector in vectors[1:]:
        total += vector.values
    columns = zip(*(vector.blindings for vector in vectors), strict=True)
    return Aggregate(total.view(np.int64), tuple(sum(column) % ORDER for column in columns))


def encode_masked(masked: Masked) -> bytes:
    """Return the bytes of a masked vector; as many as an aggregate has (`commitment.aggregate_bytes`)."""
    return masked.values.astype(">u8").tobytes() + encode_scalars(masked.blindings)


def decode_masked(parameters: ZkParameters, values: int, data: bytes) -> Masked:
    """Return a masked vector of `values` numbers. Raises `InvalidProof` for another length or a scalar from r on."""
    if len(data) != aggregate_bytes(parameters, values):
        expected = aggregate_bytes(parameters, values)
        raise InvalidProof(f"a masked vector of {len(data)} bytes, {expected} are needed for {values} values")
    starts = range(MASK_BYTES * values, len(data), SCALAR_BYTES)
    blindings = tuple(decode_scalar(data[at : at + SCALAR_BYTES]) for at in starts)
    return Masked(np.frombuffer(data, ">u8", count=values).astype(np.uint64), blindings)


def _apply_masks(vector: Masked, key: bytes, seeds: Mapping[bytes, bytes], *, sign: int) -> Masked:
    """Return the vector with the masks of all pairs added (sign 1) or taken off again (sign -1)."""
    assert key not in seeds, "nobody shares a mask with himself"
    values, blindings = vector.values.copy(), list(vector.blindings)
    for peer, seed in seeds.items():
        direction = sign if key < peer else -sign
        mask = np.frombuffer(expand("flock/zk/mask/values", seed, length=MASK_BYTES * len(values)), ">u8")
        values = values + mask if direction > 0 else values - mask
        scalars = expand_scalars("flock/zk/mask/blindings", seed, count=len(blindings))
        blindings = [own + direction * other for own, other in zip(blindings, scalars, strict=True)]
    return Masked(values.astype(np.uint64), tuple(blinding % ORDER for blinding in blindings))


# --- who lied, once secrets are open ---------------------------------------------------------------------------------


def open_masks(masked: Masked, *, key: bytes, seeds: Mapping[bytes, bytes]) -> Aggregate:
    """Return a_i (W_i, s_i) from a masked vector and the seeds that its client shared with all peers."""
    plain = _apply_masks(masked, key, seeds, sign=-1)
    return Aggregate(plain.values.view(np.int64), plain.blindings)


def contradicts(
    parameters: ZkParameters,
    commitment: Sequence[Point],
    weighted: Aggregate,
    *,
    weight: int,
    randomness: bytes,
) -> bool:
    """Return whether an opened vector is not a_i times what its client committed to, or is larger than updates are.

    Too large ones count, for without them a sum modulo 2^64 could be wrong though every vector fits its commitment.
    `randomness` is 32 bytes that the client could not know; where all must come to one verdict, a hash of everything.
    """
    bound = weight * VALUE_LIMIT
    if max(int(weighted.values.max()), -int(weighted.values.min())) > bound:
        return True
    points = [scale(point, weight) for point in commitment]
    return not opens(parameters, [points], [weighted], randomness=randomness)
