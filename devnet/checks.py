"""What must be true of a devnet: pure judgements over what the daemons answered."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from devnet.tables import parts_of
from flocknode.cli.text import format_fml, short
from flocknode.rpc.arena_records import Leaderboard
from flocknode.rpc.chain_records import Supply


class Check(NamedTuple):
    """One thing that must be true, whether it is, and what was found."""

    name: str
    passed: bool
    found: str


class Snapshot(NamedTuple):
    """A node's log at one height: block id, and the state root after that block."""

    name: str
    height: int
    block: str
    state_root: str


def check_agreement(snapshots: Sequence[Snapshot], *, nodes: int) -> Check:
    """All nodes have the same block and the same state after it, at the highest height that all have."""
    found = {(one.height, one.block, one.state_root) for one in snapshots}
    if len(snapshots) == nodes and len(found) == 1:
        height, block, root = found.pop()
        text = f"{nodes} of {nodes} nodes agree: height {height}, block {short(block)}, state root {short(root)}"
        return Check("agreement", True, text)
    listed = "; ".join(f"{one.name} {one.height} {short(one.block)} {short(one.state_root)}" for one in snapshots)
    return Check("agreement", False, f"{len(snapshots)} of {nodes} nodes answered: {listed}")


def check_supply(supplies: Mapping[str, Supply]) -> Check:
    """On every node genesis + minted - burned is the total, and the total is the sum of all places."""
    wrong = [name for name, supply in supplies.items() if not adds_up(supply)]
    passed = bool(supplies) and not wrong
    return Check(
        "supply", passed, "the supply adds up" if passed else f"the supply does not add up on {wrong or 'any'}"
    )


def adds_up(supply: Supply) -> bool:
    """Return whether the counted money is there."""
    counted = supply.genesis_units + supply.minted_units - supply.burned_units
    return counted == supply.total_units == sum(supply.places.values())


def check_settled(board: Leaderboard) -> Check:
    """The task is over, every epoch has a result, and every pot is paid to the last unit."""
    settled = sum(epoch.is_settled for epoch in board.epochs)
    pots = sum(epoch.pot_units for epoch in board.epochs)
    paid = sum(sum(parts_of(one)) for one in board.payouts)
    passed = board.status == "settled" and settled == len(board.epochs) > 0 and paid == pots
    money = f"{format_fml(paid)} of {format_fml(pots)} FML paid"
    text = f"task {board.task} is {board.status}, {settled} of {len(board.epochs)} epochs, {money}"
    return Check("settled", passed, text)


def check_duties(board: Leaderboard, *, trainers: Iterable[str], validators: Iterable[str]) -> Check:
    """Every epoch has a ranked model of each trainer, and each validator was paid and not slashed."""
    missed = []
    for epoch in board.epochs:
        ranked = {one.account for one in epoch.ranking if one.rank}
        judged = {one.account for one in epoch.validators if one.payout_units and not one.slashed_units}
        missed += [f"{short(who)} in epoch {epoch.epoch + 1}" for who in trainers if who not in ranked]
        missed += [f"{short(who)} in epoch {epoch.epoch + 1}" for who in validators if who not in judged]
    text = f"missed: {', '.join(missed)}" if missed else "everybody did every duty, nobody was slashed"
    return Check("duties", not missed, text)
