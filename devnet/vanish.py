"""Selected participants of an alliance are killed within rounds, and that costs them, and the others only time.

`scenario alliance-vanish`, and `scenario alliance-zk` with hidden updates.
"""

import shutil
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import trio

from devnet import checks, gather, play
from devnet.alliances import PATIENT, WORK, Plan, ask, create_alliance, cut_dataset, follow, join_all, list_rounds
from devnet.bench.replicas import replicas_in
from devnet.checks import Check
from devnet.daemon import Daemon
from devnet.errors import DevnetError
from devnet.flock import Flock
from devnet.launch import unwrapped
from devnet.proofs import check_proofs
from devnet.screen import Screen
from devnet.state import State
from devnet.tables import money
from flocknode.cli.text import Table
from flocknode.keystore import load_public_keys
from flocknode.rpc.alliance_records import AllianceRole, Round, RoundState, Training
from flocknode.rpc.records import AllianceEvent, Block, ChainHead

# All vote on blocks, and any two of seven may be down.
DAEMONS = 7
PHASE_MS = 20_000
SETTLE_S = 600.0
# Long enough that whoever is killed when training begins has proposed nothing yet, if all goes well.
TRAINING = Training(passes=20, learning_rate_millionths=50_000, batch_size=8)
TEST_SHARE_MILLIONTHS = 250_000
ESCROW_FML = 500
SETTLED = ("accepted", "rejected", "void")


@dataclass(frozen=True)
class Blow:
    """Whom to kill in which step of a round, and how that round should end."""

    step: str
    role: AllianceRole
    count: int
    expected: RoundState


BLOWS = (
    Blow("train", "proposer", 1, "accepted"),
    Blow("hold", "voter", 1, "accepted"),
    Blow("hold", "voter", 2, "void"),
)
# Enough for each blow once and for some again, with an undisturbed round before and between them.
ROUNDS = 10


@dataclass(frozen=True)
class Scenario:
    """An alliance on digits in which some vanish: its name, its rounds, the settings it asks for, and the blows.

    `layers` are the model's; no step stays open for longer than `phase_ms`.
    """

    name: str
    rounds: int
    settings: Mapping[str, int | str]
    blows: tuple[Blow, ...]
    layers: tuple[int, ...] = (64, 32, 10)
    phase_ms: int = PHASE_MS


VANISH = Scenario("alliance-vanish", ROUNDS, {}, BLOWS)
# Of seven, two hide among each other, three judge, and two may have to aggregate.
PRIVATE = Scenario(
    "alliance-zk",
    rounds=6,
    settings={"privacy": "zk", "attribution": "aggregate"},
    blows=(Blow("aggregate", "aggregator", 1, "accepted"),),
)
# 458,890 numbers, as a LoRA of a language model has; the sum of each round takes 449 points.
WIDE = replace(PRIVATE, rounds=3, layers=(64, 640, 640, 10), phase_ms=45_000)
STEPS = ("train", "hold", "aggregate", "vote", "reveal", "confirm")


