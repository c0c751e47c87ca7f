"""The command that shows what this node trains and trained for its tasks."""

from flocknode.cli.options import Common
from flocknode.cli.output import show
from flocknode.cli.training_text import render_for_tasks
from flocknode.rpc.call import call
from flocknode.rpc.training_records import TrainingList


def training(task: str | None = None, /, *, options: Common) -> None:
    """Show how far this node's trainings are, with their loss at the beginning and now.

    Parameters
    ----------
    task
        Name or number of a task; all tasks if not given.
    """
    found = call(options.home, "arena.training", TrainingList, task=task)
    show(options, found, lambda found: render_for_tasks(found.trainings))
