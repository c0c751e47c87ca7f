"""`scenario alliance-masked`: rounds in which nobody sees an update, one that lacks a vector, and one in which a client
lies.

Misfortune comes to files in a home, as if its disk were to blame; the daemon is the one that people run. A client that
loses the opening of its commitment has nothing to share, and one whose opening was altered shares what it has not
committed to.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import trio

from devnet import checks, gather
from devnet.alliances import create_alliance, follow, join_all, list_rounds
from devnet.checks import Check
from devnet.errors import DevnetError
from devnet.flock import Flock
from devnet.screen import Screen
from devnet.state import State
from devnet.tables import money
from devnet.vanish import DAEMONS, SETTLE_S, SETTLED, TEST_SHARE_MILLIONTHS, Scenario, make_plan, run_on_digits
from flocknode.cli.text import Table
from flocknode.home import Home
from flocknode.keystore import load_public_keys
from flocknode.participants.hidden_files import PREFIX
from flocknode.rpc.alliance_records import Round, Share
from flocknode.rpc.records import AllianceEvent

# Before the next block lets its owner use it.
LOOK_S = 0.01
# Of seven, three hide among each other, so that two are left when one is missing; three judge, one aggregates.
MASKED = Scenario(
    "alliance-masked",
    rounds=5,
    settings={
        "privacy": "masked",
        "attribution": "aggregate",
        "proposer_share_millionths": 430_000,
        "voter_share_millionths": 430_000,
        # The one step that a missing client lets run to its deadline.
        "hold_phase_ms": 20_000,
    },
    blows=(),
    phase_ms=60_000,
)


def lose(opening: Path) -> None:
    """Let a client have nothing to share."""
    opening.unlink()


def alter(opening: Path) -> None:
    """Let a client share another update than it committed to: the first value is off by one."""
    data = bytearray(opening.read_bytes())
    data[3] ^= 1
    opening.write_bytes(data)


@dataclass(frozen=True)
class Mishap:
    """What happens to the opening of one client of a round."""

    name: str
    happens: Callable[[Path], None]


DROPPER, LIAR = Mishap("dropper", lose), Mishap("liar", alter)
# By round, counted from 0.
MISHAPS = {2: DROPPER, 3: LIAR}


@dataclass
class Witness:
    """What was seen of the rounds, by round: who had a mishap, how often it was begun, and where updates showed up.

    `secrets` are openings and weights of clients, by the home that they lie in.
    """

    flock: Flock
    alliance: int
    nursery: trio.Nursery
    screen: Screen
    names: dict[str, str]
    victims: dict[int, str] = field(default_factory=dict)
    attempts: dict[int, int] = field(default_factory=dict)
    secrets: dict[int, dict[str, list[bytes]]] = field(default_factory=dict)
    bared: list[str] = field(default_factory=list)
    searched: int = 0

    async def take(self, event: AllianceEvent) -> None:
        """Act on what was told of the alliance."""
        round = event.round
        if event.phase == "train":
            self.attempts[round] = self.attempts.get(round, 0) + 1
            if round in MISHAPS and round not in self.victims:
                await self.choose(round)
        elif event.phase == "aggregate":
            self.secrets[round] = {
                name: await trio.to_thread.run_sync(read_secrets, daemon.home, self.alliance, round)
                for name, daemon in self.flock.daemons.items()
            }
        elif event.phase == "vote":
            await self.search(round)
        elif event.phase in SETTLED:
            self.screen.say(f"round {round + 1} {event.phase}: {event.text}")

    async def choose(self, round: int) -> None:
        """Choose a client of a round for its mishap: the last, for the first one tells the story."""
        shares = await list_shares(self.flock, self.alliance, round)
        victim = [self.names[one.account] for one in shares if one.role == "proposer"][-1]
        self.victims[round] = victim
        self.nursery.start_soon(strike, self.flock.daemons[victim].home, self.alliance, round, MISHAPS[round].happens)
        self.screen.say(f"{victim} will be the {MISHAPS[round].name} of round {round + 1}", style="bold red")

    async def search(self, round: int) -> None:
        """Look for updates in all homes but their own, the aggregator's included."""
        for owner, secrets in self.secrets[round].items():
            homes = [daemon.home for name, daemon in self.flock.daemons.items() if name != owner]
            for secret in secrets:
                found = await trio.to_thread.run_sync(find_in_homes, homes, secret)
                self.searched += 1
                self.bared += [f"an update of {owner} in round {round + 1} lies in {home.path}" for home in found]


async def list_shares(flock: Flock, alliance: int, round: int) -> Sequence[Share]:
    """Return who was selected for a round."""
    teller = next(iter(flock.daemons.values()))
    return next(one.shares for one in (await list_rounds(teller, alliance)).rounds if one.round == round)


async def strike(home: Home, alliance: int, round: int, mishap: Callable[[Path], None]) -> None:
    """Wait until a client has made the opening of its commitment, and let its mishap happen to that."""
    while not (openings := list(home.alliances.glob(f"{alliance}/{PREFIX}-{round}-*-opening"))):  # noqa: ASYNC110
        await trio.sleep(LOOK_S)
    mishap(openings[0])


