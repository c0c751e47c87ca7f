"""The write-ahead log of a replica stays short, whatever peers send, and still says all that a restart needs."""

import trio

from flocknode.replica.wire import BlockProposal, VoteCast
from protocol.blocks import block_id
from protocol.codec import encode
from protocol.tendermint.messages import VoteKind, sign_proposal, sign_vote


async def test_the_log_is_begun_anew_when_it_is_long(open_world, autojump_clock, monkeypatch) -> None:
    """Rotation at a height's end keeps what was signed last, and a restart goes on from it."""
    monkeypatch.setattr("flocknode.replica.journal.ROTATE_BYTES", 2_000)
    async with open_world() as world:
        await world.start()
        await world.wait_for_height(6)
        node = world.nodes[0]
        assert node.log.size_bytes < 20_000
        node.kill(cut_power=True)
        await node.start()
        await world.wait_for_height(9)


async def test_a_replica_that_signs_ever_later_rounds_does_not_fill_the_disk(
    open_world, autojump_clock, monkeypatch
) -> None:
    """Votes and large proposals without end within one height: the log stays short, and says all a restart needs."""
    monkeypatch.setattr("flocknode.replica.journal.ROTATE_BYTES", 50_000)
    async with open_world() as world:
        node, faulty, largest = world.nodes[0], world.nodes[3], 0
        await node.start()
        await world.nodes[1].start()
        await trio.sleep(8)
        before = node.replica.status()
        for round in range(1, 1001):
            for kind in VoteKind:
                vote = sign_vote(node.chain.id, faulty.keys.seed, kind=kind, height=1, round=round, block_id=None)
                await node.replica.handle("n3", encode(VoteCast(vote)))
            if node.replica._engine.core.proposer(round) == faulty.keys.key:
                await node.replica.handle("n3", encode(propose(node, faulty, round, b"x" * 20_000)))
            await trio.sleep(0.01)
            largest = max(largest, node.log.size_bytes)
        assert largest < 150_000
        node.kill(cut_power=True)
        await node.start()
        await trio.sleep(2)
        after = node.replica.status()
        assert (after.height, after.round, after.step) == (before.height, before.round, before.step)
        await world.nodes[2].start()
        await world.wait_for_height(3, nodes=world.nodes[:3])


def propose(node, proposer, round: int, transaction: bytes) -> BlockProposal:
    """Return a proposal for a round of the height that a node agrees on."""
    block = node.chain.build_block(
        transactions=[transaction], commit=None, time_ms=node.wall_clock(), round=round,
        proposer=proposer.keys.key, beacon_secret=b"", randomness=b"",
    )  # fmt: skip
    identity = block_id(block.header)
    proposal = sign_proposal(
        node.chain.id, proposer.keys.seed, height=block.header.height, round=round, valid_round=None, block_id=identity
    )
    return BlockProposal(proposal, encode(block))
