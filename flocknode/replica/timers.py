"""The deadlines of one replica; times in seconds of trio's clock. Whoever owns them waits for the next and takes it."""

from protocol.params import Params
from protocol.tendermint.events import ScheduleTimeout, TimeoutExpired, TimeoutKind


class Timers:
    """At most one timeout of each kind: a later round's replaces an earlier one's, which means nothing any more."""

    def __init__(self, params: Params) -> None:
        self._params = params
        self._deadlines: dict[TimeoutKind, tuple[float, TimeoutExpired]] = {}

    def schedule(self, effect: ScheduleTimeout, now: float) -> None:
        """Start a timeout."""
        expired = TimeoutExpired(effect.kind, effect.height, effect.round)
        self._deadlines[effect.kind] = (now + timeout_ms(self._params, effect.kind, effect.round) / 1000, expired)

    def next_deadline(self) -> float:
        """Return when the next timeout passes."""
        return min((deadline for deadline, _ in self._deadlines.values()), default=float("inf"))

    def take_expired(self, now: float) -> list[TimeoutExpired]:
        """Return the timeouts that have passed, earliest first, and forget them."""
        due = sorted((at, kind) for kind, (at, _) in self._deadlines.items() if at <= now)
        return [self._deadlines.pop(kind)[1] for _, kind in due]

    def clear(self) -> None:
        """Forget all timeouts."""
        self._deadlines.clear()


def timeout_ms(params: Params, kind: TimeoutKind, round: int) -> int:
    """Return how long a timeout of a round lasts: timeoutX(round) of the paper; it grows until rounds suffice."""
    first_ms = {
        TimeoutKind.PROPOSE: params.propose_timeout_ms,
        TimeoutKind.PREVOTE: params.prevote_timeout_ms,
        TimeoutKind.PRECOMMIT: params.precommit_timeout_ms,
    }[kind]
    return first_ms + params.round_growth_ms * round
