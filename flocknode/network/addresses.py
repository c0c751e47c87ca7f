"""Where peers listen: addresses as text, and the book of those that this node has heard of. No sockets."""

import random
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address
from typing import NamedTuple

from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from flocknode.errors import UsageError
from flocknode.network.messages import PeerId
from flocknode.network.vouchers import Voucher

MAX_ADDRESSES = 1024
# What one peer may have us remember on its word alone.
MAX_HEARSAY_PER_SOURCE = 64
# An address nobody was ever reached at is forgotten after so many attempts, any other after more.
MAX_HEARSAY_FAILURES = 3
MAX_FAILURES = 12
RETRY_S = 2.0
MAX_RETRY_S = 300.0


class Address(NamedTuple):
    """Where a peer listens, and who must answer there."""

    host: str
    port: int
    peer: PeerId

    def __str__(self) -> str:
        return f"/ip4/{self.host}/tcp/{self.port}/p2p/{self.peer}"


def parse_address(text: str) -> Address:
    """Return the address in a multiaddress like `/ip4/127.0.0.1/tcp/4001/p2p/12D3...`. Raises `UsageError`."""
    try:
        address = Multiaddr(text)
        host, port, peer = (address.value_for_protocol(name) for name in ("ip4", "tcp", "p2p"))
        return Address(host, int(port), peer)
    except (MultiaddrError, ValueError, TypeError) as error:
        raise UsageError(
            f"{text!r} is not an address of a peer: {error}", help="Write /ip4/HOST/tcp/PORT/p2p/PEER."
        ) from error


def is_dialable(address: Address) -> bool:
    """Return whether an address that somebody told us may be dialled: loopback only, and a port."""
    try:
        return IPv4Address(address.host).is_loopback and 0 < address.port < 2**16
    except AddressValueError:
        return False


@dataclass
class Entry:
    """One peer's address. `is_proven`: it answered there or told us itself, else it is the word of `source`.

    `voucher` says for which consensus key the peer speaks; it was verified.
    """

    address: Address
    source: PeerId
    is_proven: bool
    voucher: Voucher | None = None
    failures: int = 0
    retry_at: float = 0.0


class AddressBook:
    """One address for each peer, bounded; hearsay never displaces what is proven. Times are of a monotonic clock."""

    def __init__(self) -> None:
        self._entries: dict[PeerId, Entry] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def entries(self) -> Iterable[Entry]:
        """Return all entries."""
        return self._entries.values()

    def find(self, peer: PeerId) -> Address | None:
        """Return where a peer listens, if that is known."""
        entry = self._entries.get(peer)
        return None if entry is None else entry.address

    def learn(self, address: Address, *, source: PeerId, voucher: Voucher | None = None) -> None:
        """Note what a peer says of another, or of itself, which is believed. The voucher was verified."""
        if not is_dialable(address):
            return
        known = self._entries.get(address.peer)
        is_proven = source == address.peer
        if known is not None and not is_proven:
            known.voucher = known.voucher or voucher
        elif is_proven or self._count_hearsay(source) < MAX_HEARSAY_PER_SOURCE:
            self._entries[address.peer] = Entry(address, source, is_proven, voucher)
            if len(self._entries) > MAX_ADDRESSES:
                self._forget_one(address.peer)

    def fail(self, address: Address, now: float) -> None:
        """Note that nobody answered; the next attempt waits longer, and after too many there is none."""
        entry = self._entries.get(address.peer)
        if entry is None or entry.address != address:
            return
        entry.failures += 1
        entry.retry_at = now + min(RETRY_S * 2 ** (entry.failures - 1), MAX_RETRY_S)
        if entry.failures >= (MAX_FAILURES if entry.is_proven else MAX_HEARSAY_FAILURES):
            del self._entries[address.peer]

    def due(self, now: float) -> list[Address]:
        """Return the addresses that may be dialled now."""
        return [entry.address for entry in self._entries.values() if entry.retry_at <= now]

    def due_of_keys(self, keys: Collection[bytes], now: float) -> list[Address]:
        """Return the addresses that may be dialled now of peers that speak for one of these consensus keys."""
        return [
            entry.address
            for entry in self._entries.values()
            if entry.voucher is not None and entry.voucher.key in keys and entry.retry_at <= now
        ]

    def sample(self, count: int, rng: random.Random) -> list[Entry]:
        """Return entries to tell others: no hearsay, and nothing that failed lately."""
        good = [entry for entry in self._entries.values() if entry.is_proven and not entry.failures]
        return rng.sample(good, min(count, len(good)))

    def _count_hearsay(self, source: PeerId) -> int:
        return sum(entry.source == source and not entry.is_proven for entry in self._entries.values())

    def _forget_one(self, kept: PeerId) -> None:
        """Forget hearsay of whoever told most of it, or else what failed most; never what has just come."""
        others = [entry for peer, entry in self._entries.items() if peer != kept]
        hearsay = [entry for entry in others if not entry.is_proven]
        if hearsay:
            [(worst, _)] = Counter(entry.source for entry in hearsay).most_common(1)
            victim = next(entry for entry in hearsay if entry.source == worst)
        else:
            victim = max(others, key=lambda entry: entry.failures)
        del self._entries[victim.address.peer]
