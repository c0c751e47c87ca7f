"""An alliance's duties with the real jobs on the real ledger; blobs go from store to store instead of by network."""

import pytest
from msgspec.structs import replace

from flocknode.participants import alliance as duties_of_alliances
from flocknode.participants.alliance import SplitMissing, StepClosed, VoteMissing, keep_up, reveal_vote
from flocknode.participants.sender import ReceiptRefused
from protocol.alliance_acts import ProposeUpdate
from protocol.alliance_settings import Attribution, RewardRule
from protocol.rules.alliance.records import AlliancePhase, get_sheet
from protocol.rules.alliance.results import AllianceRole, Outcome
from tests.alliance_stage import JobsHere, close_stage, open_stage


@pytest.fixture(scope="module")
def worker():
    """What performs jobs."""
    return JobsHere()


@pytest.fixture
async def make_stage(tmp_path, worker):
    """Give the function that opens an alliance of five."""
    stages = []

    async def make(**settings):
        stages.append(await open_stage(tmp_path, worker, **settings))
        return stages[-1]

    yield make
    for stage in stages:
        close_stage(stage)


async def test_two_rounds_are_trained_judged_and_aggregated_alike(make_stage):
    """All voters name the same aggregate; the second round begins from it, and no data lies in any blob store."""
    stage = await make_stage()
    first = await stage.run_round()
    assert first.outcome is Outcome.ACCEPTED
    assert all(update.is_accepted for update in first.updates)
    assert stage.play.record.latest.model == first.model
    last = await stage.run_round()
    assert (last.outcome, stage.play.phase) == (Outcome.ACCEPTED, AlliancePhase.FINISHED)
    assert last.model != first.model
    for hand in stage.hands:
        own = [(hand.alliances / "1" / name).read_bytes() for name in ("train", "test")]
        stored = {path.read_bytes() for other in stage.hands for path in other.folder.glob("blobs/*")}
        assert not stored & set(own)


async def test_trainings_of_rounds_are_listed_with_their_losses(make_stage):
    """Each round's training is there with the loss of all its steps, and with the accepted model it began with."""
    stage = await make_stage()
    first = await stage.run_round()
    stage.play.wait(AlliancePhase.TRAIN)
    await stage.act()
    listed = [run for hand in stage.hands for run in hand.trainings.list_for_alliances(1)]
    assert sorted((run.round, run.state) for run in listed) == [(0, "done")] * 2 + [(1, "done")] * 2
    for run in listed:
        assert run.name == "hospitals"
        assert 0 < run.done == run.total
        assert [point.step for point in run.losses] == list(range(1, run.total + 1))
        assert all(point.loss_millionths > 0 for point in run.losses)
        assert run.start == (first.model.root.hex() if run.round else None)
    assert all(hand.trainings.list_for_alliances(2) == hand.trainings.list_for_tasks() == () for hand in stage.hands)


async def test_a_vote_is_repeated_as_it_was_saved(make_stage):
    """After a crash between saving and sending, the same commitment is sent, and its scores are revealed."""
    stage = await make_stage()
    await stage.act()
    await stage.act()
    assert stage.play.phase is AlliancePhase.VOTE
    hand = stage.acting()[0]
    send, hand.sender.apply = hand.sender.apply, crash
    with pytest.raises(ReceiptRefused):
        await stage.act(hand)
    saved = hand.diary.load_vote(1, 0)
    hand.open_diary()
    hand.sender.apply = send
    await stage.act()
    assert hand.diary.load_vote(1, 0) == saved
    assert stage.play.phase is AlliancePhase.REVEAL
    await stage.act()
    ballot = get_sheet(stage.play.ledger.state, 1, 0, hand.address).ballot
    assert (ballot.best, ballot.scores) == (saved.best, saved.scores)


async def crash(payload):
    raise ReceiptRefused("the power went out")


async def test_an_update_is_proposed_again_without_a_second_training(make_stage):
    """Trained and saved, but not sent: the next attempt sends the same blob."""
    stage = await make_stage()
    hand = stage.acting()[0]
    send, hand.sender.apply = hand.sender.apply, crash
    with pytest.raises(ReceiptRefused):
        await stage.act(hand)
    trained, hand.told = hand.diary.load_update(1, 0), []
    hand.sender.apply = send
    await stage.act(hand)
    assert hand.sent[-1].blob == trained
    assert not any("trained on" in words for words in hand.told)


