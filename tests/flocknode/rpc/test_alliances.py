"""How alliances look over RPC, read from the state of a real ledger."""

import base64
from types import SimpleNamespace

import pytest

from flocknode.errors import UsageError
from flocknode.rpc.methods import alliance, alliance_acts, alliance_explain, alliance_rounds
from flocknode.rpc.methods.accounts import describe_account
from protocol.alliance_acts import CreateAlliance, JudgeSum, LeaveAlliance
from protocol.errors import NotFound
from protocol.params import DEVNET
from protocol.rules.alliance.records import AlliancePhase, Ballot
from protocol.zk.aggregation import aggregate_digest
from protocol.zk.proof_file import read_proof_file, verify_proof_file
from tests.alliance_play import FRESH, AlliancePlay
from tests.ledger_driver import FML
from tests.masked_play import MaskedPlay
from tests.private_play import PrivatePlay


def make_node(play):
    """Return what the methods need of a node."""
    head = play.ledger.before.head
    return SimpleNamespace(
        chain=SimpleNamespace(
            view=play.ledger.state,
            head=head,
            params=play.ledger.before.params,
            id=play.ledger.chain,
            load_block=lambda height: play.ledger.blocks[height - 1],
            load_receipts=lambda height: play.ledger.receipts[height - 1],
        ),
        kit=SimpleNamespace(blobs=SimpleNamespace(has=lambda blob: blob == FRESH), address=play.creator.address),
    )


async def ask(play, method, **params):
    node = make_node(play)
    namespaces = (alliance, alliance_rounds, alliance_explain)
    methods = {name: found for one in namespaces for name, found in one.make_methods(node).items()}
    return await methods[method](**params)


async def test_an_alliance_in_one_line_and_in_full():
    """While it opens it counts who came; once it runs it says where it stands; the pool is what rounds may pay."""
    play = AlliancePlay(participants=5, rounds=2, escrow=1_000 * FML)
    play.join(play.participants[0])
    play.ledger.block()
    (one,) = (await ask(play, "alliance.list")).alliances
    assert (one.status, one.phase, one.participants, one.wanted) == ("opening", None, 1, 5)
    assert (one.pool_units, one.funding, one.best_millionths) == (1_000 * FML, "escrow", None)
    play.begin(play.participants[1:]).run_round()
    assert (await ask(play, "alliance.list", status="finished")).alliances == ()
    shown = await ask(play, "alliance.show", alliance="hospitals")
    assert (shown.summary.status, shown.summary.phase, shown.summary.round) == ("running", "draw", 1)
    assert (shown.start, shown.base_task, shown.winner) == (FRESH.root.hex(), None, None)
    assert shown.best == shown.latest
    assert (shown.latest.round, shown.latest.score_millionths, shown.latest.is_held) == (0, 800_000, False)
    assert (shown.joining_stake_units, shown.threshold_units) == (64 * FML, 32 * FML)
    assert shown.parameters["aggregator"] == "fedavg"
    assert await ask(play, "alliance.show", alliance="1") == shown
    play.run_round()
    assert [one.status for one in (await ask(play, "alliance.list")).alliances] == ["finished"]


async def test_participants_with_what_they_earned_and_whether_they_may_be_drawn():
    """Earned in the round, which adds to the stake; leaving on request. Stakes count as staked, the creator's too."""
    play = AlliancePlay(rounds=3).begin().run_round()
    leaver = play.participants[0]
    play.send(leaver, LeaveAlliance(1))
    found = {one.account: one for one in (await ask(play, "alliance.participants", alliance="1")).participants}
    assert len(found) == len(play.participants)
    assert found[leaver.address.hex()].standing == "leaving"
    assert {one.standing for account, one in found.items() if account != leaver.address.hex()} == {"active"}
    assert sum(one.earned_units for one in found.values()) == sum(one.earned for one in play.result(0).settled)
    assert all(one.stake_units == 64 * FML + one.earned_units for one in found.values())
    assert describe_account(play.ledger.state, leaver.address).staked_units == found[leaver.address.hex()].stake_units
    assert describe_account(play.ledger.state, play.creator.address).staked_units == 100 * FML


async def test_a_running_round_says_who_is_waited_for():
    """Proposers that trained, voters that did the current step; nobody has earned anything yet."""
    play = AlliancePlay(rounds=2).begin()
    first, second = play.proposers()
    play.train([first, second])
    play.hold()
    voter = play.voters()[0]
    play.send_commitment(voter, play.ballot())
    play.ledger.block()
    (running,) = (await ask(play, "alliance.rounds", alliance="1")).rounds
    assert (running.state, running.phase, running.round, running.settled_height) == ("running", "vote", 0, None)
    acted = {share.account for share in running.shares if share.has_acted}
    assert acted == {first.address.hex(), second.address.hex(), voter.address.hex()}
    assert {share.merit_millionths for share in running.shares} == {None}


