"""Locks that outlive a long outage: the block is old by then, and is proposed again and decided all the same."""

import trio

from flocknode.replica.wire import BlockProposal, ConsensusMessage, VoteCast
from protocol.codec import decode
from protocol.tendermint.machine import Step
from protocol.tendermint.messages import VoteKind
from tests.sim.faults import Faults
from tests.sim.node import SimulatedNode
from tests.sim.simulate import run_world
from tests.sim.world import World

OUTAGE_S = 3_600.0


def lock_one_alone(world: World, height: int, locked: SimulatedNode, blind: SimulatedNode) -> None:
    """See to it that in round 0 of a height one node alone sees a polka; another one misses the proposal."""

    def loses(sender: SimulatedNode, receiver: SimulatedNode, payload: bytes) -> bool:
        match decode(payload, ConsensusMessage):
            case BlockProposal(proposal):
                return (proposal.height, proposal.round, receiver) == (height, 0, blind)
            case VoteCast(vote) if (vote.kind, vote.height, vote.round) == (VoteKind.PREVOTE, height, 0):
                return vote.replica == locked.key
        return False

    world.loses = loses


async def play(world: World) -> None:
    world.start()
    await world.wait_for_height(2, within_s=60)
    core = world.nodes[0].replica._engine.core
    height, turns = core.state.height, [core.proposer(round) for round in range(4)]
    by_key = {node.key: node for node in world.nodes}
    locked, blind = by_key[turns[1]], by_key[turns[2]]
    lock_one_alone(world, height, locked, blind)
    states = [node.replica._engine.core for node in world.nodes]
    await world.until(lambda: all(core.state.step == Step.PRECOMMIT for core in states), within_s=30)
    locks = {core.state.locked_block for core in states}
    wanted, before_ms = locked.replica._engine.core.state.locked_block, locked.wall_clock()
    assert locks == {None, wanted}
    for node in world.nodes:
        node.cut_power()
    await trio.sleep(OUTAGE_S)
    world.loses = lambda sender, receiver, payload: False
    world.start()
    await world.wait_for_height(height + 2, within_s=60)
    head, _ = world.judge.decided[height]
    assert head.block_id == wanted
    assert head.time_ms <= before_ms
    assert world.judge.rounds[height] == 1


def test_n4_a_locked_block_is_proposed_again_after_a_long_outage() -> None:
    """All lost power for an hour; the next proposer is locked on the old block, and the clock does not judge it."""
    run_world(4, 1, Faults(), play)
