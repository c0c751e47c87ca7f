"""`scenario kill`: two of seven daemons are killed in every phase of a task, and everything must hold nevertheless."""

import random
import signal
from collections.abc import Sequence
from dataclasses import dataclass, field

import trio

from devnet import checks, gather, play
from devnet.applications import DIGITS
from devnet.cast import CAST, CREATOR, PHASES, TRAINERS, VALIDATORS, Actor, Phase, cast_task
from devnet.checks import Check
from devnet.daemon import Daemon
from devnet.errors import DevnetError
from devnet.evidence import find_contradictions, read_messages
from devnet.feed import Feed, Observer, phases_of
from devnet.flock import Flock
from devnet.launch import running
from devnet.run import FIRST_BLOCK_S, prepare, tell_death
from devnet.screen import Screen
from devnet.state import State
from devnet.story import Story
from flocknode.cli.text import Table, short
from flocknode.rpc.arena_records import Leaderboard, Submitted, Task
from flocknode.rpc.records import NodeStatus, TaskEvent

# Whose acts a phase waits for: one of the killed is always of these, so that the phase cannot go on without it.
ACTING: dict[Phase, Sequence[Actor]] = {
    "opening": VALIDATORS,
    "submit": TRAINERS,
    "open": (CREATOR,),
    "score": VALIDATORS,
    "reveal": VALIDATORS,
    "claim": TRAINERS,
}
CASTING = cast_task(DIGITS)
KILLED = 2
# How long the killed stay down.
DOWN_S = 2.0
# More epochs than one need, for a phase that was over before the daemons were dead.
EPOCHS_FOR_ONE = 2
EPOCHS_FOR_ALL = 4
SETTLE_S = 600.0


@dataclass(frozen=True)
class KillOptions:
    """In which phases daemons are killed, and the seed of who."""

    phases: tuple[Phase, ...]
    seed: int


@dataclass(frozen=True)
class Blow:
    """What was done in one phase: in which epoch (from 0), to whom, and how long the killed took to catch up."""

    phase: Phase
    epoch: int
    victims: tuple[str, ...]
    is_in_time: bool
    back_s: float


@dataclass
class Attack:
    """Kills by phase: what is still to do, and what was done."""

    flock: Flock
    screen: Screen
    rng: random.Random
    pending: list[Phase]
    blows: list[Blow] = field(default_factory=list)

    async def strike_at(self, event: TaskEvent) -> None:
        """Kill two daemons if a phase began in which that is still to be done, and if it is still going on."""
        phase = next((phase for phase in self.pending if phase == event.phase), None)
        if phase is not None and await is_current(self.flock, event.task, event.epoch, phase):
            await self.strike(phase, event.task, event.epoch)

    async def strike(self, phase: Phase, task: int, epoch: int) -> None:
        """Kill two daemons, start them again a moment later, and return when they have caught up."""
        victims = [self.flock.daemons[actor.name] for actor in choose_victims(self.rng, phase)]
        for daemon in victims:
            daemon.kill()
        names = tuple(daemon.name for daemon in victims)
        is_in_time = await is_current(self.flock, task, epoch, phase)
        remark = "" if is_in_time else " (too late: the phase is over)"
        self.screen.say(
            f"kill -9 {' and '.join(names)} in phase {phase} of epoch {epoch + 1}{remark}", style="bold red"
        )
        await trio.sleep(DOWN_S)
        back_s = await self.bring_back(victims)
        if is_in_time:
            self.pending.remove(phase)
        self.blows.append(Blow(phase, epoch, names, is_in_time, back_s))

    async def bring_back(self, victims: Sequence[Daemon]) -> float:
        """Start the killed again; returns the seconds until they have everything that the others have."""
        height = max(status.height for status in (await self.flock.ask_all("node.status", NodeStatus)).values())
        for daemon in victims:
            await daemon.wait()
            assert daemon.status == -signal.SIGKILL, f"{daemon.name} ended otherwise: {daemon.status}"
            daemon.start()
        began_at = trio.current_time()
        for daemon in victims:
            await daemon.wait_ready()
            await play.wait_for_height(self.flock, daemon.name, height)
        back_s = trio.current_time() - began_at
        names = " and ".join(daemon.name for daemon in victims)
        self.screen.say(f"{names} caught up {back_s:.1f} s after their start", style="bold green")
        return back_s


def choose_victims(rng: random.Random, phase: Phase) -> tuple[Actor, ...]:
    """Return whom to kill in a phase: one that it waits for, and any others."""
    first = rng.choice(ACTING[phase])
    others = [actor for actor in CAST if actor is not first]
    return (first, *rng.sample(others, KILLED - 1))


async def is_current(flock: Flock, task: int, epoch: int, phase: Phase) -> bool:
    """Return whether a task is in this phase of this epoch, for the node that is furthest."""
    summaries = [found.summary for found in (await flock.ask_all("arena.show", Task, task=str(task))).values()]
    places = [(summary.epoch, summary.phase or summary.status) for summary in summaries]
    return max(places, key=_progress, default=None) == (epoch, phase)


