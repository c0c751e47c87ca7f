"""Whole replicas together: what they commit, how they stop, return and catch up, and what they refuse."""

import pytest
import trio

from flocknode.replica.journal import Entry, Held, Signed, Taken
from flocknode.replica.replica import STALL_LOG_S
from protocol.blocks import block_id
from protocol.codec import decode, encode
from protocol.errors import StateMismatch
from protocol.tendermint.events import BlockBuilt, HeightStarted
from protocol.tendermint.machine import Step
from storage.wal import WriteAheadLog

MAX_DELAY_S = 0.03


async def test_transactions_are_committed_by_all(open_world, autojump_clock) -> None:
    """Four replicas, three transactions, one log; the certifying empty block follows, and then nothing."""
    async with open_world() as world:
        await world.start()
        for index, node in enumerate(world.nodes):
            node.transactions.waiting.append(b"tx%d" % index)
            node.replica.notice_transaction()
        await world.wait_for_height(4)
        included = {data for height in range(1, 5) for data in world.nodes[0].chain.pairs[height][0].transactions}
        assert included <= {b"tx0", b"tx1", b"tx2", b"tx3"}
        await world.wait_for_height(8)
        included = [data for block, _ in world.nodes[0].chain.pairs.values() for data in block.transactions]
        assert sorted(included) == [b"tx0", b"tx1", b"tx2", b"tx3"]


async def test_an_idle_chain_makes_a_block_per_idle_time(open_world, autojump_clock) -> None:
    """Without transactions an empty block asks for no successor: one per 5 s, and the replicas rest in between."""
    async with open_world() as world:
        await world.start()
        await trio.sleep(31)
        assert 6 <= world.nodes[0].height <= 8
        assert world.nodes[0].replica.status().step == Step.WAITING
        assert world.nodes[0].replica.status().cause == ""


async def test_a_phase_change_without_transactions_asks_for_a_successor(open_world, autojump_clock) -> None:
    """The state after it wants certifying at once; the block that does so asks for no other."""
    async with open_world() as world:
        for node in world.nodes:
            node.chain.phase_changes = {3}
        await world.start()
        await world.wait_for_height(3)
        assert not world.nodes[0].chain.pairs[3][0].transactions
        began = trio.current_time()
        await world.wait_for_height(4)
        assert trio.current_time() - began < 0.5
        await trio.sleep(4)
        assert world.nodes[0].height == 4


async def test_a_phase_change_asks_for_a_successor_after_a_restart_too(open_world, autojump_clock) -> None:
    """Who died right after the block that changed a phase reads off its log that the next one must not wait."""
    async with open_world() as world:
        await world.start()
        await world.wait_for_height(3)
        for node in world.nodes:
            node.kill()
            node.chain.phase_changes = {3}
        assert {node.height for node in world.nodes} == {3}
        began = trio.current_time()
        await world.start()
        await world.wait_for_height(4)
        # A replica that starts first asks its peers for its newest vote.
        assert trio.current_time() - began < 1.5


async def test_a_transaction_commits_in_a_fraction_of_a_second(open_world, autojump_clock) -> None:
    """The wait ends with the transaction: a few message delays, no timeout."""
    async with open_world() as world:
        await world.start()
        await world.wait_for_height(2)
        began = trio.current_time()
        height = max(node.height for node in world.nodes)
        world.nodes[1].transactions.waiting.append(b"tx")
        world.nodes[1].replica.notice_transaction()
        # Others start by the votes of the one that knows of it; the proposer need not be that one.
        for node in world.nodes:
            node.transactions.waiting = [b"tx"]
        await world.wait_for_height(height + 1)
        assert trio.current_time() - began < 0.5


async def test_n1_a_chain_of_one(open_world, autojump_clock) -> None:
    """A single replica is its own quorum."""
    async with open_world(1) as world:
        await world.start()
        await world.wait_for_height(3)


async def test_n1_makes_block_after_block_while_transactions_wait(open_world, autojump_clock) -> None:
    """Nobody else's message wakes a replica that decides alone: it goes on by itself, not by its clock."""
    async with open_world(1) as world:
        node = world.nodes[0]
        node.transactions.is_endless = True
        await node.start()
        began = trio.current_time()
        await world.wait_for_height(50)
        assert trio.current_time() - began < 1


@pytest.mark.parametrize("size", [4, 7])
@pytest.mark.parametrize("seed", range(3))
async def test_loss(open_world, autojump_clock, size: int, seed: int) -> None:
    """30 % of messages lost: anti-entropy brings heights to an end."""
    async with open_world(size, seed=seed) as world:
        world.loss = 0.3
        await world.start()
        await world.wait_for_height(6, within_s=120)


