"""The command that shows what this node trains and trained for its tasks."""

from flocknode.cli.options import Common
from flocknode.cli.output import show
from flocknode.cli.text import FIRST_EPOCH, Table, format_millionths, short
from flocknode.rpc.arena_records import TrainingList, TrainingRun
from flocknode.rpc.call import call

NOTHING = "-"


def training(task: str | None = None, /, *, options: Common) -> None:
    """Show how far this node's trainings are, with their loss at the beginning and now.

    Parameters
    ----------
    task
        Name or number of a task; all tasks if not given.
    """
    found = call(options.home, "arena.training", TrainingList, task=task)
    show(options, found, render)


def render(found: TrainingList) -> Table:
    """Return one line for each training, oldest first."""
    columns = (">TASK", "NAME", ">EPOCH", "STATE", ">STEPS", ">OF", ">RESUMED AT", "BEGAN WITH", ">FIRST LOSS", ">LOSS")
    return Table(columns, [describe(run) for run in found.trainings])


def describe(run: TrainingRun) -> tuple[str, ...]:
    """Return a training's line."""
    first, last = (run.losses[0], run.losses[-1]) if run.losses else (None, None)
    return (
        str(run.task),
        run.name,
        str(run.epoch + FIRST_EPOCH),
        f"{run.state}: {run.reason}" if run.reason else run.state,
        str(run.done),
        str(run.total),
        str(run.resumed_from) if run.resumed_from else NOTHING,
        "scratch" if run.start is None else short(run.start),
        format_millionths(None if first is None else first.loss_millionths),
        format_millionths(None if last is None else last.loss_millionths),
    )
