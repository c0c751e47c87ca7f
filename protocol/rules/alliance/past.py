"""From round to round: which model a settled round leaves to the next, and so from which one each round set out.

The proofs of rounds that are over ask for that. Their commitments are pruned from the state; the blocks have them.
"""

from msgspec.structs import replace

from protocol.crypto import integer_bytes
from protocol.formulas import alliance as formulas
from protocol.rules.alliance.records import Accepted, Alliance
from protocol.rules.alliance.results import ROUND_RESULTS, Outcome, RoundResult
from protocol.state import StateView


def with_model(alliance: Alliance, result: RoundResult) -> Alliance:
    """Return the alliance with the model that its round accepted, or after a rejection with the best one again.

    VI.E: "a return to the preceding validated model". If the latest stayed, one round that hostile voters won would
    leave the honest with a spoiled model to train on, and with slashes for what comes of it, since votes compare with
    the best.
    """
    if result.outcome is Outcome.VOID:
        return alliance
    if result.outcome is Outcome.REJECTED:
        return replace(alliance, latest=alliance.best)
    assert result.model is not None, "nothing to accept"
    assert result.score is not None, "a model that nobody could load was accepted"
    accepted = Accepted(alliance.round, result.model, result.score)
    best_score = None if alliance.best is None else alliance.best.score
    is_best = formulas.is_better(result.score, best_score, higher_is_better=alliance.spec.metric.higher_is_better)
    return replace(alliance, latest=accepted, best=accepted if is_best else alliance.best)


def rewind(state: StateView, alliance: Alliance, round: int) -> Alliance:
    """Return the alliance with the number, the latest and the best model that it had in a round, the current included.

    So `commitments` gives that round's context, weights and aggregate. Everything else is as it is now.
    """
    then = replace(alliance, latest=None, best=None)
    for number in range(round):
        result = get_result(state, alliance.id, number)
        assert result is not None, "a round that is not over before another"
        then = with_model(replace(then, round=number), result)
    return replace(then, round=round)


def get_result(state: StateView, alliance: int, round: int) -> RoundResult | None:
    """Return how a round was settled, if it was."""
    return ROUND_RESULTS.get(state, integer_bytes(alliance), integer_bytes(round))
