"""A validator's duties where the creator cheats: it must neither crash nor be slashed for what it cannot do."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from flocknode.jobs import Submitted
from flocknode.participants.creator import publish_key
from flocknode.participants.diary import Diary, Fault
from flocknode.participants.faults import find_provable, prove_fault
from flocknode.participants.sender import ReceiptRefused
from flocknode.participants.validator import judge, open_weights, reveal_scores, score_submissions
from flocknode.rpc.events import EventHub
from flocknode.sealing import open_file
from flocknode.work import Works
from flocknode.worker import JobFailed
from protocol.crypto import seal_key
from protocol.rules.arena.records import Phase, get_task
from protocol.rules.duties import get_duties
from protocol.sealed_pieces import CLEAR_BYTES, seal_piece
from protocol.transactions import (
    CreateTask,
    DatasetName,
    PublishKey,
    ReleaseKey,
    SealedDataset,
    SealedKey,
    Verdict,
)
from storage.blobs import BlobStore
from storage.database import Database
from storage.notes import Notes
from tests.arena_play import Play
from tests.ledger_driver import FML, Person, seed_of


class Hand:
    """What a validator's duties need of a kit, on a ledger without daemons; transactions come into a block at once."""

    def __init__(self, play: Play, person: Person, folder: Path) -> None:
        self.play, self.address, self.scratch = play, person.address, folder / "scratch"
        self.account = SimpleNamespace(seed=person.seed)
        self.person, self.told = person, []
        self.diary = Diary(Notes(Database(folder / person.name.replace(" ", "-"))))
        self.blobs = BlobStore(folder / "blobs")
        self.sender = SimpleNamespace(apply=self.apply)
        self.randomness = bytes

    @property
    def chain(self):
        before = self.play.ledger.before
        return SimpleNamespace(view=self.play.ledger.state, params=before.params, head=before.head, id=before.chain)

    def get_task(self, task):
        return get_task(self.play.ledger.state, task)

    async def apply(self, payload):
        receipt = self.play.send(self.person, payload)
        if receipt.error:
            raise ReceiptRefused(receipt.message)

    async def open_blob(self, blob, target, key):
        open_file(self.blobs.path(blob), target, key)

    def report(self, task, words):
        self.told.append(words)


def duties(play: Play, person: Person):
    return get_duties(play.ledger.state, person.address, lambda task, epoch: play.ledger.tag(person, task, epoch))


@pytest.mark.parametrize("content", [b"garbage", b"wrong"])
async def test_a_validator_whose_box_does_not_open_complains(tmp_path, content):
    """Garbage, or another key in it: the creator must publish the key, which shows the wrong box; then all score."""
    play = Play().begin().submit().draw()
    boxes = tuple(
        SealedKey(juror.address, bytes(80) if content == b"garbage" else seal_key(seed_of("wrong"), juror.address))
        for juror in play.epoch_record.drawn
    )
    for person in play.trainers:
        play.ledger.open(person, play.task, 0)
    play.ledger.send(play.creator, ReleaseKey(play.task, 0, boxes, None))
    play.ledger.block()
    assert play.phase is Phase.SCORE
    hands = [Hand(play, person, tmp_path) for person in play.drawn()]
    for hand in hands:
        (duty,) = duties(play, hand.person)
        await score_submissions(hand, duty)
        assert "complained" in hand.told[-1]
        assert duties(play, hand.person) == []
    assert play.phase is Phase.ANSWER
    creator = Hand(play, play.creator, tmp_path)
    creator.diary.save_dataset_key(play.record.spec.dataset_a.blob.root, seed_of("key a"))
    (duty,) = duties(play, play.creator)
    await publish_key(creator, duty)
    assert play.deposit(play.creator) == 0
    assert play.phase is Phase.SCORE
    play.commit().reveal().claim()
    assert all(payout.slashed == 0 and payout.earned > 0 for payout in play.result(0).validators)