async def test_settled_rounds_with_votes_rewards_and_slashes():
    """The newest ones, or one of them; a void round has neither model nor reward, and says who was absent."""
    play = AlliancePlay(rounds=4).begin().run_round().skip_round().run_round()
    rounds = (await ask(play, "alliance.rounds", alliance="1")).rounds
    assert [one.state for one in rounds] == ["accepted", "void", "accepted", "running"]
    accepted, void = rounds[:2]
    assert (accepted.score_millionths, accepted.in_favour, accepted.against) == (800_000, 3, 0)
    assert all(update.is_accepted and update.in_favour == 3 for update in accepted.updates)
    assert accepted.paid_units == sum(share.earned_units for share in accepted.shares) > 0
    assert (void.root, void.paid_units, void.updates) == (None, 0, ())
    absent = [share for share in void.shares if share.is_absent]
    assert {share.role for share in absent} == {"proposer"}
    assert all(share.slashed_units > 0 and not share.has_acted for share in absent)
    assert (await ask(play, "alliance.rounds", alliance="1", round=1)).rounds == (void,)
    assert [one.round for one in (await ask(play, "alliance.rounds", alliance="1", limit=2)).rounds] == [2, 3]
    assert (await ask(play, "alliance.rounds", alliance="1", round=9)).rounds == ()


async def test_a_name_must_be_of_one_alliance():
    """An unknown one is not found; of two with one name the numbers are told."""
    play = AlliancePlay()
    with pytest.raises(NotFound, match="there is no alliance 'clinics'"):
        await ask(play, "alliance.show", alliance="clinics")
    play.send(play.creator, CreateAlliance(play.spec, 100 * FML, 1_000 * FML))
    with pytest.raises(UsageError, match="2 alliances are called 'hospitals'") as caught:
        await ask(play, "alliance.rounds", alliance="hospitals")
    assert "1, 2" in caught.value.help
    assert play.phase is AlliancePhase.OPENING


def test_settings_that_are_none_are_named():
    """A wrong setting says which there are."""
    changed = alliance_acts.with_options(DEVNET.alliance.settings, {"rounds": 5, "aggregator": "krum"})
    assert (changed.rounds, changed.aggregator.name) == (5, "KRUM")
    with pytest.raises(UsageError, match="round") as caught:
        alliance_acts.with_options(DEVNET.alliance.settings, {"round": 5})
    assert "tolerance_millionths" in caught.value.help


async def test_a_private_round_says_who_aggregates():
    """Who is waited for: proposers to commit and to seal, then the aggregator; its fee is explained."""
    play = PrivatePlay(rounds=2).begin()
    (running,) = (await ask(play, "alliance.rounds", alliance="1")).rounds
    assert [one.role for one in running.shares] == ["proposer"] * 3 + ["voter"] * 3 + ["aggregator"]
    play.train()
    (running,) = (await ask(play, "alliance.rounds", alliance="1")).rounds
    assert not any(one.has_acted for one in running.shares), "nobody sealed yet"
    play.seal().hold()
    play.publish()
    (running,) = (await ask(play, "alliance.rounds", alliance="1")).rounds
    acted = [one.role for one in running.shares if one.has_acted]
    assert acted == ["proposer"] * 3 + ["aggregator"]
    play.commit().reveal()
    explained = await ask(play, "alliance.explain", alliance="1", round=0)
    (fee,) = (trace for trace in explained.traces if trace.kind == "aggregating")
    assert fee.units == 5 * FML
    assert [step.tag for step in fee.steps] == ["VI.F", "L6", "L6", "VI.H"]


async def test_a_masked_round_says_who_dropped_out_and_who_is_waited_for():
    """The dropped proposer is absent; after a dispute voters judge, clients open their masks, voters accuse."""
    play = MaskedPlay(rounds=2).begin().train()
    gone, liar, other = play.proposers()
    play.seal([liar, other])
    play.train().seal(spoiled=[liar]).hold()

    async def see() -> tuple[list[str], list[str]]:
        """Return who has acted, by role, and who is absent."""
        (running,) = (await ask(play, "alliance.rounds", alliance="1")).rounds
        assert sorted(one.role for one in running.shares) == ["aggregator"] + ["proposer"] * 3 + ["voter"] * 3
        acted = [one.role for one in running.shares if one.has_acted]
        return acted, [one.account for one in running.shares if one.is_absent]

    absent = [gone.address.hex()]
    assert await see() == (["proposer"] * 2, absent)
    play.dispute()
    assert await see() == (["proposer"] * 2 + ["aggregator"], absent)
    voter = play.voters()[0]
    play.send(voter, JudgeSum(1, 0, False))
    assert await see() == (["proposer"] * 2 + ["voter", "aggregator"], absent)
    play.judge(dict.fromkeys(play.voters()[1:], False))
    play.send(other, play.opened(other))
    assert await see() == (["proposer", "aggregator"], absent)
    play.unmask([liar])
    play.send(voter, play.accusing())
    assert await see() == (["proposer"] * 2 + ["voter", "aggregator"], absent)


