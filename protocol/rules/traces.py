"""How a payout is told: where its units come from, and the reckoning line by line."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Origins:
    """Units by where they came from; with `slashes` is what nobody had a claim to in earlier epochs of the task."""

    emission: int
    escrow: int
    bounties: int
    slashes: int

    def total(self) -> int:
        """Return all of them together."""
        return self.emission + self.escrow + self.bounties + self.slashes


@dataclass(frozen=True, kw_only=True)
class Step:
    """One line of a reckoning: the formula's tag or the section of the white paper, what it is, and its value.

    Values are units of FML, or numbers without a unit as text.
    """

    tag: str
    what: str
    units: int | None = None
    number: str | None = None
