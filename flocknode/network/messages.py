"""What peers say to each other on the gossip stream, and what the rest of the node sees of the network. No behaviour.

A frame is 4 bytes of length, big endian, and the canonical MessagePack of one of the records below.
"""

from enum import Enum, IntEnum
from typing import Annotated, Protocol, TypeAlias

from msgspec import Meta

from protocol.types import Bytes32, Count, Digest, Record

# The base58 text of a libp2p peer id, as it stands in multiaddresses.
PeerId: TypeAlias = str

PROTOCOL_VERSION = 1
# A block (1 MiB) as a proposal, with its commit and room for the rest.
MAX_MESSAGE_BYTES = 2 * 1024 * 1024
MAX_STATUS_BYTES = 1024
MAX_REASON_CHARACTERS = 256
MAX_LINKS = 64
SHORT_NAME_BYTES = 8

# The first bytes of the hash of a peer id.
ShortName = Annotated[bytes, Meta(min_length=SHORT_NAME_BYTES, max_length=SHORT_NAME_BYTES)]


class Topic(IntEnum):
    """What a message is about; lower numbers leave first and are dropped last."""

    CONSENSUS = 0
    TRANSACTIONS = 1
    ANNOUNCEMENTS = 2


class Verdict(Enum):
    """What a message is worth: forward it, keep quiet about it, or blame its sender.

    REJECT is for faults that no honest laggard can commit (a bad signature, malformed bytes); whatever depends on the
    state of the receiver is IGNORE.
    """

    ACCEPT = "accept"
    IGNORE = "ignore"
    REJECT = "reject"


class PeerInfo(Record):
    """A connected peer: where it is, what it last said of itself, and what went to and fro since it joined."""

    peer: PeerId
    address: str
    is_dialled: bool
    status: bytes
    messages_sent: Count
    messages_received: Count
    duplicates: Count
    dropped: Count
    fault_points: Count


class MessageHandler(Protocol):
    """The part of the node that judges messages. Calls for different peers overlap, those of one peer do not."""

    async def handle(self, peer: PeerId, topic: Topic, payload: bytes) -> Verdict:
        """Return what a message of a peer is worth; it is forwarded only after ACCEPT, and only if it was published."""

    def peer_joined(self, peer: PeerId) -> None:
        """Learn that a peer of the same chain is connected; `Network.peers` has it."""

    def peer_left(self, peer: PeerId) -> None:
        """Learn that a peer is gone; `Network.peers` has it no more."""


class BlockSource(Protocol):
    """Where blocks for peers that catch up come from."""

    def load_pair(self, height: int) -> bytes | None:
        """Return the canonical encoding of (block, commit) at a height, or None. Called in a worker thread."""


# --- the wire --------------------------------------------------------------------------------------------------------


class Hello(Record, tag=0):
    """First frame in both directions. `incarnation` is drawn at each start, so that links to a dead process show."""

    version: Count
    chain: Digest
    incarnation: Bytes32
    status: Annotated[bytes, Meta(max_length=MAX_STATUS_BYTES)]


class Refused(Record, tag=1):
    """Last frame of a side that does not want the link; the other side may have begun to use it."""

    reason: Annotated[str, Meta(max_length=MAX_REASON_CHARACTERS)]


class Push(Record, tag=2):
    """A published message: whoever accepts it passes it on."""

    topic: Topic
    payload: Annotated[bytes, Meta(max_length=MAX_MESSAGE_BYTES)]


class Direct(Record, tag=3):
    """A message for this peer alone: never passed on, never taken for a duplicate."""

    topic: Topic
    payload: Annotated[bytes, Meta(max_length=MAX_MESSAGE_BYTES)]


class Status(Record, tag=4):
    """What the sender says of itself, once a second; it also shows that the sender lives.

    `neighbours` are the short names of the peers it is linked to: what those have sent, nobody need pass on to it.
    """

    status: Annotated[bytes, Meta(max_length=MAX_STATUS_BYTES)]
    neighbours: Annotated[tuple[ShortName, ...], Meta(max_length=MAX_LINKS)]


Greeting = Hello | Refused
Message = Push | Direct | Status | Refused
