"""The money of a study: stakes, the pool and what was burned, moved by the equations of `protocol.formulas` alone.

Sums of integers: what everybody holds, the pool and the burned units always add up to what there was at first.
"""

from collections.abc import Mapping

from protocol.formulas.alliance import reward_and_slash, round_reward, stake_threshold
from protocol.formulas.fees import split_fee
from protocol.params import DEVNET
from protocol.types import UNITS_PER_FML

# What an alliance of the devnet's chain has by default.
SETTINGS = DEVNET.alliance.settings
STAKE_UNITS = DEVNET.alliance.min_joining_stake_units
# As in the paper's Fig. 6: 128 FML of reward for each participant.
POOL_UNITS_EACH = 128 * UNITS_PER_FML


class Bank:
    """Who holds what; `rounds` is how many rounds the pool must last."""

    def __init__(self, addresses: tuple[bytes, ...], *, rounds: int) -> None:
        self.stakes = dict.fromkeys(addresses, STAKE_UNITS)
        self.pool = POOL_UNITS_EACH * len(addresses)
        self.burned = 0
        self._supply = sum(self.stakes.values()) + self.pool
        self._rounds_left = rounds

    @property
    def drift(self) -> int:
        """How many units there are more than at first; less if it is negative."""
        return sum(self.stakes.values()) + self.pool + self.burned - self._supply

    def get_candidates(self) -> tuple[bytes, ...]:
        """Return who has enough at stake for a role; whoever once has too little is out for good."""
        least = stake_threshold(STAKE_UNITS, threshold_millionths=SETTINGS.threshold_millionths)
        return tuple(address for address in sorted(self.stakes) if self.stakes[address] >= least)

    def settle(self, merits: Mapping[bytes, int]) -> None:
        """Pay and slash everybody selected in a round by merit, in millionths; L6 and L5 on one snapshot."""
        reward = round_reward(self.pool, rounds_left=self._rounds_left)
        stakes = {address: self.stakes[address] for address in merits}
        rewards, slashes = reward_and_slash(
            reward, stakes=stakes, merits=merits, slash_millionths=SETTINGS.slash_millionths
        )
        for address in merits:
            burned, kept = split_fee(slashes[address], burn_millionths=DEVNET.slash_burn_millionths)
            self.stakes[address] += rewards[address] - slashes[address]
            self.pool += kept - rewards[address]
            self.burned += burned
        self._rounds_left -= 1

    def get_mean(self, addresses: tuple[bytes, ...]) -> int:
        """Return what each of them holds on average, in units, rounded down; 0 for nobody."""
        return sum(self.stakes[address] for address in addresses) // max(1, len(addresses))
