"""Commands about Arena tasks: create, join, submit, leave, and what became of them."""

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, Parameter

from flocknode.cli import arena_text
from flocknode.cli.accounts import NoWait
from flocknode.cli.arena_audit import audit
from flocknode.cli.arena_delegation import delegate, reward_share, undelegate
from flocknode.cli.arena_funding import bounty, cancel, verify
from flocknode.cli.arena_options import (
    CONSTANT_BASELINE,
    NOTHING_DECLARED,
    USUAL_NEEDS,
    USUAL_PLAN,
    Baseline,
    Declared,
    Needs,
    Plan,
)
from flocknode.cli.arena_proofs import complain, prove_piece, prove_verdict, publish_key
from flocknode.cli.arena_training import training
from flocknode.cli.datasets import require_dataset
from flocknode.cli.model_options import parse_options, parse_settings
from flocknode.cli.options import Common
from flocknode.cli.output import show
from flocknode.cli.sending import send_about_task
from flocknode.cli.text import parse_counted, parse_fml, parse_millionths
from flocknode.errors import Exit, FileUnusable, UsageError
from flocknode.home import load_names
from flocknode.rpc.arena_records import (
    Leaderboard,
    ScoreList,
    SubmissionList,
    Task,
    TaskList,
    TaskState,
)
from flocknode.rpc.call import call

arena = App(name="arena")
_ELSEWHERE = (
    *(audit, delegate, undelegate, reward_share, bounty, cancel, verify, training),
    *(complain, publish_key, prove_piece, prove_verdict),
)
for _command in _ELSEWHERE:
    arena.command(_command)


@arena.command
def create(
    name: str,
    /,
    *,
    family: str,
    set: Annotated[list[str], Parameter(name="--set", negative="")],
    metric: Literal["accuracy", "loss", "mse", "r2"],
    data_a: Path,
    data_b: Path,
    epochs: int = 2,
    escrow: str,
    low: str = "0",
    high: str = "1",
    stake: str | None = None,
    option: Annotated[list[str] | None, Parameter(name="--option", negative="")] = None,
    baseline: Baseline = CONSTANT_BASELINE,
    needs: Needs = USUAL_NEEDS,
    no_wait: NoWait = False,
    options: Common,
) -> Exit:
    """Create a task that this node's account pays for.

    Parameters
    ----------
    name
        What the task is called, for people.
    family
        Model family: linear, mlp, cnn or gpt.
    set
        A setting of the model, such as layers=64,32,10; may be given several times.
    metric
        What validators measure; of loss (cross-entropy) and mse less is better.
    data_a
        Evaluation dataset of every epoch but the last (made by `flocknode data split`).
    data_b
        Evaluation dataset of the last epoch.
    epochs
        How many epochs the task has, at least 2.
    escrow
        FML that the task pays in all; with 0 it opens once the governance account verifies it.
    low
        Value of the metric that becomes the worst score.
    high
        Value of the metric that becomes the best score.
    stake
        FML to stake; the minimum if not given. Who was paid in a verified task, or is recognised, may stake 0.
    option
        A parameter of its own, such as aggregation=median; may be given several times. Needs an escrow.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    asked = {"name": name, "family": family, "model": parse_settings(set), "metric": metric, "epochs": epochs}
    bounds = {"metric_low_millionths": parse_millionths(low), "metric_high_millionths": parse_millionths(high)}
    datasets = {"dataset_a": require_dataset(data_a), "dataset_b": require_dataset(data_b)}
    money = {"escrow_units": parse_fml(escrow), "stake_units": None if stake is None else parse_fml(stake)}
    more = {**needs.to_params(), "settings": parse_options(option or []), "wait": not no_wait}
    params = {**asked, **bounds, **datasets, **money, **more, **baseline.to_params()}
    return send_about_task(options, "arena.create", **params)


@arena.command
def join(
    task: str,
    /,
    *,
    role: Literal["trainer", "validator"],
    stake: str,
    data: Path | None = None,
    plan: Plan = USUAL_PLAN,
    declared: Declared = NOTHING_DECLARED,
    no_wait: NoWait = False,
    options: Common,
) -> Exit:
    """Take a role in a task; from then on the daemon does what the role asks for.

    Parameters
    ----------
    task
        Name or number of the task.
    role
        What to do in the task.
    stake
        FML to stake.
    data
        A trainer's own training data.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    if role == "trainer" and data is None:
        raise UsageError("a trainer needs its training data: --data FILE")
    return send_about_task(
        options,
        "arena.join",
        task=task,
        role=role,
        stake_units=parse_fml(stake),
        dataset=None if data is None else require_dataset(data),
        **(plan if role == "trainer" else declared).to_params(),
        wait=not no_wait,
    )


