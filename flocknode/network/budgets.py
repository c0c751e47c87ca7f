"""What one peer may send in a second. Pure: time is an argument, in seconds of one monotonic clock."""

# Several blocks of the largest size; a burst holds what is waiting when a peer comes back.
BYTES_PER_S = 16 * 1024 * 1024
BURST_BYTES = 32 * 1024 * 1024
MESSAGES_PER_S = 2048
BURST_MESSAGES = 8192
# Announced and asked ids together; an honest peer announces at most `messages.MAX_IDS` a second.
IDS_PER_S = 2048
BURST_IDS = 8192


class Budget:
    """A token bucket: refills at a rate up to a burst."""

    def __init__(self, *, per_s: float, burst: float) -> None:
        self._per_s = per_s
        self._burst = burst
        self._left = burst
        self._filled_at = 0.0

    def spend(self, amount: float, now: float) -> float:
        """Take an amount, on credit if need be, and return for how many seconds to wait until that is paid back."""
        self._refill(now)
        self._left -= amount
        return max(0.0, -self._left / self._per_s)

    def grant(self, amount: int, now: float) -> int:
        """Take as much of an amount as there is, and return how much that was."""
        self._refill(now)
        granted = min(amount, max(0, int(self._left)))
        self._left -= granted
        return granted

    def _refill(self, now: float) -> None:
        self._left = min(self._burst, self._left + self._per_s * max(0.0, now - self._filled_at))
        self._filled_at = now


class PeerBudgets:
    """The budgets of one peer, which outlast its link: who hangs up and comes again has no more than before."""

    def __init__(self) -> None:
        self._bytes = Budget(per_s=BYTES_PER_S, burst=BURST_BYTES)
        self._messages = Budget(per_s=MESSAGES_PER_S, burst=BURST_MESSAGES)
        self._ids = Budget(per_s=IDS_PER_S, burst=BURST_IDS)

    def spend_message(self, size: int, now: float) -> float:
        """Take one message of `size` bytes; return how long to read nothing more of this peer, in seconds."""
        return max(self._bytes.spend(size, now), self._messages.spend(1, now))

    def grant_ids(self, count: int, now: float) -> int:
        """Return how many of so many ids are to be looked at."""
        return self._ids.grant(count, now)