async def test_a_dataset_that_does_not_decrypt_is_proven_when_its_key_is_public(tmp_path):
    """The box is right, a piece is not: the validator abstains, remembers the piece, and shows it at the end."""
    play = Play()
    blobs = BlobStore(tmp_path / "blobs")
    sealed = [seal_piece(seed_of("key a"), 0, bytes(CLEAR_BYTES)), bytes(100)]
    dataset = SealedDataset(blobs.put(b"".join(sealed)), play.record.spec.dataset_a.key_hash, 0)
    spec = replace(play.record.spec, dataset_a=dataset)
    play.send(play.creator, CreateTask(spec, 100 * FML, 1_000 * FML))
    play.task = 2
    play.begin().submit().open()
    hands = [Hand(play, person, tmp_path) for person in play.validators]
    for hand in hands:
        (duty,) = duties(play, hand.person)
        await score_submissions(hand, duty)
        assert hand.diary.load_faults() == [Fault(2, 0, DatasetName.A, None, 1)]
        assert find_provable(hand) == []
    play.wait(Phase.REVEAL)
    for hand in hands:
        await reveal_scores(hand, *duties(play, hand.person))
    play.wait(Phase.CLAIM)
    play.claim().run_epoch()
    for name in DatasetName:
        assert play.send(play.creator, PublishKey(2, name, seed_of(f"key {name.name.lower()}"))).error == 0
    first, second, _ = hands
    assert find_provable(second) == first.diary.load_faults()
    for fault in find_provable(first):
        await prove_fault(first, fault)
    assert play.deposit(play.creator) == 0
    # Another that was about to prove the same learns that it is done.
    assert find_provable(second) == second.diary.load_faults() == first.diary.load_faults() == []


async def test_a_score_for_what_is_no_model_is_proven_false(tmp_path):
    """One honest validator finds that the blob does not decrypt; two claim to have run it, and lose their stakes."""
    play = Play().begin()
    author, honest = play.trainers[0], play.validators[0]
    hand = Hand(play, honest, tmp_path)
    blob = hand.blobs.put(b"no ciphertext")
    play.ledger.submit(author, play.task, 0, blob)
    play.submit(play.trainers[1:]).open()
    submission = play.ledger.submission_of(author, play.task, 0)
    found = await open_weights(hand, play.record, tmp_path, play.tag(author), submission)
    assert found.verdict is Verdict.INVALID
    assert hand.diary.load_faults() == [Fault(1, 0, None, play.tag(author), 0)]
    assert find_provable(hand) == []
    lies = play.entries()
    truth = tuple(found if entry.tag == found.tag else entry for entry in lies)
    play.commit(dict.fromkeys(play.validators, lies) | {honest: truth}).reveal()
    (fault,) = find_provable(hand)
    await prove_fault(hand, fault)
    assert [play.stake(person) for person in play.validators] == [100 * FML, 0, 0]
    # Sent again it is refused, and given up.
    hand.diary.save_fault(fault)
    await prove_fault(hand, fault)
    assert hand.diary.load_faults() == []


@pytest.mark.parametrize("left_ms", [30_000, 10_000])
async def test_a_validator_that_cannot_evaluate_abstains_before_the_phase_ends(tmp_path, left_ms):
    """A dataset that decrypts but does not load fails the job: tried again while there is time, then an abstention."""
    play = Play().begin().submit().draw().open()
    task = play.record
    now_ms = task.deadline_ms - left_ms

    async def run(job, on_progress):
        raise JobFailed("the dataset is no safetensors file")

    kit = SimpleNamespace(
        chain=SimpleNamespace(params=play.ledger.before.params, head=SimpleNamespace(time_ms=now_ms)),
        worker=SimpleNamespace(run=run),
        works=Works(EventHub()),
        report=lambda task, words: None,
    )
    readable = (Submitted(b"t" * 32, "weights"),)
    if left_ms == 10_000:
        (entry,) = await judge(kit, task, tmp_path, readable, ())
        assert (entry.tag, entry.verdict) == (b"t" * 32, Verdict.UNFETCHABLE)
    else:
        with pytest.raises(JobFailed):
            await judge(kit, task, tmp_path, readable, ())
