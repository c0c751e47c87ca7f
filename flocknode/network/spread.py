"""How published messages reach every node: who is pushed what at once, and who is asked for what was missed.

Pure: peers, messages and the time (seconds of one monotonic clock) come in, decisions go out; `gossip` performs them.

* Eager push: an accepted message goes to all peers in a small network, to a bounded and rotating few in a large one.
* Lazy ids: once a second each peer is told the ids of recent messages that it is not known to hold (the idea of
  Plumtree and of GossipSub's IHAVE). What is still missing a moment later is pulled from one who announced it, then
  from the next one. So a lost link, or a queue that overflowed, delays a message and does not lose it.
"""

import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import Enum

from flocknode.network.messages import MAX_IDS, MAX_PULLED_IDS, MessageId, PeerId, Topic

# Up to so many peers all are pushed to; beyond, a few, one of whom is replaced now and then.
MAX_EAGER_ALL = 16
EAGER = 8
ROTATION_BEATS = 10
# For how many beats an id is told to peers that are not known to hold it.
ANNOUNCED_BEATS = 3
# Accepted messages that are kept for peers that missed them.
HELD_BEATS = 30
MAX_HELD = 4096
MAX_HELD_BYTES = 16 * 1024 * 1024
# Half of the messages that are recognised when they come again, and of those that one peer is asked for only once, or
# is known to have sent.
SEEN_GENERATION = 16_384
ASKED_GENERATION = 2_048
# A push may be on its way behind the id; a peer that does not deliver is passed over, and later at fault.
GRACE_S = 0.3
PULL_S = 2.0
DEBT_S = 10.0
FAULT_WINDOW_S = 5.0
MAX_WANTED = 4096
MAX_SOURCES = 8


class Arrival(Enum):
    """What a message that came in is: new and to be judged, known from others, or sent by the same peer before."""

    NEW = "new"
    DUPLICATE = "duplicate"
    REPEAT = "repeat"


class Seen:
    """The ids of recent messages: two generations, of which the older one is forgotten when the newer is full."""

    def __init__(self, generation: int = SEEN_GENERATION) -> None:
        self._generation = generation
        self._newer: set[MessageId] = set()
        self._older: set[MessageId] = set()

    def __contains__(self, message: MessageId) -> bool:
        return message in self._newer or message in self._older

    def add(self, message: MessageId) -> bool:
        """Return whether the id is new, and remember it."""
        if message in self:
            return False
        self._newer.add(message)
        if len(self._newer) >= self._generation:
            self._newer, self._older = set(), self._newer
        return True

    def forget(self, message: MessageId) -> None:
        """Take an id for new again."""
        self._newer.discard(message)
        self._older.discard(message)


@dataclass
class Neighbour:
    """A linked peer: its short name, those of its own peers, what it was asked for, what it owes until when, what it
    sent, and what it sent once more because it was asked."""

    short_name: bytes
    neighbours: frozenset[bytes] = frozenset()
    asked: Seen = field(default_factory=lambda: Seen(ASKED_GENERATION))
    sent: Seen = field(default_factory=lambda: Seen(ASKED_GENERATION))
    answered: Seen = field(default_factory=lambda: Seen(ASKED_GENERATION))
    debts: dict[MessageId, float] = field(default_factory=dict)
    blamed_at: float = float("-inf")


@dataclass(slots=True)
class Held:
    """An accepted message as a frame, who is known to hold it too, and whom it was sent to on demand."""

    topic: Topic
    data: bytes
    beat: int
    holders: set[PeerId]
    served: frozenset[PeerId] = frozenset()


@dataclass
class Wanted:
    """A message that was announced and has not come: who has it and was not asked yet, and when to ask the next."""

    sources: list[PeerId]
    due: float


@dataclass(frozen=True)
class Chase:
    """What to do about missed messages: whom to ask for which, and who is at fault for not delivering."""

    pulls: dict[PeerId, list[MessageId]]
    faults: list[PeerId]


