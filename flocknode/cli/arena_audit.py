"""The command that evaluates a task's submissions again, and how that looks: validator by validator."""

from collections.abc import Mapping

from flocknode.cli.options import Common
from flocknode.cli.output import note, show
from flocknode.cli.progress import call_long
from flocknode.cli.text import FIRST_EPOCH, NOTHING, Table, format_millionths, short
from flocknode.errors import Exit
from flocknode.home import load_names
from flocknode.rpc.audit_records import Audit, Comparison, Opinion


def audit(task: str, /, *, options: Common) -> Exit:
    """Evaluate every submission again from the published keys; exit code 1 if a revealed score is not so.

    It takes as long as validating did. Blobs that are not here are fetched from peers.

    Parameters
    ----------
    task
        Name or number of the task.
    """
    names = load_names(options.home)
    found = call_long(options, "arena.audit", Audit, task=task)
    show(options, found, lambda found: render(found, names))
    differing = sum(entry.agrees is False for entry in found.comparisons)
    if differing:
        note(options, f"{differing} of {len(found.comparisons)} revealed verdicts are not what the audit found")
    return Exit.ERROR if differing else Exit.OK


def render(found: Audit, names: Mapping[str, str]) -> list[str | Table]:
    """Return what came of an audit, for people."""
    parts: list[str | Table] = [summarise(found, names)]
    differing = [entry for entry in found.comparisons if entry.agrees is False]
    if differing:
        parts += ["", list_differences(differing, names)]
    if found.unchecked:
        rows = [(str(one.epoch + FIRST_EPOCH), short(one.tag), one.reason) for one in found.unchecked]
        parts += ["", Table((">EPOCH", "NOT CHECKED", "WHY"), rows)]
    return parts


def summarise(found: Audit, names: Mapping[str, str]) -> Table:
    """Return how many verdicts of each validator are so."""
    rows = []
    for validator in sorted({entry.validator for entry in found.comparisons}, key=lambda one: names.get(one, one)):
        own = [entry.agrees for entry in found.comparisons if entry.validator == validator]
        counts = (len(own), own.count(True), own.count(False), own.count(None))
        rows.append((short(validator, names), *map(str, counts)))
    columns = ("VALIDATOR", ">VERDICTS", ">CONFIRMED", ">DIFFERENT", ">ABSTAINED")
    return Table(columns, rows, title=f"task {found.task}, {found.epochs} settled epochs evaluated again")


def list_differences(entries: list[Comparison], names: Mapping[str, str]) -> Table:
    """Return what validators said beside what is so."""
    rows = [
        (
            str(entry.epoch + FIRST_EPOCH),
            short(entry.validator, names),
            short(entry.tag),
            describe(entry.said),
            describe(entry.found),
        )
        for entry in entries
    ]
    return Table((">EPOCH", "VALIDATOR", "PSEUDONYM", "SAID", "FOUND"), rows)


def describe(opinion: Opinion) -> str:
    """Return a verdict in a few words; a different plaintext under the same verdict shows as nothing here."""
    if opinion.verdict != "scored":
        return opinion.verdict
    copied = "" if opinion.duplicate_of is None else f" copy of {short(opinion.duplicate_of)}"
    score = NOTHING if opinion.score_millionths is None else format_millionths(opinion.score_millionths)
    return f"{score}{copied}"
