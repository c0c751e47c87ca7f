"""What the learning worker can be asked in rounds with hidden updates (white paper VI.H), and what it answers.

Secrets go in and out as files.
"""

from typing import Annotated

from msgspec import Meta

from flocknode.jobs import FilePath, Reason, Refused
from protocol.models import ModelSpec
from protocol.types import Address, Bytes32, Count, Digest, Record
from protocol.zk.commitment import Commitment
from protocol.zk.parameters import MAX_CLIENTS, ZkParameters
from protocol.zk.rows import RowsProof
from protocol.zk.statement import RoundContext, Statement


class HideUpdate(Record, tag=60):
    """Commit to an update, a fixed-point file, prove to know it, and write to `output` what opens the commitment.

    That is a secret. `blinding` and `masking` are fresh secret bytes.
    """

    context: RoundContext
    key: Address
    model: ModelSpec
    update: FilePath
    blinding: Bytes32
    masking: Bytes32
    output: FilePath


class Hidden(Record, tag=70):
    """The result of `HideUpdate`."""

    commitment: Commitment
    knowledge: RowsProof


class Revealed(Record):
    """A commitment, and the file that should open it."""

    commitment: Commitment
    opening: FilePath


Reveals = Annotated[tuple[Revealed, ...], Meta(min_length=1, max_length=MAX_CLIENTS)]


class CheckReveals(Record, tag=61):
    """Find the files that do not open their commitments; `randomness` is known to nobody else."""

    parameters: ZkParameters
    values: Count
    reveals: Reveals
    randomness: Bytes32


class RevealsChecked(Record, tag=71):
    """The result of `CheckReveals`: those that open nothing, in order."""

    refused: tuple[Refused, ...]


class ProveSum(Record, tag=62):
    """Add up updates by their openings, which were checked, write what opens Enc(w) to `output`, and prove it.

    Openings stand in the order of the statement's contributions. `masking` are fresh secret bytes.
    """

    statement: Statement
    openings: Annotated[tuple[FilePath, ...], Meta(min_length=1, max_length=MAX_CLIENTS)]
    masking: Bytes32
    output: FilePath


class SumProven(Record, tag=72):
    """The result of `ProveSum`: Enc(w), and the proof."""

    product: Commitment
    proof: RowsProof


class ConsultSum(Record, tag=63):
    """Check that a sum is the one that the log vouches for, and write the model that it gives to `output`.

    `digest`, `weights` and `product` are the log's; `randomness` is known to nobody else.
    """

    context: RoundContext
    model: ModelSpec
    digest: Digest
    weights: Annotated[tuple[int, ...], Meta(min_length=1, max_length=MAX_CLIENTS)]
    product: Commitment
    sum: FilePath
    randomness: Bytes32
    output: FilePath


class Consulted(Record, tag=73):
    """The result of `ConsultSum`: None, or why the sum is not the proven one; then there is no model."""

    refusal: Reason | None


PrivateJob = HideUpdate | CheckReveals | ProveSum | ConsultSum
PrivateResult = Hidden | RevealsChecked | SumProven | Consulted
