"""Who plays in a market and how: honest unless something else is said. Seeds and numbers only, no state."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from protocol import vrf
from protocol.crypto import public_key
from protocol.types import UNITS_PER_FML

FML = UNITS_PER_FML
SCORE_ONE = 1_000_000

HONEST = "honest"
# What a validator says of a model instead of what it measured; asked with (author, measured score, epoch).
Opinion = Callable[["Trainer", int, int], int]


def seed_of(*words: object) -> bytes:
    """Return 32 bytes that depend on the words only."""
    return hashlib.sha256("/".join(map(str, words)).encode()).digest()


def spread_of(size: int, *words: object) -> int:
    """Return an even number below `size` that depends on the words only."""
    return int.from_bytes(seed_of(*words), "big") % size


@dataclass(frozen=True, kw_only=True)
class Actor:
    """An account with its keys; `group` is the row of the outcome's table that it counts in."""

    name: str
    group: str = HONEST
    stake: int = 100 * FML

    @cached_property
    def seed(self) -> bytes:
        """The seed of its keys."""
        return seed_of("economy", self.name)

    @cached_property
    def address(self) -> bytes:
        """Its account."""
        return public_key(self.seed)

    def vrf_secret(self, task: int) -> bytes:
        """Return the secret of its VRF key in a task."""
        return vrf.key_from_seed(seed_of("economy", "vrf", self.name, task))


@dataclass(frozen=True, kw_only=True)
class Creator(Actor):
    """Asks for a model. `withholds` in every epoch the key that it owes; `seals_wrong` puts another into the boxes.

    `answers` complaints by publishing the key.
    """

    withholds: bool = False
    seals_wrong: bool = False
    answers: bool = True


@dataclass(frozen=True, kw_only=True)
class Trainer(Actor):
    """Enters models of a quality, a score in millionths on each dataset. It joins before `first_epoch` begins.

    `copies` names whose model it enters as its own, as it was an epoch before, `clones` whose of the same epoch, which
    needs its help; `near` whose model it enters, of the epoch before if there is one, with so little changed that the
    outputs hardly differ.
    """

    quality_a: int = 900_000
    quality_b: int = 900_000
    first_epoch: int = 0
    copies: str | None = None
    clones: str | None = None
    near: str | None = None
    opens: bool = True
    claims: bool = True


@dataclass(frozen=True, kw_only=True)
class Validator(Actor):
    """Judges models: says what it measures, or what its `opinion` makes of that.

    `complains` about a right key; `condemns` every model as invalid, which saves running it.
    """

    opinion: Opinion | None = None
    commits: bool = True
    reveals: bool = True
    copies_commitments: bool = False
    complains: bool = False
    condemns: bool = False


@dataclass(frozen=True, kw_only=True)
class Delegator(Actor):
    """Delegates its stake to the operator of a name."""

    operator: str
