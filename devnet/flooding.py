"""`scenario flooding`: a stranger floods nodes with everything it can while a task runs (white paper Table I, DoS).

It is throttled or refused, and the task settles like one that nobody disturbs.
"""

import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from subprocess import PIPE
from typing import NamedTuple

import msgspec
import trio

from devnet import checks, gather, play
from devnet.applications import DIGITS
from devnet.cast import CAST, TRAINERS, VALIDATORS, cast_task
from devnet.checks import Check
from devnet.errors import DevnetError
from devnet.feed import Feed, Observer, Told, phases_of
from devnet.flock import Flock
from devnet.flooder import CONNECTIONS, Deeds, Orders
from devnet.floods import FLOODS, TRANSACTIONS_AT_ONCE
from devnet.launch import running
from devnet.run import FIRST_BLOCK_S, prepare, tell_death
from devnet.screen import Screen
from devnet.state import State
from devnet.story import Story
from flocknode.cli.text import Table
from flocknode.rpc.arena_records import Leaderboard
from flocknode.rpc.records import Account, BlockEvent, LogLine, NodeStatus, Outcome, Peer, PeerList
from protocol.crypto import public_key
from protocol.types import UNITS_PER_FML

CASTING = cast_task(DIGITS)
PACKAGES = Path(__file__).resolve().parent.parent
EPOCHS = 2
SETTLE_S = 600.0
# What the attacker has for fees; it has no stake.
FUNDS_FML = 1_000
LOOK_S = 1.0
# How long the attacker may take to say what it did.
CONFESS_S = 10.0
# All floods but the garbage keep their links at first; how long that may take before the task begins.
LASTING = len(FLOODS) - 1
ARRIVE_S = 30.0
# Lines about the attacker that would hide all others.
HIDDEN_EVENTS = ("peer refused", "no link")


@dataclass(frozen=True)
class FloodingOptions:
    """The seed of the attack, how many nodes it hits, whether a calm task runs before it, and where figures go."""

    seed: int
    nodes: int
    has_calm: bool
    json: Path | None


class TaskRun(NamedTuple):
    """One task: seconds until it was settled, blocks meanwhile, and the median of their commits in milliseconds."""

    name: str
    task: int
    settled_s: float
    blocks: int
    commit_ms: float


@dataclass
class Seen:
    """What the nodes saw of one peer that is none of theirs: messages, duplicates and drops by link, score, seconds."""

    links: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    lowest_score: int = 100
    linked_s: float = 0.0


@dataclass
class Watch:
    """What the daemons tell, and what they answer when asked every second."""

    screen: Screen
    honest: frozenset[str] = frozenset()
    commits_ms: dict[int, list[int]] = field(default_factory=dict)
    refusals: Counter[str] = field(default_factory=Counter)
    strangers: dict[str, Seen] = field(default_factory=dict)
    lowest_honest_score: int = 100

    def told(self, told: Told) -> None:
        """Note how long a commit took, and who was refused."""
        match told.event:
            case BlockEvent(height=height, duration_ms=int(duration_ms)):
                self.commits_ms.setdefault(height, []).append(duration_ms)
            case LogLine(event="peer refused", fields=fields):
                self.refusals[str(fields["peer"])] += 1
        if not (isinstance(told.event, LogLine) and told.event.event in HIDDEN_EVENTS):
            self.screen.told(told)

    async def look(self, flock: Flock) -> None:
        """Ask all daemons for their peers, again and again, until cancelled."""
        while True:
            before = trio.current_time()
            await trio.sleep(LOOK_S)
            found = await flock.ask_all("node.peers", PeerList)
            for name, answer in found.items():
                for peer in answer.peers:
                    self.note(name, peer, trio.current_time() - before)

    async def wait_for_strangers(self, links: int) -> None:
        """Return once so many links to peers that are none of ours were seen. Raises `DevnetError`."""
        with trio.move_on_after(ARRIVE_S):
            while sum(len(seen.links) for seen in self.strangers.values()) < links:  # noqa: ASYNC110 - nodes are asked
                await trio.sleep(LOOK_S / 4)
            return
        raise DevnetError(f"the attacker did not get {links} links within {ARRIVE_S:.0f} s")

    def note(self, node: str, peer: Peer, passed_s: float) -> None:
        """Note what a node says of a peer that it is linked to."""
        if peer.peer in self.honest:
            self.lowest_honest_score = min(self.lowest_honest_score, peer.score)
            return
        seen = self.strangers.setdefault(peer.peer, Seen())
        seen.links[node, peer.connected_ms] = peer.messages_received, peer.duplicates + peer.dropped
        seen.lowest_score = min(seen.lowest_score, peer.score)
        seen.linked_s += passed_s


class Effect(NamedTuple):
    """What one kind of flood came to, all its identities and targets together."""

    kind: str
    identities: int
    sent: int
    taken: int
    dropped: int
    lowest_score: int
    refused: int
    turned_away: int
    linked_s: float

    @property
    def taken_per_s(self) -> float:
        """How many messages a node took in a second of one link; `budgets.STRANGER` says how many for long."""
        return self.taken / self.linked_s if self.linked_s else 0.0

    @property
    def is_held_off(self) -> bool:
        """Whether something was dropped, or somebody refused or turned away."""
        return self.dropped + self.refused + self.turned_away > 0


