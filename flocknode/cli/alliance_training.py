"""The command that shows what this node trains and trained for its alliances."""

from flocknode.cli.options import Common
from flocknode.cli.output import show
from flocknode.cli.training_text import render_for_alliances
from flocknode.rpc.call import call
from flocknode.rpc.training_records import RoundTrainingList


def training(alliance: str | None = None, /, *, options: Common) -> None:
    """Show how far this node's trainings are, with their loss at the beginning and now.

    Parameters
    ----------
    alliance
        Name or number of an alliance; all alliances if not given.
    """
    found = call(options.home, "alliance.training", RoundTrainingList, alliance=alliance)
    show(options, found, lambda found: render_for_alliances(found.trainings))
