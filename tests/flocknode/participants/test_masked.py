"""Masked rounds with the real jobs on the real ledger: played through, repeated, run again, lied in."""

import numpy as np
import pytest

from flocknode.alliance_log import make_round_proof
from flocknode.participants.alliance import StepClosed
from flocknode.participants.hidden_files import forget_finished
from flocknode.participants.performer import perform
from flocknode.participants.private import OpeningMissing
from protocol.alliance_acts import CommitUpdate, DisputeMasked, OpenMask, PublishMasked, ShareMasked
from protocol.alliance_settings import Attribution, Privacy
from protocol.errors import NotFound
from protocol.models import count_values
from protocol.rules.alliance.masks import vector_bytes
from protocol.rules.alliance.records import AlliancePhase
from protocol.rules.alliance.results import Outcome
from protocol.zk.mask_keys import mask_public_key
from protocol.zk.opening import decode_reveal
from tests.alliance_stage import JobsHere, close_stage, open_stage
from tests.private_play import PARAMS

# Three propose, so that two are left when one is missing; three vote, two may aggregate.
PARTICIPANTS = 8
OPENING = "alliances/1/hidden-0-{}-opening"


@pytest.fixture(scope="module")
def worker():
    """What performs jobs."""
    return JobsHere()


@pytest.fixture
async def stage(tmp_path, worker):
    """An alliance of eight that masks its updates."""
    settings = {"privacy": Privacy.MASKED, "attribution": Attribution.AGGREGATE}
    opened = await open_stage(tmp_path, worker, participants=PARTICIPANTS, params=PARAMS, **settings)
    yield opened
    close_stage(opened)


async def go_on(stage, *idle, to=None):
    """Let everybody but some act until a phase begins, or until the round is over."""
    round = stage.play.round
    while stage.play.phase is not to and stage.play.round == round and stage.play.phase is not AlliancePhase.FINISHED:
        if acting := [hand for hand in stage.acting() if hand not in idle]:
            await stage.act(*acting)
        else:
            stage.play.leave_phase()


def last(hand, kind):
    """Return the newest payload of a kind that a participant sent."""
    return next(payload for payload in reversed(hand.sent) if isinstance(payload, kind))


def clients_of(stage):
    """Return the hands of the round's proposers."""
    return [hand for hand in stage.hands if stage.play.round_record.is_proposer(hand.address)]


def spoil(hand, attempt=0):
    """Alter the update that a participant has committed to, so that its vector contradicts the commitment."""
    path = hand.folder / OPENING.format(attempt)
    data = bytearray(path.read_bytes())
    data[3] ^= 1
    path.write_bytes(data)


