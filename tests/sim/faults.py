"""What goes wrong in a simulated network: drawn from the seed, a different mixture for each."""

import random
from dataclasses import dataclass
from enum import Enum

from protocol.params import DEVNET, Params
from tests.sim.cast import HASTY

# Share of seeds that hunt for broken locks and do little else.
HUNTS = 0.3


class Malice(Enum):
    """How the nodes of faulty keys behave."""

    NONE = "none"
    # Two honest nodes with one key, each heard by a part of the network.
    TWINS = "twins"
    # An honest node whose messages are altered on their way out, differently for each receiver, and signed again.
    MUTANTS = "mutants"
    # A node that forgets what it signed whenever it stops.
    AMNESIA = "amnesia"


class Split(Enum):
    """How links are cut while a partition lasts."""

    NONE = "none"
    HALVES = "halves"
    ONE_ALONE = "one alone"
    # Single directions of single links: some hear whom they cannot reach.
    ONE_WAY = "one way"


@dataclass(frozen=True, kw_only=True)
class Faults:
    """One mixture. Shares are of messages; times in seconds of the simulated clock."""

    params: Params = DEVNET
    loss: float = 0.0
    duplication: float = 0.0
    late: float = 0.0
    late_s: float = 0.0
    # Whether a hunter chooses who hears whom in which round: see `hunter`.
    is_hunted: bool = False
    split: Split = Split.NONE
    split_s: float = 0.0
    # Mean number of writes from a node's start to its loss of power; 0 is never.
    writes_per_crash: int = 0
    away_s: float = 0.0
    all_crash: bool = False
    # Clocks are off by up to so much; that is within the precision of the rules but for `wild_clocks` nodes.
    skew_ms: int = 0
    wild_clocks: int = 0
    malice: Malice = Malice.NONE
    faulty: int = 0
    # Whether the nodes of faulty keys go on after everything else has healed.
    is_persistent: bool = False
    rotate_bytes: int = 8 * 1024 * 1024


def draw_hunt(dice: random.Random, size: int) -> Faults:
    """Return a mixture in which little goes wrong but what locks are there for."""
    malice = dice.choice([Malice.NONE, Malice.TWINS])
    return Faults(
        params=HASTY,
        is_hunted=True,
        malice=malice,
        faulty=0 if malice is Malice.NONE else (size - 1) // 3,
        is_persistent=True,
        rotate_bytes=20_000,
    )


def draw_faults(dice: random.Random, size: int) -> Faults:
    """Return a mixture within the bound: at most f keys are faulty or keep wrong time."""
    if dice.random() < HUNTS:
        return draw_hunt(dice, size)
    bound = (size - 1) // 3
    malice = dice.choice(list(Malice))
    faulty = 0 if malice is Malice.NONE else dice.randint(1, bound)
    return Faults(
        params=dice.choice([DEVNET, HASTY, HASTY]),
        loss=dice.choice([0.0, 0.05, 0.2, 0.4]),
        duplication=dice.choice([0.0, 0.1]),
        late=dice.choice([0.0, 0.1, 0.3]),
        late_s=dice.choice([0.2, 1.0, 4.0]),
        is_hunted=dice.random() < 0.3,
        split=dice.choice(list(Split)),
        split_s=dice.choice([0.3, 1.5, 4.0]),
        writes_per_crash=dice.choice([0, 0, 12, 40, 150]),
        away_s=dice.choice([0.05, 0.5, 3.0]),
        all_crash=dice.random() < 0.2,
        skew_ms=dice.choice([0, 100, 200]),
        wild_clocks=dice.randint(0, bound - faulty) if dice.random() < 0.3 else 0,
        malice=malice,
        faulty=faulty,
        is_persistent=dice.random() < 0.5,
        rotate_bytes=dice.choice([2_000, 20_000, 8 * 1024 * 1024]),
    )
