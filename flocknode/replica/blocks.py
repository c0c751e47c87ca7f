"""Blocks on their way into the log: taken apart and checked against what names them. Execution is the ledger's."""

from dataclasses import dataclass

from protocol.blocks import Block, block_id, check_body
from protocol.codec import decode, encode
from protocol.errors import InvalidBlock, InvalidCommit
from protocol.tendermint.messages import Commit, Proposal
from protocol.tendermint.replicas import ReplicaSet, verify_commit


@dataclass(frozen=True)
class HeldBlock:
    """A block whose body is the one that its header, and so its id, commits to."""

    id: bytes
    block: Block
    data: bytes

    @property
    def height(self) -> int:
        """The height it was made for."""
        return self.block.header.height


def hold_block(block: Block, data: bytes) -> HeldBlock:
    """Return the block with its id. Raises `InvalidBlock` when header and body do not belong together."""
    check_body(block)
    return HeldBlock(block_id(block.header), block, data)


def hold_own_block(block: Block) -> HeldBlock:
    """Return a block that this node has built."""
    return hold_block(block, encode(block))


def open_proposed_block(proposal: Proposal, data: bytes) -> HeldBlock:
    """Return the block of a proposal.

    Raises `Malformed`, or `InvalidBlock` when the proposal names another block, or a block that its proposer did not
    make for this round (a fresh one) or that is younger than the polka it claims (a repeated one).
    """
    held = hold_block(decode(data, Block), data)
    header = held.block.header
    if held.id != proposal.block_id or header.height != proposal.height:
        raise InvalidBlock("the proposal names another block")
    if proposal.valid_round is None and (header.round, header.proposer) != (proposal.round, proposal.replica):
        raise InvalidBlock("the block was made by another replica or for another round")
    if proposal.valid_round is not None and header.round > proposal.valid_round:
        raise InvalidBlock("the block is younger than the polka it claims to have")
    return held


def open_committed_block(chain: bytes, replicas: ReplicaSet, height: int, data: bytes) -> tuple[HeldBlock, Commit]:
    """Return a block of this height and the commit that made it final, from the encoding of both.

    Raises `Malformed`, `InvalidBlock` or `InvalidCommit`: then the peer that sent it is at fault.
    """
    block, commit = decode(data, tuple[Block, Commit])
    held = hold_block(block, encode(block))
    if (held.height, commit.height, commit.block_id) != (height, height, held.id):
        raise InvalidCommit(f"not a block of height {height} with its commit")
    verify_commit(chain, commit, replicas)
    return held, commit