@dataclass
class Disturber:
    """Kills by plan, in every other round, and starts the killed again when their round is over.

    `struck` has by round (from 0) what was done, and to whom; a blow that came too late is struck again. `began_ms` has
    the steps of a round with the times of the blocks with which they began, and its end.
    """

    flock: Flock
    alliance: int
    screen: Screen
    names: dict[str, str]
    pending: list[Blow]
    phase_ms: int = PHASE_MS
    struck: dict[int, tuple[Blow, list[str]]] = field(default_factory=dict)
    began_ms: dict[int, list[tuple[str, int]]] = field(default_factory=dict)

    @property
    def teller(self) -> Daemon:
        """The daemon that is listened to, and never killed."""
        return next(iter(self.flock.daemons.values()))

    async def take(self, event: AllianceEvent) -> None:
        """Act on what was told of the alliance."""
        if event.phase == WORK:
            return
        is_open = event.round % 2 and event.round not in self.struck
        if self.pending and is_open and event.phase == self.pending[0].step:
            await self.strike(event.round, self.pending[0])
        block = await ask(self.teller, "chain.block", Block, height=event.height)
        if event.phase != "opening":
            self.began_ms.setdefault(event.round, []).append((event.phase, block.time_ms))
        if event.phase in SETTLED:
            took_s = self.took_s(event.round)
            self.screen.say(f"round {event.round + 1} {event.phase} after {took_s:.1f} s: {event.text}")
            await self.bring_back(event.round)

    def took_s(self, round: int) -> float:
        """Return how long a round took, by the times of its blocks."""
        times = [at_ms for _, at_ms in self.began_ms.get(round, [])]
        return (max(times) - min(times)) / 1_000 if times else 0.0

    def late_steps(self, round: int) -> list[str]:
        """Return the steps of a round that ran to their deadline."""
        steps = pairwise(self.began_ms.get(round, []))
        return [step for (step, at_ms), (_, next_ms) in steps if next_ms - at_ms >= self.phase_ms]

    async def find_round(self, number: int) -> Round:
        """Return a round as it stands."""
        return next(one for one in (await list_rounds(self.teller, self.alliance)).rounds if one.round == number)

    async def strike(self, round: int, blow: Blow) -> None:
        """Kill some who have a role in the running round."""
        chosen = [self.names[one.account] for one in (await self.find_round(round)).shares if one.role == blow.role]
        victims = [name for name in chosen if name != self.teller.name][: blow.count]
        if len(victims) < blow.count:
            # The one to kill tells the story: in another round it is somebody else.
            return
        for name in victims:
            self.flock.daemons[name].kill()
        self.struck[round] = blow, victims
        self.screen.say(f"kill -9 {' and '.join(victims)}, {blow.role} in step {blow.step}", style="bold red")

    async def bring_back(self, round: int) -> None:
        """Start the killed of a round again, wait until they have caught up, and judge whether they died in time."""
        blow, victims = self.struck.get(round, (None, []))
        for name in victims:
            await self.flock.daemons[name].wait()
            self.flock.daemons[name].start()
        height = (await ask(self.teller, "chain.head", ChainHead)).height
        for name in victims:
            await self.flock.daemons[name].wait_ready()
            await play.wait_for_height(self.flock, name, height)
        if blow is not None:
            absent = {self.names[one.account] for one in (await self.find_round(round)).shares if one.is_absent}
            if absent.issuperset(victims):
                self.pending.remove(blow)
            else:
                del self.struck[round]
                self.screen.say("too late: it had acted; done again", style="yellow")


async def run_vanish(state: State, screen: Screen, scenario: Scenario = VANISH) -> int:
    """Run the scenario on a fresh chain; returns the exit code. Raises `DevnetError` when the alliance hangs."""
    title = f"scenario {scenario.name}: {DAEMONS} daemons, {scenario.rounds} rounds of an alliance on digits"
    return await run_on_digits(state, screen, title, lambda flock, data: disturb(flock, data, screen, scenario))


async def run_on_digits(
    state: State, screen: Screen, title: str, act: Callable[[Flock, dict[str, Path]], Awaitable[list[Check]]]
) -> int:
    """Give fresh daemons a part of digits each, and say whether what is done with them passes its checks."""
    screen.say(title, style="bold")
    folder = state.path / "replicas"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    names = [f"n{number}" for number in range(DAEMONS)]
    data = await cut_dataset("digits", dict.fromkeys(names, 1), folder / "data")
    with unwrapped():
        async with replicas_in(folder, DAEMONS, PATIENT) as daemons:
            flock = Flock(state, {daemon.name: daemon for daemon in daemons})
            found = await act(flock, data)
    for check in found:
        screen.say(f"{'ok  ' if check.passed else 'FAIL'} {check.name}: {check.found}")
    passed = all(check.passed for check in found)
    screen.say("PASS" if passed else f"FAIL (homes kept in {folder})", style="bold")
    return 0 if passed else 1


def make_plan(scenario: Scenario) -> Plan:
    """Return what the alliance of a scenario is about."""
    phases = {f"{step}_phase_ms": scenario.phase_ms for step in STEPS}
    return Plan(
        name=scenario.name,
        participants=DAEMONS,
        escrow_fml=ESCROW_FML,
        training=TRAINING,
        family="mlp",
        model={"layers": list(scenario.layers)},
        metric="accuracy",
        settings={"rounds": scenario.rounds, **phases, **scenario.settings},
    )


