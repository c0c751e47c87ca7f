"""The equations of the emission (white paper IV.A): how much there is, who gets which part, and when the next is due.

Amounts and stakes are base units, times milliseconds, periods counts of emissions before this one.
"""

from collections.abc import Mapping

from protocol.fixed import MILLION, pinned, power, split, split_by_key


def next_boundary(time_ms: int, *, due_ms: int, period_ms: int) -> int:
    """Return the first time after `time_ms` on the grid of emissions that `due_ms` lies on.

    Boundaries that passed while no block was made are left out: nobody worked then.
    """
    assert time_ms >= due_ms, "an emission before it is due"
    return due_ms + ((time_ms - due_ms) // period_ms + 1) * period_ms


def period_emission(period: int, *, initial_units: int, halving_periods: int) -> int:
    """Return what the emission after `period` others is worth, hosts included: C0, halved every so many periods."""
    return initial_units >> min(period // halving_periods, initial_units.bit_length())


def total_emission(*, initial_units: int, halving_periods: int) -> int:
    """Return a bound of everything that is ever emitted: the sum of C0, C0 / 2, C0 / 4, ... a halving each."""
    return 2 * initial_units * halving_periods


def host_part(emission: int, *, period: int, slice_millionths: int, halving_periods: int) -> int:
    """Return the hosts' part of an emission, rounded up: a slice that halves every so many periods (III.B.2)."""
    halvings = min(period // halving_periods, emission.bit_length() + MILLION.bit_length())
    return -(-emission * slice_millionths // (MILLION << halvings))


def emission_split(emission: int, *, arena_stake: int, alliance_stake: int) -> tuple[int, int]:
    """Return (AI Arena's, FL Alliance's) part of an emission. Formulas E1 and E2, IV.A.

    R_AI = C S_AI / (S_AI + S_FL), R_FL = C S_FL / (S_AI + S_FL), over the stakes of all verified active tasks. Without
    any stake there is nothing to emit.
    """
    if arena_stake + alliance_stake == 0:
        return 0, 0
    arena, alliance = split(emission, (arena_stake, alliance_stake), (b"arena", b"flalliance"))
    return arena, alliance


@pinned
def task_emission(emission: int, *, stakes: Mapping[bytes, int], stake_exponent_millionths: int) -> dict[bytes, int]:
    """Return each verified task's part of an emission by its stake. Formula E3, IV.A.1.

    R_i = C S_i^p / sum S_k^p, with S_i the stakes of creator, trainers, validators and their delegators. Tasks without
    stake have no part; the parts add up to the emission, or there are none.
    """
    weights = {
        task: power(stakes[task], exponent_millionths=stake_exponent_millionths)
        for task in sorted(stakes)
        if stakes[task] > 0
    }
    return split_by_key(emission, weights)


def creator_share(period: int, *, initial_millionths: int, fade_periods: int) -> int:
    """Return the part of a verified task's pot that is its creator's, in millionths. Formula E4, IV.A.

    "Expected to be phased out over time": falls in a straight line from the first emission on, and is 0 after
    `fade_periods` of them.
    """
    return initial_millionths * max(0, fade_periods - period) // fade_periods


def verified_pots(
    pot: int, *, creator_share_millionths: int, trainer_share_millionths: int, validator_share_millionths: int
) -> tuple[int, int, int]:
    """Return (creator's, trainers', validators') part of a verified task's pot.

    The creator's is E4's; trainers and validators divide the rest as their shares are to each other.
    """
    rest = MILLION - creator_share_millionths
    weights = (
        creator_share_millionths * (trainer_share_millionths + validator_share_millionths),
        trainer_share_millionths * rest,
        validator_share_millionths * rest,
    )
    creator, trainers, validators = split(pot, weights, (b"creator", b"trainers", b"validators"))
    return creator, trainers, validators
