"""Whose money is in an alliance's pool, so that every reward can be traced: emission, escrow, bounties, slashes.

Money is fungible, so each unit that leaves the pool is the sources' in proportion.
"""

from protocol.crypto import integer_bytes
from protocol.fixed import split
from protocol.rules import gifts, purses
from protocol.rules.gifts import Gift, GiftBook, Givers
from protocol.rules.traces import Origins
from protocol.state import Overlay, StateView, Table
from protocol.types import Amount, Record


class PoolParts(Record):
    """Units of a pool, or of what left it, by source."""

    emission: Amount
    escrow: Amount
    bounties: Amount
    slashes: Amount

    def origins(self) -> Origins:
        """Return the same for a trace."""
        return Origins(emission=self.emission, escrow=self.escrow, bounties=self.bounties, slashes=self.slashes)


PARTS = Table(b"Fs", PoolParts)
BOOK = GiftBook(Table(b"Fg", Gift), Table(b"Ff", Givers))
EMPTY = PoolParts(emission=0, escrow=0, bounties=0, slashes=0)
NAMES = (b"0 emission", b"1 escrow", b"2 bounties", b"3 slashes")


def get_parts(state: StateView, alliance: int) -> PoolParts:
    """Return what is in the pool, by source."""
    return PARTS.get(state, integer_bytes(alliance)) or EMPTY


def note_income(
    state: Overlay, alliance: int, *, emission: int = 0, escrow: int = 0, bounties: int = 0, slashes: int = 0
) -> None:
    """Count what just came into the pool."""
    parts = get_parts(state, alliance)
    PARTS.put(
        state,
        PoolParts(
            emission=parts.emission + emission,
            escrow=parts.escrow + escrow,
            bounties=parts.bounties + bounties,
            slashes=parts.slashes + slashes,
        ),
        integer_bytes(alliance),
    )


def note_payments(state: Overlay, alliance: int) -> None:
    """Count what was just paid out of the pool: what is left is the sources' in the same proportion as before."""
    left = purses.get_units(state, purses.pool_of(alliance))
    PARTS.put(state, divide_by_source(left, get_parts(state, alliance)), integer_bytes(alliance))


def divide_by_source(units: int, parts: PoolParts) -> PoolParts:
    """Return which part of some units is whose, in proportion to the sources; the parts add up to the units."""
    weights = (parts.emission, parts.escrow, parts.bounties, parts.slashes)
    if not any(weights):
        assert units == 0, "units from nowhere"
        return EMPTY
    return PoolParts(*split(units, weights, NAMES))


def give(state: Overlay, alliance: int, giver: bytes, units: int, *, can_go_back: bool) -> None:
    """Move a gift into the pool, and remember it as long as it can go back."""
    purses.move(state, purses.balance_of(giver), purses.pool_of(alliance), units)
    if can_go_back:
        gifts.note_gift(state, BOOK, alliance, giver, units)


def return_pool(state: Overlay, alliance: int) -> None:
    """Give everybody back what it gave to an alliance without rounds: there was neither emission nor a slash."""
    gifts.return_gifts(state, BOOK, alliance, purses.pool_of(alliance))
    assert purses.get_units(state, purses.pool_of(alliance)) == 0, "a pool of nobody's"
    PARTS.delete(state, integer_bytes(alliance))


def close_pool(state: Overlay, alliance: int) -> None:
    """Empty the pool of an alliance that ends: what was emitted to the reserve, the rest to the treasury."""
    pool, emitted = purses.pool_of(alliance), get_parts(state, alliance).emission
    purses.move(state, pool, purses.RESERVE, emitted)
    purses.move_all(state, pool, purses.TREASURY)
    PARTS.delete(state, integer_bytes(alliance))
