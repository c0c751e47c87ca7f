"""What misbehaviour costs."""

import trio
from trio.testing import MockClock

from flocknode.network.conduct import (
    MAX_REFUSAL_S,
    MAX_REMEMBERED_PEERS,
    REFUSAL_REMEMBERED_S,
    REFUSAL_S,
    Conduct,
    Refusal,
)
from flocknode.network.errors import Misbehaviour

GARBAGE = Misbehaviour("garbage", points=100)


async def test_points_fade_and_a_refusal_ends(autojump_clock: MockClock) -> None:
    """Small faults now and then cost nothing; many at once refuse the peer for a while."""
    conduct = Conduct()
    for _ in range(10):
        conduct.blame("clumsy", Misbehaviour("small", points=50))
        await trio.sleep(60)
    assert not conduct.is_refused("clumsy")
    conduct.blame("rude", GARBAGE)
    assert conduct.is_refused("rude")
    await trio.sleep(REFUSAL_S)
    assert not conduct.is_refused("rude")


async def test_the_score_falls_with_faults_and_recovers(autojump_clock: MockClock) -> None:
    """From 100 to 0, and 0 for as long as a peer is refused although its points fade."""
    conduct = Conduct()
    await trio.sleep(1_000)
    assert conduct.score("peer") == 100
    conduct.blame("peer", Misbehaviour("small", points=30))
    assert conduct.score("peer") == 70
    await trio.sleep(20)
    assert conduct.score("peer") == 90
    conduct.blame("peer", GARBAGE)
    await trio.sleep(REFUSAL_S / 2)
    assert conduct.score("peer") == 0


async def test_who_does_it_again_is_refused_for_longer_and_a_day_makes_good(autojump_clock: MockClock) -> None:
    """Refusals double up to a limit; after a day of good conduct the first one counts no more."""
    conduct = Conduct()
    seconds = []
    for _ in range(9):
        conduct.blame("rude", GARBAGE)
        started = trio.current_time()
        while conduct.is_refused("rude"):  # noqa: ASYNC110  # the clock jumps
            await trio.sleep(1)
        seconds.append(round(trio.current_time() - started))
    assert seconds[:4] == [60, 120, 240, 480]
    assert seconds[-1] == MAX_REFUSAL_S
    await trio.sleep(REFUSAL_REMEMBERED_S + 1)
    conduct.blame("rude", GARBAGE)
    assert conduct.refusals()["rude"].times == 1


async def test_what_comes_while_a_peer_is_refused_refuses_it_no_second_time(autojump_clock: MockClock) -> None:
    """Connections that end together tell of one fault each; that is one refusal, of the first length."""
    conduct = Conduct()
    for _ in range(5):
        conduct.blame("rude", GARBAGE)
    assert conduct.refusals()["rude"].times == 1
    await trio.sleep(REFUSAL_S)
    assert not conduct.is_refused("rude")


async def test_memory_of_faults_is_bounded() -> None:
    """A crowd of identities does not grow the memory without end."""
    conduct = Conduct()
    for number in range(MAX_REMEMBERED_PEERS + 10):
        conduct.blame(f"peer{number}", GARBAGE)
    assert len(conduct._points) == len(conduct._refusals) == MAX_REMEMBERED_PEERS


async def test_a_restored_refusal_holds_but_not_for_ever(autojump_clock: MockClock) -> None:
    """A kept file that was written under a wrong clock shuts nobody out for years."""
    conduct = Conduct()
    conduct.restore("rude", Refusal("garbage", trio.current_time() + 10**9, 1))
    assert conduct.is_refused("rude")
    await trio.sleep(MAX_REFUSAL_S)
    assert not conduct.is_refused("rude")
