"""Private rounds with the real jobs, commitments and proofs on the real ledger: played through, repeated, lied in."""

from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from flocknode.alliance_log import make_round_proof
from flocknode.participants import private
from flocknode.participants.alliance import StepClosed
from flocknode.participants.consulting import SumUnproven, bring_consulted
from flocknode.participants.hidden_files import forget_finished, hidden_file
from flocknode.participants.performer import perform
from flocknode.participants.private import OpeningMissing
from protocol.alliance_acts import Accusation, PublishAggregate, RevealUpdate
from protocol.alliance_settings import Attribution, Privacy
from protocol.crypto import seal_key
from protocol.errors import NotFound
from protocol.rules.alliance.records import AlliancePhase
from protocol.rules.alliance.results import AllianceRole, Outcome
from protocol.state import MemoryState
from protocol.zk.proof_file import verify_proof_file
from tests.alliance_stage import JobsHere, close_stage, open_stage
from tests.private_play import PARAMS

PARTICIPANTS = 7


@pytest.fixture(scope="module")
def worker():
    """What performs jobs."""
    return JobsHere()


async def open_private(folder, worker, *, participants=PARTICIPANTS):
    """Open an alliance that hides its updates."""
    settings = {"privacy": Privacy.ZK, "attribution": Attribution.AGGREGATE}
    return await open_stage(folder, worker, participants=participants, params=PARAMS, **settings)


@pytest.fixture
async def stage(tmp_path, worker):
    """An alliance of seven: two propose, three vote, two may aggregate."""
    opened = await open_private(tmp_path, worker)
    yield opened
    close_stage(opened)


@pytest.fixture
async def wide_stage(tmp_path, worker):
    """An alliance of eight: three propose, so that two are left when one lies."""
    opened = await open_private(tmp_path, worker, participants=PARTICIPANTS + 1)
    yield opened
    close_stage(opened)


async def reach(stage, phase):
    """Let everybody act until a phase begins."""
    while stage.play.phase is not phase:
        if acting := stage.acting():
            await stage.act(*acting)
        else:
            stage.play.leave_phase()


def hidden_files(stage):
    return [path for hand in stage.hands for path in hand.folder.glob("alliances/1/hidden-*")]


def openings(stage):
    return {path.read_bytes() for path in hidden_files(stage) if path.name.endswith("-opening")}


async def test_two_rounds_are_hidden_summed_and_proven(stage):
    """All voters name one model, the second round begins from it, the proofs hold, and no opening lies in a store."""
    await reach(stage, AlliancePhase.VOTE)
    secret = openings(stage)
    assert len(secret) == 2
    stored = {path.read_bytes() for hand in stage.hands for path in hand.folder.glob("blobs/*") if path.is_file()}
    assert not secret & stored
    first = await stage.run_round()
    assert first.outcome is Outcome.ACCEPTED
    assert (first.in_favour, first.against) == (3, 0)
    last = await stage.run_round()
    assert (last.outcome, stage.play.phase) == (Outcome.ACCEPTED, AlliancePhase.FINISHED)
    assert last.model != first.model
    assert not any(one.is_absent or one.slashed for result in (first, last) for one in result.settled)
    fee = [one for one in first.settled if one.role is AllianceRole.AGGREGATOR]
    assert len(fee) == 1
    for number in range(2):
        proof = make_round_proof(stage.hands[0].chain, stage.play.record, number)
        verify_proof_file(proof)
        assert proof.statement.context.round == number
    assert proof.statement.context.model == first.model


async def test_every_step_is_repeated_with_the_same_bytes(stage):
    """Saved, and killed before it was sent: commitment, sealed blob, sum and vote are the same the second time."""
    for phase in (AlliancePhase.TRAIN, AlliancePhase.SEAL, AlliancePhase.AGGREGATE, AlliancePhase.VOTE):
        await reach(stage, phase)
        before, after = await stage.repeat(stage.acting()[0])
        assert before == after, phase


async def test_secrets_are_deleted_once_the_round_is_over(stage):
    """While it runs, an opening is needed for the next aggregator; then files and diary are empty."""
    await reach(stage, AlliancePhase.VOTE)
    for hand in stage.hands:
        forget_finished(hand)
    assert len(openings(stage)) == 2
    await stage.run_round()
    for hand in stage.hands:
        forget_finished(hand)
        assert hand.diary.list_private() == set()
    assert hidden_files(stage) == []


def sealed_blobs(stage):
    """Return all blobs that updates were sealed into."""
    return {payload.blob for hand in stage.hands for payload in hand.sent if isinstance(payload, RevealUpdate)}


def holders(stage, blobs):
    return [hand for hand in stage.hands if any(hand.blobs.has(blob) for blob in blobs)]


