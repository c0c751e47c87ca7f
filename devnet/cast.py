"""Who plays what in the devnet: names, roles, stakes, and how each trainer trains. No behaviour lives here."""

from dataclasses import dataclass
from typing import Literal, get_args

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


@dataclass(frozen=True)
class Actor:
    """One daemon. Stakes are in FML and many times the minimum, so that one slash disqualifies nobody.

    `rows` is the weight of a trainer's private part of the data.
    """

    name: str
    role: Role
    colour: str
    stake_fml: int = 0
    rows: int = 0
    training: Training | None = None


CAST = (
    Actor("alice", "creator", "bright_red"),
    Actor(
        "bob", "trainer", "bright_green", 120, rows=5, training=Training(passes=30, learning_rate_millionths=200_000)
    ),
    Actor(
        "carol",
        "trainer",
        "bright_yellow",
        100,
        rows=4,
        training=Training(passes=12, learning_rate_millionths=100_000, batch_size=16, seed=2),
    ),
    Actor(
        "dave",
        "trainer",
        "bright_blue",
        110,
        rows=3,
        training=Training(passes=60, learning_rate_millionths=150_000, batch_size=64, seed=3),
    ),
    Actor("erin", "validator", "bright_magenta", 150),
    Actor("frank", "validator", "bright_cyan", 120),
    Actor("grace", "validator", "orange1", 100),
)
ACTORS = {actor.name: actor for actor in CAST}
CREATOR = CAST[0]
TRAINERS = tuple(actor for actor in CAST if actor.role == "trainer")
VALIDATORS = tuple(actor for actor in CAST if actor.role == "validator")

# The dataset and its parts: both evaluation sets, then one private part for each trainer.
DATASET = "digits"
EVALUATION_ROWS = {"a": 3, "b": 3}
SPLIT_SEED = 7

FAMILY = "mlp"
LAYERS = [64, 32, 10]
METRIC = "accuracy"
