"""Common ticks."""

from hypothesis import given
from hypothesis import strategies as st

from flocknode.relay.ticks import MAX_TICK_MS, MIN_TICK_MS, compute_hop_tick_ms, compute_tick_ms, next_tick_ms
from protocol.blobs import BlobId
from protocol.params import DEVNET, MAINNET
from protocol.transactions import OpenSubmission, Submit

SUBMIT = Submit(1, 0, bytes(32), bytes(32), BlobId(bytes(32), 1), bytes(32), b"")
OPEN = OpenSubmission(1, 0, bytes(32), bytes(32))
TIMES = st.integers(0, 2**44)
TICKS = st.integers(MIN_TICK_MS, MAX_TICK_MS)


def test_the_ticks_of_both_presets():
    """A fortieth of the phase: 1.5 s and 0.5 s on the devnet, 30 minutes and 15 s on the main network."""
    assert [compute_tick_ms(DEVNET.task, one) for one in (SUBMIT, OPEN)] == [1_500, 500]
    assert [compute_tick_ms(MAINNET.task, one) for one in (SUBMIT, OPEN)] == [1_800_000, 15_000]
    assert compute_hop_tick_ms(1_500) == 187
    assert compute_hop_tick_ms(1) == MIN_TICK_MS


@given(now=TIMES, other=TIMES, tick=TICKS)
def test_ticks_are_common_and_ahead(now, other, tick):
    """Whoever asks between two ticks gets the second; it is never now, and never more than one tick away."""
    found = next_tick_ms(now, tick)
    assert now < found <= now + tick
    assert found % tick == 0
    if found - tick <= other < found:
        assert next_tick_ms(other, tick) == found


@given(now=TIMES, tick=TICKS, left=st.integers(MIN_TICK_MS + 1, 10**7))
def test_a_tick_that_would_come_too_late_is_halved(now, tick, left):
    """While the shortest tick fits before the deadline, the one that is taken does."""
    assert now < next_tick_ms(now, tick, now + left) <= now + left
