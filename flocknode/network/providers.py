"""Who holds which blobs, by their own word: each provider signs what it offers, and everybody passes that on.

A record lists all that its peer offers and replaces the one before, so it need not be believed for long. Passed on is
only what offers a blob that this node has a use for: strangers cannot fill the network with what nobody asked for.
"""

from collections.abc import Callable, Iterable
from typing import Annotated, NamedTuple

import trio
from libp2p.crypto.ed25519 import Ed25519PublicKey
from libp2p.peer.id import ID
from msgspec import Meta

from flocknode.errors import UsageError
from flocknode.network.addresses import Address, parse_address
from flocknode.network.exchange import MAX_ADDRESS_CHARACTERS
from flocknode.network.messages import PeerId, Topic, Verdict
from protocol import crypto
from protocol.blobs import BlobId
from protocol.codec import decode, encode
from protocol.errors import InvalidSignature, Malformed
from protocol.types import Bytes32, Record, Signature, TimeMs
from storage.blobs import BlobStore

DOMAIN = "flock/offer"
KEY_BYTES = 32
# What stands before the key in the id of an Ed25519 peer: an identity multihash of a protobuf (libp2p, peer ids).
ED25519_ID = bytes.fromhex("002408011220")
MAX_OFFERED = 256
MAX_OFFER_BYTES = 64 * MAX_OFFERED
MAX_PROVIDERS = 1024
# A record is good for so long, is sent again well before, and may follow the last one after so long.
OFFER_MS = 600_000
RENEWAL_MS = 240_000
MIN_INTERVAL_MS = 1_000
# How often a node looks over what it offers.
REFRESH_S = 5.0
# How far ahead a provider's clock may be.
CLOCK_SKEW_MS = 30_000


class Offer(Record):
    """What a peer holds, and where it listens. `key` is the peer's own key, `signature` its over all the rest."""

    key: Bytes32
    address: Annotated[str, Meta(max_length=MAX_ADDRESS_CHARACTERS)]
    blobs: Annotated[tuple[BlobId, ...], Meta(max_length=MAX_OFFERED)]
    issued_ms: TimeMs
    signature: Signature


class _Known(NamedTuple):
    address: Address
    blobs: frozenset[BlobId]
    issued_ms: int


def make_offer(peer_seed: bytes, chain: bytes, *, address: str, blobs: Iterable[BlobId], now_ms: int) -> bytes:
    """Return the payload of an announcement; of too many blobs, the first ones are offered."""
    offered = tuple(sorted(blobs, key=lambda blob: blob.root))[:MAX_OFFERED]
    key = crypto.public_key(peer_seed)
    signature = crypto.sign(peer_seed, DOMAIN, chain, encode((key, address, offered, now_ms)))
    return encode(Offer(key, address, offered, now_ms, signature))


def peer_of(key: bytes) -> PeerId:
    """Return the id of the peer with a key."""
    return str(ID.from_pubkey(Ed25519PublicKey.from_bytes(key)))


def key_of(peer: PeerId) -> bytes | None:
    """Return the Ed25519 key of a peer, which its id spells out; None for a peer with a key of another kind."""
    spelt = bytes(ID.from_string(peer).to_bytes())
    return spelt[-KEY_BYTES:] if spelt[:-KEY_BYTES] == ED25519_ID else None


class Providers:
    """The offers in force. `is_of_use` says whether this node knows a blob; the clock is in ms since the epoch."""

    def __init__(self, chain: bytes, *, is_of_use: Callable[[BlobId], bool], wall_clock: Callable[[], int]) -> None:
        self._chain = chain
        self._is_of_use = is_of_use
        self._wall_clock = wall_clock
        self._known: dict[PeerId, _Known] = {}

    def judge(self, payload: bytes) -> Verdict:
        """Return what an announcement is worth, and take it in if it is accepted."""
        try:
            offer = decode(payload, Offer, max_bytes=MAX_OFFER_BYTES)
            peer, address = peer_of(offer.key), parse_address(offer.address)
        except (Malformed, UsageError, ValueError):
            return Verdict.REJECT
        if address.peer != peer:
            return Verdict.REJECT
        if not self._is_wanted(peer, offer):
            return Verdict.IGNORE
        try:
            signed = encode((offer.key, offer.address, offer.blobs, offer.issued_ms))
            crypto.verify(offer.key, offer.signature, DOMAIN, self._chain, signed)
        except InvalidSignature:
            return Verdict.REJECT
        self._known.pop(peer, None)
        self._known[peer] = _Known(address, frozenset(offer.blobs), offer.issued_ms)
        return Verdict.ACCEPT

    def find(self, blob: BlobId) -> list[Address]:
        """Return where a blob is offered, the newest offer first."""
        oldest_ms = self._wall_clock() - OFFER_MS
        known = [offer for offer in self._known.values() if blob in offer.blobs and offer.issued_ms >= oldest_ms]
        return [offer.address for offer in sorted(known, key=lambda offer: -offer.issued_ms)]

    def _is_wanted(self, peer: PeerId, offer: Offer) -> bool:
        """Return whether an offer is fresh, newer than what is known, and of a use; checked before its signature."""
        now_ms = self._wall_clock()
        if not now_ms - OFFER_MS <= offer.issued_ms <= now_ms + CLOCK_SKEW_MS:
            return False
        known = self._known.get(peer)
        if known is not None:
            # Also what withdraws blobs is of use to those who believed the last one.
            return offer.issued_ms >= known.issued_ms + MIN_INTERVAL_MS
        self._known = {other: held for other, held in self._known.items() if held.issued_ms >= now_ms - OFFER_MS}
        return len(self._known) < MAX_PROVIDERS and any(self._is_of_use(blob) for blob in offer.blobs)


class Announcer:
    """Offers what this node holds, again when that changes and before the last offer is forgotten.

    `offered` returns what may be known to come from this node, `address` where it listens.
    """

    def __init__(
        self,
        *,
        peer_seed: bytes,
        chain: bytes,
        store: BlobStore,
        offered: Callable[[], Iterable[BlobId]],
        address: Callable[[], str],
        publish: Callable[[Topic, bytes], None],
        wall_clock: Callable[[], int],
    ) -> None:
        self._peer_seed = peer_seed
        self._chain = chain
        self._store = store
        self._offered = offered
        self._address = address
        self._publish = publish
        self._wall_clock = wall_clock
        self._told: set[BlobId] = set()
        self._told_ms = 0

    async def run(self) -> None:
        """Look over what is held until cancelled."""
        while True:
            self.refresh()
            await trio.sleep(REFRESH_S)

    def refresh(self) -> None:
        """Publish an offer if it says something new or the last one grows old."""
        now_ms = self._wall_clock()
        held = {blob for blob in self._offered() if self._store.has(blob)}
        age_ms = now_ms - self._told_ms
        if age_ms < MIN_INTERVAL_MS or (held == self._told and (not held or age_ms < RENEWAL_MS)):
            return
        self._told, self._told_ms = held, now_ms
        offer = make_offer(self._peer_seed, self._chain, address=self._address(), blobs=held, now_ms=now_ms)
        self._publish(Topic.ANNOUNCEMENTS, offer)
