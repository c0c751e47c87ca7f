"""Who holds which blobs: by its own word only, and asked first."""

import pytest

from flocknode.network import BlobUnavailable, Surroundings, Topic, Verdict
from flocknode.network.messages import Push
from flocknode.network.providers import MAX_OFFERED, MAX_PROVIDERS, OFFER_MS, Offer, Providers, make_offer, peer_of
from flocknode.network.streams import frame
from protocol.blobs import BlobId, compute_blob_id
from protocol.codec import decode, encode
from protocol.crypto import public_key

CHAIN = b"c" * 32
NOW_MS = 10_000_000
SEED = b"s" * 32
BLOB, OTHER, UNKNOWN = (BlobId(bytes([number]) * 32, 5) for number in (1, 2, 3))


class Clock:
    now_ms = NOW_MS


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def providers(clock: Clock) -> Providers:
    return Providers(CHAIN, is_of_use=lambda blob: blob in (BLOB, OTHER), wall_clock=lambda: clock.now_ms)


def address(seed: bytes = SEED, port: int = 4001) -> str:
    return f"/ip4/127.0.0.1/tcp/{port}/p2p/{peer_of(public_key(seed))}"


def offer(*blobs: BlobId, seed: bytes = SEED, now_ms: int = NOW_MS, chain: bytes = CHAIN, at: str = "") -> bytes:
    return make_offer(seed, chain, address=at or address(seed), blobs=blobs, now_ms=now_ms)


def test_an_offer_is_taken_in_and_replaces_the_last_one(providers: Providers) -> None:
    """It says all that its peer holds; a withdrawal counts too, a repetition does not."""
    assert providers.judge(offer(BLOB)) is Verdict.ACCEPT
    assert [str(found) for found in providers.find(BLOB)] == [address()]
    assert providers.judge(offer(BLOB)) is Verdict.IGNORE
    assert providers.judge(offer(OTHER, now_ms=NOW_MS + 1_000)) is Verdict.ACCEPT
    assert providers.find(BLOB) == []
    assert providers.judge(offer(BLOB, now_ms=NOW_MS)) is Verdict.IGNORE, "an old one is replayed"
    assert providers.judge(offer(now_ms=NOW_MS + 2_000)) is Verdict.ACCEPT
    assert providers.find(OTHER) == []


def test_only_the_provider_speaks_for_itself(providers: Providers) -> None:
    """An altered, stolen or malformed offer is its sender's fault."""
    good = decode(offer(BLOB), Offer)
    forged = [
        Offer(good.key, good.address, (OTHER,), good.issued_ms, good.signature),
        Offer(good.key, address(port=1), good.blobs, good.issued_ms, good.signature),
        Offer(public_key(b"t" * 32), address(b"t" * 32), good.blobs, good.issued_ms, good.signature),
    ]
    wrong = [
        *map(encode, forged),
        offer(BLOB, at=address(b"t" * 32)),
        offer(BLOB, chain=b"d" * 32),
        offer(BLOB, at="/x"),
        b"x",
    ]
    assert [providers.judge(payload) for payload in wrong] == len(wrong) * [Verdict.REJECT]
    assert providers.find(BLOB) == []


def test_offers_that_nobody_needs_are_not_passed_on(providers: Providers, clock: Clock) -> None:
    """Of unknown blobs, from another time, or too soon after the last: no honest laggard is blamed."""
    assert providers.judge(offer(UNKNOWN)) is Verdict.IGNORE
    assert providers.judge(offer(BLOB, now_ms=NOW_MS - OFFER_MS - 1)) is Verdict.IGNORE
    assert providers.judge(offer(BLOB, now_ms=NOW_MS + 60_000)) is Verdict.IGNORE
    assert providers.judge(offer(BLOB)) is Verdict.ACCEPT
    assert providers.judge(offer(BLOB, OTHER, now_ms=NOW_MS + 999)) is Verdict.IGNORE
    clock.now_ms += OFFER_MS + 1
    assert providers.find(BLOB) == [], "an offer is good for a while only"


def test_a_crowd_of_providers_is_bounded(providers: Providers, clock: Clock) -> None:
    """And makes room when its offers grow old; one offer names a bounded number of blobs."""
    for number in range(MAX_PROVIDERS + 5):
        providers.judge(offer(BLOB, seed=number.to_bytes(32, "big")))
    assert len(providers.find(BLOB)) == MAX_PROVIDERS
    clock.now_ms += OFFER_MS + 1
    assert providers.judge(offer(BLOB, now_ms=clock.now_ms)) is Verdict.ACCEPT
    assert len(providers._known) == 1
    many = [BlobId(number.to_bytes(32, "big"), 1) for number in range(MAX_OFFERED + 5)]
    assert len(decode(offer(*many), Offer).blobs) == MAX_OFFERED


class Interested(Surroundings):
    """A node to which all blobs of a list matter, and which offers some of them."""

    def __init__(self, known, offered=()) -> None:
        self.known, self.offered = known, offered

    def known_blobs(self):
        return self.known

    def offered_blobs(self):
        return self.offered


@pytest.fixture
def impatient(monkeypatch) -> None:
    monkeypatch.setattr("flocknode.network.providers.REFRESH_S", 0.1)
    monkeypatch.setattr("flocknode.network.providers.MIN_INTERVAL_MS", 50)


@pytest.mark.usefixtures("impatient")
async def test_a_provider_is_found_through_others_and_dialled(start, until) -> None:
    """The blob is with nobody that the fetcher is linked to; the offer came through one that has it not."""
    data = b"d" * 100_000
    blob = compute_blob_id(data)
    middle = await start(1, surroundings=Interested([blob]))
    source = await start(2, bootstrap=(middle,), surroundings=Interested([blob], [blob]))
    fetcher = await start(3, bootstrap=(middle,), surroundings=Interested([blob], [blob]))
    await until(lambda: len(middle.network.peers) == 2)
    with pytest.raises(BlobUnavailable):
        await fetcher.network.fetch_blob(blob)
    source.store.put(data)
    await until(lambda: fetcher.network._providers.find(blob))
    await fetcher.network.fetch_blob(blob)
    assert fetcher.store.read(blob) == data
    assert source.peer in fetcher.network.peers
    await until(lambda: len(source.network._providers.find(blob)) == 1)


@pytest.mark.usefixtures("impatient")
async def test_nothing_is_offered_that_is_not_held_or_must_not_be_known(start, until) -> None:
    """A trainer's own submission never betrays it; what is not here is not promised."""
    held, secret, missing = b"held", b"secret", BlobId(b"m" * 32, 1)
    blobs = [compute_blob_id(held), compute_blob_id(secret), missing]
    node = await start(1, surroundings=Interested(blobs, [blobs[0], missing]))
    node.store.put(held)
    node.store.put(secret)
    other = await start(2, bootstrap=(node,), surroundings=Interested(blobs))
    await until(lambda: other.network._providers.find(blobs[0]))
    assert [len(other.network._providers.find(blob)) for blob in blobs] == [1, 0, 0]


async def test_an_offer_is_judged_by_the_network_and_not_by_the_node(linked, attack, until) -> None:
    """A forged one costs its sender points; the node's handler sees none."""
    node, attacker = (await linked(1))[0], await attack()
    _, stream = await attacker.link(node)
    await stream.write(frame(Push(Topic.ANNOUNCEMENTS, b"nonsense")))
    await until(lambda: node.network.peers[attacker.host.peer].score < 100)
    assert node.seen.messages == []
