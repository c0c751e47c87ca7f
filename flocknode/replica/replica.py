"""The replica: one task that owns the consensus engine, and decides when a height starts, who is told what, and when.

Inputs wait in one queue: judged messages of peers, timeouts, fetched blocks. The task takes all that waits, feeds it to
the engine, and lets messages out once, after one fsync for all of it. The network's tasks judge messages and put them
into the queue; nothing but this task changes anything.
"""

import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog
import trio

from flocknode.network.messages import PeerId, Verdict
from flocknode.replica.blocks import open_committed_block
from flocknode.replica.catch_up import CatchUp, RangeFetched
from flocknode.replica.engine import Engine, Offload
from flocknode.replica.intake import MAX_WAITING_PROPOSALS, Intake, Item, Joined, Proposed, Told, Woken
from flocknode.replica.interfaces import BlockLog, PendingTransactions, ReplicaNetwork
from flocknode.replica.journal import Journal, Log
from flocknode.replica.presence import Presence, ReplicaStatus
from flocknode.replica.signer import ReplicaKeys
from flocknode.replica.wire import (
    NewestVoteAsked,
    NewestVoteTold,
    SummaryTold,
    sign_summary,
)
from protocol.blocks import Block
from protocol.errors import InvalidBlock, InvalidCommit, Malformed
from protocol.tendermint import events
from protocol.tendermint.machine import Step
from protocol.tendermint.messages import Commit
from protocol.tendermint.replicas import Replica as Member
from protocol.tendermint.replicas import is_quorum

if TYPE_CHECKING:
    from trio_typing import TaskStatus

log = structlog.get_logger("flocknode.replica")

# So much of what comes before the replica has learnt its newest vote is kept for afterwards; the rest comes again.
MAX_DEFERRED = 4096
# How often the replica looks whether a height should start or a round stands still.
TICK_S = 0.2
# A round that stands still tells its summary so often; a replica that waits for something to agree on, less often.
SUMMARY_S = 0.5
IDLE_SUMMARY_S = 2.0
# How long a starting replica waits for what its peers know of its newest vote, once it has a peer.
NEWEST_VOTE_S = 1.0
# While nothing commits, a line says why so often.
STALL_LOG_S = 10.0


def keep_some(items: list[Item]) -> list[Item]:
    """Return the first items that a starting replica keeps for later: so many, and of proposals as many as may wait."""
    kept: list[Item] = []
    proposals = 0
    for item in items[:MAX_DEFERRED]:
        proposals += isinstance(item, Proposed)
        if not isinstance(item, Proposed) or proposals <= MAX_WAITING_PROPOSALS:
            kept.append(item)
    return kept


def hex_name(member: Member) -> str:
    """Return what a replica is called where nobody knows its name."""
    return member.account.hex()[:8]


