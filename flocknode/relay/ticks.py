"""The common ticks at which relays let go of what they hold, so that nobody's moment of sending shows. Pure.

Ticks are multiples of a length in milliseconds since the Unix epoch: everybody's fall together without being told.
"""

from protocol.params import TaskSettings
from protocol.transactions import AnonymousPayload, Submit

# Ticks in the longest that the phase may stay open: the more trainers share one, the less it tells.
TICKS_PER_PHASE = 40
# Relays on the way hold what they pass on for a tick of theirs, so many of which make one of the last.
HOP_TICKS = 8
MIN_TICK_MS = 40
MAX_TICK_MS = 3_600_000


def compute_tick_ms(settings: TaskSettings, payload: AnonymousPayload) -> int:
    """Return the length of the ticks at which submissions, or openings, of a task are published."""
    phase_ms = settings.submit_phase_ms if isinstance(payload, Submit) else settings.open_phase_ms
    return min(max(MIN_TICK_MS, phase_ms // TICKS_PER_PHASE), MAX_TICK_MS)


def compute_hop_tick_ms(tick_ms: int) -> int:
    """Return the length of the ticks at which relays on the way pass parcels on."""
    return max(MIN_TICK_MS, tick_ms // HOP_TICKS)


def next_tick_ms(now_ms: int, tick_ms: int, deadline_ms: int | None = None) -> int:
    """Return the first tick after now; close to a deadline, ticks are halved until one comes before it."""
    while deadline_ms is not None and tick_ms > MIN_TICK_MS and (now_ms // tick_ms + 1) * tick_ms > deadline_ms:
        tick_ms = max(MIN_TICK_MS, tick_ms // 2)
    return (now_ms // tick_ms + 1) * tick_ms
