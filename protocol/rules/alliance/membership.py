"""Who takes part in an alliance: joining with a stake, leaving, topping up, and who is out for good (VI.B).

A stake below the threshold is warned about when a round closes: it is not drawn for the next one, and out for good if
it is still too low when that closes. One head, one vote: all join with the same stake and fill it up to that at most.
"""

from msgspec.structs import replace

from protocol.alliance_acts import JoinAlliance, LeaveAlliance, TopUpStake
from protocol.crypto import integer_bytes
from protocol.errors import AlreadyDone, InsufficientFunds, NotEligible, OutOfBounds
from protocol.formulas import alliance as formulas
from protocol.rules import purses
from protocol.rules.alliance.founding import require_running
from protocol.rules.alliance.records import (
    PARTICIPANTS,
    Alliance,
    AlliancePhase,
    Participant,
    Selected,
    get_participant,
    put_alliance,
    put_participant,
    scan_participants,
)
from protocol.rules.context import Context
from protocol.state import Overlay, StateView


def join_alliance(state: Overlay, context: Context, sender: bytes, payload: JoinAlliance) -> None:
    """Take part with the joining stake; while rounds run, from the next draw on."""
    alliance = require_running(state, payload.alliance)
    participant = get_participant(state, alliance.id, sender)
    if participant is not None:
        if participant.is_out:
            raise NotEligible(f"the account is out of alliance {alliance.id} for good", alliance=alliance.id)
        raise AlreadyDone("the account takes part in this alliance")
    room = context.params.alliance.max_participants
    if alliance.places >= room:
        raise NotEligible(f"all {room} places of alliance {alliance.id} are taken", have=room)
    if payload.test_rows < alliance.spec.min_test_rows:
        raise NotEligible(
            f"a test split of alliance {alliance.id} has at least {alliance.spec.min_test_rows} rows",
            have=payload.test_rows,
            need=alliance.spec.min_test_rows,
        )
    take_stake(state, alliance, sender)
    put_participant(
        state,
        alliance.id,
        sender,
        Participant(
            train_rows=payload.train_rows,
            test_rows=payload.test_rows,
            is_leaving=False,
            is_warned=False,
            is_out=False,
            accepted_rounds=0,
            earned=0,
            slashed=0,
        ),
    )
    put_alliance(state, replace(alliance, places=alliance.places + 1))


def take_stake(state: Overlay, alliance: Alliance, address: bytes) -> None:
    """Bond exactly the joining stake; raises `InsufficientFunds`."""
    stake, balance = alliance.spec.joining_stake, purses.balance_of(address)
    held = purses.get_units(state, balance)
    if held < stake:
        raise InsufficientFunds(
            f"alliance {alliance.id} takes a stake of {stake} units, the balance holds {held}", have=held, need=stake
        )
    purses.move(state, balance, purses.alliance_stake_of(alliance.id, address), stake)


def leave_alliance(state: Overlay, context: Context, sender: bytes, payload: LeaveAlliance) -> None:
    """Stop taking part: at once while the alliance opens, otherwise marked to act when the round closes."""
    alliance = require_running(state, payload.alliance)
    participant = require_participant(state, alliance, sender)
    if alliance.phase is AlliancePhase.OPENING:
        put_alliance(state, remove(state, context, alliance, sender))
    elif participant.is_leaving:
        raise AlreadyDone("the account is leaving")
    else:
        put_participant(state, alliance.id, sender, replace(participant, is_leaving=True))


def top_up_stake(state: Overlay, context: Context, sender: bytes, payload: TopUpStake) -> None:
    """Fill the own stake up, to the joining stake at most."""
    alliance = require_running(state, payload.alliance)
    participant = require_participant(state, alliance, sender)
    purse = purses.alliance_stake_of(alliance.id, sender)
    held = purses.get_units(state, purse)
    if held + payload.units > alliance.spec.joining_stake:
        raise OutOfBounds(
            f"a stake is filled up to {alliance.spec.joining_stake} units at most, and {held} are there",
            have=held,
            need=alliance.spec.joining_stake,
        )
    purses.move(state, purses.balance_of(sender), purse, payload.units)
    if participant.is_warned and not is_below(state, alliance, sender):
        put_participant(state, alliance.id, sender, replace(participant, is_warned=False))


def require_participant(state: StateView, alliance: Alliance, address: bytes) -> Participant:
    """Return a participant that is not out; raises `NotEligible`."""
    participant = get_participant(state, alliance.id, address)
    if participant is None or participant.is_out:
        raise NotEligible("the account takes no part in this alliance", alliance=alliance.id)
    return participant


def is_below(state: StateView, alliance: Alliance, address: bytes) -> bool:
    """Return whether a participant's stake is below the threshold."""
    threshold = formulas.stake_threshold(
        alliance.spec.joining_stake, threshold_millionths=alliance.spec.settings.threshold_millionths
    )
    return purses.get_units(state, purses.alliance_stake_of(alliance.id, address)) < threshold


def find_candidates(state: StateView, alliance: Alliance) -> tuple[Selected, ...]:
    """Return the participants that may be drawn, with their stakes, sorted by address."""
    return tuple(
        Selected(address, purses.get_units(state, purses.alliance_stake_of(alliance.id, address)))
        for address, participant in scan_participants(state, alliance.id)
        if not participant.is_out and not participant.is_leaving and not is_below(state, alliance, address)
    )


# --- when a round has closed -----------------------------------------------------------------------------------------


def review_participants(state: Overlay, context: Context, alliance: Alliance) -> Alliance:
    """Let go who leaves, warn whose stake is too low, and shut out whom that was said before; returns the alliance.

    Who leaves with a stake below the threshold is out as well: else it could come back at once.
    """
    for address, participant in scan_participants(state, alliance.id):
        if participant.is_out:
            continue
        is_low = is_below(state, alliance, address)
        if is_low and (participant.is_warned or participant.is_leaving):
            alliance = shut_out(state, context, alliance, address, participant)
        elif participant.is_leaving:
            alliance = remove(state, context, alliance, address)
        elif is_low:
            put_participant(state, alliance.id, address, replace(participant, is_warned=True))
    return alliance


def remove(state: Overlay, context: Context, alliance: Alliance, address: bytes) -> Alliance:
    """End a participation; returns the alliance with the place free again."""
    unbond_stake(state, context, alliance, address)
    PARTICIPANTS.delete(state, integer_bytes(alliance.id), address)
    return replace(alliance, places=alliance.places - 1)


def shut_out(
    state: Overlay, context: Context, alliance: Alliance, address: bytes, participant: Participant
) -> Alliance:
    """Expel a participant for good, with what is left of its stake; returns the alliance with the place free again."""
    unbond_stake(state, context, alliance, address)
    put_participant(state, alliance.id, address, replace(participant, is_out=True))
    return replace(alliance, places=alliance.places - 1)


def unbond_stake(state: Overlay, context: Context, alliance: Alliance, address: bytes) -> None:
    """Start the unbonding period of a participant's stake."""
    unbond(state, context, alliance, purses.alliance_stake_of(alliance.id, address), address)


def unbond(state: Overlay, context: Context, alliance: Alliance, bond: bytes, owner: bytes) -> None:
    """Let all units of a bond in an alliance return to their owner after the unbonding period."""
    purses.unbond(
        state,
        bond,
        purses.get_units(state, bond),
        bond=bond,
        begun=0 if alliance.phase is AlliancePhase.OPENING else alliance.round + 1,
        release_ms=context.time_ms + context.params.unbonding_ms,
        owner=owner,
    )