async def test_what_nobody_delivers_is_said_and_does_not_count(make_stage, autojump_clock):
    """A proposer that serves nobody is left out, by name and with the reason, shortly before the phase ends."""
    stage = await make_stage()
    quiet = stage.acting()[0]
    await stage.act()
    stage.silent.append(quiet)
    voters = stage.acting()
    await stage.act()
    for hand in voters:
        if hand is not quiet:
            assert any(
                words == f"lacks the update of {quiet.person.name}: none of 4 connected peers delivers it"
                for words in hand.told
            ), hand.told
    assert quiet.address not in stage.play.round_record.frozen
    assert len(stage.play.round_record.frozen) == 1


async def test_what_is_no_model_is_voted_down(make_stage):
    """Bytes of the right length that are no model get no score, the others count, and their author is slashed."""
    stage = await make_stage()
    liar, honest = stage.acting()
    blob = liar.blobs.put(bytes(stage.start.stat().st_size))
    await liar.apply(ProposeUpdate(1, 0, blob))
    await stage.act(honest)
    result = await stage.run_round()
    verdicts = {update.proposer: (update.is_accepted, update.score) for update in result.updates}
    assert verdicts[liar.address] == (False, None)
    assert verdicts[honest.address][0]
    assert stage.play.settled(0, liar.person).slashed > 0


async def test_what_is_too_long_to_be_a_model_is_not_fetched(make_stage, autojump_clock):
    """A blob of gigabytes by its own word costs a voter nothing."""
    stage = await make_stage()
    liar, honest = stage.acting()
    blob = replace(liar.blobs.put(b"short"), length=2**29)
    await liar.apply(ProposeUpdate(1, 0, blob))
    await stage.act(honest)
    voter = stage.acting()[0]
    await stage.act(voter)
    assert any("are no update of the alliance" in words for words in voter.told)
    assert voter.sent[-1].proposers == (honest.address,)


@pytest.mark.parametrize("is_garbage", [False, True])
async def test_one_vote_on_the_aggregate(make_stage, is_garbage):
    """All voters name the same root; if no update is a model, it is rejected and the proposers are slashed."""
    stage = await make_stage(attribution=Attribution.AGGREGATE)
    for hand in stage.acting():
        if is_garbage:
            await hand.apply(ProposeUpdate(1, 0, hand.blobs.put(hand.address * 4)))
        else:
            await stage.act(hand)
    result = await stage.run_round()
    assert result.outcome is (Outcome.REJECTED if is_garbage else Outcome.ACCEPTED)
    proposers = [one for one in result.settled if one.role is AllianceRole.PROPOSER]
    assert all((one.slashed > 0) == is_garbage for one in proposers)


async def test_what_each_update_gained_is_measured_without_it(make_stage):
    """With rewards by impact every voter reveals a gain for each accepted update, which the ledger pays by."""
    stage = await make_stage(reward=RewardRule.IMPACT, rounds=1)
    result = await stage.run_round()
    assert result.outcome is Outcome.ACCEPTED
    assert all(update.gain is not None for update in result.updates)


async def test_a_step_that_closed_is_given_up(make_stage, autojump_clock):
    """Whoever waits for a model that does not come stops when the alliance has gone on without it."""
    stage = await make_stage()
    hand = stage.hands[0]
    before = stage.play.record

    async def wait_forever():
        stage.play.leave_phase()
        await duties_of_alliances.trio.sleep_forever()

    with pytest.raises(StepClosed, match="step train of round 1"):
        await keep_up(hand, before, wait_forever)


async def test_another_home_of_the_account_cannot_act_and_says_why(make_stage):
    """Data and votes are private to the home that made them; a second one is told to use that."""
    stage = await make_stage()
    hand = stage.acting()[0]
    split = hand.diary.load_split(1)
    (hand.alliances / "1" / "test").unlink()
    with pytest.raises(SplitMissing, match="is not in this home"):
        await stage.act(hand)
    assert split is not None
    with pytest.raises(VoteMissing, match="round 1 of alliance 1"):
        await reveal_vote(hand, stage.play.record)
