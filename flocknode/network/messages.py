"""What peers say to each other on the gossip stream, and what the rest of the node sees of the network. No behaviour.

A frame is 4 bytes of length, big endian, and the canonical MessagePack of one of the records below.
"""

from collections.abc import Iterable
from enum import Enum, IntEnum
from typing import Annotated, Protocol, TypeAlias

from msgspec import Meta

from flocknode.network.vouchers import Voucher
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
ID_BYTES = 16
# Ids in one heartbeat, and in one question for messages.
MAX_IDS = 1024
MAX_PULLED_IDS = 128
MAX_SCORE = 100

# The first bytes of the hash of a peer id.
ShortName = Annotated[bytes, Meta(min_length=SHORT_NAME_BYTES, max_length=SHORT_NAME_BYTES)]
# The first bytes of the digest of a published message.
MessageId: TypeAlias = bytes


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
    """A connected peer: where it is, what it last said of itself, and what went to and fro since it joined.

    `replica` is the consensus key that vouches for it, `dropped` counts what found no room in a queue or budget,
    `latency_us` is the last round trip of a heartbeat, `score` falls from 100 with its faults.
    """

    peer: PeerId
    address: str
    is_dialled: bool
    status: bytes
    replica: Bytes32 | None
    messages_sent: Count
    messages_received: Count
    bytes_sent: Count
    bytes_received: Count
    duplicates: Count
    dropped: Count
    latency_us: Count | None
    score: Annotated[int, Meta(ge=0, le=MAX_SCORE)]


class RefusedPeer(Record):
    """A peer that misbehaved too much to be talked to, and for how many more seconds."""

    peer: PeerId
    reason: str
    seconds: Count


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
    """First frame in both directions. `incarnation` is drawn at each start, so that links to a dead process show.

    `listen_port` is where the sender can be dialled; `voucher` names the replica it speaks for.
    """

    version: Count
    chain: Digest
    incarnation: Bytes32
    status: Annotated[bytes, Meta(max_length=MAX_STATUS_BYTES)]
    listen_port: Annotated[int, Meta(ge=0, lt=2**16)]
    voucher: Voucher | None


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
    `ids`, one behind the other, are of recent messages that it holds and the receiver may lack. `clock_us` is any
    clock of the sender; `echo_us` is the receiver's, as last heard, plus the time since then.
    """

    status: Annotated[bytes, Meta(max_length=MAX_STATUS_BYTES)]
    neighbours: Annotated[tuple[ShortName, ...], Meta(max_length=MAX_LINKS)]
    ids: Annotated[bytes, Meta(max_length=MAX_IDS * ID_BYTES)]
    clock_us: Count
    echo_us: Count | None


class Pull(Record, tag=5):
    """Asks for messages that the receiver announced, by their ids one behind the other; they come as pushes."""

    ids: Annotated[bytes, Meta(max_length=MAX_PULLED_IDS * ID_BYTES)]


Greeting = Hello | Refused
Message = Push | Direct | Status | Pull | Refused


def join_ids(ids: Iterable[MessageId]) -> bytes:
    """Return ids as they travel."""
    return b"".join(ids)


def split_ids(data: bytes) -> list[MessageId]:
    """Return the ids in bytes that travelled; the last one may be cut short, and then is no message's."""
    return [data[at : at + ID_BYTES] for at in range(0, len(data), ID_BYTES)]
