"""A second verifier of zkFL's proofs, written from the text of `protocol/zk/transcript.py` and as slow as it reads.

It shares nothing with the library but the curve: own framing, own hashes, bases folded one by one.
"""

import hashlib

import msgpack
from py_arkworks_bls12381 import G1Point, Scalar

ORDER = 52435875175126190479447740508185965837690552500527637822603658699938581184513
TAG = b"FLOCKNODE-ZK-V01-with-BLS12381G1_XMD:SHA-256_SSWU_RO_"


def parts(*pieces: bytes) -> bytes:
    """Return P(..)."""
    return b"".join(len(piece).to_bytes(4, "big") + piece for piece in pieces)


def digest(*pieces: bytes) -> bytes:
    """Return H(..)."""
    return hashlib.sha256(parts(*pieces)).digest()


def frame(*pieces: bytes) -> bytes:
    """Return what absorbing adds."""
    return b"\x01" + len(pieces).to_bytes(4, "big") + parts(*pieces)


def draw(said: bytes, label: bytes, count: int) -> tuple[bytes, list[int]]:
    """Return the transcript behind a challenge, and the challenges."""
    said += b"\x02" + count.to_bytes(4, "big") + parts(label)
    drawn = hashlib.shake_256(said).digest(16 * count)
    return said, [int.from_bytes(drawn[16 * at : 16 * at + 16], "big") for at in range(count)]


def times(point: G1Point, factor: int) -> G1Point:
    """Return factor times point."""
    return point * Scalar(factor % ORDER)


def cut(data: bytes, size: int) -> list[bytes]:
    """Return pieces of one size."""
    return [data[at : at + size] for at in range(0, len(data), size)]


def decode(data: bytes) -> list[G1Point]:
    """Return points one after the other."""
    return [G1Point.from_compressed_bytes(piece) for piece in cut(data, 48)]


def bases(width: int) -> list[G1Point]:
    """Return G_1 .. G_m and H."""
    messages = [b"G" + index.to_bytes(4, "big") for index in range(1, width + 1)]
    return [G1Point.hash_to_curve(message, TAG) for message in (*messages, b"H")]


def is_proof_of_rows(said: bytes, width: int, rows: list[G1Point], proof: bytes) -> bool:
    """Return whether steps 1 to 4 hold."""
    table = bases(width)
    said += frame(b"mask", proof[:48])
    target, proof = G1Point.from_compressed_bytes(proof[:48]), proof[48:]
    said, factors = draw(said, b"rows", len(rows))
    for row, factor in zip(rows, factors, strict=True):
        target += times(row, factor)
    while len(table) > 4:
        left, right, proof = proof[:48], proof[48:96], proof[96:]
        said, (x,) = draw(said + frame(b"fold", left, right), b"fold", 1)
        target = decode(left)[0] + times(target, x) + times(decode(right)[0], x * x)
        half = len(table) // 2
        table = [times(low, x) + high for low, high in zip(table[:half], table[half:], strict=True)]
    total = G1Point.identity()
    for base, scalar in zip(table, cut(proof, 32), strict=True):
        total += times(base, int.from_bytes(scalar, "big"))
    return total == target


def context_digest(document: list[object]) -> bytes:
    """Return ctx of a context given as nested lists."""
    return digest(b"flock/zk/context", msgpack.packb(document))


def is_knowledge(context: list[object], key: bytes, commitment: bytes, proof: bytes) -> bool:
    """Return whether a client's proof of knowledge verifies."""
    said = frame(b"domain", b"flock/zk/knowledge/v1") + frame(b"context", context_digest(context))
    said += frame(b"client", key, commitment)
    return is_proof_of_rows(said, context[7][0], decode(commitment), proof)  # type: ignore[index]


def is_aggregation(
    context: list[object],
    clients: list[tuple[bytes, bytes, bytes, int]],
    absent: list[bytes],
    product: bytes,
    proof: bytes,
) -> bool:
    """Return whether an aggregator's proof verifies, given (key, commitment, signature, weight) of each client."""
    said = frame(b"domain", b"flock/zk/aggregation/v1") + frame(b"context", context_digest(context))
    said += frame(b"clients", len(clients).to_bytes(8, "big"), b"".join(absent))
    for key, commitment, signature, weight in clients:
        said += frame(b"client", key, commitment, signature, weight.to_bytes(8, "big"))
    said += frame(b"product", product)
    rows = [point for _, commitment, _, _ in clients for point in decode(commitment)]
    return is_proof_of_rows(said, context[7][0], rows, proof)  # type: ignore[index]
