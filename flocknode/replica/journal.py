"""The replica's memory across crashes: every input of the height in its order, the blocks these name, what was signed.

Replaying the inputs through the same core brings back its state, locks included, and asks for the same signatures. A
file that has become long is begun anew with the core's state and what it keeps, so that nobody can make it grow without
bound, not even within a height. The file is the write-ahead log's affair; what is in it is this module's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from flocknode.replica.blocks import HeldBlock, hold_block
from protocol.blocks import Block
from protocol.codec import decode, encode
from protocol.tendermint.events import (
    BlockBuilt,
    BlockChecked,
    HeightStarted,
    ProposalReceived,
    TimeoutExpired,
    VoteReceived,
)
from protocol.tendermint.machine import State
from protocol.tendermint.messages import Proposal, Vote
from protocol.types import Count, Record, TimeMs

# Begun anew once it is longer than this, and has doubled since the last time.
ROTATE_BYTES = 8 * 1024 * 1024

LoggedInput = HeightStarted | TimeoutExpired | ProposalReceived | VoteReceived | BlockBuilt | BlockChecked


class Signed(Record, tag=1):
    """A message this replica signed: the last one forbids all that contradict it."""

    message: Proposal | Vote


class Taken(Record, tag=2):
    """An input of the core."""

    event: LoggedInput


class Held(Record, tag=3):
    """The canonical bytes of a block that a later input names."""

    block: bytes


class Forgotten(Record, tag=4):
    """What this replica signed before a time is not known any more: its log was damaged and begun anew."""

    time_ms: TimeMs


class Resumed(Record, tag=5):
    """The state in which the file was begun anew; the next `kept` inputs are at hand in it already."""

    state: State
    kept: Count


Entry = Signed | Taken | Held | Forgotten | Resumed


class Log(Protocol):
    """The part of `storage.wal.WriteAheadLog` that is used here."""

    size_bytes: int

    def records(self) -> list[bytes]:
        """Return the payloads in the file, oldest first."""

    def append(self, payload: bytes) -> None:
        """Add a record, durable after `sync`."""

    def sync(self) -> None:
        """Make all records durable."""

    def rotate(self, keep: list[bytes]) -> None:
        """Begin anew with the kept records, durably."""


@dataclass
class Recovered:
    """What the log says of one height: its inputs in order, and the blocks they name by id.

    If the file was begun anew within the height, `state` is the one it was in then, and `kept` was at hand in it.
    """

    state: State | None = None
    kept: list[LoggedInput] = field(default_factory=list)
    inputs: list[LoggedInput] = field(default_factory=list)
    blocks: dict[bytes, HeldBlock] = field(default_factory=dict)


class Journal:
    """Writes entries, and reads them back after a start."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.last_signed: Proposal | Vote | None = None
        self.forgotten: Forgotten | None = None
        # Whether something was written that is not on the disk yet.
        self.is_dirty = False
        self._held: set[bytes] = set()
        self._size_begun_bytes = 0

    def recover(self, height: int) -> Recovered:
        """Return what was taken in at this height before the last stop, and learn what was signed last."""
        recovered, kept_left = Recovered(), 0
        for payload in self._log.records():
            # The log is ours and checked; an entry that does not decode is a bug, and must not start a replica.
            entry: Entry = decode(payload, Entry)  # type: ignore[arg-type]
            match entry:
                case Signed(message):
                    self.last_signed = message
                case Held(data):
                    held = hold_block(decode(data, Block), data)
                    if held.height == height:
                        recovered.blocks[held.id] = held
                case Forgotten():
                    self.forgotten = entry
                case Resumed(state, kept) if state.height == height:
                    recovered.state, kept_left = state, kept
                case Taken(event) if height_of(event) == height:
                    (recovered.kept if kept_left else recovered.inputs).append(event)
                    kept_left = max(0, kept_left - 1)
        self._held = set(recovered.blocks)
        return recovered

    def note_signed(self, message: Proposal | Vote) -> None:
        """Write down what is about to be sent."""
        self.last_signed = message
        self._append(Signed(message))

    def note_input(self, event: LoggedInput) -> None:
        """Write down what the core took in."""
        self._append(Taken(event))

    def note_block(self, held: HeldBlock) -> None:
        """Write down a block before the input that names it, once."""
        if held.id not in self._held:
            self._held.add(held.id)
            self._append(Held(held.data))

    def sync(self) -> None:
        """Return once everything written before is on the disk."""
        self.is_dirty = False
        self._log.sync()

    def end_height(self) -> None:
        """Let go of a height that was committed."""
        self._held.clear()

    @property
    def is_long(self) -> bool:
        """Whether to begin anew."""
        return self._log.size_bytes > max(ROTATE_BYTES, 2 * self._size_begun_bytes)

    def rotate(self, state: State, kept: Sequence[LoggedInput], blocks: Iterable[HeldBlock]) -> None:
        """Begin anew: with what was forgotten and signed, the core's state, what it keeps, and the blocks of that."""
        entries: list[Entry] = [self.forgotten] if self.forgotten is not None else []
        entries += [Signed(self.last_signed)] if self.last_signed is not None else []
        self._held = set()
        for held in blocks:
            entries.append(Held(held.data))
            self._held.add(held.id)
        entries += [Resumed(state, len(kept)), *map(Taken, kept)]
        self._log.rotate([encode(entry) for entry in entries])
        self._size_begun_bytes = self._log.size_bytes
        self.is_dirty = False

    def _append(self, entry: Entry) -> None:
        self._log.append(encode(entry))
        self.is_dirty = True


def height_of(event: LoggedInput) -> int:
    """Return the height that an input is about."""
    match event:
        case ProposalReceived(message) | VoteReceived(message):
            return message.height
        case _:
            return event.height
