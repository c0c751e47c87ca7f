"""`python -m devnet run`: from nothing to a paid task on seven daemons, told step by step."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import trio

from devnet import checks, gather, play
from devnet.alliance_story import run_alliance
from devnet.applications import APPLICATIONS, ApplicationName
from devnet.cast import CAST, GOVERNANCE, Casting, cast_task
from devnet.checks import Check
from devnet.control import make_server
from devnet.daemon import Daemon, compile_packages, describe_end, read_last_lines
from devnet.errors import DevnetError
from devnet.feed import Feed, Observer, Told, phases_of
from devnet.flock import Flock
from devnet.homes import connect_homes, create_homes, split_data
from devnet.launch import Launch, running
from devnet.picture import Picture
from devnet.report import make_report, save_report
from devnet.screen import Screen
from devnet.state import State
from devnet.story import Story
from flocknode.rpc.arena_records import Leaderboard
from flocknode.rpc.records import Account

EPOCHS = 2
# How long the first block, and then the whole task, may take.
FIRST_BLOCK_S = 60.0
SETTLE_S = 600.0


@dataclass(frozen=True)
class RunOptions:
    """What the person asked for: what the tasks are about, all at once; whether the winner of the first becomes an
    alliance; stop after that; where report and picture go; forget the earlier chain.
    """

    tasks: tuple[ApplicationName, ...]
    alliance: bool
    once: bool
    json: Path | None
    svg: Path | None
    fresh: bool


@dataclass(frozen=True)
class Settled:
    """Tasks that are over: their numbers, what everybody owned before, and when, in seconds since the start."""

    tasks: tuple[int, ...]
    before: Mapping[str, Account]
    first_block_s: float
    settled_s: float


async def prepare(state: State, screen: Screen, castings: Sequence[Casting], *, fresh: bool) -> None:
    """Make the folder, or take up the one that is there. A folder that was never finished is begun again."""
    await trio.to_thread.run_sync(compile_packages)
    applications = [casting.application for casting in castings]
    names = " and ".join(dict.fromkeys(one.dataset for one in applications))
    if fresh or not state.exists:
        state.wipe()
        screen.say(f"Creating seven nodes in {state.path}; cutting {names} into private parts takes seconds")
        state.create()
        await split_data(state, applications)
        create_homes(state)
    else:
        screen.say(f"Resuming the chain in {state.path} (begin anew with --fresh)")
        await split_data(state, applications)
        connect_homes(state)


async def run_devnet(state: State, options: RunOptions, screen: Screen, launch: Launch) -> int:
    """Run the task, then go on until cancelled, or not if asked. Returns the exit code. Raises `DevnetError`."""
    for target in (options.json, options.svg):
        if target is not None and not target.absolute().parent.is_dir():
            raise DevnetError(f"there is no folder for {target}")
    castings = [cast_task(APPLICATIONS[name], number) for number, name in enumerate(options.tasks)]
    if options.alliance:
        castings[0] = replace(castings[0], application=castings[0].application.with_owners())
    await prepare(state, screen, castings, fresh=options.fresh)
    flock = Flock(state)
    async with running(flock, screen.say) as nursery:
        picture = Picture()
        observer = Observer(feed := Feed(flock), partial(show, screen, picture))
        nursery.start_soon(feed.run)
        nursery.start_soon(observer.run)
        server = make_server(flock, tell=screen.say, stop=launch.scope.cancel)
        await nursery.start(server.run)
        settled = await run_tasks(flock, observer, screen, nursery, castings, is_only=options.once)
        passed = await conclude(flock, screen, settled, options.json)
        if options.alliance:
            passed = await run_alliance(flock, screen, settled.tasks[0], castings[0].application) and passed
        if options.svg is not None:
            options.svg.write_text(picture.draw("One AI Arena task on seven daemons"), encoding="utf-8")
        if not options.once:
            Story(flock, screen).tell_next(settled.tasks[-1])
            launch.code_if_stopped = 0 if passed else 1
            await trio.sleep_forever()
    return 0 if passed else 1


def show(screen: Screen, picture: Picture, told: Told) -> None:
    """Put what a daemon told on the screen and into the picture."""
    screen.told(told)
    picture.take(told, screen.elapsed_s())


async def run_tasks(
    flock: Flock,
    observer: Observer,
    screen: Screen,
    nursery: trio.Nursery,
    castings: Sequence[Casting],
    *,
    is_only: bool,
) -> Settled:
    """Start the daemons and run the tasks to their end. Raises `DevnetError` when they do not come to it."""
    story = Story(flock, screen)
    screen.began_at = time.monotonic()
    screen.step("Seven daemons start")
    nodes = await flock.start()
    nursery.start_soon(flock.watch, lambda daemon: tell_death(screen, daemon, is_fatal=is_only))
    with trio.move_on_after(FIRST_BLOCK_S):
        await observer.first_block.wait()
    if not observer.first_block.is_set():
        raise DevnetError(f"no block within {FIRST_BLOCK_S:.0f} s", help=f"Look at {flock.state.output('alice')}.")
    first_block_s = screen.elapsed_s()
    before = await gather.get_accounts(flock)
    story.tell_cast(nodes, before)
    with observer.follow() as phases, trio.move_on_after(SETTLE_S):
        tasks = [await begin_task(flock, screen, casting) for casting in castings]
        story.is_one_of_several = len(tasks) > 1
        async for teller, event in phases_of(phases, *tasks):
            await story.tell_phase(teller, event)
        return Settled(tuple(tasks), before, first_block_s, screen.elapsed_s())
    raise DevnetError(f"the tasks did not settle within {SETTLE_S:.0f} s")


async def begin_task(flock: Flock, screen: Screen, casting: Casting) -> int:
    """Create a task, have everybody join it, and return its number."""
    story = Story(flock, screen)
    screen.step(f"{casting.creator} creates the task (white paper V.A)")
    created = await play.create_task(flock, casting, epochs=EPOCHS)
    story.tell_created(casting, created)
    await play.verify_task(flock, created)
    screen.say(
        f"    {GOVERNANCE} holds the governance key and verifies it: from now on the emission pays it too (IV.A)"
    )
    screen.step("Training nodes and validators stake and join (V.B); validators fetch the encrypted datasets")
    await play.join_all(flock, casting, created)
    story.tell_joined(casting)
    assert created.task is not None, "a task that was created has a number"
    return created.task


async def conclude(flock: Flock, screen: Screen, settled: Settled, json: Path | None) -> bool:
    """Show the outcome, check it, write the report; returns whether everything holds."""
    story = Story(flock, screen)
    screen.step("The payout: dataset B decided, everything is paid; the creator publishes both keys (V.E, V.H)")
    for task in settled.tasks:
        await play.wait_for_keys(flock, task)
        await story.tell_outcome(task)
    story.tell_balances(settled.before, await gather.get_accounts(flock))
    boards = [await flock.ask_any("arena.leaderboard", Leaderboard, task=str(task)) for task in settled.tasks]
    snapshots, supplies = await gather.take_snapshots(flock), await gather.get_supplies(flock)
    found: list[Check] = [
        checks.check_agreement(snapshots, nodes=len(CAST)),
        checks.check_supply(supplies),
        *map(checks.check_settled, boards),
    ]
    story.tell_checks(found)
    screen.say(
        f"    first block after {settled.first_block_s:.1f} s, settled after {settled.settled_s:.1f} s", style="dim"
    )
    if json is not None:
        supply = next(iter(supplies.values()))
        report = await make_report(
            flock, snapshots, supply, first_block_s=settled.first_block_s, settled_s=settled.settled_s
        )
        save_report(json, report)
    return all(check.passed for check in found)


def tell_death(screen: Screen, daemon: Daemon, *, is_fatal: bool) -> None:
    """Say that a daemon ended by itself, with what it printed last; raises `DaemonFailed` when nothing can go on."""
    message = f"{daemon.name}'s daemon {describe_end(daemon.status)}"
    if is_fatal:
        raise daemon.failure(message)
    screen.say(message, style="red")
    screen.lines(read_last_lines(daemon.output))
