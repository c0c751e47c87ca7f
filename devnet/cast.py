"""Who plays what in the devnet: names, roles, stakes. No behaviour lives here."""

from dataclasses import dataclass
from typing import Literal, get_args

from devnet.applications import TRAINING_PARTS, Application
from flocknode.rpc.arena_records import Training

Role = Literal["creator", "trainer", "validator"]
# The phases of a task, in their order; all but the first repeat every epoch.
Phase = Literal["opening", "submit", "open", "score", "reveal", "claim"]
PHASES: tuple[Phase, ...] = get_args(Phase)

# What every account starts with: enough for hundreds of tasks.
BALANCE_FML = 100_000
# Alike for all, so that any two of the seven may be down.
BOND_FML = 10_000
# What the creator pays out for one task.
ESCROW_FML = 600


# What the members of a task stake by their place in it, in FML: many times the minimum, so that one slash disqualifies
# nobody.
TRAINER_STAKES = (120, 100, 110)
VALIDATOR_STAKES = (150, 120, 100)
# How far the cast moves on from one of several tasks to the next: whoever trained validates, or creates.
ROTATION = 3


@dataclass(frozen=True)
class Actor:
    """One daemon, and what it plays in the first task."""

    name: str
    role: Role
    colour: str


CAST = (
    Actor("alice", "creator", "bright_red"),
    Actor("bob", "trainer", "bright_green"),
    Actor("carol", "trainer", "bright_yellow"),
    Actor("dave", "trainer", "bright_blue"),
    Actor("erin", "validator", "bright_magenta"),
    Actor("frank", "validator", "bright_cyan"),
    Actor("grace", "validator", "orange1"),
)
# Whose account verifies tasks, so that the emission pays them, too.
GOVERNANCE = "grace"
ACTORS = {actor.name: actor for actor in CAST}
CREATOR = CAST[0]
TRAINERS = tuple(actor for actor in CAST if actor.role == "trainer")
VALIDATORS = tuple(actor for actor in CAST if actor.role == "validator")


@dataclass(frozen=True)
class Part:
    """What one daemon does in one task; a trainer has a private part of the data, and its own way to train."""

    name: str
    role: Role
    stake_fml: int
    rows: str | None = None
    training: Training | None = None


@dataclass(frozen=True)
class Casting:
    """One task: what it is about, who creates it, and who takes part."""

    application: Application
    creator: str
    members: tuple[Part, ...]


def cast_task(application: Application, number: int = 0) -> Casting:
    """Return who plays what in one of several tasks, counted from 0."""
    turn = number * ROTATION % len(CAST)
    creator, *others = (actor.name for actor in CAST[turn:] + CAST[:turn])
    trainers, validators = others[: len(TRAINER_STAKES)], others[len(TRAINER_STAKES) :]
    training = zip(trainers, TRAINER_STAKES, TRAINING_PARTS, application.trainings, strict=True)
    validating = zip(validators, VALIDATOR_STAKES, strict=True)
    members = (
        *(Part(name, "trainer", stake, rows, how) for name, stake, rows, how in training),
        *(Part(name, "validator", stake) for name, stake in validating),
    )
    return Casting(application, creator, members)
