"""Replicas that lost their memory or their log: they follow, and sign nothing that they could have signed before."""

import trio

from flocknode.replica.journal import Forgotten, Journal, Resumed, Signed
from flocknode.replica.signer import Signer
from protocol.codec import encode
from protocol.crypto import public_key
from protocol.tendermint.events import SignVote
from protocol.tendermint.machine import State
from protocol.tendermint.messages import VoteKind, sign_vote
from storage.wal import WriteAheadLog, read_records, replace_log

CHAIN, SEED = b"c" * 32, b"s" * 32


def prevote(height: int) -> SignVote:
    return SignVote(VoteKind.PREVOTE, height, 0, b"b" * 32)


def heights_signed(world, node) -> set[int]:
    """Return the heights at which a node was seen to sign."""
    return {position[0] for key, position in world.signed if key == node.keys.key}


def begin_anew(node) -> None:
    """Do to a node that is down what a repair does that can keep nothing."""
    node.chain = type(node.chain)(node.world.replicas)
    replace_log(node.path, [encode(Forgotten(node.wall_clock()))])


async def test_n4_a_repaired_replica_signs_again_once_a_new_block_committed(open_world, autojump_clock) -> None:
    """It fetches the log and stays silent at all heights that existed, then votes like the others."""
    async with open_world() as world:
        await world.start()
        await world.wait_for_height(4)
        node = world.nodes[3]
        node.kill()
        signed = heights_signed(world, node)
        begin_anew(node)
        repaired_ms, existing = node.wall_clock(), max(other.height for other in world.nodes)
        world.signed = {place: message for place, message in world.signed.items() if place[0] != node.keys.key}
        await node.start()
        await world.wait_for_height(existing + 8)
        again = heights_signed(world, node)
        assert again, "it votes again"
        assert min(again) > max(signed)
        first_new = min(
            block.header.height for block, _ in node.chain.pairs.values() if block.header.time_ms > repaired_ms
        )
        assert min(again) > first_new
        assert node.replica.status().cause == ""
        # What it forgot is behind it for good: a restart needs no further block of the others, who need its vote now.
        node.kill()
        world.nodes[2].kill()
        await node.start()
        await world.wait_for_height(max(one.height for one in world.running()) + 3)


async def test_n4f1_nothing_commits_without_a_repaired_replica_and_it_says_why(open_world, autojump_clock) -> None:
    """With another one down, its vote is needed and still not given; the third one's return ends the wait."""
    async with open_world() as world:
        await world.start()
        await world.wait_for_height(3)
        other, node = world.nodes[2], world.nodes[3]
        other.kill()
        node.kill()
        begin_anew(node)
        await node.start()
        await trio.sleep(60)
        heights = [one.height for one in world.running()]
        assert len(set(heights)) == 1, "it has fetched what there is"
        assert "signs nothing until a newly made block commits" in node.replica.status().cause
        await trio.sleep(60)
        assert [one.height for one in world.running()] == heights
        await other.start()
        await world.wait_for_height(heights[0] + 3)
        assert node.replica.status().cause == ""


async def test_n4_a_log_older_than_the_memory_is_no_reason_to_sign_again(open_world, autojump_clock) -> None:
    """The database was begun anew, the write-ahead log was not: silence up to the height it had voted at."""
    async with open_world() as world:
        await world.start()
        await world.wait_for_height(4)
        node = world.nodes[3]
        node.kill()
        signed = heights_signed(world, node)
        node.chain = type(node.chain)(world.replicas)
        for other in world.running():
            other.kill()
        await node.start()
        assert f"signs nothing until height {max(signed)} commits" in node.replica.status().cause
        node.kill()
        for other in world.nodes[:3]:
            await other.start()
        world.signed = {place: message for place, message in world.signed.items() if place[0] != node.keys.key}
        await node.start()
        await world.wait_for_height(max(signed) + 4)
        assert min(heights_signed(world, node)) > max(signed)


def test_a_signer_that_forgot_waits_for_a_block_made_later() -> None:
    """An older block does not end the silence, however high; a later one does, above its height."""
    signer = Signer(CHAIN, SEED, None)
    signer.forget(1_000)
    signer.learn_commit(50, 1_000)
    assert signer.sign(prevote(51)) is None
    assert "what it signed before its repair is not known" in signer.explain(51)
    signer.learn_commit(51, 1_001)
    assert signer.sign(prevote(51)) is None
    assert signer.sign(prevote(52)) is not None
    assert signer.explain(52) == ""


def test_a_signer_knows_a_log_that_is_too_old() -> None:
    """What was signed later than the log reaches silences up to that height, and only then."""
    last = sign_vote(CHAIN, SEED, kind=VoteKind.PREVOTE, height=9, round=0, block_id=None)
    assert last.replica == public_key(SEED)
    signer = Signer(CHAIN, SEED, last)
    signer.learn_log(9)
    assert signer.silent_through == 0
    signer.learn_log(8)
    assert (signer.sign(prevote(9)), signer.sign(prevote(10)) is None) == (None, False)
    assert "its memory is older than its own votes" in signer.explain(9)


def test_what_was_forgotten_survives_a_new_file(tmp_path) -> None:
    """The write-ahead log begins anew as it grows; that memory was lost stays in it."""
    path, last = tmp_path / "wal", sign_vote(CHAIN, SEED, kind=VoteKind.PREVOTE, height=9, round=0, block_id=None)
    replace_log(path, [encode(Forgotten(7)), encode(Signed(last)), encode(Signed(last))])
    log = WriteAheadLog(path)
    journal = Journal(log)
    journal.recover(1)
    assert (journal.forgotten, journal.last_signed) == (Forgotten(7), last)
    journal.rotate(State(1), [], [])
    log.close()
    assert read_records(path) == ([encode(Forgotten(7)), encode(Signed(last)), encode(Resumed(State(1), 0))], 0)
