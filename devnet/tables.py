"""How a task's course and its outcome look: from RPC records to tables. Prints nothing."""

from collections.abc import Mapping, Sequence

from devnet.cast import CAST
from devnet.state import State
from flocknode.cli.text import Table, format_fml, short
from flocknode.rpc.arena_records import Epoch, Leaderboard, Payout, Ranked, ScoreEntry
from flocknode.rpc.records import Account, NodeStatus
from protocol.types import UNITS_PER_FML

Names = Mapping[str, str]
NOTHING = "-"
HIDDEN = "?"


def money(units: int) -> str:
    """Return units as FML with two decimals."""
    return f"{units / UNITS_PER_FML:,.2f}"


def score(millionths: int | None) -> str:
    """Return a score with four decimals."""
    return NOTHING if millionths is None else f"{millionths / 1e6:.4f}"


def cast_table(nodes: Mapping[str, NodeStatus], balances: Mapping[str, int], state: State) -> Table:
    """Return who plays what, where each daemon is found, and what its account can spend."""
    rows = []
    for number, actor in enumerate(CAST):
        status = nodes[actor.name]
        port = status.address.split("/tcp/")[1].split("/")[0]
        socket = str(state.home(actor.name).find_socket())
        rows.append((str(number), actor.name, actor.role, money(balances[actor.name]), port, str(status.pid), socket))
    return Table(("NO", "NODE", "PLAYS", ">BALANCE FML", ">PORT", ">PID", "SOCKET"), rows)


def blind_table(scores: Sequence[ScoreEntry], names: Names) -> Table:
    """Return what each validator said about each pseudonym, while nobody knows the authors."""
    validators = sorted({entry.validator for entry in scores}, key=lambda address: names.get(address, address))
    found = {(entry.tag, entry.validator): entry for entry in scores}
    rows = [
        (short(tag), *(_verdict(found.get((tag, validator))) for validator in validators), HIDDEN)
        for tag in sorted({entry.tag for entry in scores})
    ]
    return Table(("PSEUDONYM", *(f">{short(one, names)}" for one in validators), "AUTHOR"), rows)


def claims_table(epoch: Epoch, names: Names) -> Table:
    """Return an epoch's ranking with the authors that claimed their pseudonyms."""
    rows = [
        (
            str(ranked.rank) if ranked.rank else NOTHING,
            short(ranked.tag),
            short(ranked.account, names) if ranked.account else "unclaimed",
            score(ranked.score_millionths),
            f"{ranked.share_millionths / 1e4:.2f} %",
            money(ranked.reward_a_units),
        )
        for ranked in epoch.ranking
    ]
    return Table((">RANK", "PSEUDONYM", "AUTHOR", ">SCORE", ">SHARE", ">REWARD A"), rows)


def leaderboard_table(board: Leaderboard, names: Names) -> Table:
    """Return the trainers with ranks and scores on A (its newest epoch) and on B, side by side, best on B first."""
    on_a = [epoch for epoch in board.epochs if epoch.dataset == "a" and epoch.is_settled]
    on_b = [epoch for epoch in board.epochs if epoch.dataset == "b" and epoch.is_settled]
    placed_a, placed_b = _places(on_a[-1:]), _places(on_b[-1:])
    accounts = sorted({*placed_a, *placed_b}, key=lambda account: _order(placed_b.get(account), placed_a.get(account)))
    payouts = {payout.account: payout for payout in board.payouts}
    rows = []
    for account in accounts:
        paid = payouts.get(account)
        rows.append(
            (
                short(account, names),
                *_place(placed_a.get(account)),
                *_place(placed_b.get(account)),
                NOTHING if paid is None else money(paid.a_units),
                NOTHING if paid is None else money(paid.b_units),
            )
        )
    columns = ("TRAINER", ">RANK ON A", ">SCORE ON A", ">RANK ON B", ">SCORE ON B", ">REWARD A", ">REWARD B")
    return Table(columns, rows)


def payouts_table(board: Leaderboard, names: Names) -> Table:
    """Return who was paid what and for what, with the sums."""
    rows = []
    for paid in sorted(board.payouts, key=lambda paid: _seat(names.get(paid.account, ""))):
        parts = parts_of(paid)
        rows.append((short(paid.account, names), *map(money, parts), money(sum(parts))))
    sums = [sum(column) for column in zip(*map(parts_of, board.payouts), strict=True)]
    rows.append(("sum", *map(money, sums), money(sum(sums))))
    columns = (">REWARD A", ">+ REWARD B", ">+ VALIDATING", ">+ CREATING", ">+ TO DELEGATORS", ">= PAID FML")
    return Table(("ACCOUNT", *columns), rows)


def parts_of(paid: Payout) -> tuple[int, ...]:
    """Return what a task paid to an account, and to its delegators, by reason; in units."""
    return (paid.a_units, paid.b_units, paid.validating_units, paid.creating_units, paid.passed_on_units)


def balances_table(before: Mapping[str, Account], after: Mapping[str, Account], names: Names) -> Table:
    """Return what each account owns in all, before and after, with the part of it that cannot be spent yet."""
    rows = [
        (
            names.get(address, short(address)),
            money(owned(before[address])),
            money(owned(account)),
            f"{(owned(account) - owned(before[address])) / UNITS_PER_FML:+,.2f}",
            money(account.staked_units + account.unbonding_units),
        )
        for address, account in sorted(after.items(), key=lambda item: _seat(names.get(item[0], "")))
        if address in before
    ]
    return Table(("ACCOUNT", ">OWNED BEFORE", ">AFTER", ">CHANGE", ">STAKED OR UNBONDING"), rows)


def owned(account: Account) -> int:
    """Return everything an account owns, in units."""
    return account.balance_units + account.bonded_units + account.staked_units + account.unbonding_units


def pots_sentence(board: Leaderboard) -> str:
    """Return how the pots and what was paid from them compare."""
    pots = sum(epoch.pot_units for epoch in board.epochs)
    paid = sum(sum(parts_of(one)) for one in board.payouts)
    listed = " + ".join(format_fml(epoch.pot_units) for epoch in board.epochs)
    if paid == pots:
        return f"pots {listed} = {format_fml(pots)} FML = what was paid, to the last unit"
    return f"pots {listed} = {format_fml(pots)} FML; {format_fml(paid)} paid, {format_fml(pots - paid)} left unpaid"


def _verdict(entry: ScoreEntry | None) -> str:
    if entry is None:
        return NOTHING
    return score(entry.score_millionths) if entry.verdict == "scored" else entry.verdict


def _places(epochs: Sequence[Epoch]) -> dict[str, Ranked]:
    return {ranked.account: ranked for epoch in epochs for ranked in epoch.ranking if ranked.account is not None}


def _place(ranked: Ranked | None) -> tuple[str, str]:
    if ranked is None:
        return NOTHING, NOTHING
    return str(ranked.rank) if ranked.rank else NOTHING, score(ranked.score_millionths)


def _order(*places: Ranked | None) -> tuple[int, ...]:
    # Unranked last.
    return tuple(len(CAST) if place is None or not place.rank else place.rank for place in places)


def _seat(name: str) -> int:
    return next((number for number, actor in enumerate(CAST) if actor.name == name), len(CAST))
