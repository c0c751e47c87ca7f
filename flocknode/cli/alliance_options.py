"""Options that belong together, of the command that creates an alliance."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from flocknode.cli.model_options import parse_settings
from flocknode.cli.text import parse_fml, parse_millionths
from flocknode.errors import UsageError
from flocknode.rpc.alliance_records import Training


@Parameter(name="*")
@dataclass(frozen=True)
class Start:
    """What an alliance starts from."""

    base_task: Annotated[
        str | None, Parameter(help="A finished task whose winner it improves, with that task's model and metric.")
    ] = None
    family: Annotated[str | None, Parameter(help="Without a task: linear, mlp, cnn or gpt.")] = None
    set: Annotated[
        list[str] | None,
        Parameter(
            name="--set",
            negative="",
            help="Without a task: a setting of the model, such as layers=64,64,10; may be given several times.",
        ),
    ] = None
    metric: Annotated[
        Literal["accuracy", "loss", "mse", "r2"] | None,
        Parameter(help="Without a task: what voters measure; of loss (cross-entropy) and mse less is better."),
    ] = None
    seed: Annotated[int, Parameter(help="Without a task: seed of the fresh model.")] = 0

    def to_params(self) -> dict[str, Any]:
        """Return it as parameters of `alliance.create`. Raises `UsageError`."""
        if (self.base_task is None) == (self.family is None):
            raise UsageError("an alliance starts from a finished task (--base-task), or from a fresh model (--family)")
        model = parse_settings(self.set) if self.set else None
        asked = {"base_task": self.base_task, "family": self.family, "metric": self.metric, "seed": self.seed}
        return {**asked, "model": model}


@Parameter(name="*")
@dataclass(frozen=True)
class Terms:
    """Whom an alliance takes, and who sees their updates."""

    participants: Annotated[int, Parameter(help="How many must join before rounds begin.")] = 4
    joining_stake: Annotated[
        str | None, Parameter(help="FML that each participant stakes; the chain's least if not given.")
    ] = None
    min_test_rows: Annotated[
        int | None, Parameter(help="The least size of a participant's test split; the chain's least if not given.")
    ] = None
    privacy: Annotated[
        Literal["clear", "zk", "masked"] | None,
        Parameter(
            help="Who sees updates: all (clear); only a drawn aggregator, which proves their sum (zk); or nobody, "
            "at the price of another attempt when one is missing (masked). Hidden updates are voted on together."
        ),
    ] = None

    def to_settings(self) -> dict[str, str]:
        """Return the settings of the alliance that the privacy stands for."""
        if self.privacy is None:
            return {}
        together = {} if self.privacy == "clear" else {"attribution": "aggregate"}
        return {"privacy": self.privacy, **together}

    def to_params(self) -> dict[str, Any]:
        """Return them as parameters of `alliance.create`. Raises `UsageError`."""
        stake = self.joining_stake
        return {
            "participants": self.participants,
            "joining_stake_units": None if stake is None else parse_fml(stake),
            "min_test_rows": self.min_test_rows,
        }


@Parameter(name="*")
@dataclass(frozen=True)
class LocalPlan:
    """How every proposer trains in a round."""

    passes: Annotated[int, Parameter(help="How often a proposer goes over its own data in a round.")] = 1
    learning_rate: Annotated[str, Parameter(help="A proposer's step size.")] = "0.1"
    batch_size: Annotated[int, Parameter(help="Examples in one step.")] = 32

    def to_params(self) -> dict[str, Any]:
        """Return it as the parameter `training` of `alliance.create`. Raises `UsageError`."""
        training = Training(
            passes=self.passes,
            learning_rate_millionths=parse_millionths(self.learning_rate),
            batch_size=self.batch_size,
        )
        return {"training": msgspec.to_builtins(training)}


NO_START, USUAL_TERMS, USUAL_LOCAL_PLAN = Start(), Terms(), LocalPlan()
