"""What verifying the proofs of transactions costs, so that a block brings no more than replicas have time for.

Microseconds on one core of the machine that they were measured on (`python -m devnet bench zk`): every replica must
come to the same sum, so they count work, and how fast a replica really is does not matter. What was verified before is
remembered and costs nothing; a block is judged as if nothing was.
"""

# A member of a ring: a multiplication and an addition in ristretto255, and a share of what goes with bits.
RING_MEMBER_US = 190
# A row of a commitment: its point is decoded, with a square root and the check of its subgroup, and multiplied.
COMMITTED_ROW_US = 190
# A row of a client in a sum, whose point was decoded when the client committed: in the product, and in the proof.
MULTIPLIED_ROW_US = PROVEN_ROW_US = 25
# A generator that the proof about rows is folded over, whatever they are the rows of.
GENERATOR_US = 37


def ring_proof_us(members: int) -> int:
    """Return what a ring proof over so many members takes."""
    return RING_MEMBER_US * members


def commitment_proof_us(rows: int, *, width: int) -> int:
    """Return what the proof takes that a client knows the rows it committed to, each of `width` values."""
    return COMMITTED_ROW_US * rows + GENERATOR_US * (width + 1)


def aggregation_proof_us(rows: int, *, clients: int, width: int) -> int:
    """Return what the proof takes that a product of so many clients' commitments is that of their sum."""
    return product_us(rows, clients=clients) + PROVEN_ROW_US * rows * clients + GENERATOR_US * (width + 1)


def product_us(rows: int, *, clients: int) -> int:
    """Return what it takes to work out the product of so many clients' commitments, where no proof comes with it."""
    return MULTIPLIED_ROW_US * rows * clients