async def test_a_masked_sum_has_a_digest_and_no_proof():
    """Who wants to check it sees that the blob opens Enc(w); there is no file of a proof."""
    play = MaskedPlay(rounds=2).begin().run_round()
    settled = (await ask(play, "alliance.rounds", alliance="1")).rounds[0]
    proven = play.published_of(0).proven
    assert (settled.proven.digest, settled.proven.proof) == (proven.digest.hex(), None)
    assert settled.proven.root == proven.blob.root.hex()
    with pytest.raises(NotFound, match="has no proof"):
        await ask(play, "alliance.proof", alliance="1", round=0)


async def test_the_proof_of_a_round_comes_in_parts_from_the_log(monkeypatch):
    """After the round the state holds its hashes, the blocks the rest: the parts are a file that verifies."""
    play = PrivatePlay(rounds=2).begin().run_round()
    play.draw()
    settled, running = (await ask(play, "alliance.rounds", alliance="1")).rounds
    assert running.proven is None
    assert settled.proven.digest == play.published_of(0).proven.digest.hex()
    assert settled.proven.summed == tuple(client.hex() for client in play.published_of(0).proven.clients)
    monkeypatch.setattr(alliance_rounds, "PROOF_PART_BYTES", 1_000)
    first = await ask(play, "alliance.proof", alliance="1", round=0)
    rest = [await ask(play, "alliance.proof", alliance="1", round=0, part=part) for part in range(1, first.parts)]
    assert rest
    data = b"".join(base64.b64decode(part.data) for part in (first, *rest))
    proof = read_proof_file(data)
    verify_proof_file(proof)
    digest = aggregate_digest(proof.statement.context, proof.aggregation.product)
    assert digest.hex() == settled.proven.digest
    with pytest.raises(NotFound, match="counted from 0"):
        await ask(play, "alliance.proof", alliance="1", round=0, part=first.parts)


async def test_the_proof_of_a_round_outlives_who_was_summed():
    """Who leaves takes along how many rows it had; the weights of the sum stay."""
    play = PrivatePlay(rounds=3).begin()
    gone = play.proposers()[0]
    play.run_round()
    play.send(gone, LeaveAlliance(1))
    play.draw().train([])
    assert play.member(gone) is None
    part = await ask(play, "alliance.proof", alliance="1", round=0)
    verify_proof_file(read_proof_file(base64.b64decode(part.data)))


async def test_a_round_without_a_sum_says_who_is_accused():
    """No digest, no blob, no proof and nobody summed; the liars and who published that stand there all the same."""
    play = PrivatePlay(rounds=2).begin().train().seal().hold()
    aggregator, liars = play.aggregator(), play.proposers()
    play.publish(play.aggregate(accused={liar: play.key(liar) for liar in liars}))
    (running,) = (await ask(play, "alliance.rounds", alliance="1")).rounds
    found = running.proven
    assert (found.digest, found.proof, found.root, found.summed) == (None, None, None, ())
    assert (found.aggregator, set(found.liars)) == (aggregator.address.hex(), {one.address.hex() for one in liars})
    play.commit(dict.fromkeys(play.voters(), Ballot(1, (), None))).reveal()
    with pytest.raises(NotFound, match="has no proof"):
        await ask(play, "alliance.proof", alliance="1", round=0)


async def test_every_reward_and_slash_is_explained():
    """Origins add up to what was paid, burned and kept to what was taken; the remainder comes when it has ended."""
    play = AlliancePlay(rounds=3).begin().run_round().skip_round()
    found = (await ask(play, "alliance.explain", alliance="1")).traces
    rewards = [one for one in found if one.kind in ("proposing", "voting")]
    assert sum(one.units for one in rewards) == sum(one.earned for one in play.result(0).settled)
    assert all(one.origins.escrow_units == one.units for one in rewards)
    slashes = [one for one in found if one.kind == "absence"]
    assert {one.round for one in slashes} == {1}
    assert all(one.burned_units + one.kept_units == one.units > 0 for one in slashes)
    voter = next(one for one in rewards if one.kind == "voting")
    assert all(vote.voter == voter.account and vote.vote == 1 for vote in voter.votes)
    assert {step.tag for step in voter.steps} >= {"L5", "L6"}
    only = await ask(play, "alliance.explain", alliance="1", round=0, account=voter.account)
    assert only.traces == (voter,)
    with pytest.raises(NotFound):
        await ask(play, "alliance.explain", alliance="1", round=2)
    play.run_round()
    remainder = [one for one in (await ask(play, "alliance.explain", alliance="1")).traces if one.round is None]
    assert sum(one.units for one in remainder) == sum(one.units for one in play.closing().paid)