def measure_effect(kind: str, deeds: Deeds, watch: Watch) -> Effect:
    """Return what a kind of flood came to, by what the attacker did and what the nodes saw."""
    seen = [watch.strangers[peer] for peer in deeds.peers if peer in watch.strangers]
    links = [link for one in seen for link in one.links.values()]
    refused = sum(watch.refusals[peer] for peer in deeds.peers)
    return Effect(
        kind=kind,
        identities=len(deeds.peers),
        sent=deeds.sent,
        taken=sum(taken for taken, _ in links),
        dropped=sum(dropped for _, dropped in links),
        lowest_score=0 if refused else min((one.lowest_score for one in seen), default=100),
        refused=refused,
        turned_away=deeds.turned_away,
        linked_s=sum(one.linked_s for one in seen),
    )


async def run_flooding(state: State, options: FloodingOptions, screen: Screen) -> int:
    """Run the scenario on a fresh chain; returns the exit code. Raises `DevnetError` when a task does not settle."""
    screen.say(f"scenario flooding, seed {options.seed}: {options.nodes} of {len(CAST)} nodes", style="bold")
    await prepare(state, screen, [CASTING], fresh=True)
    flock, watch, rng = Flock(state), Watch(screen), random.Random(options.seed)
    runs: list[TaskRun] = []
    async with running(flock, screen.say) as nursery:
        observer = Observer(feed := Feed(flock), watch.told)
        nursery.start_soon(feed.run)
        nursery.start_soon(observer.run)
        nodes = await flock.start()
        watch.honest = frozenset(status.peer for status in nodes.values())
        nursery.start_soon(flock.watch, lambda daemon: tell_death(screen, daemon, is_fatal=True))
        with trio.move_on_after(FIRST_BLOCK_S):
            await observer.first_block.wait()
        if options.has_calm:
            runs.append(await run_task("calm", flock, observer, watch))
        orders = await make_orders(flock, nodes, options, rng)
        nursery.start_soon(watch.look, flock)
        async with attacking(orders) as attacker:
            await watch.wait_for_strangers(LASTING * options.nodes)
            runs.append(await run_task("flooded", flock, observer, watch))
            deeds = await end_attack(attacker)
        included = await count_included(flock, orders)
        found = await check_all(flock, runs[-1].task, nodes)
        await flock.stop()
    effects = [measure_effect(kind, deeds[kind], watch) for kind in deeds]
    found += [check_held_off(effects, included), check_honest(watch)]
    tell(screen, runs, effects, included)
    Story(flock, screen).tell_checks(found)
    if options.json is not None:
        options.json.write_bytes(encode_flooding(options, runs, effects, found) + b"\n")
    passed = all(check.passed for check in found)
    screen.say("PASS" if passed else f"FAIL (seed {options.seed}, state kept in {state.path})", style="bold")
    return 0 if passed else 1


async def run_task(name: str, flock: Flock, observer: Observer, watch: Watch) -> TaskRun:
    """Run a task to its end, and return how it went. Raises `DevnetError` when it hangs."""
    watch.screen.say(f"{name}: a task begins", style="bold")
    began_at, watch.commits_ms = trio.current_time(), {}
    with observer.follow() as phases, trio.move_on_after(SETTLE_S):
        created = await play.create_task(flock, CASTING, epochs=EPOCHS)
        assert created.task is not None, "a task that was created has a number"
        await play.join_all(flock, CASTING, created)
        async for _, _ in phases_of(phases, created.task):
            pass
        settled_s = trio.current_time() - began_at
        durations = [median(heard) for heard in watch.commits_ms.values()]
        return TaskRun(name, created.task, settled_s, len(durations), median(durations))
    raise DevnetError(f"the {name} task did not settle within {SETTLE_S:.0f} s")


async def make_orders(
    flock: Flock, nodes: Mapping[str, NodeStatus], options: FloodingOptions, rng: random.Random
) -> Orders:
    """Give the attacker an account with money, and choose its targets. Raises `DevnetError`."""
    seed, observed = rng.randbytes(32), CAST[0].name
    targets = rng.sample([actor.name for actor in CAST], options.nodes)
    outcome = await flock.ask(
        observed,
        "tx.transfer",
        Outcome,
        to=public_key(seed).hex(),
        amount_units=FUNDS_FML * UNITS_PER_FML,
    )
    play.require_included(outcome, "funding the attacker")
    return Orders(
        chain=nodes[observed].chain,
        seed=options.seed,
        account_seed=seed.hex(),
        home=str(flock.state.home(observed).path.absolute()),
        targets=tuple(nodes[name].address for name in targets),
    )


@asynccontextmanager
async def attacking(orders: Orders) -> AsyncIterator[trio.Process]:
    """Give the attacker's process, which is gone at the end; it also ends when this one does."""
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "devnet.flooder"], stdin=PIPE, stdout=PIPE, cwd=PACKAGES
    )
    try:
        assert process.stdin is not None, "a pipe"
        await process.stdin.send_all(msgspec.json.encode(orders) + b"\n")
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


