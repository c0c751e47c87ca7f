"""A validator's duties where the creator cheats: it must neither crash nor be slashed for what it cannot do."""

from types import SimpleNamespace

import pytest

from flocknode.jobs import Submitted
from flocknode.participants.validator import evaluate, judge
from flocknode.rpc.events import EventHub
from flocknode.work import Works
from flocknode.worker import JobFailed
from protocol.rules.arena.records import Phase
from protocol.transactions import ReleaseKey, SealedKey, Verdict
from tests.arena_play import Play


async def test_a_validator_whose_key_does_not_open_abstains(tmp_path):
    """The creator hands out boxes of garbage: the drawn say so on the log, and nobody is slashed for it."""
    play = Play().begin().submit().draw()
    boxes = tuple(SealedKey(juror.address, bytes(80)) for juror in play.epoch_record.drawn)
    for person in play.trainers:
        play.ledger.open(person, play.task, 0)
    play.ledger.send(play.creator, ReleaseKey(play.task, 0, boxes, None))
    play.ledger.block()
    assert play.phase is Phase.SCORE
    told: list[str] = []
    sheets = {}
    for person in play.drawn():
        # What opening a dataset needs of a kit; the rest is never reached.
        kit = SimpleNamespace(
            chain=SimpleNamespace(view=play.ledger.state),
            account=SimpleNamespace(seed=person.seed),
            address=person.address,
            scratch=tmp_path,
            report=lambda task, words: told.append(words),
        )
        sheets[person] = await evaluate(kit, play.record)
        assert [entry.verdict for entry in sheets[person]] == [Verdict.UNFETCHABLE] * 3
    assert all("does not open" in words for words in told)
    assert list(tmp_path.iterdir()) == []
    play.commit(sheets).reveal().claim()
    assert all(payout.slashed == 0 for payout in play.result(0).validators)
    assert all(play.member(person).earned_a > 0 for person in play.trainers)


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
        (entry,) = await judge(kit, task, tmp_path, readable)
        assert (entry.tag, entry.verdict) == (b"t" * 32, Verdict.UNFETCHABLE)
    else:
        with pytest.raises(JobFailed):
            await judge(kit, task, tmp_path, readable)
