"""Signs what the core asks for, and never two messages that contradict each other."""

from dataclasses import dataclass, field

import structlog

from protocol.crypto import public_key
from protocol.tendermint.events import SignProposal, SignVote
from protocol.tendermint.messages import Proposal, Vote, sign_proposal, sign_vote

log = structlog.get_logger("flocknode.replica")


@dataclass(frozen=True)
class ReplicaKeys:
    """The secrets of a voter: the 32-byte seed of its consensus key, and its secret for the beacon."""

    seed: bytes = field(repr=False)
    beacon_secret: bytes = field(repr=False)

    @property
    def key(self) -> bytes:
        """The public consensus key."""
        return public_key(self.seed)


class Signer:
    """Guards one consensus key: whatever is signed comes after what was signed before.

    A repeated request returns the old signature (Ed25519 is deterministic), anything else at or before the last
    position is refused. `silent_through` is the height up to which nothing at all is signed. `silent_until_ms` is set
    while it is not known what was signed before that time: nothing is signed until a block that was made later has
    committed. Nobody could have signed at a greater height than that block's before it was made, so whatever was
    forgotten lies behind; and that needs no peer's word for it.
    """

    def __init__(self, chain: bytes, seed: bytes, last_signed: Proposal | Vote | None) -> None:
        self._chain = chain
        self._seed = seed
        self._last = last_signed
        self.silent_through = 0
        self.silent_until_ms: int | None = None

    def sign(self, effect: SignProposal | SignVote) -> Proposal | Vote | None:
        """Return the signed message, or None when signing it would be wrong."""
        if effect.height <= self.silent_through or self.silent_until_ms is not None:
            return None
        message = self._make(effect)
        if self._last is not None and message != self._last and position(message) <= position(self._last):
            log.warning("refused to sign", height=effect.height, round=effect.round, signed=str(position(self._last)))
            return None
        self._last = message
        return message

    def learn_newest(self, vote: Vote) -> None:
        """Compare the newest vote that a peer has of this key with the own memory.

        A newer one means that the memory was restored from an older state: nothing is signed until that height has
        committed.
        """
        is_known = self._last is not None and (vote == self._last or position(vote) < position(self._last))
        if not is_known and vote.height > self.silent_through:
            self.silent_through = vote.height
            log.warning(
                "this replica's memory is older than a vote its peers hold; it signs nothing until that height commits",
                height=vote.height,
                round=vote.round,
            )

    def forget(self, until_ms: int) -> None:
        """Learn that what was signed before a time was lost."""
        self.silent_until_ms = until_ms

    def learn_commit(self, height: int, time_ms: int) -> None:
        """Learn of a committed block: it may end the silence of a replica that has lost its memory."""
        if self.silent_until_ms is not None and time_ms > self.silent_until_ms:
            self.silent_until_ms = None
            self.silent_through = max(self.silent_through, height)
            log.info("a block that was made after this replica lost its memory has committed; it signs again")

    def learn_log(self, height: int) -> None:
        """Compare the height that is to be agreed on with the own memory, at the start.

        If it is of a later height, the log was restored or begun anew, and the locks of that height are gone: nothing
        is signed until it has committed.
        """
        if self._last is not None and self._last.height > height:
            self.silent_through = self._last.height
            log.warning("the log is older than what this replica signed", height=height, signed=self._last.height)

    def explain(self, height: int) -> str:
        """Return in a sentence why nothing is signed at a height, or nothing."""
        if self.silent_until_ms is not None:
            return "signs nothing until a newly made block commits: what it signed before its repair is not known"
        if height <= self.silent_through:
            return f"signs nothing until height {self.silent_through} commits: its memory is older than its own votes"
        return ""

    def _make(self, effect: SignProposal | SignVote) -> Proposal | Vote:
        match effect:
            case SignProposal(height, round, valid_round, block_id):
                return sign_proposal(
                    self._chain, self._seed, height=height, round=round, valid_round=valid_round, block_id=block_id
                )
            case SignVote(kind, height, round, block_id):
                return sign_vote(self._chain, self._seed, kind=kind, height=height, round=round, block_id=block_id)


def position(message: Proposal | Vote) -> tuple[int, int, int]:
    """Return where in a replica's sequence of signatures a message stands: height, round, kind."""
    return message.height, message.round, int(message.kind) if isinstance(message, Vote) else 0
