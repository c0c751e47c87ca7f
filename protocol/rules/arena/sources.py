"""Whose money is in a task's pot: so that every payout can be traced to escrow, bounties or slashes.

Money is fungible, so each unit that leaves the pot is the sources' in proportion. What emission brings has a purse of
its own and never mixes.
"""

from protocol.crypto import integer_bytes
from protocol.fixed import split
from protocol.rules import purses
from protocol.rules.arena.results import Sources
from protocol.state import Overlay, StateView, Table
from protocol.types import Amount, Record


class Given(Record):
    """The units in a task's pot that are its creator's escrow, and those that are bounties; the rest are slashes."""

    escrow: Amount
    bounties: Amount


GIVEN = Table(b"s", Given)
NAMES = (b"0 escrow", b"1 bounties", b"2 slashes")


def note_gift(state: Overlay, task: int, *, escrow: int = 0, bounties: int = 0) -> None:
    """Count what an account just gave to the pot."""
    given = get_given(state, task)
    put_given(state, task, escrow=given.escrow + escrow, bounties=given.bounties + bounties)


def get_given(state: StateView, task: int) -> Given:
    """Return what of the pot was given."""
    return GIVEN.get(state, integer_bytes(task)) or Given(escrow=0, bounties=0)


def put_given(state: Overlay, task: int, *, escrow: int, bounties: int) -> None:
    """Set what of the pot was given."""
    GIVEN.put(state, Given(escrow=escrow, bounties=bounties), integer_bytes(task))


def count_sources(state: StateView, task: int) -> Sources:
    """Return what is in the pot, by source."""
    given, held = get_given(state, task), purses.get_units(state, purses.pot_of(task))
    return Sources(escrow=given.escrow, bounties=given.bounties, slashes=held - given.escrow - given.bounties)


def divide_by_source(units: int, sources: Sources) -> Sources:
    """Return which part of some units is whose, in proportion to the sources; the parts add up to the units."""
    weights = (sources.escrow, sources.bounties, sources.slashes)
    if not any(weights):
        assert units == 0, "units from nowhere"
        return Sources(escrow=0, bounties=0, slashes=0)
    return Sources(*split(units, weights, NAMES))


def keep_rest(state: Overlay, task: int, before: Sources) -> None:
    """After an epoch was paid from a pot that held `before`, what is left is the sources' in the same proportion."""
    left = divide_by_source(purses.get_units(state, purses.pot_of(task)), before)
    put_given(state, task, escrow=left.escrow, bounties=left.bounties)


def forget(state: Overlay, task: int) -> None:
    """Drop what is known of the pot of a task that is over."""
    GIVEN.delete(state, integer_bytes(task))
