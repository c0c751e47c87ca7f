"""The devnet's command line."""

import os
import select
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated

import trio
from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number

from devnet import control, watch
from devnet.applications import ApplicationName
from devnet.bench.commands import app as bench
from devnet.cast import CAST, PHASES, Phase
from devnet.economy.commands import add_commands
from devnet.errors import DaemonFailed, DevnetError
from devnet.launch import hold, run_held
from devnet.run import RunOptions, run_devnet
from devnet.screen import Screen
from devnet.state import DEFAULT, State
from devnet.study.commands import app as study
from flocknode.errors import Exit, FlocknodeError
from flocknode.logs import configure
from storage.errors import StorageError

app = App(name="python -m devnet", help="Seven daemons on this machine.", version_flags=[])
scenario = App(name="scenario", help="Disturb daemons, or let accounts cheat, in a stated way, and see what holds.")
app.command(scenario)
app.command(bench)
app.command(study)
add_commands(scenario)

Flag = Parameter(negative="")
Folder = Annotated[Path, Parameter(name="--state")]
# How long `down` waits for the launcher to end.
DOWN_S = 30.0


@app.command
def run(
    *,
    once: Annotated[bool, Flag] = False,
    task: Annotated[tuple[ApplicationName, ...], Parameter(negative="")] = ("digits",),
    alliance: Annotated[bool, Flag] = False,
    json: Path | None = None,
    svg: Path | None = None,
    fresh: Annotated[bool, Flag] = False,
    state: Folder = DEFAULT,
) -> int:
    """Start seven daemons, run an AI Arena task to the payout, and stay up until Ctrl-C.

    Parameters
    ----------
    once
        Stop after the tasks; exit code 0 only if all nodes agree, the supply adds up and the tasks settled.
    task
        What the task is about; given several times, so many tasks run at once, with the nodes in other roles in each.
    alliance
        Make the task's winner an FL Alliance of all seven afterwards, each with data that never leaves its home.
    json
        Write what happened to this file.
    svg
        Draw the run into this file.
    fresh
        Forget the earlier chain instead of going on with it.
    state
        Folder of the homes and the chain.
    """
    folder, screen = State(state.absolute()), Screen()
    options = RunOptions(tasks=task, alliance=alliance, once=once, json=json, svg=svg, fresh=fresh)
    with hold(folder):
        return run_held(lambda launch: run_devnet(folder, options, screen, launch))


@app.command
def status(*, state: Folder = DEFAULT) -> int:
    """Show how each daemon does."""
    return trio.run(watch.show_status, require(state), Screen())


@app.command
def logs(
    *, follow: Annotated[bool, Parameter(name=("--follow", "-f"), negative="")] = False, state: Folder = DEFAULT
) -> int:
    """Show the daemons' logs, merged.

    Parameters
    ----------
    follow
        Keep showing new lines as they come.
    """
    folder = require(state)
    return run_held(lambda _: watch.show_logs(folder, Screen(), follow=follow))


@app.command
def kill(node: str, /, *, state: Folder = DEFAULT) -> int:
    """Kill a daemon of the running devnet with SIGKILL.

    Parameters
    ----------
    node
        Its name, or its number.
    """
    done = trio.run(lambda: control.order(require(state), "devnet.kill", node=node))
    print(f"killed {done.node} (pid {done.pid})")
    return Exit.OK


@app.command
def restart(node: str, /, *, state: Folder = DEFAULT) -> int:
    """Start a daemon of the running devnet again; one that runs is stopped first.

    Parameters
    ----------
    node
        Its name, or its number.
    """
    done = trio.run(lambda: control.order(require(state), "devnet.restart", node=node))
    print(f"{done.node} runs (pid {done.pid})")
    return Exit.OK


@app.command
def down(*, state: Folder = DEFAULT) -> int:
    """Stop the running devnet."""
    done = trio.run(lambda: control.order(require(state), "devnet.down"))
    wait_for_exit(done.pid)
    print("stopped")
    return Exit.OK


@scenario.command(name="kill")
def scenario_kill(*, phase: Phase | None = None, seed: int = 0, state: Folder = DEFAULT / "scenario-kill") -> int:
    """Kill two of seven daemons with SIGKILL in each phase of a task, and start them again a moment later.

    Parameters
    ----------
    phase
        Only in this phase.
    seed
        Chooses who is killed.
    state
        Folder of the homes and the chain; an earlier chain in it is forgotten.
    """
    # What it imports takes as long to load as all other commands together.
    from devnet.kill import KillOptions, run_kill

    options = KillOptions(phases=(phase,) if phase else PHASES, seed=seed)
    return play(state, lambda folder, screen: run_kill(folder, options, screen))


@scenario.command(name="soak")
def scenario_soak(
    *, blocks: int = 2000, seed: int = 0, json: Path | None = None, state: Folder = DEFAULT / "scenario-soak"
) -> int:
    """Run four replicas under a mixed load; neither their memory nor their open files may grow with the log.

    Parameters
    ----------
    blocks
        So many blocks; the first quarter is the warm-up.
    seed
        Chooses what is sent.
    json
        Write all samples to this file.
    state
        Folder of the homes; earlier ones in it are forgotten.
    """
    from devnet.soak import SoakOptions, run_soak

    options = SoakOptions(blocks=blocks, seed=seed, json=json)
    return play(state, lambda folder, screen: run_soak(folder, options, screen))


