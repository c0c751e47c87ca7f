"""The core with everything it asks for: memory, signatures, timeouts, blocks. Owned by the replica's task alone.

`feed` takes inputs in, writes them down and performs the effects; what is to be said to peers waits in an outbox that
`flush` lets out after an fsync. Execution, building and fsync run off the event loop, one at a time.
"""

from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any

import structlog
import trio

from flocknode.network.messages import PeerId, Topic
from flocknode.replica.blocks import HeldBlock, hold_own_block
from flocknode.replica.interfaces import BlockLog, PendingTransactions, ReplicaNetwork
from flocknode.replica.journal import Journal
from flocknode.replica.progress import Progress
from flocknode.replica.signer import ReplicaKeys, Signer
from flocknode.replica.timers import Timers
from flocknode.replica.wire import BlockProposal, ConsensusMessage, VoteCast
from protocol.codec import encode
from protocol.errors import InvalidBlock, StateMismatch
from protocol.tendermint import events
from protocol.tendermint.core import Core
from protocol.tendermint.machine import Step
from protocol.tendermint.messages import Commit, Proposal, Vote, VoteKind

MAX_EVIDENCE = 64

# Runs a blocking function off the event loop: `trio.to_thread.run_sync`, but in tests whose clock is simulated.
Offload = Callable[..., Awaitable[Any]]

log = structlog.get_logger("flocknode.replica")


