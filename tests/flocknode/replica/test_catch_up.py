"""Replicas that are behind: they notice, fetch what others committed, and believe nobody who cannot prove it."""

import pytest
import trio
from msgspec.structs import replace

from flocknode.replica.replica import IDLE_SUMMARY_S
from protocol.blocks import block_id
from protocol.codec import encode


async def test_a_late_follower_catches_up_by_range(open_world, autojump_clock, monkeypatch) -> None:
    """A node without keys joins many ranges late, and gets there; it signs nothing."""
    monkeypatch.setattr("flocknode.replica.catch_up.RANGE_BLOCKS", 8)
    async with open_world() as world:
        await world.start()
        await world.wait_for_height(30, within_s=200)
        follower = world.add_follower()
        await follower.start()
        began = trio.current_time()
        await world.wait_for_height(30, nodes=[follower])
        assert trio.current_time() - began < 2
        assert not follower.replica.status().is_voter
        await world.wait_for_height(32)


async def test_a_follower_that_missed_a_busy_while_notices_its_lag(open_world, autojump_clock) -> None:
    """Nobody joins and no round stands still: what it says of itself is answered, and it says how far it is behind."""
    async with open_world() as world:
        await world.start()
        follower = world.add_follower()
        await follower.start()
        for node in world.nodes:
            node.transactions.is_endless = True
        await world.wait_for_height(3)
        world.cut = lambda sender, receiver: follower in (sender, receiver)
        await trio.sleep(5)
        behind = world.nodes[0].height - follower.height
        assert behind > 20
        world.cut = lambda sender, receiver: False
        began, causes = trio.current_time(), set()
        while world.nodes[0].height - follower.height > 2:
            causes.add(follower.replica.status().cause)
            await trio.sleep(0.02)
            assert trio.current_time() - began < IDLE_SUMMARY_S + 2
        assert any(cause.startswith("catching up: height ") for cause in causes)
        assert not world.nodes[0].replica.status().is_catching_up


async def test_a_replica_that_was_away_catches_up_and_votes_again(open_world, autojump_clock) -> None:
    """It is in the newest commits soon after its return."""
    async with open_world() as world:
        await world.start()
        await world.wait_for_height(2)
        world.nodes[0].kill()
        await world.wait_for_height(12, within_s=120)
        await world.nodes[0].start()
        await world.wait_for_height(16, within_s=120)
        signers = {entry.replica for entry in world.nodes[1].chain.pairs[16][1].signatures}
        await world.wait_for_height(20, within_s=120)
        signers |= {e.replica for height in range(16, 21) for e in world.nodes[1].chain.pairs[height][1].signatures}
        assert world.keys[0] in signers


async def test_a_peer_that_lies_about_its_height_is_avoided(open_world, autojump_clock) -> None:
    """It serves nothing for what it claims: another is asked, and the chain goes on."""
    async with open_world() as world:
        await world.start()
        await world.wait_for_height(2)
        for node in world.nodes[1:]:
            node.fetch_blocks_answer = lambda first, count: []
        follower = world.add_follower()
        await follower.start()
        await world.wait_for_height(6, within_s=120)
        assert world.blamed == [], "blocks may be gone without anybody's fault"


def forge(kind: str, world) -> bytes:
    """Return a block 1 with a commit that is none."""
    block, commit = world.nodes[0].chain.pairs[1]
    first, *others = commit.signatures
    header = replace(block.header, time_ms=block.header.time_ms + 1)
    forged = {
        "garbage": b"garbage",
        "another block's commit": (block, world.nodes[0].chain.pairs[2][1]),
        "another block": (replace(block, header=header), replace(commit, block_id=block_id(header))),
        "another body": (replace(block, transactions=(b"tx",)), commit),
        "too few": (block, replace(commit, signatures=commit.signatures[:2])),
        "one twice": (block, replace(commit, signatures=(first, first, *others[1:]))),
        "a wrong signature": (block, replace(commit, signatures=(replace(first, signature=bytes(64)), *others))),
        "a stranger": (block, replace(commit, signatures=(replace(first, replica=bytes(32)), *others))),
        "another round": (block, replace(commit, round=commit.round + 1)),
    }[kind]
    return forged if isinstance(forged, bytes) else encode(forged)


@pytest.mark.parametrize(
    "kind",
    ["garbage", "another block's commit", "another block", "another body", "too few", "one twice", "a wrong signature",
     "a stranger", "another round"],
)  # fmt: skip
async def test_a_forged_commit_is_refused_and_its_sender_blamed(open_world, autojump_clock, kind: str) -> None:
    """No quorum signed it: nothing is appended, the peer pays, and the blocks come from somebody else."""
    async with open_world() as world:
        await world.start()
        await world.wait_for_height(2)
        forged, liar = forge(kind, world), world.nodes[0]
        liar.fetch_blocks_answer = lambda first, count: [forged]
        follower = world.add_follower()
        world.cut = lambda sender, receiver: receiver is follower and sender is not liar
        await follower.start()
        await trio.sleep(2)
        assert follower.height == 0
        assert {peer for peer, _ in world.blamed} == {liar.name}
        assert all(reason.startswith("a wrong block 1: ") for _, reason in world.blamed)
        world.cut = lambda sender, receiver: False
        await world.wait_for_height(4, within_s=60)


async def test_a_reader_of_commits_waits_for_the_next_and_misses_none(open_world, autojump_clock) -> None:
    """Whoever reads height after height gets them all, however far the log has run ahead of it."""
    async with open_world() as world:
        await world.start()
        replica = world.nodes[0].replica
        await world.wait_for_height(4)
        with trio.fail_after(60):
            pairs = [await replica.read_commit(height) for height in range(1, 8)]
        assert pairs == [world.nodes[0].chain.pairs[height] for height in range(1, 8)]
