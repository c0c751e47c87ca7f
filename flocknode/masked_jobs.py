"""What the learning worker can be asked in rounds with masked updates (zk.md "Masked mode"), and what it answers.

A client hides its update as `private_jobs.HideUpdate` says; what comes after that is here.
"""

from typing import Annotated

from msgspec import Meta

from flocknode.jobs import FilePath, Reason, Refused
from protocol.types import Address, Bytes32, Count, Record
from protocol.zk.commitment import Commitment
from protocol.zk.parameters import MAX_CLIENTS, WEIGHTS_LIMIT, ZkParameters
from protocol.zk.statement import Statement

Weight = Annotated[int, Meta(ge=1, lt=WEIGHTS_LIMIT)]


class SharedSeed(Record):
    """The seed that a client shares with another one."""

    peer: Address
    seed: Bytes32


Seeds = Annotated[tuple[SharedSeed, ...], Meta(max_length=MAX_CLIENTS)]


class MaskUpdate(Record, tag=64):
    """Hide an update, by the file that opens its commitment, behind the masks of all pairs; the vector is no secret."""

    parameters: ZkParameters
    values: Count
    key: Address
    weight: Weight
    opening: FilePath
    seeds: Seeds
    output: FilePath


class UpdateMasked(Record, tag=74):
    """The result of `MaskUpdate`: how many masks the update lies behind."""

    masks: Count


class AddMasked(Record, tag=65):
    """Add the vectors of all that share masks, and write the sum to `output` if it opens Enc(w) and gives a model.

    Vectors stand in the order of the statement's contributions; `randomness` is known to nobody else.
    """

    statement: Statement
    vectors: Annotated[tuple[FilePath, ...], Meta(min_length=1, max_length=MAX_CLIENTS)]
    randomness: Bytes32
    output: FilePath


class MaskedAdded(Record, tag=75):
    """The result of `AddMasked`: None, or why the sum is none; then nothing is written."""

    refusal: Reason | None


class BaredVector(Record):
    """A client's vector with all seeds that it lies behind, and what it must be a multiple of."""

    key: Address
    commitment: Commitment
    weight: Weight
    vector: FilePath
    seeds: Seeds


class FindLiars(Record, tag=66):
    """Take the masks off vectors, and find those that contradict their commitments.

    `randomness` is the same for all that look, so that they come to one verdict (`rules.alliance.masks.derive_check`).
    """

    parameters: ZkParameters
    values: Count
    vectors: Annotated[tuple[BaredVector, ...], Meta(max_length=MAX_CLIENTS)]
    randomness: Bytes32


class LiarsFound(Record, tag=76):
    """The result of `FindLiars`: those that lied, in order, and how."""

    refused: tuple[Refused, ...]


MaskedJob = MaskUpdate | AddMasked | FindLiars
MaskedResult = UpdateMasked | MaskedAdded | LiarsFound
