"""Looks for replicas that signed two messages which contradict each other, in the write-ahead logs of stopped daemons.

Each log holds what its replica signed and every vote it took in, so an equivocation that any node saw is found here.
"""

from collections.abc import Iterable, Iterator
from typing import Any, cast

from flocknode.home import Home
from flocknode.replica.journal import Entry, Signed, Taken
from protocol.codec import decode
from protocol.tendermint.events import ProposalReceived, VoteReceived
from protocol.tendermint.messages import Proposal, Vote
from storage.wal import WriteAheadLog

Message = Proposal | Vote
# What a replica may sign once: key, height, round, kind (0 is a proposal).
Place = tuple[bytes, int, int, int]


def read_messages(home: Home) -> list[Message]:
    """Return every proposal and vote in the log of a home whose daemon is stopped."""
    wal = WriteAheadLog(home.journal)
    try:
        return [message for payload in wal.records() for message in _messages_in(decode(payload, cast(Any, Entry)))]
    finally:
        wal.close()


def find_contradictions(messages: Iterable[Message]) -> list[Place]:
    """Return where a replica signed two different things, each place once."""
    signed: dict[Place, Message] = {}
    found: list[Place] = []
    for message in messages:
        place = place_of(message)
        if signed.setdefault(place, message) != message and place not in found:
            found.append(place)
    return found


def place_of(message: Message) -> Place:
    """Return what a message is the only one of."""
    kind = int(message.kind) if isinstance(message, Vote) else 0
    return message.replica, message.height, message.round, kind


def _messages_in(entry: Entry) -> Iterator[Message]:
    match entry:
        case Signed(message) | Taken(ProposalReceived(message) | VoteReceived(message)):
            yield message