@arena.command
def submit(task: str, weights: Path, /, *, options: Common) -> Exit:
    """Enter a model of your own for the running epoch, instead of one that the daemon trains.

    Parameters
    ----------
    task
        Name or number of the task.
    weights
        The model's weights, a safetensors file.
    """
    return send_about_task(options, "arena.submit", task=task, weights=_existing(weights))


@arena.command
def leave(task: str, /, *, no_wait: NoWait = False, options: Common) -> Exit:
    """Leave a task when its running epoch has settled.

    Parameters
    ----------
    task
        Name or number of the task.
    no_wait
        Return as soon as the transaction is in the mempool.
    """
    return send_about_task(options, "arena.leave", task=task, wait=not no_wait)


@arena.command(name="list")
def list_tasks(*, status: TaskState | None = None, limit: int = 100, options: Common) -> None:
    """List the tasks, newest first.

    Parameters
    ----------
    status
        Only tasks in this state.
    limit
        How many to list at most.
    """
    names = load_names(options.home)
    found = call(options.home, "arena.list", TaskList, status=status, limit=limit)
    show(options, found, lambda found: arena_text.render_tasks(found, names))


@arena.command(name="show")
def show_task(task: str, /, *, options: Common) -> None:
    """Show a task: its model, metric, datasets, members and parameters.

    Parameters
    ----------
    task
        Name or number of the task.
    """
    names = load_names(options.home)
    show(options, call(options.home, "arena.show", Task, task=task), lambda found: arena_text.render_task(found, names))


@arena.command
def submissions(task: str, /, *, epoch: int | None = None, options: Common) -> None:
    """List the models entered for a task, by pseudonym.

    Parameters
    ----------
    task
        Name or number of the task.
    epoch
        Only this epoch, counted from 1.
    """
    names = load_names(options.home)
    found = call(options.home, "arena.submissions", SubmissionList, task=task, epoch=parse_counted(epoch, "epochs"))
    show(options, found, lambda found: arena_text.render_submissions(found, names))


@arena.command
def scores(task: str, /, *, epoch: int | None = None, options: Common) -> None:
    """List what each validator revealed about each submission.

    Parameters
    ----------
    task
        Name or number of the task.
    epoch
        Only this epoch, counted from 1.
    """
    names = load_names(options.home)
    found = call(options.home, "arena.scores", ScoreList, task=task, epoch=parse_counted(epoch, "epochs"))
    show(options, found, lambda found: arena_text.render_scores(found, names))


@arena.command
def leaderboard(task: str, /, *, epoch: int | None = None, options: Common) -> None:
    """Show the ranking of each epoch, and who was paid what.

    Parameters
    ----------
    task
        Name or number of the task.
    epoch
        Only this epoch, counted from 1.
    """
    names = load_names(options.home)
    found = call(options.home, "arena.leaderboard", Leaderboard, task=task, epoch=parse_counted(epoch, "epochs"))
    show(options, found, lambda found: arena_text.render_leaderboard(found, names))


def _existing(path: Path) -> str:
    """Return the absolute path, which the daemon can open whatever folder it runs in."""
    if not path.is_file():
        raise FileUnusable(f"there is no file {path}")
    return str(path.absolute())
