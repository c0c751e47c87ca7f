"""Tells the task to the person at the terminal: the white paper's steps (Fig. 3) as they happen, and the outcome."""

from collections.abc import Mapping, Sequence

from devnet import tables
from devnet.cast import BOND_FML, CAST, CREATOR, ESCROW_FML, Casting
from devnet.checks import Check
from devnet.flock import Flock
from devnet.screen import Screen
from flocknode.cli.text import Table, short
from flocknode.home import load_names
from flocknode.rpc.arena_records import Leaderboard, ScoreList, Submitted
from flocknode.rpc.records import Account, NodeStatus, TaskEvent

TITLES = {
    "submit": "Epoch {epoch}: training nodes train on private data and enter models under pseudonyms (white paper V.C)",
    "open": "Entering has closed: the log draws validators by stake (V.B), models and dataset {dataset} are opened",
    "score": "Blind validation on dataset {dataset} (V.D): validators evaluate and commit to scores nobody sees yet",
    "reveal": "Validators reveal the scores that they committed to (V.E)",
}


class Story:
    """What is told about one devnet."""

    def __init__(self, flock: Flock, screen: Screen) -> None:
        self._flock = flock
        self._screen = screen
        self._names: Mapping[str, str] = load_names(flock.state.control)
        self.is_one_of_several = False

    # --- before the task ---------------------------------------------------------------------------------------------

    def tell_cast(self, nodes: Mapping[str, NodeStatus], accounts: Mapping[str, Account]) -> None:
        """Show who plays what, where it all lies, and what to type into a second terminal."""
        state, say = self._flock.state, self._screen.say
        balances = {name: accounts[state.address(name)].balance_units for name in nodes}
        say()
        self._screen.table(tables.cast_table(nodes, balances, state))
        say()
        say(f"    state   {state.path}")
        say(f"    chain   {next(iter(nodes.values())).chain}")
        say(f"    bonds   {BOND_FML:,} FML each: all seven vote on blocks, any two may be down")
        say()
        say("    In a second terminal, from the repository's folder:")
        for command in first_commands(self._flock):
            say(f"      {command}", style="bold")

    def tell_created(self, casting: Casting, created: Submitted) -> None:
        """Show what the task asks for."""
        self._screen.lines(
            [
                f"task {created.task} in block {created.outcome.height}: {casting.application.describe()}",
                f"{casting.creator} puts {ESCROW_FML} FML into escrow and names datasets A and B by the hashes of their"
                " ciphertexts and keys",
            ]
        )

    def tell_joined(self, casting: Casting) -> None:
        """Show the stakes."""
        rows = [(part.name, part.role, str(part.stake_fml)) for part in casting.members]
        self._screen.table(Table(("NODE", "ROLE", ">STAKE FML"), rows))

    # --- while it runs -----------------------------------------------------------------------------------------------

    async def tell_phase(self, teller: str, event: TaskEvent) -> None:
        """Tell a phase of the task that just began or ended, with what can be seen at that moment."""
        match event.phase:
            case "claim":
                self._step(
                    event, "The blind moment: every pseudonym has its scores, and nobody knows whose it is (V.E)"
                )
                await self._tell_blind(teller, event)
            case "settled":
                self._step(event, f"Epoch {event.epoch + 1} settles: who claimed which, and what it earned (V.E, V.F)")
                await self._tell_claims(teller, event)
            case phase if phase in TITLES:
                dataset = await self._dataset(teller, event)
                self._step(event, TITLES[phase].format(epoch=event.epoch + 1, dataset=dataset))

    def _step(self, event: TaskEvent, title: str) -> None:
        """Begin a step; of several tasks at once, it says of which."""
        self._screen.step(f"Task {event.task} {event.name}: {title}" if self.is_one_of_several else title)

    async def _dataset(self, teller: str, event: TaskEvent) -> str:
        board = await self._board(event.task, first=teller)
        return next((epoch.dataset.upper() for epoch in board.epochs if epoch.epoch == event.epoch), "A")

    async def _tell_blind(self, teller: str, event: TaskEvent) -> None:
        # The node that told has the block; others may not have it yet.
        found = await self._flock.ask_any(
            "arena.scores", ScoreList, first=teller, task=str(event.task), epoch=event.epoch
        )
        self._screen.table(tables.blind_table(found.scores, self._names))

    async def _tell_claims(self, teller: str, event: TaskEvent) -> None:
        for epoch in (await self._board(event.task, first=teller)).epochs:
            if epoch.epoch == event.epoch:
                self._screen.table(tables.claims_table(epoch, self._names))
                paid = ", ".join(
                    f"{short(one.account, self._names)} {tables.money(one.payout_units)}" for one in epoch.validators
                )
                self._screen.say(f"    validators, by their distance from the consensus: {paid or 'nobody'}")

    async def _board(self, task: int, *, first: str = "") -> Leaderboard:
        return await self._flock.ask_any("arena.leaderboard", Leaderboard, first=first, task=str(task))

    # --- afterwards --------------------------------------------------------------------------------------------------

    async def tell_outcome(self, task: int) -> None:
        """Show the final leaderboard of a task, and the payouts."""
        board = await self._board(task)
        say = self._screen.say
        say()
        say(f"    Task {task} {board.name}", style="bold")
        say("    Leaderboard: ranks on A pay reward A each epoch, ranks on B decide reward B", style="bold")
        self._screen.table(tables.leaderboard_table(board, self._names))
        say()
        say("    Payouts", style="bold")
        self._screen.table(tables.payouts_table(board, self._names))
        say(f"    {tables.pots_sentence(board)}")

    def tell_balances(self, before: Mapping[str, Account], after: Mapping[str, Account]) -> None:
        """Show what it all did to the balances."""
        say = self._screen.say
        say()
        say("    Balances (bonds included; transaction fees go to who proposes blocks)", style="bold")
        self._screen.table(tables.balances_table(before, after, self._names))

    def tell_checks(self, checks: Sequence[Check]) -> None:
        """Show what was checked and whether it held."""
        self._screen.say()
        for check in checks:
            mark, style = ("ok  ", "bold green") if check.passed else ("FAIL", "bold red")
            self._screen.say(f"    {mark}  {check.found}", style=style)

    def tell_next(self, task: int) -> None:
        """Show what to try while the daemons go on."""
        self._screen.step("The daemons go on. Try, in a second terminal:")
        for command, meaning in next_commands(self._flock, task):
            self._screen.say(f"    {command:<64} {meaning}")
        self._screen.say()
        self._screen.say("    Ctrl-C stops all of them; the next ./devnet/run goes on with this chain.", style="bold")


def first_commands(flock: Flock) -> list[str]:
    """Return what to type while the task runs."""
    home = flock.state.home(CREATOR.name).path
    return [
        ". .venv/bin/activate",
        "python -m devnet status",
        "python -m devnet logs -f",
        f"flocknode status --home {home}",
    ]


def next_commands(flock: Flock, task: int) -> list[tuple[str, str]]:
    """Return (command, what it is for)."""
    home, other = flock.state.home(CREATOR.name).path, CAST[1].name
    return [
        (f"export FLOCKNODE_HOME={home}", f"talk to {CREATOR.name}'s daemon"),
        (f"flocknode arena leaderboard {task}", "the whole ranking, epoch by epoch"),
        (f"flocknode arena scores {task}", "what each validator said"),
        ("flocknode chain block", "the newest block and who signed it"),
        ("flocknode chain supply", "where all FML is"),
        (f"flocknode tx transfer {other} 12.5", "move FML and wait for the block"),
        (f"python -m devnet kill {other}", "kill -9 a daemon: the others go on"),
        (f"python -m devnet restart {other}", "and see it catch up"),
        ("python -m devnet scenario kill", "kill two daemons in every phase of a task"),
    ]
