"""What is taken from an account by rule: fees, slashes, and the part of each that is burned (white paper III.A).

Rounding never favours who is paid: what is burned and what is slashed is rounded up.
"""

from protocol.fixed import MILLION


def split_fee(fee: int, *, burn_millionths: int) -> tuple[int, int]:
    """Return (burned, passed on) of a transaction fee, a registration fee or a slash; both in units."""
    burned = _part_rounded_up(fee, burn_millionths)
    return burned, fee - burned


def slash_amount(stake: int, *, slash_millionths: int) -> int:
    """Return what is slashed of a stake, in units; never more than the stake."""
    return _part_rounded_up(stake, slash_millionths)


def _part_rounded_up(units: int, millionths: int) -> int:
    assert units >= 0, f"{units} units"
    assert 0 <= millionths <= MILLION, f"{millionths} millionths"
    return -(-units * millionths // MILLION)
