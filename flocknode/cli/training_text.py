"""How this node's trainings look to people, whatever they are for. Prints nothing."""

from collections.abc import Iterable

from flocknode.cli.text import FIRST_EPOCH, Table, format_millionths, short
from flocknode.rpc.training_records import RoundTraining, TrainingProgress, TrainingRun

NOTHING = "-"
COLUMNS = ("STATE", ">STEPS", ">OF", ">RESUMED AT", "BEGAN WITH", ">FIRST LOSS", ">LOSS")
SPARE = ("RESUMED AT",)


def render_for_tasks(found: Iterable[TrainingRun]) -> Table:
    """Return one line for each training, oldest first."""
    rows = [
        (str(run.task), run.name, str(run.epoch + FIRST_EPOCH), *describe(run, run.start, "scratch")) for run in found
    ]
    return Table((">TASK", "NAME", ">EPOCH", *COLUMNS), rows, spare=SPARE)


def render_for_alliances(found: Iterable[RoundTraining]) -> Table:
    """Return one line for each training, oldest first."""
    rows = [
        (str(run.alliance), run.name, str(run.round + FIRST_EPOCH), *describe(run, run.start, "the start"))
        for run in found
    ]
    return Table((">ALLIANCE", "NAME", ">ROUND", *COLUMNS), rows, spare=SPARE)


def describe(run: TrainingProgress, start: str | None, otherwise: str) -> tuple[str, ...]:
    """Return what a training's line says of it; without the model that it began with, what it began with otherwise."""
    first, last = (run.losses[0], run.losses[-1]) if run.losses else (None, None)
    return (
        f"{run.state}: {run.reason}" if run.reason else run.state,
        str(run.done),
        str(run.total),
        str(run.resumed_from) if run.resumed_from else NOTHING,
        otherwise if start is None else short(start),
        format_millionths(None if first is None else first.loss_millionths),
        format_millionths(None if last is None else last.loss_millionths),
    )
