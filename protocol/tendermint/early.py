"""Messages that come before their height does: of each replica one round, a proposal and a vote of each kind."""

from protocol.tendermint.events import ProposalReceived, VoteReceived
from protocol.tendermint.messages import Proposal, Vote


class EarlyMessages:
    """What is held for the next height until it begins."""

    def __init__(self) -> None:
        self._held: dict[bytes, dict[int, tuple[Proposal | Vote, ProposalReceived | VoteReceived]]] = {}

    def hold(self, message: Proposal | Vote, event: ProposalReceived | VoteReceived) -> None:
        """Keep a message of a member unless a later round's is held; of one kind and round the first."""
        held = self._held.setdefault(message.replica, {})
        newest = max((known.round for known, _ in held.values()), default=-1)
        if message.round > newest:
            held.clear()
        if message.round >= newest:
            held.setdefault(message.kind if isinstance(message, Vote) else 0, (message, event))

    def take(self) -> list[ProposalReceived | VoteReceived]:
        """Return everything in the order of arrival by replica, and hold it no longer."""
        taken = [event for held in self._held.values() for _, event in held.values()]
        self._held = {}
        return taken

    def messages_of(self, replica: bytes) -> list[Proposal | Vote]:
        """Return what is held of a replica."""
        return [message for message, _ in self._held.get(replica, {}).values()]

    def block_ids(self) -> list[bytes]:
        """Return the id of every block that a held proposal names."""
        messages = [message for held in self._held.values() for message, _ in held.values()]
        return [message.block_id for message in messages if isinstance(message, Proposal)]
