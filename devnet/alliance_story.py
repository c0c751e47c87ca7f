"""After a task: its winner becomes an alliance of the seven daemons, told round by round, and checked at the end."""

from collections.abc import Mapping

import trio

from devnet import checks, gather
from devnet.alliances import Heard, Plan, ask, create_alliance, follow, join_all, list_rounds
from devnet.applications import OWNERS, Application
from devnet.cast import CAST, CREATOR
from devnet.checks import Check
from devnet.errors import DevnetError
from devnet.flock import Flock
from devnet.screen import Screen
from devnet.story import Story
from devnet.tables import money, score
from flocknode.cli.text import Table, short
from flocknode.home import load_names
from flocknode.rpc.alliance_records import Alliance, AllianceSent, Joined, Round, RoundList, Training

ROUNDS = 6
ESCROW_FML = 300
TRAINING = Training(passes=2, learning_rate_millionths=100_000, batch_size=16)
TEST_SHARE_MILLIONTHS = 250_000
SETTLE_S = 300.0
SETTLED = ("accepted", "rejected", "void")
NOTHING = "-"


async def run_alliance(flock: Flock, screen: Screen, task: int, application: Application) -> bool:
    """Run an alliance that improves a task's winner to its end; return whether everything holds.

    Raises `DevnetError` when it does not come to its end.
    """
    creator = flock.daemons[CREATOR.name]
    screen.step(f"{CREATOR.name} makes the winner of task {task} an FL Alliance (VI.A), which pays from an escrow")
    plan = Plan(
        name=f"{application.name}-alliance",
        participants=len(CAST),
        escrow_fml=ESCROW_FML,
        training=TRAINING,
        base_task=task,
        settings={"rounds": ROUNDS},
    )
    created = await create_alliance(creator, plan)
    assert created.alliance is not None, "an alliance that was created has a number"
    with trio.move_on_after(SETTLE_S):
        screen.step("All seven join with data of their own (VI.B): cut in their homes, and it never leaves them")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell_rounds, flock, screen, created.alliance)
            data = {
                actor.name: flock.state.dataset(application.dataset, owner)
                for actor, owner in zip(CAST, OWNERS, strict=True)
            }
            joined = await join_all(flock.daemons, created, data, test_share_millionths=TEST_SHARE_MILLIONTHS)
            tell_joined(screen, created, joined)
        return await conclude(flock, screen, created.alliance)
    raise DevnetError(f"the alliance did not come to its end within {SETTLE_S:.0f} s")


def tell_joined(screen: Screen, created: AllianceSent, joined: Mapping[str, Joined]) -> None:
    """Show how many rows everybody has, which is all that others see of them."""
    rows = [(name, str(one.train_rows), str(one.test_rows)) for name, one in sorted(joined.items())]
    screen.table(Table(("NODE", ">ROWS TO TRAIN", ">ROWS TO TEST"), rows, f"alliance {created.alliance}"))


async def tell_rounds(flock: Flock, screen: Screen, alliance: int) -> None:
    """Tell each round as it begins and ends, until the alliance has ended."""
    daemon = flock.daemons[CREATOR.name]
    async for heard in follow(daemon, alliance):
        tell_step(screen, heard)


def tell_step(screen: Screen, heard: Heard) -> None:
    """Tell a step of a round that people watch by."""
    event = heard.event
    if event.phase == "train":
        screen.step(f"Round {event.round + 1}: {event.text}; models travel, data stays (VI.C to VI.E)")
    elif event.phase in SETTLED:
        screen.say(f"    round {event.round + 1} {event.phase}: {event.text}", style="bold")


async def conclude(flock: Flock, screen: Screen, alliance: int) -> bool:
    """Show what everybody came to, and check it; returns whether everything holds."""
    daemon = flock.daemons[CREATOR.name]
    names: Mapping[str, str] = load_names(flock.state.control)
    rounds = await list_rounds(daemon, alliance)
    shown = await ask(daemon, "alliance.show", Alliance, alliance=str(alliance))
    screen.step("The alliance has ended: the pool is paid, stakes unbond (VI.F)")
    screen.table(rounds_table(rounds, names))
    screen.say()
    screen.table(participants_table(shown, names))
    found = [
        checks.check_agreement(await gather.take_snapshots(flock), nodes=len(CAST)),
        checks.check_supply(await gather.get_supplies(flock)),
        check_rounds(shown, rounds),
    ]
    Story(flock, screen).tell_checks(found)
    return all(check.passed for check in found)


def rounds_table(rounds: RoundList, names: Mapping[str, str]) -> Table:
    """Return the rounds: who had which role, what was accepted, and the score."""
    rows = [
        (
            str(one.round + 1),
            list_role(one, "proposer", names),
            list_role(one, "voter", names),
            one.state,
            f"{sum(update.is_accepted for update in one.updates)}/{len(one.updates)}" if one.updates else NOTHING,
            score(one.score_millionths),
            money(one.paid_units),
            money(one.slashed_units),
        )
        for one in rounds.rounds
    ]
    columns = ("PROPOSERS", "VOTERS", "OUTCOME", ">UPDATES", ">MEDIAN SCORE", ">PAID FML", ">SLASHED")
    return Table((">ROUND", *columns), rows)


def list_role(found: Round, role: str, names: Mapping[str, str]) -> str:
    """Return who had a role in a round."""
    return ", ".join(short(one.account, names) for one in found.shares if one.role == role)


def participants_table(shown: Alliance, names: Mapping[str, str]) -> Table:
    """Return what everybody earned and lost in the alliance, the most first."""
    ordered = sorted(shown.participants, key=lambda one: one.slashed_units - one.earned_units)
    rows = [
        (
            short(one.account, names),
            str(one.train_rows),
            str(one.accepted_rounds),
            money(one.earned_units),
            money(one.slashed_units),
            one.standing,
        )
        for one in ordered
    ]
    return Table(("PARTICIPANT", ">ROWS", ">PAID ROUNDS", ">EARNED FML", ">SLASHED", "STANDING"), rows)


def check_rounds(shown: Alliance, rounds: RoundList) -> Check:
    """The alliance has ended, all of its rounds were settled, and most of them improved or kept the model."""
    settled = [one for one in rounds.rounds if one.state != "running"]
    accepted = sum(one.state == "accepted" for one in settled)
    is_whole = shown.summary.status == "finished" and len(settled) == shown.summary.rounds
    best = score(shown.summary.best_millionths)
    text = f"alliance {shown.summary.alliance} is {shown.summary.status}: {accepted} of {len(settled)} rounds accepted"
    return Check("rounds", is_whole and accepted > 0, f"{text}, best {best}")
