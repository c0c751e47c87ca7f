"""Asks the daemons what the checks and the report need: logs at a common height, supply, accounts, leaderboards."""

from collections.abc import Mapping

import trio

from devnet.checks import Snapshot
from devnet.flock import Flock
from flocknode.errors import ConnectionLost, NotRunning
from flocknode.rpc.chain_records import Supply
from flocknode.rpc.records import Account, AccountList, Block, NodeStatus

# How long the nodes may take to stand at one height, and the pause between two looks.
LEVEL_S = 10.0
LEVEL_AGAIN_S = 0.2


async def take_snapshots(flock: Flock) -> list[Snapshot]:
    """Return every living node's log at the highest height that all of them have."""
    await wait_until_level(flock)
    statuses = await flock.ask_all("node.status", NodeStatus)
    height = min((status.height for status in statuses.values()), default=0)
    snapshots = []
    for name, status in statuses.items():
        try:
            snapshots.append(await _take_snapshot(flock, name, status, height))
        except (NotRunning, ConnectionLost):
            continue  # it has just gone down; a missing node fails the check
    return snapshots


async def wait_until_level(flock: Flock) -> None:
    """Return once all nodes that answer have the same height, or after a while."""
    with trio.move_on_after(LEVEL_S):
        while True:
            statuses = await flock.ask_all("node.status", NodeStatus)
            if len(statuses) == len(flock.daemons) and len({status.height for status in statuses.values()}) == 1:
                return
            await trio.sleep(LEVEL_AGAIN_S)


async def get_supplies(flock: Flock) -> dict[str, Supply]:
    """Return where each node sees all FML."""
    return await flock.ask_all("chain.supply", Supply)


async def get_accounts(flock: Flock) -> Mapping[str, Account]:
    """Return what every account owns, by address."""
    found = await flock.ask_any("account.list", AccountList)
    return {account.address: account for account in found.accounts}


async def _take_snapshot(flock: Flock, name: str, status: NodeStatus, height: int) -> Snapshot:
    if status.height == height:
        return Snapshot(name, height, status.block, status.state_root)
    block = await flock.ask(name, "chain.block", Block, height=height)
    # A header holds the state root after the block before it.
    following = await flock.ask(name, "chain.block", Block, height=height + 1)
    return Snapshot(name, height, block.block, following.state_root)