async def test_sealed_updates_go_from_every_home_once_the_round_is_over(stage):
    """Those for an aggregator that failed as well; proposers, voters and the aggregator had them. The sum stays."""
    await reach(stage, AlliancePhase.AGGREGATE)
    stage.play.leave_phase()
    await reach(stage, AlliancePhase.VOTE)
    sealed, (published,) = sealed_blobs(stage), [one for hand in stage.hands for one in hand.sent if is_sum(one)]
    assert len(sealed) == 4
    assert len(holders(stage, sealed)) == 6
    for hand in stage.hands:
        forget_finished(hand)
    assert len(holders(stage, sealed)) == 6
    result = await stage.run_round()
    assert result.outcome is Outcome.ACCEPTED
    for hand in stage.hands:
        forget_finished(hand)
    assert holders(stage, sealed) == []
    assert len(holders(stage, [published.proven.blob])) == 4
    assert len(holders(stage, [result.model])) == 3
    assert (await stage.run_round()).outcome is Outcome.ACCEPTED


def is_sum(payload):
    return isinstance(payload, PublishAggregate)


async def test_a_crash_while_sealing_leaves_no_blob_that_nobody_knows_of(stage):
    """The key is saved before the blob is made, so the next attempt makes the same one, which goes with the round."""
    await reach(stage, AlliancePhase.SEAL)
    hand = stage.acting()[0]
    seal, made = hand.seal_into_blob, []

    async def crash(source, key):
        made.append(await seal(source, key))
        raise OSError("the power went out")

    hand.seal_into_blob = crash
    with pytest.raises(OSError):
        await stage.act(hand)
    hand.open_diary()
    hand.seal_into_blob = seal
    await stage.act(hand)
    assert [hand.sent[-1].blob] == made


async def test_a_sealed_update_that_is_on_its_way_goes_with_a_later_block(stage):
    """It cannot be removed while it is fetched, so it is not forgotten that it must be."""
    await reach(stage, AlliancePhase.HOLD)
    voter = stage.acting()[0]
    await stage.run_round()
    blob = sealed_blobs(stage).pop()
    voter.blobs.delete(blob)
    with voter.blobs.open_partial(blob):
        forget_finished(voter)
        assert voter.diary.list_private() == {(1, 0)}
    forget_finished(voter)
    assert voter.diary.list_private() == set()


async def test_secrets_wait_for_a_log_that_is_brought_back(stage):
    """A node that catches up from nothing does not know its alliance yet: it keeps what the round may still ask for."""
    await reach(stage, AlliancePhase.SEAL)
    hand = stage.acting()[0]
    kept = hand.diary.list_private()
    view = MemoryState()
    forget_finished(SimpleNamespace(chain=SimpleNamespace(view=view), diary=hand.diary, alliances=hand.alliances))
    assert hand.diary.list_private() == kept == {(1, 0)}
    assert len(openings(stage)) == 2


async def test_the_next_aggregator_gets_the_updates_under_another_key(stage):
    """The first one never acts: the same commitments are sealed anew, the round is accepted, the silent one slashed."""
    await reach(stage, AlliancePhase.AGGREGATE)
    (silent,) = stage.acting()
    first = {hand: hand.sent[-1] for hand in stage.hands if hand.sent and isinstance(hand.sent[-1], RevealUpdate)}
    stage.play.leave_phase()
    await reach(stage, AlliancePhase.AGGREGATE)
    for hand, payload in first.items():
        again = hand.sent[-1]
        assert again.aggregator != payload.aggregator
        assert again.blob != payload.blob
    result = await stage.run_round()
    assert result.outcome is Outcome.ACCEPTED
    assert stage.play.settled(0, silent.person).is_absent
    assert stage.play.settled(0, silent.person).slashed > 0


async def lie_about(stage, liar, lie):
    """Let a proposer reveal something that does not open its commitment."""
    aggregator, key = stage.play.round_record.aggregator(), bytes(range(32))
    blob = liar.blobs.put(b"sealed by nobody")
    if lie == "another opening":
        path = liar.folder / "alliances/1/hidden-0-opening"
        data = bytearray(path.read_bytes())
        data[3] ^= 1
        path.write_bytes(data)
        await stage.act(liar)
    elif lie == "another key":
        await liar.apply(RevealUpdate(1, 0, aggregator, blob, seal_key(key, aggregator)))
    else:
        await liar.apply(RevealUpdate(1, 0, aggregator, blob, seal_key(key, liar.address)))


@pytest.mark.parametrize("lie", ["another opening", "another key", "a box for nobody"])
async def test_who_does_not_open_its_commitment_is_accused_and_the_rest_summed(wide_stage, lie):
    """The voters see that for themselves where they can, and only then it costs; the others are summed."""
    stage = wide_stage
    await reach(stage, AlliancePhase.SEAL)
    liar, *honest = stage.acting()
    await lie_about(stage, liar, lie)
    result = await stage.run_round()
    assert result.outcome is Outcome.ACCEPTED
    settled = stage.play.settled(0, liar.person)
    assert settled.earned == 0
    assert (settled.slashed > 0) == (lie != "a box for nobody")
    assert all(stage.play.settled(0, hand.person).earned > 0 for hand in honest)


