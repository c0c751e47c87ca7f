"""Rounds that are over, as their proofs still ask for them: from which model, with which weights.

The commitments themselves are pruned from the state; the blocks have them.
"""

from msgspec.structs import replace

from protocol.crypto import integer_bytes
from protocol.rules.alliance.records import Accepted, Alliance
from protocol.rules.alliance.results import ROUND_RESULTS, Outcome, RoundResult
from protocol.state import StateView


def rewind(state: StateView, alliance: Alliance, round: int) -> Alliance:
    """Return the alliance with the number and the latest model that it had in a round, the current one included.

    So `commitments` gives that round's context, weights and aggregate. Everything else is as it is now.
    """
    return replace(alliance, round=round, latest=_find_latest(state, alliance, round))


def get_result(state: StateView, alliance: int, round: int) -> RoundResult | None:
    """Return how a round was settled, if it was."""
    return ROUND_RESULTS.get(state, integer_bytes(alliance), integer_bytes(round))


def _find_latest(state: StateView, alliance: Alliance, before: int) -> Accepted | None:
    for round in reversed(range(before)):
        result = get_result(state, alliance.id, round)
        if result is not None and result.outcome is Outcome.ACCEPTED:
            assert result.model is not None, "nothing was accepted"
            assert result.score is not None, "accepted without a score"
            return Accepted(round, result.model, result.score)
    return None
