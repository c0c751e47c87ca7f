"""An alliance's duties with the real jobs on the real ledger; blobs go from store to store instead of by network."""

from dataclasses import dataclass
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from flocknode.frames import Failed
from flocknode.jobs import MakeModel, SplitRows
from flocknode.learning import child
from flocknode.network.errors import BlobUnavailable
from flocknode.participants import alliance as duties_of_alliances
from flocknode.participants.alliance import SplitMissing, StepClosed, VoteMissing, keep_up, perform, reveal_vote
from flocknode.participants.diary import Diary, OwnSplit
from flocknode.participants.sender import ReceiptRefused
from flocknode.rpc.events import EventHub
from flocknode.work import Works
from flocknode.worker import JobFailed
from protocol.alliance_acts import JoinAlliance, ProposeUpdate
from protocol.alliance_settings import Attribution, RewardRule
from protocol.codec import encode
from protocol.models import linear_model
from protocol.params import DEVNET
from protocol.rules.alliance.duties import get_alliance_duties
from protocol.rules.alliance.records import AlliancePhase, get_sheet
from protocol.rules.alliance.results import AllianceRole, Outcome
from storage.blobs import BlobStore
from storage.database import Database
from storage.notes import Notes
from tests.alliance_play import AlliancePlay, make_spec
from tests.dataset_files import write_dataset

MODEL = linear_model(inputs=4, outputs=2)
PARTICIPANTS, ROWS, TEST_SHARE = 5, 120, 250_000


class JobsHere:
    """The learning worker's jobs without its process, so that torch is imported once for all of these tests."""

    def __init__(self):
        self.performers = child._load_performers()

    async def run(self, job, on_progress=None):
        answer = child._perform(self.performers, encode(job), lambda *progress: False)
        if isinstance(answer, Failed):
            raise JobFailed(answer.reason)
        return answer


@pytest.fixture(scope="module")
def worker():
    """What performs jobs."""
    return JobsHere()


class Hand:
    """What a participant's duties need of a kit; transactions come into a block at once."""

    def __init__(self, stage, person):
        self.stage, self.person, self.address = stage, person, person.address
        self.folder = stage.folder / person.name.replace(" ", "-")
        self.scratch, self.alliances = self.folder / "scratch", self.folder / "alliances"
        self.blobs = BlobStore(self.folder / "blobs")
        self.open_diary()
        self.worker, self.works = stage.worker, Works(EventHub())
        self.sender, self.source = SimpleNamespace(apply=self.apply), SimpleNamespace(fetch_blob=self.fetch_blob)
        self.told, self.sent = [], []

    def open_diary(self):
        """Begin with an empty memory, as after a crash: the diary is read from the disk."""
        self.database = getattr(self, "database", None) or Database(self.folder / "database")
        self.diary = Diary(Notes(self.database))

    @property
    def chain(self):
        before = self.stage.play.ledger.before
        return SimpleNamespace(
            view=self.stage.play.ledger.state,
            params=before.params,
            head=before.head,
            id=before.chain,
            name_of=lambda address: next(one.name for one in self.stage.play.participants if one.address == address),
        )

    def randomness(self, count):
        """Return other bytes each time, so that a vote that is made again is another one."""
        self.stage.drawn += 1
        return self.stage.drawn.to_bytes(count, "big")

    async def apply(self, payload):
        receipt = self.stage.play.send(self.person, payload)
        if receipt.error:
            raise ReceiptRefused(receipt.message)
        self.sent.append(payload)

    async def fetch_blob(self, blob, *, on_progress=None):
        for hand in self.stage.hands:
            if hand.blobs.has(blob) and hand not in self.stage.silent:
                self.blobs.put(hand.blobs.path(blob).read_bytes())
                return
        raise BlobUnavailable("none of 4 connected peers delivers it")

    def report(self, alliance, words):
        self.told.append(words)

    def duties(self):
        return list(get_alliance_duties(self.stage.play.ledger.state, self.address))


@dataclass
class Stage:
    """An alliance on the ledger with a hand for each participant; `silent` ones serve nobody."""

    play: AlliancePlay
    folder: object
    worker: JobsHere
    hands: list = None
    silent: list = None
    drawn: int = 0

    async def join(self):
        """Cut everybody's data as `alliance.join` does, put the start into the store, and begin the first round."""
        self.hands, self.silent = [], []
        self.hands += [Hand(self, person) for person in self.play.participants]
        for number, hand in enumerate(self.hands):
            data = write_dataset(self.folder / f"data-{number}", rows=ROWS, columns=4, seed=number)
            own = hand.alliances / "1"
            own.mkdir(parents=True)
            split = OwnSplit(str(own / "train"), str(own / "test"), number)
            cut = await self.worker.run(SplitRows(str(data), number, TEST_SHARE, split.train, split.test))
            hand.diary.save_split(1, split)
            self.play.ledger.send(hand.person, JoinAlliance(1, cut.train_rows, cut.test_rows))
        self.hands[0].blobs.put(self.start.read_bytes())
        self.play.ledger.block()
        self.play.wait(AlliancePhase.TRAIN)

    @property
    def start(self):
        return self.folder / "start.safetensors"

    def acting(self):
        return [hand for hand in self.hands if hand.duties()]

    async def act(self, *hands):
        """Let some do what they should do now, or all."""
        for hand in hands or self.acting():
            for duty in hand.duties():
                await perform(hand, duty)

    async def run_round(self):
        """Let everybody act until the round is settled."""
        number = self.play.round
        while self.play.round == number and self.play.phase is not AlliancePhase.FINISHED:
            acting = self.acting()
            if acting:
                await self.act(*acting)
            else:
                self.play.leave_phase()
        return self.play.result(number)


@pytest.fixture
def make_stage(tmp_path, worker):
    """Give the function that opens an alliance of so many participants that begins with a fresh model."""
    stages = []

    async def make(**settings):
        start = tmp_path / "start.safetensors"
        await worker.run(MakeModel(MODEL, 0, str(start)))
        fresh = BlobStore(tmp_path / "fresh").put(start.read_bytes())
        chosen = replace(DEVNET.alliance.settings, **({"rounds": 2} | settings))
        spec = make_spec(chosen, model=MODEL, fresh_model=fresh, participants=PARTICIPANTS)
        stage = Stage(AlliancePlay(participants=PARTICIPANTS, spec=spec), tmp_path, worker)
        stages.append(stage)
        await stage.join()
        return stage

    yield make
    for stage in stages:
        for hand in stage.hands or ():
            hand.database.close()


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
    assert any("are no model of the alliance" in words for words in voter.told)
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
