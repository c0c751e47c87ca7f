"""A flood of 64 commitments, each of which takes a replica 55 ms to verify: the network commits in round 0 throughout.

The proofs are real ones of a tiny model; only the time that they take is simulated, for each node by itself.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
import trio
from msgspec.structs import replace

from flocknode.proofs import ProofVerifier
from protocol.alliance_acts import AlliancePayload, CommitUpdate, CreateAlliance, JoinAlliance
from protocol.alliance_settings import Attribution, Privacy
from protocol.codec import encode
from protocol.formulas.proofs import commitment_proof_us
from protocol.genesis import GenesisAccount
from protocol.models import MetricSpec
from protocol.params import Params
from protocol.rules.accounts import get_next_nonce
from protocol.rules.alliance import private_acts
from protocol.rules.alliance.commitments import COMMITTED, make_round_context
from protocol.rules.alliance.records import AlliancePhase, get_alliance, get_counter, get_round
from protocol.transactions import sign_transaction
from protocol.types import UNITS_PER_FML
from protocol.zk.knowledge import CommittedUpdate
from protocol.zk.opening import blind, commit
from protocol.zk.proving import prove_knowledge
from protocol.zk.statement import RoundContext, sign_commitment
from tests.alliance_play import make_spec
from tests.private_play import MODEL, PARAMS
from tests.sim import world as world_module
from tests.sim.cast import FEE, Person, genesis
from tests.sim.faults import Faults
from tests.sim.node import SimulatedNode
from tests.sim.simulate import run_world
from tests.sim.world import World

VERIFY_S = 0.055
# Of 70 participants 64 propose; three vote, and three may aggregate.
PARTICIPANTS = tuple(Person(f"participant {number}") for number in range(70))
PROPOSERS = 64
# So many of these commitments fit into a block as of those that take 55 ms on the devnet.
IN_A_BLOCK = 7
LIMITED = replace(PARAMS, max_block_proof_us=IN_A_BLOCK * commitment_proof_us(1, width=7))
SPEC = make_spec(
    replace(
        LIMITED.alliance.settings,
        privacy=Privacy.ZK,
        attribution=Attribution.AGGREGATE,
        proposer_share_millionths=920_000,
        voter_share_millionths=43_000,
    ),
    model=MODEL,
    metric=MetricSpec("r2", True, 0, 1_000_000),
    participants=len(PARTICIPANTS),
)


class Stopwatch:
    """Counts the proofs that each node verifies, a remembered one once, and lets them take their time."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.verified: dict[str, set[bytes]] = {}
        # What the longest piece of work of any node had to verify.
        self.longest_s = 0.0
        self._running: SimulatedNode | None = None
        self._verify = private_acts.verify_committed_update
        patch.setattr(private_acts, "verify_committed_update", self._note)
        patch.setattr(SimulatedNode, "_offload", lambda node, *work: self._offload(node, *work))

    def _note(self, context: RoundContext, key: bytes, update: CommittedUpdate) -> None:
        assert self._running is not None, "a costly proof was verified on the event loop"
        self.verified.setdefault(self._running.name, set()).add(update.knowledge)
        self._verify(context, key, update)

    async def _offload(self, node: SimulatedNode, function: Callable[..., object], *arguments: object) -> object:
        await trio.lowlevel.checkpoint()
        before, self._running = self.count(node), node
        try:
            return function(*arguments)
        finally:
            self._running = None
            took_s = VERIFY_S * (self.count(node) - before)
            self.longest_s = max(self.longest_s, took_s)
            with trio.CancelScope(shield=True):
                await trio.sleep(took_s)

    def count(self, node: SimulatedNode) -> int:
        return len(self.verified.get(node.name, ()))


def sign(world: World, person: Person, payload: AlliancePayload) -> bytes:
    """Return somebody's next transaction."""
    chain = world.nodes[0].chain
    nonce, expires = get_next_nonce(chain.view, person.address), chain.head.height + 100
    return encode(sign_transaction(chain.id, person.seed, payload, nonce=nonce, expires=expires, fee=FEE))


