"""What a trainer lets others have of its submissions, and when: nothing by itself before it has claimed them."""

from types import SimpleNamespace

import pytest

from flocknode.participants.diary import Diary
from flocknode.participants.kit import Kit
from flocknode.participants.trainer import (
    claim_submission,
    enter_submission,
    open_submission,
    seal_submission,
)
from flocknode.rpc.events import EventHub
from flocknode.work import Works
from protocol.rules.duties import ClaimOwnSubmission, EnterSubmission, OpenOwnSubmission
from protocol.transactions import ClaimSubmission, OpenSubmission
from storage.blobs import BlobStore
from tests.arena_play import Play

WEIGHTS = b"w" * 100_000


class Notes(dict):
    """A diary's pages in memory."""

    put = dict.__setitem__


class Stage:
    """A trainer's kit on a task that takes submissions; what leaves it is written down."""

    def __init__(self, folder) -> None:
        self.play, self.left = Play().begin(), []
        self.trainer = self.play.trainers[0]
        unused = dict.fromkeys(Kit.__dataclass_fields__, SimpleNamespace())
        self.kit = Kit(
            **{
                **unused,
                "chain": SimpleNamespace(id=self.play.ledger.chain, view=self.play.ledger.state),
                "account": SimpleNamespace(address=self.trainer.address, seed=self.trainer.seed),
                "sender": SimpleNamespace(apply=self.leave),
                "courier": SimpleNamespace(deliver=self.leave, keep_held=self.leave),
                "diary": Diary(Notes()),
                "blobs": BlobStore(folder / "blobs"),
                "outbox": BlobStore(folder / "outbox"),
                "works": Works(EventHub()),
                "scratch": folder,
                "randomness": lambda size: b"r" * size,
                "report": lambda task, words: None,
            }
        )
        self.weights = folder / "weights"
        self.weights.write_bytes(WEIGHTS)

    async def leave(self, payload, blob=None) -> None:
        assert self.kit.diary.load_submission(self.play.task, 0) is not None, "saved before it is sent"
        self.left.append((payload, blob))


@pytest.fixture
def stage(tmp_path, monkeypatch) -> Stage:
    stage = Stage(tmp_path)

    async def train(kit, task):
        return await seal_submission(kit, task, stage.weights)

    monkeypatch.setattr("flocknode.participants.trainer.train", train)
    monkeypatch.setattr("flocknode.participants.kit.Kit.vrf_secret", lambda kit, task: stage.trainer.secret(task))
    return stage


async def test_a_submission_is_served_by_its_author_only_once_it_is_claimed(stage) -> None:
    """Peers are served from the blob store, where it comes with the claim; before, whoever asks learns nothing."""
    kit, task = stage.kit, stage.play.task
    await enter_submission(kit, EnterSubmission(task, 0))
    [(payload, file)] = stage.left
    assert file == kit.outbox.path(payload.blob)
    assert not kit.blobs.has(payload.blob)
    await open_submission(kit, OpenOwnSubmission(task, 0, payload.tag))
    assert isinstance(stage.left[1][0], OpenSubmission)
    assert stage.left[2] == (payload, file), "watched, lest a relay forgot it"
    assert not kit.blobs.has(payload.blob)
    await claim_submission(kit, ClaimOwnSubmission(task, 0, payload.tag))
    assert isinstance(stage.left[3][0], ClaimSubmission)
    assert kit.blobs.has(payload.blob)
    assert kit.outbox.list() == ()


async def test_an_attempt_that_was_interrupted_goes_on_with_the_same_submission(stage) -> None:
    """A second proof would be other bytes, and another training another model."""
    for _ in range(2):
        await enter_submission(stage.kit, EnterSubmission(stage.play.task, 0))
    assert stage.left[0] == stage.left[1]


async def test_what_was_never_claimed_goes_with_the_next_epoch(stage) -> None:
    """The outbox holds one submission of a task."""
    task = stage.kit.get_task(stage.play.task)
    await seal_submission(stage.kit, task, stage.weights)
    stage.play.submit().draw().open().commit({}).reveal().claim()
    later = await seal_submission(stage.kit, stage.kit.get_task(task.id), stage.weights)
    assert stage.play.epoch == 1
    assert stage.kit.outbox.list() == (later.payload.blob,)
