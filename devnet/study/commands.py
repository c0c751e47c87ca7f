"""`python -m devnet study NAME`."""

from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from cyclopts.validators import Number

from devnet.launch import run_held
from devnet.screen import Screen
from devnet.study.attacks import ATTACKS, Attack
from devnet.study.course import DEFENCES, Defence
from devnet.study.grid import Grid
from devnet.study.learners import DATA, DataName
from flocknode.jobs import AggregationRule

app = App(name="study", help="Real training under attack, with the ledger's equations, without daemons.")

Several = Parameter(negative="")
# Fewer cannot hold all roles; more have too few rows each.
MIN_CLIENTS, MAX_CLIENTS = 8, 50
MAX_PERCENT = 50


@app.command
def poisoning(
    *,
    dataset: Annotated[tuple[DataName, ...], Several] = DATA,
    attack: Annotated[tuple[Attack, ...], Several] = ATTACKS,
    malicious: Annotated[tuple[Annotated[int, Parameter(validator=Number(gte=0, lte=MAX_PERCENT))], ...], Several] = (
        *(10, 20, 30, 40),
    ),
    defence: Annotated[tuple[Defence, ...], Several] = DEFENCES,
    aggregator: Annotated[tuple[AggregationRule, ...], Several] = ("fedavg", "median"),
    clients: Annotated[int, Parameter(validator=Number(gte=MIN_CLIENTS, lte=MAX_CLIENTS))] = 20,
    rounds: Annotated[int, Parameter(validator=Number(gte=1))] = 40,
    workers: Annotated[int, Parameter(validator=Number(gte=1, lte=16))] = 2,
    seed: int = 0,
    csv: Path | None = None,
    svg: Path | None = None,
) -> int:
    """Let malicious clients poison an alliance, with and without its defences: accuracy and stakes round by round.

    Parameters
    ----------
    dataset
        What is learned; given several times, all of them.
    attack
        What malicious proposers do; malicious voters always turn their votes around.
    malicious
        Percents of the clients that are malicious; a run without any is always there to compare with.
    defence
        Without votes, one vote on the aggregate (as printed in the paper), or a vote on each update.
    aggregator
        How updates become one model; the picture shows the first.
    clients
        How many take part.
    rounds
        How long a course lasts.
    workers
        How many courses run at once, each in a learning worker of its own.
    seed
        Chooses the data's parts, who is malicious, roles and orders.
    csv
        Write every round to this file.
    svg
        Draw stakes and accuracy into this file.
    """
    from devnet.study.poisoning import StudyOptions, run_poisoning

    grid = Grid(
        datasets=dataset,
        attacks=attack,
        percents=malicious,
        defences=defence,
        rules=aggregator,
        clients=clients,
        rounds=rounds,
        seed=seed,
    )
    options = StudyOptions(grid=grid, workers=workers, csv=csv, svg=svg)
    return run_held(lambda _: run_poisoning(options, Screen()))
