"""What a run came to, as JSON for programs.

Amounts are base units, scores and shares millionths, accounts and tags hex; `block` and `state_root` are those at
`height`, the highest that all nodes have. Nothing is computed here but sums that the nodes answered themselves.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from devnet.cast import ACTORS
from devnet.checks import Snapshot
from devnet.flock import Flock
from devnet.tables import parts_of
from flocknode.rpc.arena_records import Epoch, Leaderboard, ScoreEntry, ScoreList, TaskList
from flocknode.rpc.chain_records import Supply


class NodeReport(Struct):
    """One node at the highest height that all have."""

    name: str
    role: str
    address: str
    height: int
    block: str
    state_root: str


class SupplyReport(Struct):
    """All FML in base units: genesis + minted - burned = total."""

    genesis: int
    minted: int
    burned: int
    total: int


class RankedReport(Struct):
    """One submission of an epoch, best first; `payout` is reward A and, in the last epoch, reward B."""

    account: str | None
    tag: str
    score: int | None
    share: int
    payout: int


class EpochReport(Struct):
    """One epoch; `scores` are what each validator revealed about each tag, null for one it could not score."""

    dataset: str
    pot: int
    emitted: int
    creator_payout: int
    ranking: list[RankedReport]
    scores: dict[str, dict[str, int | None]]
    validator_payouts: dict[str, int]


class PayoutReport(Struct):
    """What an account, or those who delegated to it, got from a task in all."""

    a: int
    b: int
    validating: int
    creating: int
    passed_on: int


class TaskReport(Struct):
    """One task of the chain."""

    id: int
    epochs: list[EpochReport]
    payouts: dict[str, PayoutReport]


class Seconds(Struct):
    """Since the start of the daemons: until the first block, and until the task was settled."""

    first_block: float
    settled: float


class Report(Struct):
    """A whole run."""

    nodes: list[NodeReport]
    supply: SupplyReport
    tasks: list[TaskReport]
    seconds: Seconds


async def make_report(
    flock: Flock, snapshots: Sequence[Snapshot], supply: Supply, *, first_block_s: float, settled_s: float
) -> Report:
    """Ask for everything that the report holds: all tasks of the chain, oldest first."""
    listed = await flock.ask_any("arena.list", TaskList)
    return Report(
        nodes=[
            NodeReport(
                one.name, ACTORS[one.name].role, flock.state.address(one.name), one.height, one.block, one.state_root
            )
            for one in snapshots
        ],
        supply=SupplyReport(supply.genesis_units, supply.minted_units, supply.burned_units, supply.total_units),
        tasks=[await describe_task(flock, task.task) for task in reversed(listed.tasks)],
        seconds=Seconds(round(first_block_s, 3), round(settled_s, 3)),
    )


async def describe_task(flock: Flock, task: int) -> TaskReport:
    """Return one task's epochs and payouts."""
    board = await flock.ask_any("arena.leaderboard", Leaderboard, task=str(task))
    scores = await flock.ask_any("arena.scores", ScoreList, task=str(task))
    return TaskReport(
        id=task,
        epochs=[describe_epoch(epoch, scores.scores) for epoch in board.epochs],
        payouts={one.account: PayoutReport(*parts_of(one)) for one in board.payouts},
    )


def describe_epoch(epoch: Epoch, scores: Sequence[ScoreEntry]) -> EpochReport:
    """Return one epoch of a task, given all revealed scores of the task."""
    revealed: dict[str, dict[str, int | None]] = {}
    for entry in scores:
        if entry.epoch == epoch.epoch:
            revealed.setdefault(entry.validator, {})[entry.tag] = entry.score_millionths
    return EpochReport(
        dataset=epoch.dataset,
        ranking=[
            RankedReport(one.account, one.tag, one.score_millionths, one.share_millionths, one.payout_units)
            for one in epoch.ranking
        ],
        scores=revealed,
        pot=epoch.pot_units,
        emitted=epoch.emitted_units,
        creator_payout=epoch.creator_units,
        validator_payouts={one.account: one.payout_units for one in epoch.validators},
    )


def save_report(path: Path, report: Report) -> None:
    """Write the report, all of it or nothing."""
    temporary = path.with_name(f"{path.name}.new")
    temporary.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
    os.replace(temporary, path)
