"""Everything that users do to daemons at once, over and over: transfers, questions, subscriptions, blobs.

Clients connect and go, so that whatever a daemon keeps of them shows as growth.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import trio

from devnet.applications import DIGITS
from devnet.bench.replicas import wait_for_height
from devnet.daemon import Daemon
from devnet.play import require_included
from flocknode.keystore import load_public_keys
from flocknode.rpc.arena_records import Submitted, Task
from flocknode.rpc.client import RpcClient, open_client
from flocknode.rpc.records import Account, ChainHead, NodeStatus, Outcome, Transaction
from flocknode.rpc.records import Topic as EventTopic
from protocol.types import UNITS_PER_FML

MAX_TRANSFERS_AT_ONCE = 16
MAX_TURNS_OF_CLIENT = 5
TOPICS: tuple[EventTopic, ...] = ("blocks", "rounds", "tasks", "peers", "logs")
EVENTS_OF_CLIENT = 100
# How far back a subscriber begins, at most.
RESUMED_BLOCKS = 20
DATASET_BYTES = 300_000
# Between two tasks; each stays open for a minute of block time, until it expires for want of members.
TASK_PAUSE_S = 4.0
POLL_S = 0.2


@dataclass
class Done:
    """What the load has done so far."""

    transfers: int = 0
    clients: int = 0
    events: int = 0
    blobs: int = 0


class Load:
    """A mixed load on some daemons of one chain; what it does is drawn from `rng`. `folder` is for datasets."""

    def __init__(self, daemons: Sequence[Daemon], folder: Path, rng: random.Random) -> None:
        self._daemons = list(daemons)
        self._folder = folder
        self._rng = rng
        self._accounts = [load_public_keys(daemon.home).account.hex() for daemon in daemons]
        self.done = Done()

    async def run(self) -> None:
        """Go on until cancelled. Raises what a daemon answers that it should not, and `ConnectionLost`."""
        async with trio.open_nursery() as nursery:
            for daemon in self._daemons:
                nursery.start_soon(self._pay, daemon)
            nursery.start_soon(self._listen)
            nursery.start_soon(self._move_blobs)

    async def _pay(self, daemon: Daemon) -> None:
        while True:
            async with open_client(daemon.home) as client:
                self.done.clients += 1
                for _ in range(self._rng.randint(1, MAX_TURNS_OF_CLIENT)):
                    await self._send_some(client)

    async def _send_some(self, client: RpcClient) -> None:
        """Send some transfers, wait until the last one is on the log, and ask about it."""
        count = self._rng.randint(1, MAX_TRANSFERS_AT_ONCE)
        to = self._rng.choice(self._accounts)
        calls = [{"to": to, "amount_units": 1, "wait": number == count - 1} for number in range(count)]
        outcomes = await client.call_all("tx.transfer", Outcome, calls)
        require_included(outcomes[-1], "a transfer of the load")
        self.done.transfers += count
        await client.call("tx.show", Transaction, id=outcomes[-1].id)
        await client.call("account.show", Account)
        await client.call("node.status", NodeStatus)

    async def _listen(self) -> None:
        """Follow the events for a while, at one daemon after the other, each time from a little way back."""
        while True:
            async with open_client(self._rng.choice(self._daemons).home) as client:
                self.done.clients += 1
                head = await client.call("chain.head", ChainHead)
                since = max(1, head.height - self._rng.randint(0, RESUMED_BLOCKS))
                events = await client.subscribe(TOPICS, from_height=since)
                for _ in range(EVENTS_OF_CLIENT):
                    await events.receive()
                    self.done.events += 1

    async def _move_blobs(self) -> None:
        """Have tasks created, which seals two datasets into blobs; the last daemon, where there are more, fetches them.

        One only, for the first role in a task starts a node's learning worker.
        """
        *creators, validator = self._daemons if len(self._daemons) > 1 else self._daemons * 2
        while True:
            task = await self._create_task(self._rng.choice(creators))
            self.done.blobs += 2
            if validator is not creators[0]:
                await self._attest(validator, task)
                self.done.blobs += 2
            await trio.sleep(TASK_PAUSE_S)

    async def _create_task(self, creator: Daemon) -> Submitted:
        datasets = [self._folder / f"{name}.bin" for name in ("a", "b")]
        for dataset in datasets:
            dataset.write_bytes(self._rng.randbytes(DATASET_BYTES))
        async with open_client(creator.home) as client:
            created = await client.call(
                "arena.create",
                Submitted,
                name="soak",
                family=DIGITS.family,
                model=DIGITS.model,
                metric=DIGITS.metric,
                dataset_a=str(datasets[0]),
                dataset_b=str(datasets[1]),
                epochs=2,
                escrow_units=UNITS_PER_FML,
                measure_baseline=False,
            )
        require_included(created.outcome, "a task of the load")
        return created

    async def _attest(self, validator: Daemon, created: Submitted) -> None:
        """Have a validator join, return once it has attested that it holds both datasets, and have it leave."""
        task = str(created.task)
        await wait_for_height(validator, created.outcome.height or 0)
        async with open_client(validator.home) as client:
            stake = 10 * UNITS_PER_FML
            joined = await client.call("arena.join", Submitted, task=task, role="validator", stake_units=stake)
            require_included(joined.outcome, "joining a task of the load")
            while not await has_attested(client, task):  # noqa: ASYNC110 - another process decides
                await trio.sleep(POLL_S)
            left = await client.call("arena.leave", Submitted, task=task)
            require_included(left.outcome, "leaving a task of the load")


async def has_attested(client: RpcClient, task: str) -> bool:
    """Return whether a validator says that it holds a task's datasets."""
    found = await client.call("arena.show", Task, task=task)
    return any(member.has_attested for member in found.members)
