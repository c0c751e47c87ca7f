"""The ways of a masked round that others do not have: again without the missing, and from a disputed sum to a verdict.

Two sums of the same updates, one with and one without a client, would bare that client's. Who withholds its vector can
work out the sum of all the others', for it knows every mask that stays in it; so the second attempt is with all of
those or the round is void, and there is no third. Nor is anybody dropped whose vector is on the log, for who has all
vectors knows the sum with it: if too few voters hold one, the round is void, whatever the voters say.

Limits, by design. Whoever gets hold of a vector that does not come onto the log in time knows the sum with it. Updates
of two rounds differ, but not by much. A client that lies costs all clients of its round the secrecy of their updates,
and itself a part of the stake.
"""

from msgspec.structs import replace

from protocol.formulas import alliance as formulas
from protocol.rules.alliance.commitments import get_published
from protocol.rules.alliance.ending import close_round, enter_phase, get_current
from protocol.rules.alliance.masks import clear_attempt, find_unopened
from protocol.rules.alliance.records import (
    Alliance,
    AlliancePhase,
    VoterSheet,
    get_sheets,
    get_update,
    put_round,
)
from protocol.rules.context import Context
from protocol.state import Overlay, StateView


def get_voter_sheets(state: StateView, alliance: Alliance) -> dict[bytes, VoterSheet]:
    """Return what the voters of the current round did."""
    return get_sheets(state, alliance, get_current(state, alliance))


def is_last_attempt(state: StateView, alliance: Alliance) -> bool:
    """Return whether the round was run again, so that nobody more may drop out of it."""
    return get_current(state, alliance).attempt() > 0


def run_again(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Begin the round anew with the proposers that shared a vector; the others' masks would stay in the sum.

    Everything is fresh: the context, for the proposers are others, and so keys, blindings and commitments. Clients keep
    what they trained.
    """
    current = get_current(state, alliance)
    has_shared = {
        one.address: get_update(state, alliance.id, alliance.round, one.address) is not None
        for one in current.proposers
    }
    clear_attempt(state, alliance)
    again = replace(
        current,
        proposers=tuple(one for one in current.proposers if has_shared[one.address]),
        dropped=tuple(one for one in current.proposers if not has_shared[one.address]),
    )
    put_round(state, alliance, again)
    enter_phase(state, context, alliance, AlliancePhase.TRAIN, alliance.spec.settings.train_phase_ms)


def close_adding(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Vote on the published sum, or judge a disputed one; if there is neither, it is the next aggregator's turn."""
    settings = alliance.spec.settings
    if get_published(state, alliance) is not None:
        enter_phase(state, context, alliance, AlliancePhase.VOTE, settings.vote_phase_ms)
    elif get_current(state, alliance).is_disputed:
        enter_phase(state, context, alliance, AlliancePhase.DISPUTE, settings.aggregate_phase_ms)
    else:
        take_turn(state, context, alliance)


def take_turn(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Let the next aggregator add the same vectors, for nothing was sealed to this one; after the last all is void."""
    current = get_current(state, alliance)
    if current.turn + 1 == len(current.aggregators):
        close_round(state, context, alliance)
        return
    put_round(state, alliance, replace(current, turn=current.turn + 1, is_disputed=False))
    enter_phase(state, context, alliance, AlliancePhase.AGGREGATE, alliance.spec.settings.aggregate_phase_ms)


# --- a disputed sum --------------------------------------------------------------------------------------------------


def is_dispute_judged(state: StateView, context: Context, alliance: Alliance) -> bool:
    """Return whether everybody that still has a say judged the sum."""
    return all(sheet.held is None or sheet.opens is not None for sheet in get_voter_sheets(state, alliance).values())


def close_dispute(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Ask the clients for their secrets if 2/3 of the voters confirm that the sum does not open Enc(w).

    Otherwise the dispute was false, and the turn is over: one dishonest aggregator alone bares nobody.
    """
    sheets = get_voter_sheets(state, alliance)
    if formulas.is_quorum(sum(sheet.opens is False for sheet in sheets.values()), of=len(sheets)):
        enter_phase(state, context, alliance, AlliancePhase.UNMASK, alliance.spec.settings.reveal_phase_ms)
    else:
        take_turn(state, context, alliance)


def is_unmasking_complete(state: StateView, context: Context, alliance: Alliance) -> bool:
    """Return whether every client showed its secret."""
    return not find_unopened(state, alliance)


def close_unmasking(state: Overlay, context: Context, alliance: Alliance) -> None:
    """Ask the voters who lied."""
    enter_phase(state, context, alliance, AlliancePhase.VERDICT, alliance.spec.settings.aggregate_phase_ms)


def is_verdict_complete(state: StateView, context: Context, alliance: Alliance) -> bool:
    """Return whether everybody that judged the sum named the liars."""
    return all(sheet.opens is None or sheet.liars is not None for sheet in get_voter_sheets(state, alliance).values())