class Spread:
    """The spreading of messages, seen from one node."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._peers: dict[PeerId, Neighbour] = {}
        # A dict for its order: whom chance picks must not hang on how a process hashes.
        self._eager: dict[PeerId, None] = {}
        self._seen = Seen()
        # Who is known to hold a message that came in and is not judged yet.
        self._arrived: dict[MessageId, set[PeerId]] = {}
        self._held: dict[MessageId, Held] = {}
        self._held_bytes = 0
        self._wanted: dict[MessageId, Wanted] = {}
        self._beat = 0

    # --- peers -------------------------------------------------------------------------------------------------------

    def join(self, peer: PeerId, short_name: bytes) -> None:
        """Take a peer in."""
        self._peers[peer] = Neighbour(short_name)
        self._fill_eager()

    def leave(self, peer: PeerId) -> None:
        """Let a peer go; what it holds may be gone, and what it owes is asked of others."""
        del self._peers[peer]
        self._eager.pop(peer, None)
        self._fill_eager()
        for held in self._held.values():
            held.holders.discard(peer)
        for wanted in self._wanted.values():
            wanted.sources = [source for source in wanted.sources if source != peer]

    def describe(self, peer: PeerId, neighbours: Iterable[bytes]) -> None:
        """Note whom a peer is linked to."""
        self._peers[peer].neighbours = frozenset(neighbours)

    def beat(self) -> None:
        """Let a second pass: forget what is old, and change one of those who are pushed to."""
        self._beat += 1
        while self._held and next(iter(self._held.values())).beat <= self._beat - HELD_BEATS:
            self._drop_oldest()
        if self._beat % ROTATION_BEATS == 0 and len(self._peers) > MAX_EAGER_ALL:
            del self._eager[self._rng.choice(list(self._eager))]
            self._fill_eager()

    def _fill_eager(self) -> None:
        others = [peer for peer in self._peers if peer not in self._eager]
        self._eager |= dict.fromkeys(self._rng.sample(others, min(len(others), EAGER - len(self._eager))))

    # --- messages ----------------------------------------------------------------------------------------------------

    def publish(self, message: MessageId, topic: Topic, data: bytes) -> list[PeerId]:
        """Take in a message of our own, as a frame, also if it was sent before; return whom to push it to."""
        self._seen.add(message)
        self._wanted.pop(message, None)
        held = self._hold(message, topic, data, holders=set())
        return self._targets(held, None)

    def arrive(self, message: MessageId, source: PeerId) -> Arrival:
        """Note that a peer sent a message; return what it is. What it was asked for it may send once more."""
        neighbour = self._peers[source]
        neighbour.debts.pop(message, None)
        is_first = neighbour.sent.add(message) or (message in neighbour.asked and neighbour.answered.add(message))
        if self._seen.add(message):
            wanted = self._wanted.pop(message, None)
            self._arrived[message] = {source, *(wanted.sources if wanted is not None else ())}
            return Arrival.NEW
        self._note_holder(message, source)
        return Arrival.DUPLICATE if is_first else Arrival.REPEAT

    def lose(self, message: MessageId, now: float) -> None:
        """Note that a message that arrived will not be judged: it is new again, and asked of those who have it."""
        self._seen.forget(message)
        for source in sorted(self._arrived.pop(message, set())):
            if source in self._peers:
                self.hear(source, [message], now)

    def accept(self, message: MessageId, topic: Topic, data: bytes, source: PeerId) -> list[PeerId]:
        """Keep a message, as a frame, that was judged good; return whom to push it to."""
        held = self._hold(message, topic, data, holders=self._arrived.pop(message, set()) | {source})
        return self._targets(held, self._peers.get(source))

    def discard(self, message: MessageId) -> None:
        """Note that a message was judged to be of no use to others."""
        self._arrived.pop(message, None)

    def _targets(self, held: Held, source: Neighbour | None) -> list[PeerId]:
        if len(self._peers) > MAX_EAGER_ALL:
            return [peer for peer in self._eager if peer not in held.holders]
        # A source with few peers pushes to all of them itself.
        reached = source is not None and len(source.neighbours) <= MAX_EAGER_ALL
        return [
            peer
            for peer, neighbour in self._peers.items()
            if peer not in held.holders
            and not (reached and source is not None and source.short_name in neighbour.neighbours)
        ]

    def _hold(self, message: MessageId, topic: Topic, data: bytes, *, holders: set[PeerId]) -> Held:
        earlier = self._held.pop(message, None)
        self._held_bytes += len(data) - (len(earlier.data) if earlier is not None else 0)
        held = self._held[message] = Held(topic, data, self._beat, holders)
        while len(self._held) > MAX_HELD or self._held_bytes > MAX_HELD_BYTES:
            self._drop_oldest()
        return held

    def _drop_oldest(self) -> None:
        held = self._held.pop(next(iter(self._held)))
        self._held_bytes -= len(held.data)

    def _note_holder(self, message: MessageId, peer: PeerId) -> bool:
        """Note that a peer holds a message; returns whether we have it, or had it."""
        held = self._held.get(message)
        holders = held.holders if held is not None else self._arrived.get(message)
        if holders is not None:
            holders.add(peer)
        return message in self._seen

    # --- ids and pulls -----------------------------------------------------------------------------------------------

    @property
    def is_waiting(self) -> bool:
        """Whether something was announced or asked for and has not come, so that `chase` has something to do."""
        return bool(self._wanted) or any(neighbour.debts for neighbour in self._peers.values())

    def announce(self, peer: PeerId) -> list[MessageId]:
        """Return the ids of recent messages that a peer may lack, newest first."""
        found: list[MessageId] = []
        for message, held in reversed(self._held.items()):
            if held.beat < self._beat - ANNOUNCED_BEATS or len(found) == MAX_IDS:
                break
            if peer not in held.holders:
                found.append(message)
        return found

    def hear(self, peer: PeerId, ids: Iterable[MessageId], now: float) -> None:
        """Take in what a peer says it holds."""
        for message in ids:
            if self._note_holder(message, peer) or message in self._peers[peer].asked:
                continue
            wanted = self._wanted.get(message)
            if wanted is None and len(self._wanted) < MAX_WANTED:
                self._wanted[message] = Wanted([peer], now + GRACE_S)
            elif wanted is not None and peer not in wanted.sources and len(wanted.sources) < MAX_SOURCES:
                wanted.sources.append(peer)

    def serve(self, peer: PeerId, ids: Iterable[MessageId]) -> list[tuple[Topic, bytes]]:
        """Return the messages a peer asks for, as frames: each once, and only what is held."""
        found = []
        for message in ids:
            held = self._held.get(message)
            if held is not None and peer not in held.served:
                held.served |= {peer}
                found.append((held.topic, held.data))
        return found

    def chase(self, now: float, *, busy: Collection[PeerId] = ()) -> Chase:
        """Return whom to ask for what has not come, but none whose messages pile up here; and who did not deliver."""
        pulls: dict[PeerId, list[MessageId]] = {}
        for message in [message for message, wanted in self._wanted.items() if wanted.due <= now]:
            wanted = self._wanted[message]
            source = next((peer for peer in wanted.sources if peer not in busy and self._may_ask(peer)), None)
            if source is not None:
                wanted.sources.remove(source)
                wanted.due = now + PULL_S
                self._peers[source].asked.add(message)
                self._peers[source].debts[message] = now + DEBT_S
                pulls.setdefault(source, []).append(message)
            elif wanted.sources:
                wanted.due = now + GRACE_S
            else:
                # Whoever announces it again is asked then.
                del self._wanted[message]
        return Chase(pulls, [peer for peer in self._peers if self._is_at_fault(peer, now)])

    def _may_ask(self, peer: PeerId) -> bool:
        return len(self._peers[peer].debts) < MAX_PULLED_IDS

    def _is_at_fault(self, peer: PeerId, now: float) -> bool:
        """Write off what a peer failed to deliver; however much it was, it is one fault in a while."""
        neighbour = self._peers[peer]
        overdue = [message for message, deadline in neighbour.debts.items() if deadline <= now]
        for message in overdue:
            del neighbour.debts[message]
        if not overdue or now - neighbour.blamed_at < FAULT_WINDOW_S:
            return False
        neighbour.blamed_at = now
        return True
