"""What a faulty replica makes of the messages of an honest one: small changes, signed anew."""

import random

import msgspec

from flocknode.replica.signer import ReplicaKeys
from flocknode.replica.wire import BlockProposal, ConsensusMessage, SummaryTold, VoteCast, sign_summary
from protocol.codec import decode, encode
from protocol.tendermint.messages import Proposal, Vote, sign_proposal, sign_vote

MUTATED = 0.3
MAX_REMEMBERED = 32


class Mutator:
    """The way out of one faulty node."""

    def __init__(self, chain: bytes, keys: ReplicaKeys, dice: random.Random) -> None:
        self._chain = chain
        self._seed = keys.seed
        self._key = keys.key
        self._dice = dice
        self._blocks: list[bytes] = []
        self._older: list[bytes] = []

    def alter(self, payload: bytes) -> bytes:
        """Return what one receiver is told instead."""
        message = decode(payload, ConsensusMessage)
        match message:
            case BlockProposal(proposal) if proposal.replica == self._key:
                self._remember(payload, proposal.block_id)
                altered: object = BlockProposal(self._alter_proposal(proposal), message.block)
            case VoteCast(vote) if vote.replica == self._key:
                self._remember(payload, vote.block_id)
                altered = VoteCast(self._alter_vote(vote))
            case SummaryTold(summary):
                height = max(1, summary.height + self._dice.choice([-1, 1, 1000]))
                altered = sign_summary(self._chain, self._seed, msgspec.structs.replace(summary, height=height))
            case _:
                return payload
        if self._dice.random() >= MUTATED:
            return payload
        return self._dice.choice(self._older) if self._older and self._dice.random() < 0.2 else encode(altered)

    def _remember(self, payload: bytes, block_id: bytes | None) -> None:
        for kept, item in ((self._older, payload), (self._blocks, block_id)):
            if item is not None and item not in kept:
                kept.append(item)
                del kept[:-MAX_REMEMBERED]

    def _alter_vote(self, vote: Vote) -> Vote:
        return sign_vote(
            self._chain,
            self._seed,
            kind=vote.kind,
            height=vote.height,
            round=max(0, vote.round + self._dice.choice([-1, 0, 0, 1])),
            block_id=self._dice.choice([vote.block_id, None, self._dice.randbytes(32), *self._blocks[-3:]]),
        )

    def _alter_proposal(self, proposal: Proposal) -> Proposal:
        return sign_proposal(
            self._chain,
            self._seed,
            height=proposal.height,
            round=max(0, proposal.round + self._dice.choice([-1, 0, 0, 1])),
            valid_round=self._dice.choice([proposal.valid_round, None, max(0, proposal.round - 1)]),
            block_id=proposal.block_id,
        )