async def end_attack(process: trio.Process) -> dict[str, Deeds]:
    """End the attack and return what was done, by kind. Raises `DevnetError` when the attacker broke."""
    assert process.stdin is not None, "a pipe"
    assert process.stdout is not None, "a pipe"
    said = b""
    with trio.move_on_after(CONFESS_S):
        await process.stdin.aclose()
        async for data in process.stdout:
            said += data
        if await process.wait() == 0:
            return msgspec.json.decode(said, type=dict[str, Deeds])
    raise DevnetError(f"the attacker broke (exit code {process.returncode}); what it says of itself is above")


async def count_included(flock: Flock, orders: Orders) -> int:
    """Return how many of the attacker's transactions came into blocks."""
    address = public_key(bytes.fromhex(orders.account_seed)).hex()
    return (await flock.ask_any("account.show", Account, address=address)).nonce


async def check_all(flock: Flock, task: int, nodes: Mapping[str, NodeStatus]) -> list[Check]:
    """Check what can be asked of the running daemons."""
    await play.wait_for_keys(flock, task)
    board = await flock.ask_any("arena.leaderboard", Leaderboard, task=str(task))
    return [
        checks.check_settled(board),
        checks.check_duties(
            board,
            trainers=[flock.state.address(actor.name) for actor in TRAINERS],
            validators=[flock.state.address(actor.name) for actor in VALIDATORS],
        ),
        checks.check_agreement(await gather.take_snapshots(flock), nodes=len(CAST)),
        checks.check_supply(await gather.get_supplies(flock)),
        check_up({name: flock.daemons[name].pid == status.pid for name, status in nodes.items()}),
    ]


def check_up(is_up: Mapping[str, bool]) -> Check:
    """Every daemon is still the process that it was."""
    down = [name for name, still in is_up.items() if not still]
    return Check("up", not down, f"down: {', '.join(down)}" if down else f"{len(is_up)} daemons never went down")


def check_held_off(effects: Sequence[Effect], included: int) -> Check:
    """Of every kind of flood something was dropped, or its sender refused; transactions were held to their quota."""
    offered = sum(effect.sent * TRANSACTIONS_AT_ONCE for effect in effects if effect.kind == "transactions")
    idle = [effect.kind for effect in effects if not effect.sent]
    passed = [effect.kind for effect in effects if not effect.is_held_off and effect.kind != "transactions"]
    if included >= offered:
        passed.append("transactions")
    if idle or passed:
        return Check("attacker", False, f"never sent: {idle}; not held off: {passed}")
    refused = sum(effect.refused for effect in effects)
    return Check("attacker", True, f"refused {refused} times, {included} of {offered} transactions in blocks")


def check_honest(watch: Watch) -> Check:
    """No peer of ours was refused."""
    refused = [peer for peer in watch.refusals if peer in watch.honest]
    text = f"refused: {refused}" if refused else "no honest peer was refused"
    return Check("honest", not refused, f"{text}, lowest score {watch.lowest_honest_score}")


def tell(screen: Screen, runs: Sequence[TaskRun], effects: Sequence[Effect], included: int) -> None:
    """Print how the tasks went, and what the floods came to."""
    rows = [(run.name, f"{run.settled_s:.1f}", str(run.blocks), f"{run.commit_ms:.0f}") for run in runs]
    screen.say()
    screen.table(Table(("TASK", ">SETTLED AFTER S", ">BLOCKS", ">COMMIT P50 MS"), rows))
    screen.say()
    screen.table(effects_table(effects))
    screen.say(f"    a message of transactions holds {TRANSACTIONS_AT_ONCE}; {included} of all came into blocks")
    screen.say(f"    {CONNECTIONS}: sockets opened that say nothing, and closed by the node", style="dim")


def effects_table(effects: Sequence[Effect]) -> Table:
    """Return what each kind of flood came to."""
    rows = [
        (
            effect.kind,
            str(effect.identities),
            str(effect.sent),
            str(effect.taken),
            str(effect.dropped),
            str(effect.lowest_score) if effect.identities else "-",
            str(effect.refused),
            str(effect.turned_away),
            f"{effect.linked_s:.0f}",
            f"{effect.taken_per_s:.0f}",
        )
        for effect in effects
    ]
    heads = (
        ">IDENTITIES",
        ">SENT",
        ">TAKEN",
        ">DROPPED",
        ">SCORE",
        ">REFUSED",
        ">TURNED AWAY",
        ">LINKED S",
        ">TAKEN/S",
    )
    return Table(("FLOOD", *heads), rows)


def encode_flooding(
    options: FloodingOptions, runs: Sequence[TaskRun], effects: Sequence[Effect], found: Sequence[Check]
) -> bytes:
    """Return everything measured as JSON."""
    plain = {
        "seed": options.seed,
        "nodes": options.nodes,
        "tasks": [run._asdict() for run in runs],
        "floods": [effect._asdict() for effect in effects],
        "checks": [check._asdict() for check in found],
    }
    return msgspec.json.format(msgspec.json.encode(plain), indent=2)