async def test_n4f2_stalls_with_its_cause_and_recovers(open_world, autojump_clock) -> None:
    """Two of four down: one sentence says why; when the third returns there is progress."""
    async with open_world() as world:
        await world.start()
        await world.wait_for_height(2)
        world.nodes[2].kill()
        world.nodes[3].kill()
        await trio.sleep(STALL_LOG_S + 10)
        status, height = world.nodes[0].replica.status(), world.nodes[0].height
        assert status.cause == "power online 50 % (need > 66.7 %)  missing r2, r3"
        assert set(status.missing) == {world.keys[2], world.keys[3]}
        assert (status.power_online, status.power_total) == (2, 4)
        await world.nodes[3].start()
        await world.wait_for_height(height + 3)
        assert world.nodes[0].replica.status().power_online == 3


@pytest.mark.parametrize("cut_power", [False, True])
@pytest.mark.parametrize("seed", range(4))
async def test_crashes_contradict_nothing(open_world, autojump_clock, seed: int, cut_power: bool) -> None:
    """Replicas die at any moment and return, with lossy links; the network asserts that nobody contradicts itself."""
    async with open_world(seed=seed) as world:
        world.loss = 0.1
        await world.start()
        for number in range(16):
            for node in world.nodes:
                node.transactions.waiting.append(b"tx%d" % number)
            await trio.sleep(world.random.choice([0.02, 0.06, 0.2, 1.5]) * world.random.random())
            node = world.random.choice(world.nodes)
            if node.replica is not None:
                node.kill(cut_power=cut_power)
            else:
                await node.start()
        for node in world.nodes:
            if node.replica is None:
                await node.start()
        reached = max(node.height for node in world.nodes)
        await world.wait_for_height(reached + 3, within_s=120)


async def test_all_replicas_lose_power_in_the_middle_of_a_round(open_world, autojump_clock) -> None:
    """Locks and blocks come back from the logs: the height goes on where it was."""
    async with open_world() as world:
        await world.start()
        await world.wait_for_height(2)
        for node in world.nodes:
            node.transactions.waiting = [b"tx"]
            node.replica.notice_transaction()
        await trio.sleep(0.07)
        for node in world.nodes:
            node.kill(cut_power=True)
        await world.start()
        await world.wait_for_height(5)


async def test_a_restored_backup_signs_nothing_until_its_height_commits(open_world, autojump_clock) -> None:
    """A replica restarted with an empty memory: its peers remember its vote, and it waits for that height to pass."""
    async with open_world() as world:
        await world.start()
        await world.wait_for_height(2)
        # Nobody decides: 0 has voted at this height, two others are cut off.
        world.cut = lambda sender, receiver: {sender.name, receiver.name} & {"n2", "n3"} != set()
        await trio.sleep(8)
        height = world.nodes[0].replica.status().height
        world.nodes[0].kill()
        world.nodes[0].path.unlink()
        await world.nodes[0].start()
        await trio.sleep(2)
        assert "signs nothing" in world.nodes[0].replica.status().cause
        entries = [decode(payload, Entry) for payload in world.nodes[0].log.records()]
        assert not any(isinstance(entry, Signed) for entry in entries)
        world.cut = lambda sender, receiver: False
        await world.wait_for_height(height + 4, within_s=120)
        assert "signs nothing" not in world.nodes[0].replica.status().cause


async def test_a_restored_backup_without_peers_waits_for_one(open_world, autojump_clock) -> None:
    """Nobody answers for long: it signs nothing meanwhile, and hears of its newest vote from the first peer."""
    async with open_world() as world:
        await world.start()
        await world.wait_for_height(2)
        world.cut = lambda sender, receiver: {sender.name, receiver.name} & {"n2", "n3"} != set()
        await trio.sleep(8)
        for node in world.nodes:
            node.kill()
        world.nodes[0].path.unlink()
        await world.nodes[0].start()
        await trio.sleep(30)
        assert world.nodes[0].replica.status().cause.startswith("power online 25 %")
        assert not any(isinstance(decode(payload, Entry), Signed) for payload in world.nodes[0].log.records())
        await world.nodes[1].start()
        await trio.sleep(5)
        assert "signs nothing" in world.nodes[0].replica.status().cause
        assert not any(isinstance(decode(payload, Entry), Signed) for payload in world.nodes[0].log.records())


