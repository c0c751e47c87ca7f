"""How a trainer trains for an epoch: what it begins with, when it gives up, and what is told meanwhile."""

from types import SimpleNamespace

import pytest
import trio

from flocknode.frames import Progress
from flocknode.jobs import Trained, TrainSettings
from flocknode.network.errors import BlobUnavailable
from flocknode.participants.diary import TrainingPlan
from flocknode.participants.training import TrainingTooLate, find_best, train_weights
from flocknode.rpc.events import EventHub
from flocknode.trainings import MAX_POINTS, MAX_RUNS, Trainings
from flocknode.work import Works
from flocknode.worker import JobFailed
from protocol.rules.arena.records import Phase
from tests.arena_play import Play

PLAN = TrainingPlan("data", TrainSettings(2, 1, 1, 7, "sgd"), warm_start=True)
RESULT = Trained(rows=10, loss_millionths=1, metric="accuracy", metric_millionths=1)


@pytest.fixture
def play():
    """A task in its second epoch, after an epoch in which the second trainer was the best."""
    play = Play(epochs=3).begin().submit().draw().open()
    first, second, third = play.trainers
    entries = play.entries({first: 500_000, second: 900_000, third: 700_000})
    play.commit(dict.fromkeys(play.drawn(), entries)).reveal().claim()
    assert (play.epoch, play.phase) == (1, Phase.SUBMIT)
    return play


def make_kit(play, tmp_path, run, fetch=None):
    """Return what training needs of a kit; `run` stands for the worker, `fetch` for the network."""
    opened = []

    async def open_blob(blob, target, key):
        target.write_bytes(blob.root)
        opened.append(key)

    return SimpleNamespace(
        chain=SimpleNamespace(view=play.ledger.state),
        blobs=SimpleNamespace(has=lambda blob: fetch is None),
        source=SimpleNamespace(fetch_blob=fetch),
        open_blob=open_blob,
        opened=opened,
        worker=SimpleNamespace(run=run),
        works=Works(EventHub()),
        trainings=Trainings(),
        scratch=tmp_path,
        told=(told := []),
        report=lambda task, words: told.append(words),
    )


def test_the_best_published_model_is_the_highest_score_of_all_epochs(play):
    """Before an epoch has settled there is none; then it is the best of all, the earliest of equals."""
    assert find_best(play.ledger.state, Play().begin().record) is None
    state, task, first, second = play.ledger.state, play.task, *play.trainers[:2]
    ranked, submission = find_best(state, play.record)
    assert (ranked.tag, ranked.score) == (play.tag(second, 0), 900_000)
    assert submission.author == second.address
    assert submission.key is not None
    play.submit().draw().open()
    sheets = {person: play.entries({first: 900_000, second: 100_000, play.trainers[2]: 1}) for person in play.drawn()}
    play.commit(sheets).reveal().claim()
    assert (play.epoch, task) == (2, play.task)
    assert find_best(play.ledger.state, play.record)[0].tag == play.tag(second, 0)


async def test_a_warm_start_begins_with_the_best_model_and_leaves_nothing_behind(play, tmp_path):
    """The worker is given the winner's weights in clear, and another seed than in the epoch before."""
    jobs = []

    async def run(job, tell):
        jobs.append((job, (tmp_path / "out.start").read_bytes()))
        tell(Progress(5, 20, 250_000))
        return RESULT

    kit = make_kit(play, tmp_path, run)
    stale = tmp_path / f"task-{play.task}-epoch-0.checkpoint"
    stale.write_bytes(b"of the epoch before")
    assert await train_weights(kit, play.record, PLAN, tmp_path / "out.safetensors") == RESULT
    ((job, start),) = jobs
    best, submission = find_best(play.ledger.state, play.record)
    assert start == submission.blob.root
    assert kit.opened == [submission.key]
    assert job.settings.seed == 8
    assert job.checkpoint == str(tmp_path / f"task-{play.task}-epoch-1.checkpoint")
    assert list(tmp_path.iterdir()) == []
    (told,) = kit.trainings.list_for_tasks(play.task)
    assert (told.state, told.done, told.total, told.start) == ("done", 5, 20, best.tag.hex())
    assert [point.loss_millionths for point in told.losses] == [250_000]


async def test_a_model_that_cannot_be_had_is_done_without(play, tmp_path, autojump_clock):
    """Nobody delivers the best model, or not in time: training begins from scratch, and says so."""

    async def never(blob):
        await trio.sleep_forever()

    async def refuse(blob):
        raise BlobUnavailable("nobody has it")

    async def run(job, tell):
        assert job.initial is None
        return RESULT

    for fetch, words in ((never, "in time"), (refuse, "nobody has it")):
        kit = make_kit(play, tmp_path, run, fetch)
        assert await train_weights(kit, play.record, PLAN, tmp_path / "out.safetensors") == RESULT
        assert words in kit.told[-1]
        assert kit.trainings.list_for_tasks()[0].start is None


async def test_training_ends_when_nothing_can_be_entered_any_more(play, tmp_path, autojump_clock):
    """The epoch moves on while it trains: the job is cancelled, and the reason says what to do."""
    task = play.record
    ended = []

    async def run(job, tell):
        play.submit()
        try:
            await trio.sleep_forever()
        finally:
            ended.append(True)

    kit = make_kit(play, tmp_path, run)
    with trio.fail_after(60), pytest.raises(TrainingTooLate, match="epoch 2") as caught:
        await train_weights(kit, task, PLAN, tmp_path / "out.safetensors")
    assert "passes" in caught.value.help
    assert ended == [True]
    assert kit.trainings.list_for_tasks()[0].state == "failed"


async def test_a_failed_job_is_the_reason(play, tmp_path):
    """What the worker says comes out as it is, and stands in the list."""

    async def run(job, tell):
        raise JobFailed("training diverged: lower the learning rate")

    kit = make_kit(play, tmp_path, run)
    with pytest.raises(JobFailed, match="diverged"):
        await train_weights(kit, play.record, PLAN, tmp_path / "out.safetensors")
    (told,) = kit.trainings.list_for_tasks()
    assert (told.state, "diverged" in told.reason) == ("failed", True)


async def test_a_training_that_is_cancelled_says_that_it_was_given_up(play):
    """So end the trainings of an alliance's round that has gone on."""
    trainings = Trainings()
    with trio.CancelScope() as scope, trainings.follow(play.record, None):
        scope.cancel()
        await trio.sleep_forever()
    (told,) = trainings.list_for_tasks()
    assert (told.state, told.reason) == ("failed", "given up: its step closed before it was done")


def test_loss_curves_and_the_list_are_bounded(play):
    """A curve of any length keeps its ends and at most 128 points; of many trainings the newest 64 stay."""
    trainings = Trainings()
    for _ in range(MAX_RUNS + 5):
        with trainings.follow(play.record, None) as run:
            run.take(Progress(40, 10_000, None))
            for step in range(41, 10_001):
                run.take(Progress(step, 10_000, 10_000 - step))
    found = trainings.list_for_tasks()
    assert len(found) == MAX_RUNS
    steps = [point.step for point in found[-1].losses]
    assert found[-1].resumed_from == 40
    assert MAX_POINTS / 2 <= len(steps) <= MAX_POINTS
    assert (steps[0], steps == sorted(set(steps))) == (41, True)
    assert steps[-1] > 9_800
    assert trainings.list_for_tasks(play.task + 1) == ()
