"""Options that belong together, of the commands that create and join tasks."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from flocknode.cli.text import parse_millionths
from flocknode.rpc.arena_records import Training

SECOND_MS = 1_000


@Parameter(name="*")
@dataclass(frozen=True)
class Needs:
    """What judging an epoch of a task takes."""

    memory_mib: Annotated[int, Parameter(help="MiB that judging takes; who declares less is no validator.")] = 512
    evaluation_seconds: Annotated[
        int, Parameter(help="Seconds that judging an epoch takes; who declares less is no validator.")
    ] = 5

    def to_params(self) -> dict[str, Any]:
        """Return them as parameters of `arena.create`."""
        return {
            "needed_memory_mib": self.memory_mib,
            "needed_evaluation_ms": self.evaluation_seconds * SECOND_MS,
        }


@Parameter(name="*")
@dataclass(frozen=True)
class Baseline:
    """The score on each dataset that needs no learning, and so earns nothing."""

    baseline: Annotated[str, Parameter(help="Score from 0 to 1 that a model must beat to earn anything.")] = "0"
    measure_baseline: Annotated[
        bool, Parameter(help="Where the best constant answer to a dataset scores more than that, take what it scores.")
    ] = True

    def to_params(self) -> dict[str, Any]:
        """Return it as parameters of `arena.create`."""
        return {"baseline_millionths": parse_millionths(self.baseline), "measure_baseline": self.measure_baseline}


@Parameter(name="*")
@dataclass(frozen=True)
class Declared:
    """What a validator has for judging an epoch."""

    memory_mib: Annotated[
        int | None, Parameter(help="MiB that a validator declares; what its worker may take if not given.")
    ] = None
    evaluation_seconds: Annotated[
        int | None, Parameter(help="Seconds that a validator declares; half of the scoring phase if not given.")
    ] = None

    def to_params(self) -> dict[str, Any]:
        """Return them as parameters of `arena.join`."""
        seconds = self.evaluation_seconds
        return {
            "memory_mib": self.memory_mib,
            "evaluation_ms": None if seconds is None else seconds * SECOND_MS,
        }


@Parameter(name="*")
@dataclass(frozen=True)
class Plan:
    """How a trainer trains in each epoch."""

    passes: Annotated[int, Parameter(help="How often a trainer goes over its data in an epoch.")] = 20
    learning_rate: Annotated[str, Parameter(help="A trainer's step size.")] = "0.01"
    batch_size: Annotated[int, Parameter(help="Examples in one step.")] = 32
    seed: Annotated[int, Parameter(help="Seed of the trainer's randomness.")] = 0
    optimizer: Annotated[
        Literal["sgd", "adam"],
        Parameter(help="How to descend: sgd along the gradient, adam with each weight's step scaled by its gradients."),
    ] = "sgd"
    warm_start: Annotated[
        bool, Parameter(negative="", help="A trainer begins each epoch with the best model published so far.")
    ] = False

    def to_params(self) -> dict[str, Any]:
        """Return it as the parameter `training` of `arena.join`."""
        training = Training(
            passes=self.passes,
            learning_rate_millionths=parse_millionths(self.learning_rate),
            batch_size=self.batch_size,
            seed=self.seed,
            optimizer=self.optimizer,
            warm_start=self.warm_start,
        )
        return {"training": msgspec.to_builtins(training)}


USUAL_NEEDS, CONSTANT_BASELINE, NOTHING_DECLARED, USUAL_PLAN = Needs(), Baseline(), Declared(), Plan()