async def test_a_block_that_was_built_before_a_crash_is_proposed_after_it(open_world, autojump_clock) -> None:
    """The power went between building and signing: nothing but the log names the block, and it is still proposed."""
    async with open_world(1) as world:
        node = world.nodes[0]
        block = node.chain.build_block(
            transactions=[b"tx"], commit=None, time_ms=node.wall_clock(), round=0,
            proposer=node.keys.key, beacon_secret=b"", randomness=b"",
        )  # fmt: skip
        log = WriteAheadLog(node.path)
        for entry in (Taken(HeightStarted(1)), Held(encode(block)), Taken(BlockBuilt(1, 0, block_id(block.header)))):
            log.append(encode(entry))
        log.sync()
        log.close()
        await world.start()
        await world.wait_for_height(1, within_s=0.5)
        assert node.chain.pairs[1][0] == block


async def test_an_invalid_block_is_prevoted_nil(open_world, autojump_clock) -> None:
    """One proposer builds bad blocks: its rounds fail, the others' go on, nobody stops."""
    async with open_world() as world:
        world.nodes[0].chain.builds_bad = True
        await world.start()
        await world.wait_for_height(5, within_s=120)
        proposers = {block.header.proposer for block, _ in world.nodes[1].chain.pairs.values()}
        assert world.keys[0] not in proposers


async def test_a_proposer_whose_clock_is_off_is_prevoted_nil(open_world, autojump_clock) -> None:
    """A minute ahead: its fresh blocks are refused by the clock."""
    async with open_world() as world:
        world.nodes[1].skew_ms = 60_000
        await world.start()
        await world.wait_for_height(6, within_s=120)
        assert all(block.header.proposer != world.keys[1] for block, _ in world.nodes[0].chain.pairs.values())


async def test_a_commit_that_contradicts_the_own_state_stops_the_node(open_world, autojump_clock) -> None:
    """Three replicas agree on a state that the fourth did not compute: it raises, the others go on."""
    async with open_world() as world:
        await world.start()
        await world.wait_for_height(2)
        odd = world.nodes[3]
        odd.kill()
        odd.chain.head = type(odd.chain.head)(*[*list(head_fields(odd.chain.head))[:3], b"x" * 32, bytes(32)])
        odd.log = None
        replica = await start_alone(world, odd)
        with pytest.raises(StateMismatch, match=r"state root 7878.*`flocknode log verify` executes the log again"):
            await replica
        await world.wait_for_height(5)


def head_fields(head):
    return (getattr(head, name) for name in head.__struct_fields__)


async def start_alone(world, node):
    """Start a node whose failure the caller awaits instead of the world's nursery."""
    failure: list[BaseException] = []
    done = trio.Event()

    async def run(*, task_status) -> None:
        try:
            await node.replica.run(task_status=task_status)
        except* StateMismatch as group:
            failure.extend(group.exceptions)
        finally:
            node.replica = None
            done.set()

    node._run = run
    await node.start()

    async def outcome() -> None:
        with trio.fail_after(60):
            await done.wait()
        node.log.close()
        raise failure[0]

    return outcome()


async def test_an_equivocating_replica_is_kept_as_evidence(open_world, autojump_clock) -> None:
    """Two nodes with one key: evidence at the honest ones, one log."""
    async with open_world() as world:
        twin = world.add_follower()
        twin.keys = world.nodes[0].keys
        world.may_equivocate.add(world.keys[0])
        await world.start()
        await world.wait_for_height(8, within_s=200)
        assert any(node.replica._engine.evidence for node in world.nodes[1:4])


async def test_what_was_left_undone_is_done_after_a_crash(open_world, autojump_clock) -> None:
    """The log ends with the start of the height: the block that was asked for then is built now."""
    async with open_world(1) as world:
        log = WriteAheadLog(world.nodes[0].path)
        log.append(encode(Taken(HeightStarted(1))))
        log.sync()
        log.close()
        await world.start()
        await world.wait_for_height(1, within_s=0.5)


async def test_without_loss_nobody_waits_for_a_timeout(open_world, autojump_clock, monkeypatch) -> None:
    """Messages overtake each other, also into the next height, and no anti-entropy helps: round 0 decides at once."""
    monkeypatch.setattr("flocknode.replica.replica.SUMMARY_S", 1e9)
    async with open_world() as world:
        await world.start()
        for node in world.nodes:
            node.transactions.is_endless = True
        began = trio.current_time()
        await world.wait_for_height(20)
        assert trio.current_time() - began < 20 * 6 * MAX_DELAY_S
        assert all(commit.round == 0 for _, commit in world.nodes[0].chain.pairs.values())
