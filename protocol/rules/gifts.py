"""What accounts gave to a task or an alliance, as long as it can go back: until somebody worked for it."""

from dataclasses import dataclass

from protocol.crypto import integer_bytes
from protocol.errors import NotEligible, OutOfBounds
from protocol.params import Params
from protocol.rules import purses
from protocol.state import Overlay, Table
from protocol.types import Amount, Count, Record


class Gift(Record):
    """What an account gave, escrow or bounty."""

    units: Amount


class Givers(Record):
    """How many accounts gave bounties that can go back."""

    count: Count


@dataclass(frozen=True)
class GiftBook:
    """The tables of the gifts to one kind of job. Keys: job, giver; job."""

    gifts: Table[Gift]
    givers: Table[Givers]


def check_bounty(params: Params, units: int) -> None:
    """Return if a bounty is worth its record; raises `OutOfBounds`."""
    if units < params.min_bounty_units:
        raise OutOfBounds("a bounty below the minimum", have=units, need=params.min_bounty_units)


def check_giver(state: Overlay, params: Params, book: GiftBook, job: int, giver: bytes) -> None:
    """Count an account that gives for the first time; raises `NotEligible` when there are too many to pay back."""
    if book.gifts.get(state, integer_bytes(job), giver) is not None:
        return
    givers = book.givers.get(state, integer_bytes(job)) or Givers(count=0)
    if givers.count >= params.max_bounty_givers:
        raise NotEligible(f"{givers.count} accounts gave bounties; more may once work has begun", have=givers.count)
    book.givers.put(state, Givers(count=givers.count + 1), integer_bytes(job))


def note_gift(state: Overlay, book: GiftBook, job: int, giver: bytes, units: int) -> None:
    """Remember what an account gave."""
    if units:
        gift = book.gifts.get(state, integer_bytes(job), giver) or Gift(units=0)
        book.gifts.put(state, Gift(units=gift.units + units), integer_bytes(job), giver)


def forget_gifts(state: Overlay, book: GiftBook, job: int) -> None:
    """Drop what is remembered of the gifts to a job."""
    for giver, _ in list(book.gifts.scan(state, integer_bytes(job))):
        book.gifts.delete(state, integer_bytes(job), giver)
    book.givers.delete(state, integer_bytes(job))


def return_gifts(state: Overlay, book: GiftBook, job: int, pot: bytes) -> None:
    """Give everybody back what it gave to a job that nobody ever worked for; nothing of it was spent."""
    for giver, gift in list(book.gifts.scan(state, integer_bytes(job))):
        purses.move(state, pot, purses.balance_of(giver), gift.units)
    forget_gifts(state, book, job)
