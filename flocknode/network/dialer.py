"""Whom this node is linked to by its own doing: the bootstrap list and, for a replica, other replicas for good; and as
many of the peers it has heard of as it wants. libp2p never redials a lost peer."""

import random
from collections.abc import Callable, Collection, Sequence

import structlog
import trio

from flocknode.network.addresses import Address, AddressBook
from flocknode.network.conduct import Conduct
from flocknode.network.errors import LinkRefused, Misbehaviour, PeerUnreachable, StreamLost
from flocknode.network.exchange import ask_contacts
from flocknode.network.gossip import Gossip
from flocknode.network.greeting import SECOND_LINK
from flocknode.network.host import Host
from flocknode.network.links import Link
from flocknode.network.messages import PeerId

# A lost peer is dialled again after a short while that doubles up to a longer one; a second on loopback costs nothing.
REDIAL_S = 0.1
MAX_REDIAL_S = 1.0
# A peer that refuses us, or that we refuse, is tried more rarely.
REFUSED_REDIAL_S = 5.0
# How many links to look for, with how many attempts at a time, how often.
WANTED_LINKS = 16
MAX_ATTEMPTS = 4
EXPLORE_S = 1.0
# A replica keeps links to so many others.
MAX_PINNED = 24
# While links are wanted, a peer is asked for others; as long as that brings nothing new, more and more rarely.
MAX_ASK_S = 120.0
# How long somebody waits for a link to a peer that is not linked.
LINK_S = 5.0

log = structlog.get_logger("flocknode.network")


class Dialer:
    """Dials. `pinned_keys` returns the consensus keys of the replicas to stay linked to, none on other nodes."""

    def __init__(
        self,
        *,
        host: Host,
        gossip: Gossip,
        conduct: Conduct,
        book: AddressBook,
        chain: bytes,
        bootstrap: Sequence[Address],
        pinned_keys: Callable[[], Collection[bytes]],
        wanted_links: int,
        rng: random.Random,
    ) -> None:
        self._host = host
        self._gossip = gossip
        self._conduct = conduct
        self._book = book
        self._chain = chain
        self._bootstrap = [address for address in bootstrap if address.peer != host.peer]
        self._pinned_keys = pinned_keys
        self._wanted_links = wanted_links
        self._rng = rng
        self._nursery: trio.Nursery | None = None
        self._dialling: set[PeerId] = set()
        self._ask_pause_s = EXPLORE_S
        self._ask_at = float("-inf")

    async def run(self) -> None:
        """Keep links until cancelled."""
        async with trio.open_nursery() as self._nursery:
            for address in self._bootstrap:
                self._nursery.start_soon(self.keep, address)
            while True:
                self._explore()
                await trio.sleep(EXPLORE_S * self._rng.uniform(0.5, 1.5))

    async def keep(self, address: Address) -> None:
        """Keep a link to a peer at a known address, whoever of the two dials it."""
        delay_s = REDIAL_S
        while True:
            link = self._gossip.links.get(address.peer)
            if link is not None:
                await link.closed.wait()
                delay_s = REDIAL_S
            elif self._conduct.is_refused(address.peer):
                delay_s = REFUSED_REDIAL_S
            else:
                delay_s = await self._dial(address, delay_s)
            await trio.sleep(delay_s * self._rng.uniform(0.5, 1.5))

    async def link_to(self, address: Address) -> bool:
        """Dial a peer unless it is linked; return whether it is, after some seconds at most."""
        if self._may_dial(address):
            self._start(address)
        with trio.move_on_after(LINK_S):
            # The link comes up in gossip, or the attempt ends here: whichever is first.
            while address.peer in self._dialling and address.peer not in self._gossip.links:  # noqa: ASYNC110
                await trio.sleep(REDIAL_S)
        return address.peer in self._gossip.links

    def _explore(self) -> None:
        """Dial what should be linked and is not, and ask around for more."""
        now = trio.current_time()
        for address in self._choose_pinned(now):
            self._start(address)
        missing = self._wanted_links - len(self._gossip.links) - len(self._dialling)
        if missing > 0:
            others = [address for address in self._book.due(now) if self._may_dial(address)]
            for address in self._rng.sample(others, min(len(others), missing, MAX_ATTEMPTS)):
                self._start(address)
            self._ask_one(now)

    def _choose_pinned(self, now: float) -> list[Address]:
        """Return where other replicas listen that should be linked: not more than so many, whoever dialled them."""
        keys = self._pinned_keys()
        if not keys:
            return []
        linked = sum(link.voucher is not None and link.voucher.key in keys for link in self._gossip.links.values())
        found = [address for address in self._book.due_of_keys(keys, now) if self._may_dial(address)]
        return self._rng.sample(found, max(0, min(len(found), MAX_PINNED - linked, MAX_ATTEMPTS)))

    def _may_dial(self, address: Address) -> bool:
        peer = address.peer
        is_busy = peer in self._dialling or peer in self._gossip.links or peer == self._host.peer
        is_kept = any(kept.peer == peer for kept in self._bootstrap)
        return not is_busy and not is_kept and not self._conduct.is_refused(peer)

    def _start(self, address: Address) -> None:
        assert self._nursery is not None, "the dialer runs"
        self._dialling.add(address.peer)
        self._nursery.start_soon(self._try, address)

    async def _try(self, address: Address) -> None:
        """Run a link that we dial until it ends, and remember whether the address was any good."""
        try:
            await self._dial(address, REDIAL_S)
        finally:
            self._dialling.discard(address.peer)

    async def _dial(self, address: Address, delay_s: float) -> float:
        """Run a link that we dial until it ends; return how long to wait before the next attempt."""
        try:
            connection = await self._host.dial(address)
            try:
                await self._gossip.dialled(connection)
            finally:
                await connection.close()
        except LinkRefused as refusal:
            if SECOND_LINK in refusal.message:
                return REDIAL_S
            self._book.fail(address, trio.current_time())
            return REFUSED_REDIAL_S
        except Misbehaviour as fault:
            self._conduct.blame(address.peer, fault)
            return REFUSED_REDIAL_S
        except (PeerUnreachable, StreamLost):
            self._book.fail(address, trio.current_time())
            return min(2 * delay_s, MAX_REDIAL_S)
        return REDIAL_S

    def _ask_one(self, now: float) -> None:
        """Ask one of the linked peers for others, unless that was done lately."""
        if self._gossip.links and now >= self._ask_at:
            assert self._nursery is not None, "the dialer runs"
            self._ask_at = now + self._ask_pause_s
            self._nursery.start_soon(self._ask, self._rng.choice(list(self._gossip.links.values())))

    async def _ask(self, link: Link) -> None:
        known = len(self._book)
        try:
            await ask_contacts(link.connection, self._chain, self._book, own_peer=self._host.peer)
        except Misbehaviour as fault:
            self._conduct.blame(link.peer, fault)
            await link.connection.close()
        self._ask_pause_s = EXPLORE_S if len(self._book) > known else min(2 * self._ask_pause_s, MAX_ASK_S)
        self._ask_at = trio.current_time() + self._ask_pause_s
