"""What one peer may send in a second. Pure: time is an argument, in seconds of one monotonic clock."""

from typing import NamedTuple


class Rates(NamedTuple):
    """What is allowed in a second, and at once after a pause: `burst_*`.

    Ids are those announced and those asked for together; an honest peer announces at most `messages.MAX_IDS` a second.
    Transactions are bounded apart: a byte of them costs more than one of anything else, and that at every node.
    """

    bytes_per_s: int
    burst_bytes: int
    messages_per_s: int
    burst_messages: int
    ids_per_s: int
    burst_ids: int
    transaction_bytes_per_s: int
    burst_transaction_bytes: int


# For a peer that speaks for a bonded account. Several blocks of the largest size; a burst holds what is waiting when a
# peer comes back.
BACKED = Rates(
    bytes_per_s=16 * 1024 * 1024,
    burst_bytes=32 * 1024 * 1024,
    messages_per_s=2048,
    burst_messages=8192,
    ids_per_s=2048,
    burst_ids=8192,
    transaction_bytes_per_s=16 * 1024 * 1024,
    burst_transaction_bytes=32 * 1024 * 1024,
)
# For a stranger, who costs nothing to make. Forty of them, all a node takes, leave most of a processor to others. Of
# transactions it is some 80 a second, and 1,300 at once.
STRANGER = Rates(
    bytes_per_s=256 * 1024,
    burst_bytes=4 * 1024 * 1024,
    messages_per_s=128,
    burst_messages=1024,
    ids_per_s=256,
    burst_ids=2048,
    transaction_bytes_per_s=16 * 1024,
    burst_transaction_bytes=256 * 1024,
)
# Messages that a peer has sent before and nobody asked it for again. Honest ones are sent twice when a push crosses a
# question, or when their author says them again.
REPEATS_PER_S = 2
BURST_REPEATS = 64
# Links that a stranger begins; who is turned away comes back every five seconds.
LINKS_PER_S = 0.5
BURST_LINKS = 16


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

    def afford(self, amount: int, now: float) -> bool:
        """Take an amount if there is any left, on credit if it is more, so that no amount is too large for ever; return
        whether it was taken."""
        self._refill(now)
        has_some = self._left > 0
        if has_some:
            self._left -= amount
        return has_some

    def _refill(self, now: float) -> None:
        self._left = min(self._burst, self._left + self._per_s * max(0.0, now - self._filled_at))
        self._filled_at = now


class PeerBudgets:
    """The budgets of one peer, which outlast its link: who hangs up and comes again has no more than before."""

    def __init__(self) -> None:
        self._repeats = Budget(per_s=REPEATS_PER_S, burst=BURST_REPEATS)
        self._links = Budget(per_s=LINKS_PER_S, burst=BURST_LINKS)
        self._set_rates(STRANGER)

    def trust(self, *, is_backed: bool) -> None:
        """Allow what the peer's standing allows."""
        rates = BACKED if is_backed else STRANGER
        if rates is not self._rates:
            self._set_rates(rates)

    def spend_message(self, size: int, now: float) -> float:
        """Take one message of `size` bytes; return how long to read nothing more of this peer, in seconds."""
        return max(self._bytes.spend(size, now), self._messages.spend(1, now))

    def grant_ids(self, count: int, now: float) -> int:
        """Return how many of so many ids are to be looked at."""
        return self._ids.grant(count, now)

    def grant_repeat(self, now: float) -> bool:
        """Return whether a message that the peer has sent before is forgiven."""
        return self._repeats.afford(1, now)

    def grant_link(self, now: float) -> bool:
        """Return whether the peer may begin another link."""
        return self._rates is BACKED or self._links.afford(1, now)

    def grant_transactions(self, size: int, now: float) -> bool:
        """Return whether a message of transactions, of `size` bytes, is to be looked at."""
        return self._transactions.afford(size, now)

    def _set_rates(self, rates: Rates) -> None:
        self._rates = rates
        self._bytes = Budget(per_s=rates.bytes_per_s, burst=rates.burst_bytes)
        self._messages = Budget(per_s=rates.messages_per_s, burst=rates.burst_messages)
        self._ids = Budget(per_s=rates.ids_per_s, burst=rates.burst_ids)
        self._transactions = Budget(per_s=rates.transaction_bytes_per_s, burst=rates.burst_transaction_bytes)