async def disturb(flock: Flock, data: dict[str, Path], screen: Screen, scenario: Scenario) -> list[Check]:
    """Run the alliance while daemons are killed in it, and judge what came of it."""
    teller = next(iter(flock.daemons.values()))
    names = {load_public_keys(daemon.home).account.hex(): name for name, daemon in flock.daemons.items()}
    created = await create_alliance(teller, make_plan(scenario))
    assert created.alliance is not None, "a created alliance has a number"
    disturber = Disturber(flock, created.alliance, screen, names, list(scenario.blows), scenario.phase_ms)
    with trio.move_on_after(SETTLE_S) as scope:
        await join_all(flock.daemons, created, data, test_share_millionths=TEST_SHARE_MILLIONTHS)
        async for heard in follow(teller, created.alliance):
            await disturber.take(heard.event)
    if scope.cancelled_caught:
        raise DevnetError(f"the alliance did not come to its end within {SETTLE_S:.0f} s")
    rounds = (await list_rounds(teller, created.alliance)).rounds
    screen.table(rounds_table(rounds, disturber))
    return [
        *(check_blow(rounds[round], disturber) for round in disturber.struck),
        Check("blows", not disturber.pending, f"{len(disturber.struck)} of {len(scenario.blows)} blows came in time"),
        check_others(rounds, disturber),
        checks.check_agreement(await gather.take_snapshots(flock), nodes=DAEMONS),
        checks.check_supply(await gather.get_supplies(flock)),
        *([await check_proofs(teller, created.alliance, rounds)] if scenario.settings.get("privacy") == "zk" else []),
    ]


def check_blow(found: Round, disturber: Disturber) -> Check:
    """The round ended as it should, by one deadline; who vanished was slashed, and a void round paid nobody."""
    blow, victims = disturber.struck[found.round]
    shares = {disturber.names[one.account]: one for one in found.shares}
    late, took_s = disturber.late_steps(found.round), disturber.took_s(found.round)
    is_penalised = all(
        shares[name].is_absent and shares[name].slashed_units > 0 and not shares[name].earned_units for name in victims
    )
    is_paid_right = found.state != "void" or not any(
        one.earned_units or (one.slashed_units and not one.is_absent) for one in shares.values()
    )
    lost = ", ".join(f"{name} {money(shares[name].slashed_units)}" for name in victims)
    paid = money(found.paid_units)
    waited = f"to the deadline of {' and '.join(late) or 'no step'}"
    text = f"round {found.round + 1} {found.state} after {took_s:.1f} s, {waited}; lost: {lost}; paid {paid} FML"
    passed = found.state == blow.expected and is_penalised and is_paid_right and len(late) == 1
    return Check(f"{blow.count} {blow.role} gone in {blow.step}", passed, text)


def check_others(rounds: Sequence[Round], disturber: Disturber) -> Check:
    """Nobody was absent who was not killed, in that round or, on a busy machine still starting, in the one before."""
    blamed = [
        f"{disturber.names[one.account]} in round {found.round + 1}"
        for found in rounds
        for one in found.shares
        if one.is_absent
        and disturber.names[one.account]
        not in (*victims_of(disturber, found.round), *victims_of(disturber, found.round - 1))
    ]
    return Check("others", not blamed, f"absent without being killed: {', '.join(blamed) or 'nobody'}")


def victims_of(disturber: Disturber, round: int) -> list[str]:
    """Return who was killed in a round."""
    return disturber.struck[round][1] if round in disturber.struck else []


def rounds_table(rounds: Sequence[Round], disturber: Disturber) -> Table:
    """Return the rounds with who was killed."""
    rows = [
        (
            str(one.round + 1),
            one.state,
            ", ".join(victims_of(disturber, one.round)) or "-",
            f"{disturber.took_s(one.round):.1f} s",
            money(one.paid_units),
            money(one.slashed_units),
        )
        for one in rounds
    ]
    return Table((">ROUND", "OUTCOME", "KILLED", ">TOOK", ">PAID FML", ">SLASHED"), rows)