class Engine:
    """One core, its height's blocks, and the ways to perform its effects."""

    def __init__(
        self,
        *,
        chain: BlockLog,
        network: ReplicaNetwork,
        transactions: PendingTransactions,
        journal: Journal,
        keys: ReplicaKeys | None,
        wall_clock: Callable[[], int],
        randomness: Callable[[int], bytes],
        offload: Offload,
    ) -> None:
        self.chain = chain
        self.keys = keys
        self._network = network
        self._transactions = transactions
        self._journal = journal
        self._wall_clock = wall_clock
        self._randomness = randomness
        self._offload = offload
        self._outbox: list[tuple[PeerId | None, bytes]] = []
        self._interrupted: list[events.Effect] = []
        self._started_at: float | None = None
        height = chain.head.height
        last_commit = chain.load_commit(height) if height else None
        own_key = keys.key if keys is not None else None
        self.core = Core(own_key, height + 1, chain.replicas, chain.priorities, last_commit=last_commit)
        self.signer: Signer | None = None
        self.blocks: dict[bytes, HeldBlock] = {}
        self.timers = Timers(chain.params)
        self.progress = Progress(height)
        self.evidence: deque[events.EvidenceFound] = deque(maxlen=MAX_EVIDENCE)
        # When the current height began to wait, on trio's clock.
        self.height_began_at = 0.0
        # Whether the newest block's state wants certifying by a successor; that of one that did nothing does not.
        newest = chain.load_block(height) if height else None
        self.asks_for_successor = newest is None or bool(newest.transactions) or chain.has_task_events(height)
        # Set while more committed blocks wait to be appended: then nothing is signed in between.
        self.is_following_range = False

    # --- memory ------------------------------------------------------------------------------------------------------

    def recover(self) -> None:
        """Bring back the state from before the last stop; `resume` does what was left undone then."""
        recovered = self._journal.recover(self.core.state.height)
        if self.keys is not None:
            self.signer = self._make_signer(self.keys)
        self.blocks = recovered.blocks
        built = {event.round for event in recovered.inputs if isinstance(event, events.BlockBuilt)}
        effects = self.core.restore(recovered.state, recovered.kept) if recovered.state is not None else []
        effects += [effect for event in recovered.inputs for effect in self.core.step(event)]
        self._interrupted = [e for e in effects if not (isinstance(e, events.GetBlock) and e.round in built)]
        self.height_began_at = trio.current_time()

    def _make_signer(self, keys: ReplicaKeys) -> Signer:
        """Return the signer as the journal and the log leave it."""
        signer, head = Signer(self.chain.id, keys.seed, self._journal.last_signed), self.chain.head
        signer.learn_log(self.core.state.height)
        if self._journal.forgotten is not None:
            # A block's time may be off by the precision, and so may the clock that this one is compared with.
            signer.forget(self._journal.forgotten.time_ms + 2 * self.chain.params.clock_precision_ms)
            signer.learn_commit(head.height, head.time_ms)
        return signer

    async def resume(self) -> None:
        """Perform the effects whose outcome is not among the recovered inputs."""
        interrupted, self._interrupted = self._interrupted, []
        for effect in interrupted:
            if self._is_undone(effect):
                await self._take_all(await self._perform(effect))
        # Not in between: a block that was built and not proposed is named by nothing but the effect that proposes it.
        self._prune_blocks()

    def _is_undone(self, effect: events.Effect) -> bool:
        state = self.core.state
        match effect:
            case events.SignProposal() | events.SignVote():
                return not self.core.has_signed(effect)
            case events.ValidateBlock(height, _, block_id):
                return height == state.height and block_id not in self.core.proposals.verdicts
            case events.GetBlock(height, round):
                return (height, round, Step.PROPOSE) == (state.height, state.round, state.step)
            case events.ScheduleTimeout(_, height, round):
                return (height, round) == (state.height, state.round)
            case _:
                return True

    # --- inputs ------------------------------------------------------------------------------------------------------

    async def feed(self, *inputs: events.Input) -> None:
        """Take inputs in, in their order, with all that follows from them."""
        await self._take_all(inputs)
        self._prune_blocks()
        if self._journal.is_long:
            await self._begin_journal_anew()

    async def feed_block(self, event: events.ProposalReceived | events.CommitReceived, held: HeldBlock) -> None:
        """Take in an input together with the block that it names."""
        self.blocks[held.id] = held
        await self.feed(event)

    async def _begin_journal_anew(self) -> None:
        """Let go of what no restart needs any more. All that the core asked for is done, so its state says it all."""
        kept, height = self.core.get_kept(), self.core.state.height
        blocks = [held for held in self.blocks.values() if held.height == height]
        await self._offload(self._journal.rotate, self.core.state, kept, blocks)

    async def _take_all(self, inputs: Iterable[events.Input]) -> None:
        queue = deque(inputs)
        while queue:
            for effect in self._take(queue.popleft()):
                queue.extend(await self._perform(effect))

    def _take(self, event: events.Input) -> list[events.Effect]:
        """Step the core, and write down what changed it, so that a replay comes to the same state."""
        height = self.core.state.height
        match event:
            case events.ProposalReceived(message) | events.VoteReceived(message):
                if self.core.holds(message):
                    return []
                effects = self.core.step(event)
                if message.height == height and self.core.holds(message):
                    self._note_block_of(message)
                    self._journal.note_input(event)
            case events.CommitReceived() | events.HeightAdvanced():
                effects = self.core.step(event)
            case _:
                effects = self.core.step(event)
                if event.height == height:
                    self._note_block_of(event)
                    self._journal.note_input(event)
        if self._started_at is None and self.core.state.step != Step.WAITING:
            self._started_at = trio.current_time()
        return effects

    def _note_block_of(self, event: object) -> None:
        if isinstance(event, Proposal | events.BlockBuilt):
            self._journal.note_block(self.blocks[event.block_id])

    def _prune_blocks(self) -> None:
        needed = self.core.block_ids()
        self.blocks = {block_id: held for block_id, held in self.blocks.items() if block_id in needed}

    # --- effects -----------------------------------------------------------------------------------------------------

    async def _perform(self, effect: events.Effect) -> Iterable[events.Input]:
        """Do what the core asks for and return the inputs that come of it."""
        match effect:
            case events.SignProposal() | events.SignVote():
                return self._sign(effect)
            case events.ScheduleTimeout():
                self.timers.schedule(effect, trio.current_time())
            case events.GetBlock():
                return await self._build(effect)
            case events.ValidateBlock():
                return await self._validate(effect)
            case events.Decide(commit):
                return await self._commit(commit)
            case events.EvidenceFound(first):
                self.evidence.append(effect)
                log.warning("a replica signed two contradicting messages", replica=first.replica, height=first.height)
        return ()

    def _sign(self, effect: events.SignProposal | events.SignVote) -> Iterable[events.Input]:
        message = self.signer.sign(effect) if self.signer is not None else None
        if message is None:
            return ()
        self._journal.note_signed(message)
        if isinstance(message, Vote):
            self.say(VoteCast(message))
            return (events.VoteReceived(message),)
        self.say(BlockProposal(message, self.blocks[message.block_id].data))
        if message.valid_round is not None:
            polka = self.core.votes.get(VoteKind.PREVOTE, message.valid_round).votes_for(message.block_id)
            for vote in polka:
                self.say(VoteCast(vote))
        return (events.ProposalReceived(message, is_timely=True),)

    async def _build(self, effect: events.GetBlock) -> Iterable[events.Input]:
        assert self.keys is not None, "only a voter is asked for blocks"
        await self.flush()
        build = partial(
            self.chain.build_block,
            transactions=self._transactions.pick(self.chain.params.max_block_bytes),
            commit=self.core.last_commit,
            time_ms=max(self._wall_clock(), self.chain.head.time_ms + 1),
            round=effect.round,
            proposer=self.keys.key,
            beacon_secret=self.keys.beacon_secret,
            randomness=self._randomness(32),
        )
        held = hold_own_block(await self._offload(build))
        self.blocks[held.id] = held
        return (events.BlockBuilt(effect.height, effect.round, held.id),)

    async def _validate(self, effect: events.ValidateBlock) -> Iterable[events.Input]:
        await self.flush()
        try:
            await self._offload(self.chain.check_block, self.blocks[effect.block_id].block)
        except InvalidBlock as error:
            log.warning("refused a proposed block", height=effect.height, round=effect.round, reason=str(error))
            return (events.BlockChecked(effect.height, effect.block_id, False),)
        return (events.BlockChecked(effect.height, effect.block_id, True),)

    async def _commit(self, commit: Commit) -> Iterable[events.Input]:
        """Append the decided block and begin the next height. Raises `StateMismatch`."""
        await self.flush()
        block = self.blocks[commit.block_id].block
        try:
            applied = await self._offload(self.chain.check_block, block)
        except InvalidBlock as error:
            raise await self._mismatch(commit, error) from error
        await self._offload(self.chain.commit_block, block, commit, applied)
        assert self.chain.head.height == commit.height, "the log did not take the block"
        if self.signer is not None:
            self.signer.learn_commit(commit.height, block.header.time_ms)
        self._log_block(commit, len(block.transactions))
        self._transactions.advance(self.chain.state, block.transactions)
        self.asks_for_successor = bool(block.transactions) or applied.is_phase_changed
        self.timers.clear()
        self.height_began_at, self._started_at = trio.current_time(), None
        following = events.HeightAdvanced(commit.height + 1, self.chain.replicas, self.chain.priorities)
        self.core.step(following)
        self._journal.end_height()
        self.progress.advance(commit.height)
        early = self.core.take_held_inputs()
        return () if self.is_following_range else early

    async def _mismatch(self, commit: Commit, error: InvalidBlock) -> StateMismatch:
        """Return what stops the node: a quorum calls valid what contradicts the own state."""
        header, head = self.blocks[commit.block_id].block.header, self.chain.head
        altered = await self._offload(self.chain.find_altered_buckets)
        return StateMismatch(
            f"block {commit.height} has a verified commit, but {error.message}. After height {head.height} this node"
            f" has state root {head.state_root.hex()}, the block says {header.state_root.hex()}; receipts root"
            f" {head.receipts_root.hex()}, the block says {header.receipts_root.hex()}. {explain_altered(altered)}",
            height=commit.height,
            block=commit.block_id.hex(),
        )

    def _log_block(self, commit: Commit, transactions: int) -> None:
        write = log.debug if self.is_following_range else log.info
        began = self._started_at if self._started_at is not None else trio.current_time()
        write(
            "block",
            height=commit.height,
            round=commit.round,
            transactions=transactions,
            signed=len(commit.signatures),
            replicas=len(self.core.replicas.replicas),
            duration_ms=round(1000 * (trio.current_time() - began)),
        )

    # --- what leaves -------------------------------------------------------------------------------------------------

    def say(self, message: ConsensusMessage) -> None:
        """Broadcast a message with the next `flush`."""
        self._outbox.append((None, encode(message)))

    def tell(self, peer: PeerId, message: ConsensusMessage) -> None:
        """Send a message to one peer with the next `flush`."""
        self._outbox.append((peer, encode(message)))

    def tell_missing(self, peer: PeerId, missing: Iterable[Proposal | Vote]) -> None:
        """Send a peer proposals, with their blocks, and votes."""
        for message in missing:
            if isinstance(message, Vote):
                self.tell(peer, VoteCast(message))
            elif (held := self.blocks.get(message.block_id)) is not None:
                self.tell(peer, BlockProposal(message, held.data))

    async def flush(self) -> None:
        """Make durable whatever the waiting messages depend on, then let them out."""
        if not self._outbox:
            return
        outbox, self._outbox = self._outbox, []
        if self._journal.is_dirty:
            await self._offload(self._journal.sync)
        for peer, payload in outbox:
            if peer is None:
                self._network.publish(Topic.CONSENSUS, payload)
            else:
                self._network.send(peer, Topic.CONSENSUS, payload)


def explain_altered(buckets: Sequence[int]) -> str:
    """Return in words whether the own stored state contradicts itself, and what to do."""
    if not buckets:
        return (
            "The stored state is what this node computed, so its rules differ from theirs or its memory failed:"
            " `flocknode log verify` executes the log again and names the records that differ"
        )
    names = ", ".join(map(str, buckets))
    return f"Stored records were altered in state buckets {names}: run `flocknode db repair`"
