"""What rules take from an account beside transaction fees: registration fees and slashes, part of each burned."""

from protocol.formulas import fees
from protocol.params import Params
from protocol.rules import purses
from protocol.state import Overlay


def pay_registration(state: Overlay, params: Params, creator: bytes) -> None:
    """Take the fee for a new task or alliance from its creator's balance; what is not burned is the treasury's."""
    burned, kept = fees.split_fee(params.registration_fee_units, burn_millionths=params.registration_burn_millionths)
    purses.burn(state, purses.balance_of(creator), burned)
    purses.move(state, purses.balance_of(creator), purses.TREASURY, kept)


def slash(state: Overlay, params: Params, purse: bytes, units: int, *, to: bytes) -> int:
    """Take units of a bond: some of them burned, the rest into the purse that rewards are paid from.

    Returns what was not burned, in units.
    """
    burned, kept = fees.split_fee(units, burn_millionths=params.slash_burn_millionths)
    purses.burn(state, purse, burned)
    purses.move(state, purse, to, kept)
    return kept