def find_in(folder, data):
    """Return the files below a folder in which some bytes stand, half of them already."""
    half = data[: len(data) // 2]
    return [path for path in folder.rglob("*") if path.is_file() and half in path.read_bytes()]


async def test_two_rounds_are_summed_and_no_update_leaves_its_home(stage):
    """The aggregator's home included: neither the opening nor the weights stand in anybody's files, nor in a store."""
    await go_on(stage, to=AlliancePhase.VOTE)
    zk, values = PARAMS.alliance.zk, count_values(stage.play.spec.model)
    clients = clients_of(stage)
    assert len(clients) == 3
    for hand in clients:
        opening = (hand.folder / OPENING.format(0)).read_bytes()
        weights = decode_reveal(zk, values, opening).values
        for other in stage.hands:
            files = find_in(other.folder / "blobs", opening) + find_in(other.folder / "blobs", weights.tobytes())
            if other is not hand:
                files += find_in(other.folder, opening) + find_in(other.folder, weights.tobytes())
            assert files == []
        assert find_in(hand.folder, opening)
        assert find_in(hand.folder, weights.tobytes())
    first = await stage.run_round()
    assert (first.outcome, first.in_favour, first.against) == (Outcome.ACCEPTED, 3, 0)
    second = await stage.run_round()
    assert (second.outcome, stage.play.phase) == (Outcome.ACCEPTED, AlliancePhase.FINISHED)
    assert first.model != second.model
    assert not any(one.is_absent or one.slashed for result in (first, second) for one in result.settled)
    with pytest.raises(NotFound, match="has no proof"):
        make_round_proof(stage.hands[0].chain, stage.play.record, 0)


async def test_every_step_is_repeated_with_the_same_bytes(stage):
    """Saved, or worked out alike: commitment, mask key, vector, sum and vote are the same after a crash."""
    for phase in (AlliancePhase.TRAIN, AlliancePhase.SEAL, AlliancePhase.AGGREGATE, AlliancePhase.VOTE):
        await go_on(stage, to=phase)
        before, after = await stage.repeat(stage.acting()[0])
        assert before == after, phase


async def test_a_round_without_a_vector_is_run_again_with_fresh_masks(stage):
    """Nobody trains twice, but key, commitment and vector are others; who shared nothing is left out and penalised."""
    await go_on(stage, to=AlliancePhase.SEAL)
    dropper, *others = clients_of(stage)
    (dropper.folder / OPENING.format(0)).unlink()
    with pytest.raises(OpeningMissing):
        await stage.act(dropper)
    await go_on(stage, dropper, to=AlliancePhase.TRAIN)
    before = {hand: (last(hand, CommitUpdate), last(hand, ShareMasked)) for hand in others}
    assert stage.play.round_record.attempt() == 1
    result = await stage.run_round()
    assert result.outcome is Outcome.ACCEPTED
    for hand, (commit, share) in before.items():
        again = last(hand, CommitUpdate)
        assert again.mask_key != commit.mask_key
        assert again.update.commitment != commit.update.commitment
        assert last(hand, ShareMasked).blob != share.blob
        assert sum(words.startswith("trained on") for words in hand.told) == 1
        assert stage.play.settled(0, hand.person).earned > 0
    settled = stage.play.settled(0, dropper.person)
    assert (settled.is_absent, settled.earned) == (True, 0)
    assert settled.slashed > 0
    (published,) = [payload for hand in stage.hands for payload in hand.sent if isinstance(payload, PublishMasked)]
    assert published.blob.length == vector_bytes(PARAMS, stage.play.record)


async def test_a_liar_of_the_second_attempt_is_found_by_its_masks_alone(stage):
    """Both that are left show the secret of that attempt, not of the first, which would bare the vectors of that."""
    await go_on(stage, to=AlliancePhase.SEAL)
    dropper, liar, other = clients_of(stage)
    (dropper.folder / OPENING.format(0)).unlink()
    await go_on(stage, dropper, to=AlliancePhase.TRAIN)
    await go_on(stage, to=AlliancePhase.SEAL)
    spoil(liar, attempt=1)
    result = await stage.run_round()
    assert (result.outcome, result.last_phase) == (Outcome.VOID, AlliancePhase.VERDICT)
    assert {one.address for one in result.settled if one.slashed} == {dropper.address, liar.address}
    for hand in (liar, other):
        first, second = (payload.mask_key for payload in hand.sent if isinstance(payload, CommitUpdate))
        assert mask_public_key(last(hand, OpenMask).secret) == second != first


async def test_secrets_are_deleted_once_the_round_is_over(stage):
    """Openings, what was trained, the secrets of masks, and masked updates in everybody's store."""
    await go_on(stage, to=AlliancePhase.VOTE)
    clients = clients_of(stage)
    for client in clients:
        assert sum(hand.blobs.has(last(client, ShareMasked).blob) for hand in stage.hands) == 5
    assert all(hand.diary.list_private() == {(1, 0)} for hand in clients_of(stage))
    await stage.run_round()
    for hand in stage.hands:
        forget_finished(hand)
        assert hand.diary.list_private() == set()
        assert list(hand.folder.glob("alliances/1/hidden-*")) == []
        assert not any(hand.blobs.has(last(client, ShareMasked).blob) for client in clients)


async def test_who_shares_another_update_is_found_and_slashed(stage):
    """The sum opens nothing: the voters see that too, all open their masks, and the liar alone pays."""
    await go_on(stage, to=AlliancePhase.SEAL)
    liar, *others = clients_of(stage)
    spoil(liar)
    result = await stage.run_round()
    assert (result.outcome, result.last_phase) == (Outcome.VOID, AlliancePhase.VERDICT)
    assert {one.address for one in result.settled if one.slashed} == {liar.address}
    assert not any(one.earned for one in result.settled)
    assert all(isinstance(hand.sent[-1], OpenMask) for hand in (liar, *others))
    told = [words for hand in stage.hands for words in hand.told if words.startswith("accuses")]
    lie = "its masked update is not the one that it committed to"
    assert told == [f"accuses {liar.person.name}: {lie}"] * 3


@pytest.mark.parametrize("silent", [1, 2])
async def test_masks_that_stay_closed_hide_no_liar(stage, silent):
    """One silent client is checked by the others' secrets; two share a seed that nobody learns, and both count."""
    await go_on(stage, to=AlliancePhase.SEAL)
    liar, *others = clients_of(stage)
    spoil(liar)
    quiet = [liar, *others][:silent]
    await go_on(stage, to=AlliancePhase.UNMASK)
    await go_on(stage, *quiet)
    slashed = {one.address for one in stage.play.result(0).settled if one.merit == 0 and one.slashed}
    assert slashed == {hand.address for hand in quiet}
    assert stage.play.result(0).outcome is Outcome.VOID


async def test_an_aggregator_that_disputes_a_good_sum_bares_nobody(stage):
    """The voters add up for themselves: its turn is over, the next one publishes, and no secret comes to the log."""
    await go_on(stage, to=AlliancePhase.AGGREGATE)
    (liar,) = stage.acting()
    await liar.apply(DisputeMasked(1, 0))
    result = await stage.run_round()
    assert result.outcome is Outcome.ACCEPTED
    assert {one.address for one in result.settled if one.slashed} == {liar.address}
    assert not any(isinstance(payload, OpenMask) for hand in stage.hands for payload in hand.sent)


async def test_a_sum_that_opens_nothing_is_refused(stage):
    """As long as it must be, and false: no voter names a model, and whoever published it pays."""
    await go_on(stage, to=AlliancePhase.AGGREGATE)
    (liar,) = stage.acting()
    forged = np.zeros(vector_bytes(PARAMS, stage.play.record), np.uint8).tobytes()
    await liar.apply(PublishMasked(1, 0, liar.blobs.put(forged)))
    result = await stage.run_round()
    assert result.outcome is Outcome.VOID
    assert {one.address for one in result.settled if one.slashed} == {liar.address}
    told = [words for one in stage.hands for words in one.told if words.startswith("refuses what was published")]
    assert len(told) == 3


async def test_the_next_aggregator_adds_the_same_vectors(stage):
    """Nothing was sealed to the first one, so nobody shares anything again."""
    await go_on(stage, to=AlliancePhase.AGGREGATE)
    (silent,) = stage.acting()
    stage.play.leave_phase()
    result = await stage.run_round()
    assert result.outcome is Outcome.ACCEPTED
    assert stage.play.settled(0, silent.person).is_absent
    shares = [payload for hand in stage.hands for payload in hand.sent if isinstance(payload, ShareMasked)]
    assert len(shares) == 3


async def test_a_step_that_has_gone_on_is_not_begun(stage):
    """A duty of an earlier block, performed after the round went on, says so and does nothing."""
    hand = stage.acting()[0]
    (duty,) = hand.duties()
    await go_on(stage, to=AlliancePhase.SEAL)
    with pytest.raises(StepClosed):
        await perform(hand, duty)