def _progress(place: tuple[int, str]) -> tuple[int, int]:
    epoch, phase = place
    return epoch, next((number for number, known in enumerate(PHASES) if known == phase), len(PHASES))


async def run_kill(state: State, options: KillOptions, screen: Screen) -> int:
    """Run the scenario on a fresh chain; returns the exit code. Raises `DevnetError` when the task does not settle."""
    screen.say(f"scenario kill, seed {options.seed}: {', '.join(options.phases)}", style="bold")
    await prepare(state, screen, [CASTING], fresh=True)
    flock = Flock(state)
    attack = Attack(flock, screen, random.Random(options.seed), list(options.phases))
    async with running(flock, screen.say) as nursery:
        observer = Observer(feed := Feed(flock), screen.told)
        nursery.start_soon(feed.run)
        nursery.start_soon(observer.run)
        await flock.start()
        nursery.start_soon(flock.watch, lambda daemon: tell_death(screen, daemon, is_fatal=True))
        with trio.move_on_after(FIRST_BLOCK_S):
            await observer.first_block.wait()
        task = await run_attacked(flock, observer, attack)
        found = await check_all(flock, task, attack)
        await flock.stop()
    found.append(check_signatures(state))
    screen.say()
    screen.table(blows_table(attack.blows))
    Story(flock, screen).tell_checks(found)
    passed = all(check.passed for check in found)
    screen.say("PASS" if passed else f"FAIL (seed {options.seed}, state kept in {state.path})", style="bold")
    return 0 if passed else 1


async def run_attacked(flock: Flock, observer: Observer, attack: Attack) -> int:
    """Run a task to its end while daemons are killed in it; returns its number. Raises `DevnetError` when it hangs."""
    epochs = EPOCHS_FOR_ALL if len(attack.pending) > 1 else EPOCHS_FOR_ONE
    with observer.follow() as phases, trio.move_on_after(SETTLE_S):
        created = await play.create_task(flock, CASTING, epochs=epochs)
        assert created.task is not None, "a task that was created has a number"
        await join_attacked(flock, created, attack)
        async for _, event in phases_of(phases, created.task):
            if event.phase != "opening":
                await attack.strike_at(event)
        return created.task
    raise DevnetError(f"the task did not settle within {SETTLE_S:.0f} s")


async def join_attacked(flock: Flock, created: Submitted, attack: Attack) -> None:
    """Have everybody join; while the last validator is still missing, the task opens, and daemons are killed."""
    assert created.task is not None, "a task that was created has a number"
    for actor in CAST:
        await play.wait_for_height(flock, actor.name, created.outcome.height or 0)
    *early, last = CASTING.members
    async with trio.open_nursery() as nursery:
        for part in early:
            nursery.start_soon(play.join_task, flock, CASTING, part, created)
    if "opening" in attack.pending:
        await attack.strike("opening", created.task, 0)
    await play.join_task(flock, CASTING, last, created)


async def check_all(flock: Flock, task: int, attack: Attack) -> list[Check]:
    """Check what can be asked of the running daemons."""
    await play.wait_for_keys(flock, task)
    board = await flock.ask_any("arena.leaderboard", Leaderboard, task=str(task))
    return [
        check_blows(attack),
        checks.check_settled(board),
        checks.check_duties(
            board,
            trainers=[flock.state.address(actor.name) for actor in TRAINERS],
            validators=[flock.state.address(actor.name) for actor in VALIDATORS],
        ),
        checks.check_agreement(await gather.take_snapshots(flock), nodes=len(CAST)),
        checks.check_supply(await gather.get_supplies(flock)),
    ]


def check_blows(attack: Attack) -> Check:
    """Daemons were killed within every phase that was asked for."""
    done = [blow.phase for blow in attack.blows if blow.is_in_time]
    text = f"killed {KILLED} of {len(CAST)} daemons in {', '.join(done) or 'no phase'}"
    return Check("killed", not attack.pending, f"{text}; never met: {attack.pending}" if attack.pending else text)


def check_signatures(state: State) -> Check:
    """No replica signed two messages that contradict each other, as far as any node knows."""
    messages = [message for actor in CAST for message in read_messages(state.home(actor.name))]
    found = find_contradictions(messages)
    text = f"{len(messages)} signed messages in seven write-ahead logs"
    if not found:
        return Check("signatures", bool(messages), f"nobody equivocated: {text}, none contradicts another")
    listed = "; ".join(f"{short(key.hex())} at height {height} r{round}" for key, height, round, _ in found)
    return Check("signatures", False, f"{text}; contradictions: {listed}")


def blows_table(blows: Sequence[Blow]) -> Table:
    """Return what was done, phase by phase."""
    rows = [
        (
            blow.phase,
            str(blow.epoch + 1),
            ", ".join(blow.victims),
            f"{blow.back_s:.1f} s",
            "ok" if blow.is_in_time else "too late, done again",
        )
        for blow in blows
    ]
    return Table(("PHASE", ">EPOCH", "KILLED", ">CAUGHT UP AFTER", "RESULT"), rows)