def read_secrets(home: Home, alliance: int, round: int) -> list[bytes]:
    """Return what a client must show to nobody: a part of its opening, and of the weights that it trained."""
    paths = sorted(home.alliances.glob(f"{alliance}/{PREFIX}-{round}-*"))
    # An opening begins with its values, a file of weights ends with them.
    halves = [(path.name, path.read_bytes()) for path in paths]
    return [
        data[: len(data) // 2] if name.endswith("-opening") else data[len(data) // 2 :]
        for name, data in halves
        if name.endswith(("-opening", "-update"))
    ]


def find_in_homes(homes: Iterable[Home], data: bytes) -> list[Home]:
    """Return the homes in which some bytes stand in a file."""
    return [home for home in homes if any(data in path.read_bytes() for path in home.path.rglob("*") if path.is_file())]


async def run_masked(state: State, screen: Screen) -> int:
    """Run the scenario on a fresh chain; returns the exit code. Raises `DevnetError` when the alliance hangs."""
    title = f"scenario {MASKED.name}: {DAEMONS} daemons, {MASKED.rounds} masked rounds of an alliance on digits"
    return await run_on_digits(state, screen, title, lambda flock, data: watch_rounds(flock, data, screen))


async def watch_rounds(flock: Flock, data: dict[str, Path], screen: Screen) -> list[Check]:
    """Run the alliance with a dropper and a liar, and judge what came of it."""
    teller = next(iter(flock.daemons.values()))
    names = {load_public_keys(daemon.home).account.hex(): name for name, daemon in flock.daemons.items()}
    created = await create_alliance(teller, make_plan(MASKED))
    assert created.alliance is not None, "a created alliance has a number"
    async with trio.open_nursery() as nursery:
        witness = Witness(flock, created.alliance, nursery, screen, names)
        with trio.move_on_after(SETTLE_S) as scope:
            await join_all(flock.daemons, created, data, test_share_millionths=TEST_SHARE_MILLIONTHS)
            async for heard in follow(teller, created.alliance):
                await witness.take(heard.event)
        nursery.cancel_scope.cancel()
    if scope.cancelled_caught:
        raise DevnetError(f"the alliance did not come to its end within {SETTLE_S:.0f} s")
    rounds = (await list_rounds(teller, created.alliance)).rounds
    screen.table(rounds_table(rounds, witness))
    return [
        *(check_round(one, witness) for one in rounds),
        check_secrecy(witness),
        checks.check_agreement(await gather.take_snapshots(flock), nodes=DAEMONS),
        checks.check_supply(await gather.get_supplies(flock)),
    ]


def check_round(found: Round, witness: Witness) -> Check:
    """An honest round costs nobody; one without a vector is run again; in one with a liar the liar alone pays."""
    mishap, victim = MISHAPS.get(found.round), witness.victims.get(found.round)
    shares = {witness.names[one.account]: one for one in found.shares}
    punished = [name for name, one in shares.items() if one.slashed_units]
    absent = [name for name, one in shares.items() if one.is_absent]
    attempts = witness.attempts.get(found.round, 0)
    expected: tuple[str, int, list[str], list[str]] = ("accepted", 1, [], [])
    if mishap is DROPPER and victim is not None:
        expected = ("accepted", 2, [victim], [victim])
    elif mishap is LIAR and victim is not None:
        expected = ("void", 1, [], [victim])
    passed = (found.state, attempts, absent, punished) == expected
    lost = ", ".join(f"{name} {money(shares[name].slashed_units)}" for name in punished) or "nobody"
    text = f"{found.state} in attempt {attempts}; paid {money(found.paid_units)} FML; slashed: {lost}"
    is_paid_right = (found.paid_units > 0) == (expected[0] == "accepted")
    name = f"round {found.round + 1}, {'honest' if mishap is None else f'{victim} the {mishap.name}'}"
    return Check(name, passed and is_paid_right, text)


def check_secrecy(witness: Witness) -> Check:
    """No update of an accepted round stood in a home but its owner's, though all could be searched for."""
    text = f"{witness.searched} openings and weights searched for in the homes of others"
    return Check("secrecy", witness.searched > 0 and not witness.bared, "; ".join([text, *witness.bared]))


def rounds_table(rounds: Sequence[Round], witness: Witness) -> Table:
    """Return the rounds with what happened in them."""
    rows = []
    for one in rounds:
        mishap = MISHAPS.get(one.round)
        happened = "-" if mishap is None else f"{mishap.name} {witness.victims.get(one.round, '-')}"
        attempts = str(witness.attempts.get(one.round, 0))
        summed = str(len(one.proven.summed)) if one.proven is not None else "-"
        rows.append(
            (
                str(one.round + 1),
                one.state,
                happened,
                attempts,
                summed,
                money(one.paid_units),
                money(one.slashed_units),
            )
        )
    return Table((">ROUND", "OUTCOME", "MISHAP", ">ATTEMPTS", ">SUMMED", ">PAID FML", ">SLASHED"), rows)