class Replica:
    """One node's part in the consensus. Without keys, or while not in the set, it follows and signs nothing."""

    def __init__(
        self,
        *,
        chain: BlockLog,
        network: ReplicaNetwork,
        transactions: PendingTransactions,
        log: Log,
        keys: ReplicaKeys | None,
        wall_clock: Callable[[], int],
        name_of: Callable[[Member], str] = hex_name,
        randomness: Callable[[int], bytes] = secrets.token_bytes,
        offload: Offload = trio.to_thread.run_sync,
        on_step: Callable[[], object] = lambda: None,
    ) -> None:
        """`wall_clock` returns milliseconds since the Unix epoch, `log` is the write-ahead log of this home alone.

        `on_step` is called when another step of a round began; `status` says which.
        """
        self._chain = chain
        self._network = network
        self._transactions = transactions
        self._wall_clock = wall_clock
        self._offload = offload
        self._on_step = on_step
        self._engine = Engine(
            chain=chain,
            network=network,
            transactions=transactions,
            journal=Journal(log),
            keys=keys,
            wall_clock=wall_clock,
            randomness=randomness,
            offload=offload,
        )
        self._keys = keys
        self._presence = Presence(keys.key if keys is not None else None, name_of)
        self._intake = Intake(self._engine, self._presence, wall_clock)
        self._catch_up = CatchUp(network, self._intake.put)
        self._newest_told: set[PeerId] = set()
        self._stood_since = 0.0
        self._stood_at: object = None
        self._stall_told_at = 0.0

    # --- for the rest of the node ------------------------------------------------------------------------------------

    @property
    def target_height(self) -> int:
        """The highest height that a peer claims to have, at least this log's own."""
        return self._catch_up.target(self._chain.head.height)

    async def wait_for_height(self, height: int) -> None:
        """Return once the log has reached a height."""
        await self._engine.progress.wait_for_height(height)

    async def read_commit(self, height: int) -> tuple[Block, Commit]:
        """Return a block and the commit that made it final, once there is one at this height.

        Whoever asks for one height after the other follows the log, at a pace of its own.
        """
        await self.wait_for_height(height)
        block, commit = self._chain.load_block(height), self._chain.load_commit(height)
        assert block is not None, "a log without gaps"
        assert commit is not None, "a block on the log has its commit"
        return block, commit

    def notice_transaction(self) -> None:
        """Learn that a transaction waits, so that a height need not wait for the next tick."""
        self._intake.put(Woken())

    def status(self) -> ReplicaStatus:
        """Return how this replica is doing."""
        core, now = self._engine.core, trio.current_time()
        missing = self._presence.get_missing(core.replicas, now)
        total = core.replicas.total_power()
        return ReplicaStatus(
            height=core.state.height,
            round=core.state.round,
            step=core.state.step,
            is_voter=self._keys is not None and core.replicas.get(self._keys.key) is not None,
            is_catching_up=self._is_catching_up(),
            power_online=total - sum(member.power for member in missing),
            power_total=total,
            missing=tuple(member.key for member in missing),
            cause=self._explain(now),
        )

    async def handle(self, peer: PeerId, payload: bytes) -> Verdict:
        """Judge a message under the topic of consensus, and queue it if it is of use."""
        return self._intake.judge(peer, payload)

    def peer_joined(self, peer: PeerId) -> None:
        """Learn that a peer is connected: it is told where this replica stands."""
        self._intake.put(Joined(peer))

    def peer_left(self, peer: PeerId) -> None:
        """Learn that a peer is gone."""
        self._presence.lose(peer)
        self._catch_up.forget(peer)

    # --- the task ----------------------------------------------------------------------------------------------------

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Take part until cancelled; started once the state from before the last stop is back.

        Ends with `StateMismatch` (in a group) when a verified commit contradicts what this node computed.
        """
        self._engine.recover()
        self._stood_since = self._stall_told_at = trio.current_time()
        async with trio.open_nursery() as nursery:
            task_status.started()
            deferred = await self._learn_newest_vote() if self._keys is not None else []
            await self._engine.resume()
            await self._process(deferred, nursery)
            while True:
                await self._process(await self._next_items(), nursery)

    async def _next_items(self) -> list[Item]:
        """Wait for something to do, and return all of it."""
        tick_at = trio.current_time() + TICK_S
        items: list[Item] = []
        with trio.move_on_at(min(tick_at, self._engine.timers.next_deadline())):
            items = await self._intake.take()
        return [*items, *self._engine.timers.take_expired(trio.current_time())]

    async def _process(self, items: list[Item], nursery: trio.Nursery) -> None:
        for item in items:
            match item:
                case Proposed(event, held):
                    await self._engine.feed_block(event, held)
                case RangeFetched():
                    await self._append_range(item)
                case Told(peer, message):
                    self._answer(peer, message)
                case Joined(peer):
                    self._greet(peer)
                case events.VoteReceived() | events.TimeoutExpired():
                    await self._engine.feed(item)
        if self._is_height_due():
            await self._engine.feed(events.HeightStarted(self._engine.core.state.height))
            if self._engine.core.state.step == Step.WAITING:
                # Who decides alone is at the next height already, and no message of others will wake it.
                self._intake.put(Woken())
        self._catch_up.request(nursery, self._chain.head.height)
        self._tell_of_standstill()
        await self._engine.flush()

    # --- starting a height -------------------------------------------------------------------------------------------

    def _is_height_due(self) -> bool:
        """Return whether the wait before round 0 is over; a message of the height ends it too, in the core."""
        engine, params = self._engine, self._chain.params
        if engine.core.state.step != Step.WAITING:
            return False
        waited_ms = (trio.current_time() - engine.height_began_at) * 1000
        if waited_ms < params.min_block_interval_ms:
            return False
        # The block before asks for a successor that certifies the state after it, unless it did nothing.
        return (
            waited_ms >= params.idle_block_ms
            or engine.asks_for_successor
            or self._transactions.has_includable()
            or self._chain.is_block_due(self._wall_clock())
        )

    async def _learn_newest_vote(self) -> list[Item]:
        """Ask peers what this replica signed last, for a short while; return what else came in the meantime.

        The while begins with the first peer: who cannot decide alone has nothing to sign before that.
        """
        deferred: list[Item] = []
        replicas, asked_until = self._engine.core.replicas, float("inf")
        is_alone = is_quorum(replicas.power_of(self._own_key()), replicas.total_power())
        for peer in self._network.peers:
            self._greet(peer)
        while len(self._newest_told) < len(replicas.replicas) - 1 and trio.current_time() < asked_until:
            if self._network.peers or is_alone:
                asked_until = min(asked_until, trio.current_time() + NEWEST_VOTE_S)
            await self._engine.flush()
            with trio.move_on_at(min(asked_until, trio.current_time() + TICK_S)):
                deferred = keep_some([*deferred, *self._take_greetings(await self._intake.take())])
            self._tell_of_standstill()
        return deferred

    def _take_greetings(self, items: list[Item]) -> list[Item]:
        """Answer what is about newest votes and return the rest."""
        rest: list[Item] = []
        for item in items:
            match item:
                case Told(peer, NewestVoteAsked() | NewestVoteTold() as message):
                    self._answer(peer, message)
                case Joined(peer):
                    self._greet(peer)
                case _:
                    rest.append(item)
        return rest

    def _own_key(self) -> bytes:
        return self._keys.key if self._keys is not None else b""

    # --- anti-entropy ------------------------------------------------------------------------------------------------

    def _greet(self, peer: PeerId) -> None:
        self._tell_summary(peer)
        if self._keys is not None:
            self._engine.tell(peer, NewestVoteAsked(self._keys.key))

    def _tell_summary(self, peer: PeerId) -> None:
        summary = self._engine.core.summary()
        told = SummaryTold(summary, None)
        if self._keys is not None:
            told = sign_summary(self._chain.id, self._keys.seed, summary)
        self._engine.tell(peer, told)

    def _answer(self, peer: PeerId, message: SummaryTold | NewestVoteAsked | NewestVoteTold) -> None:
        match message:
            case SummaryTold(summary, author):
                if author is not None and self._engine.core.replicas.get(author.replica) is not None:
                    self._presence.hear_directly(peer, author.replica, trio.current_time())
                self._catch_up.hear_claim(peer, summary.height - 1)
                self._engine.tell_missing(peer, self._engine.core.get_missing(summary))
                if summary.height < self._engine.core.state.height:
                    # So that it learns that there is something to fetch.
                    self._tell_summary(peer)
            case NewestVoteAsked(replica):
                self._engine.tell(peer, NewestVoteTold(replica, self._engine.core.newest_vote_of(replica)))
            case NewestVoteTold(replica, vote) if self._keys is not None and replica == self._keys.key:
                self._newest_told.add(peer)
                if vote is not None and self._engine.signer is not None:
                    self._engine.signer.learn_newest(vote)

    def _tell_of_standstill(self) -> None:
        """While nothing moves, tell peers where this replica stands, and people why."""
        state, now = self._engine.core.state, trio.current_time()
        stands_at = (state.height, state.round, state.step)
        if stands_at != self._stood_at:
            self._stood_at, self._stood_since = stands_at, now
            self._on_step()
        if now - self._stood_since >= (IDLE_SUMMARY_S if state.step == Step.WAITING else SUMMARY_S):
            self._stood_since = now
            for peer in self._network.peers:
                self._tell_summary(peer)
        if now - max(self._stall_told_at, self._engine.height_began_at) >= STALL_LOG_S and (
            cause := self._explain(now)
        ):
            self._stall_told_at = now
            log.info("waiting", height=state.height, round=state.round, cause=cause)

    # --- catching up -------------------------------------------------------------------------------------------------

    async def _append_range(self, fetched: RangeFetched) -> None:
        """Verify and append what a peer sent, block after block, through the core."""
        engine, core = self._engine, self._engine.core
        last_height = fetched.first_height + len(fetched.pairs) - 1
        try:
            while fetched.first_height <= (height := core.state.height) <= last_height:
                data = fetched.pairs[height - fetched.first_height]
                held, commit = await self._offload(open_committed_block, self._chain.id, core.replicas, height, data)
                engine.is_following_range = height < last_height
                await engine.feed_block(events.CommitReceived(commit), held)
        except (Malformed, InvalidBlock, InvalidCommit) as error:
            log.warning("a peer sent a wrong block", peer=fetched.peer, height=core.state.height, reason=str(error))
            self._catch_up.avoid(fetched.peer)
            self._network.blame(fetched.peer, f"a wrong block {core.state.height}: {error}")
        finally:
            engine.is_following_range = False
        if not fetched.pairs:
            self._catch_up.avoid(fetched.peer)
        if self._is_catching_up():
            target = self._catch_up.target(self._chain.head.height)
            log.info("catching up", height=self._chain.head.height, target=target)

    def _is_catching_up(self) -> bool:
        return self._catch_up.target(self._chain.head.height) > self._chain.head.height

    def _explain(self, now: float) -> str:
        """Return in a sentence why nothing commits, or nothing."""
        head, core, signer = self._chain.head, self._engine.core, self._engine.signer
        if self._is_catching_up():
            return f"catching up: height {head.height} of {self._catch_up.target(head.height)}"
        if signer is not None and (silence := signer.explain(core.state.height)):
            return silence
        return self._presence.explain(core.state, core.replicas, now)