@pytest.mark.parametrize("liars", [1, 2])
async def test_updates_that_too_few_others_hide_are_never_summed(stage, liars):
    """Of two proposers one lies, or both: no sum is in any store, the liars are slashed and nobody else."""
    await reach(stage, AlliancePhase.SEAL)
    people = stage.acting()
    for liar in people[:liars]:
        await lie_about(stage, liar, "another opening")
    await reach(stage, AlliancePhase.AGGREGATE)
    (aggregator,) = stage.acting()
    before = set(aggregator.blobs.list())
    await stage.act(aggregator)
    assert aggregator.sent[-1].proven is None
    # It fetched what was sealed, and wrote nothing of its own.
    assert set(aggregator.blobs.list()) - before <= {hand.sent[-1].blob for hand in people}
    assert "published no sum" in aggregator.told[-1]
    result = await stage.run_round()
    assert (result.outcome, result.last_phase) == (Outcome.VOID, AlliancePhase.REVEAL)
    slashed = {one.address for one in result.settled if one.slashed}
    assert slashed == {liar.address for liar in people[:liars]}
    assert not any(one.earned or one.is_absent for one in result.settled)


async def test_accusations_of_the_innocent_without_a_sum_are_refused(stage):
    """The voters open what it says does not open."""
    await reach(stage, AlliancePhase.AGGREGATE)
    (liar,) = stage.acting()
    people = [hand for hand in stage.hands if hand.address in stage.play.round_record.frozen]
    accusations = [Accusation(one.address, one.diary.load_sealed(1, 0, liar.address).key) for one in people]
    await liar.apply(PublishAggregate(1, 0, None, tuple(sorted(accusations, key=lambda one: one.client))))
    result = await stage.run_round()
    assert {one.address for one in result.settled if one.slashed} == {liar.address}


async def test_an_aggregator_that_accuses_the_innocent_is_refused(wide_stage):
    """With the key of a good blob on the log, every voter sees that it opens: no name, no score, and it is slashed."""
    stage = wide_stage
    await reach(stage, AlliancePhase.AGGREGATE)
    (liar,) = stage.acting()
    record, frozen = stage.play.record, stage.play.round_record.frozen
    victim, *others = (next(hand for hand in stage.hands if hand.address == address) for address in frozen)
    key = victim.diary.load_sealed(1, 0, liar.address).key
    committed = private.list_committed(liar, record, tuple(other.address for other in others))
    opened = {other.address: hidden_file(other, record, "opening") for other in others}
    proven = await private.prove_sum(liar, record, committed, opened)
    await liar.apply(PublishAggregate(1, 0, proven, (Accusation(victim.address, key),)))
    result = await stage.run_round()
    assert result.outcome is Outcome.VOID
    assert stage.play.settled(0, liar.person).slashed > 0
    told = [words for one in stage.hands for words in one.told if words.startswith("refuses what was published")]
    assert len(told) == 3
    assert all("whose update opens the commitment" in words for words in told)


async def test_a_sum_that_nobody_delivers_is_refused(stage, autojump_clock):
    """The aggregator proves its sum and serves nobody: the voters say so shortly before the phase ends."""
    await reach(stage, AlliancePhase.AGGREGATE)
    (quiet,) = stage.acting()
    await stage.act(quiet)
    stage.silent.append(quiet)
    result = await stage.run_round()
    assert result.outcome is Outcome.VOID
    assert stage.play.settled(0, quiet.person).slashed > 0
    assert sum("refuses what was published: nobody delivers it" in hand.told for hand in stage.hands) == 3


async def test_the_next_proposers_do_not_train_on_what_the_sum_does_not_give(stage):
    """If the voters had accepted another model than that of the proven sum, whoever begins with it would notice."""
    await stage.run_round()
    hand = stage.hands[0]
    path = await bring_consulted(hand, stage.play.record)
    assert path == hand.blobs.path(stage.play.record.latest.model)
    forged = hand.blobs.put(b"what the voters agreed on")
    lied = replace(stage.play.record, latest=replace(stage.play.record.latest, model=forged))
    with pytest.raises(SumUnproven, match="accepted another model in round 1"):
        await bring_consulted(hand, lied)


async def test_a_step_that_has_gone_on_is_not_begun(stage):
    """A duty of an earlier block, performed after the round went on, says so and does nothing."""
    hand = stage.acting()[0]
    (duty,) = hand.duties()
    await reach(stage, AlliancePhase.SEAL)
    with pytest.raises(StepClosed):
        await perform(hand, duty)


async def test_another_home_of_the_account_cannot_reveal_and_says_why(stage):
    """The opening lies only in the home that committed."""
    await reach(stage, AlliancePhase.SEAL)
    hand = stage.acting()[0]
    (hand.alliances / "1" / "hidden-0-opening").unlink()
    with pytest.raises(OpeningMissing):
        await stage.act(hand)


async def test_a_round_without_a_proof_has_none(stage):
    """A round that runs, one that was never, and one that nobody trained in are told from those that have a proof."""
    for number in (0, 5):
        with pytest.raises(NotFound, match="has no proof"):
            make_round_proof(stage.hands[0].chain, stage.play.record, number)