def commitment_of(context: RoundContext, person: Person) -> CommitUpdate:
    """Return a proposer's commitment to an update of ones."""
    opening = blind(context, person.address, np.ones(6, np.int32), randomness=person.seed)
    commitment = commit(context.parameters, opening)
    knowledge = prove_knowledge(context, person.address, commitment, opening, randomness=person.address)
    update = CommittedUpdate(commitment, sign_commitment(person.seed, context, commitment), knowledge)
    return CommitUpdate(context.alliance, context.round, update, mask_key=None)


async def begin_round(world: World) -> list[bytes]:
    """Start an alliance of all participants; return the commitments of its first round's proposers."""
    world.start()
    await world.wait_for_height(1, within_s=60)
    found = [sign(world, world.people[0], CreateAlliance(SPEC, 100 * UNITS_PER_FML, 500 * UNITS_PER_FML))]
    for data in found:
        world.nodes[0].submit(data)
    await world.until(lambda: get_counter(world.nodes[0].chain.view).created == 1, within_s=60)
    for person in PARTICIPANTS:
        data = sign(world, person, JoinAlliance(1, 100, 20))
        for node in world.nodes:
            node.submit(data)
    view = world.nodes[0].chain.view
    await world.until(lambda: get_alliance(view, 1).phase is AlliancePhase.TRAIN, within_s=60)
    drawn = [one.address for one in get_round(view, 1, 0).proposers]
    assert len(drawn) == PROPOSERS
    context = make_round_context(view, world.nodes[0].chain.id, LIMITED, get_alliance(view, 1))
    proposers = [person for person in PARTICIPANTS if person.address in drawn]
    await world.wait_for_height(world.top(), within_s=60)
    return [sign(world, person, commitment_of(context, person)) for person in proposers]


def count_committed(world: World) -> int:
    """Return how many commitments every node has on its log."""
    return min(len(list(COMMITTED.scan(node.chain.view))) for node in world.nodes)


def run_flood(params: Params, play: Callable[[World, Stopwatch, Sequence[bytes]], object]) -> World:
    """Run a play of four replicas that begins when 64 commitments are made."""
    document = genesis(4, params)
    more = tuple(GenesisAccount(one.name, one.address, 1_000 * UNITS_PER_FML) for one in PARTICIPANTS)
    with pytest.MonkeyPatch.context() as patch:
        stopwatch = Stopwatch(patch)
        larger = replace(document, accounts=document.accounts + more)
        patch.setattr(world_module, "genesis", lambda size, params: larger)

        async def begin_and_play(world: World) -> None:
            await play(world, stopwatch, await begin_round(world))

        return run_world(4, 1, Faults(params=params), begin_and_play)


def test_commitments_that_come_in_good_time_are_verified_once_and_beside_the_consensus() -> None:
    """All nodes hear all at once: each verifies 64 proofs, one at a time while blocks are made, and no block any."""

    async def play(world: World, stopwatch: Stopwatch, flood: Sequence[bytes]) -> None:
        first = world.top() + 1
        for node in world.nodes:
            verifier = ProofVerifier(node.chain, node.mempool, node.replica.notice_transaction, offload=node._offload)
            world.nursery.start_soon(verifier.run)
            for data in flood:
                node.submit(data)
        began = trio.current_time()
        await world.until(lambda: count_committed(world) == PROPOSERS, within_s=20)
        assert trio.current_time() - began < 2 * PROPOSERS * VERIFY_S
        assert [stopwatch.count(node) for node in world.nodes] == [PROPOSERS] * 4
        assert stopwatch.longest_s == VERIFY_S
        assert {world.judge.rounds[height] for height in range(first, world.top())} == {0}

    run_flood(LIMITED, play)


def test_commitments_that_nobody_saw_before_their_block_stop_nobody() -> None:
    """One proposer keeps them for its own blocks, which verify in time all the same, for each may have but a few."""

    async def play(world: World, stopwatch: Stopwatch, flood: Sequence[bytes]) -> None:
        first, hostile = world.top() + 1, world.nodes[0]
        for data in flood:
            hostile.submit(data)
        for waiting in list(hostile.mempool._unproven.values()):
            hostile.mempool.settle(waiting, None)
        hostile.replica.notice_transaction()
        await world.until(lambda: count_committed(world) == PROPOSERS, within_s=300)
        assert stopwatch.longest_s <= IN_A_BLOCK * VERIFY_S < LIMITED.propose_timeout_ms / 1_000
        assert {world.judge.rounds[height] for height in range(first, world.top())} == {0}

    run_flood(LIMITED, play)