@scenario.command(name="flooding")
def scenario_flooding(
    *,
    nodes: Annotated[int, Parameter(validator=Number(gte=1, lte=len(CAST)))] = 3,
    calm: bool = True,
    seed: int = 0,
    json: Path | None = None,
    state: Folder = DEFAULT / "scenario-flooding",
) -> int:
    """Flood some of seven daemons from a process without a stake while a task runs; it must settle nevertheless.

    Parameters
    ----------
    nodes
        How many are flooded.
    calm
        Run a task that nobody disturbs before, to compare with.
    seed
        Chooses who is flooded, and with what.
    json
        Write all figures to this file.
    state
        Folder of the homes and the chain; an earlier chain in it is forgotten.
    """
    from devnet.flooding import FloodingOptions, run_flooding

    options = FloodingOptions(seed=seed, nodes=nodes, has_calm=calm, json=json)
    return play(state, lambda folder, screen: run_flooding(folder, options, screen))


@scenario.command(name="alliance-vanish")
def scenario_vanish(*, state: Folder = DEFAULT / "scenario-alliance-vanish") -> int:
    """Kill proposers and voters of an alliance within rounds; it costs them, and the others only time.

    Parameters
    ----------
    state
        Folder of the homes; earlier ones in it are forgotten.
    """
    from devnet.vanish import run_vanish

    return play(state, run_vanish)


@scenario.command(name="alliance-zk")
def scenario_zk(*, wide: Annotated[bool, Flag] = False, state: Folder = DEFAULT / "scenario-alliance-zk") -> int:
    """Hide updates and prove their sums (VI.H); an aggregator is killed in its turn, and the next one takes over.

    Parameters
    ----------
    wide
        With updates as large as a LoRA's, 458,890 numbers, in fewer rounds.
    state
        Folder of the homes; earlier ones in it are forgotten.
    """
    from devnet.vanish import PRIVATE, WIDE, run_vanish

    return play(state, lambda folder, screen: run_vanish(folder, screen, WIDE if wide else PRIVATE))


@scenario.command(name="alliance-masked")
def scenario_masked(*, state: Folder = DEFAULT / "scenario-alliance-masked") -> int:
    """Mask updates, so that only their sum is seen; one client shares nothing, another one lies about its update.

    Parameters
    ----------
    state
        Folder of the homes; earlier ones in it are forgotten.
    """
    from devnet.masks import run_masked

    return play(state, run_masked)


@scenario.command(name="hospitals")
def scenario_hospitals(
    *, rounds: int = 20, json: Path | None = None, state: Folder = DEFAULT / "scenario-hospitals"
) -> int:
    """Five hospitals predict diabetes together on real daemons, and none of them shows its patients' data.

    Parameters
    ----------
    rounds
        So many rounds, in each of which two hospitals train and three judge.
    json
        Write the scores of all rounds to this file.
    state
        Folder of the homes; earlier ones in it are forgotten.
    """
    from devnet.hospitals import HospitalOptions, run_hospitals

    options = HospitalOptions(rounds=rounds, json=json)
    return play(state, lambda folder, screen: run_hospitals(folder, options, screen))


def play(path: Path, run: Callable[[State, Screen], Awaitable[int]]) -> int:
    """Run a scenario in a folder that nobody else uses, and return its exit code. Raises `DevnetError`."""
    folder = State(path.absolute())
    with hold(folder):
        return run_held(lambda _: run(folder, Screen()))


def require(path: Path) -> State:
    """Return the devnet's folder. Raises `DevnetError` when there is none."""
    state = State(path.absolute())
    if not state.exists:
        raise DevnetError(f"there is no devnet in {state.path}", help="Start one with ./devnet/run.")
    return state


def wait_for_exit(pid: int) -> None:
    """Return once a process has ended. Raises `DevnetError` when it takes too long."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        ended, _, _ = select.select([descriptor], [], [], DOWN_S)
    finally:
        os.close(descriptor)
    if not ended:
        raise DevnetError(f"the devnet (pid {pid}) still runs after {DOWN_S:.0f} s")


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return the exit code."""
    # Of the parts of a node that run in this process, only what goes wrong is said, and not where tables go.
    configure(level="warning", console=sys.stderr)
    try:
        code = app(arguments, exit_on_error=False, print_error=True, result_action="return_value")
        return code if isinstance(code, int) else Exit.OK
    except CycloptsError:
        return Exit.USAGE
    except DaemonFailed as error:
        print(f"error: {error.message}; the last lines that it printed:", file=sys.stderr)
        for line in error.last_lines:
            print(f"  {error.name} | {line}", file=sys.stderr)
        return Exit.ERROR
    except (FlocknodeError, StorageError) as error:
        print(f"error: {error}", file=sys.stderr)
        if error.help:
            print(f"  {error.help}", file=sys.stderr)
        return Exit.ERROR
