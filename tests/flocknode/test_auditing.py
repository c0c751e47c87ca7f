"""An audit evaluates what the log names, from the published keys alone, and tells each verdict that is not so."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from msgspec.structs import replace

from flocknode.auditing import NothingToAudit, audit_task
from flocknode.jobs import Assessment, Evaluate, Evaluated
from flocknode.network.errors import BlobUnavailable
from flocknode.rpc.events import EventHub
from flocknode.sealing import open_file
from flocknode.work import Works
from flocknode.worker import JobFailed
from protocol.blinding import dataset_key_hash
from protocol.rules.arena.records import get_task
from protocol.sealed_pieces import seal_piece
from protocol.transactions import CreateTask, ScoreEntry, SealedDataset, Verdict
from storage.blobs import BlobStore
from tests.arena_play import Play
from tests.ledger_driver import FML, seed_of


def read(path):
    return Path(path).read_text()


class Auditor:
    """What an audit needs of a kit. Its worker reads the score of a model from the model's file."""

    def __init__(self, play, folder):
        self.play, self.scratch, self.jobs = play, folder / "scratch", []
        self.blobs, self.source, self.worker = BlobStore(folder / "blobs"), self, self
        self.works = Works(EventHub())

    @property
    def chain(self):
        return SimpleNamespace(view=self.play.ledger.state, params=self.play.ledger.before.params)

    async def fetch_blob(self, blob, *, on_progress=None):
        raise BlobUnavailable("nobody has it")

    async def open_blob(self, blob, target, key):
        open_file(self.blobs.path(blob), target, key)

    async def run(self, job: Evaluate, on_progress):
        self.jobs.append(job)
        assert read(job.dataset) in ("dataset a", "dataset b")
        if self.play.is_worker_broken:
            raise JobFailed("it does not run")
        found = []
        for one in job.submissions:
            score, root = read(one.path).split()
            entry = ScoreEntry(one.tag, Verdict.SCORED, int(score), seed_of("root", root), None)
            found.append(Assessment(entry, ""))
        return Evaluated(tuple(found))

    def report(self, task, words):
        pass

    async def audit(self):
        return await audit_task(self, get_task(self.play.ledger.state, self.play.task))


class SealedPlay(Play):
    """A task whose blobs are real: sealed files that say what a model scores and what its plaintext root is."""

    is_worker_broken = False

    def __init__(self, folder):
        super().__init__()
        self.store = BlobStore(folder / "blobs")
        blobs = {name: self.put(seed_of(f"key {name}"), f"dataset {name}") for name in "ab"}
        keys = {name: dataset_key_hash(seed_of(f"key {name}")) for name in "ab"}
        spec = replace(
            self.record.spec,
            dataset_a=SealedDataset(blobs["a"], keys["a"], 0),
            dataset_b=SealedDataset(blobs["b"], keys["b"], 0),
        )
        self.send(self.creator, CreateTask(spec, 100 * FML, 1_000 * FML))
        self.task = 2

    def put(self, key, text):
        return self.store.put(seal_piece(key, 0, text.encode()))

    def enter(self):
        """Enter models that score 900,000 and 10,000 less from one trainer to the next."""
        for place, person in enumerate(self.trainers):
            text = f"{900_000 - 10_000 * place} {person.name.replace(' ', '-')}/{self.epoch}"
            blob = self.put(seed_of("key", person.name, self.epoch), text)
            self.ledger.submit(person, self.task, self.epoch, blob)
        self.ledger.block()
        return self

    def truth(self):
        """Return what an honest validator says."""
        names = {self.tag(person): f"{person.name.replace(' ', '-')}/{self.epoch}" for person in self.trainers}
        return tuple(replace(entry, root=seed_of("root", names[entry.tag])) for entry in self.entries())

    def epoch_of(self, sheets=None):
        """Play an epoch; those without a sheet tell the truth."""
        self.enter().open()
        truth = self.truth()
        self.commit({person: (sheets or {}).get(person, lambda entries: entries)(truth) for person in self.drawn()})
        return self.reveal().claim()


@pytest.fixture
def play(tmp_path):
    return SealedPlay(tmp_path).begin()


def agreements(audit):
    return [comparison.agrees for comparison in audit.comparisons]


async def test_an_honest_task_is_confirmed(play, tmp_path):
    """Two epochs of three models and three validators: 18 verdicts, all so, with the first epoch's models as known."""
    play.epoch_of().epoch_of()
    play.ledger.publish_keys(play.creator, play.task)
    play.ledger.block()
    auditor = Auditor(play, tmp_path)
    audit = await auditor.audit()
    assert (audit.epochs, audit.unchecked) == (2, [])
    assert agreements(audit) == [True] * 18
    assert [len(job.earlier) for job in auditor.jobs] == [0, 3]
    assert not list(auditor.scratch.iterdir()), "files in clear are left behind"


async def test_a_wrong_score_is_told_with_what_is_so(play, tmp_path):
    """A validator that lies about one model differs there and nowhere else; one that abstains does not."""
    liar, absent = play.validators[:2]

    def lie(entries):
        return (replace(entries[0], score=entries[0].score + 1), *entries[1:])

    def abstain(entries):
        return tuple(ScoreEntry(entry.tag, Verdict.UNFETCHABLE, 0, None, None) for entry in entries)

    play.epoch_of({liar: lie, absent: abstain}).epoch_of()
    play.ledger.publish_keys(play.creator, play.task)
    play.ledger.block()
    audit = await Auditor(play, tmp_path).audit()
    (wrong,) = [comparison for comparison in audit.comparisons if comparison.agrees is False]
    assert (wrong.epoch, wrong.validator, wrong.said.score) == (0, liar.address, wrong.found.score + 1)
    assert [one.validator for one in audit.comparisons if one.agrees is None] == [absent.address] * 3


async def test_without_the_key_an_epoch_is_not_checked(play, tmp_path):
    """Before the creator publishes A's key there is nothing to open the dataset with; B's is in clear by then."""
    play.epoch_of()
    audit = await Auditor(play, tmp_path).audit()
    assert (audit.comparisons, [(one.epoch, one.tag) for one in audit.unchecked]) == ([], [(0, None)])
    play.epoch_of()
    assert agreements(await Auditor(play, tmp_path).audit()) == [True] * 9


async def test_what_nobody_has_any_more_is_not_checked(play, tmp_path):
    """A model whose blob is gone is listed with the reason, the others are checked."""
    play.epoch_of().epoch_of()
    play.ledger.publish_keys(play.creator, play.task)
    play.ledger.block()
    gone = play.ledger.submission_of(play.trainers[0], play.task, 0)
    play.store.delete(gone.blob)
    audit = await Auditor(play, tmp_path).audit()
    assert [(one.epoch, one.tag, one.reason) for one in audit.unchecked] == [
        (0, play.tag(play.trainers[0], 0), "nobody has it")
    ]
    assert agreements(audit) == [True] * 15


async def test_a_model_that_does_not_decrypt_is_invalid(play, tmp_path):
    """Who called it invalid is confirmed, by the root of the ciphertext, and who scored it is not."""
    blob, author, honest = play.store.put(bytes(100)), play.trainers[0], play.validators[0]
    play.ledger.submit(author, play.task, 0, blob)
    play.ledger.block()
    play.enter().open()
    truth = play.truth()
    invalid = ScoreEntry(play.tag(author), Verdict.INVALID, 0, blob.root, None)
    right = tuple(invalid if entry.tag == invalid.tag else entry for entry in truth)
    play.commit({person: right if person == honest else truth for person in play.drawn()}).reveal().claim().epoch_of()
    play.ledger.publish_keys(play.creator, play.task)
    play.ledger.block()
    audit = await Auditor(play, tmp_path).audit()
    said = {one.validator: one.agrees for one in audit.comparisons if one.said.tag == invalid.tag}
    assert said == {person.address: person == honest for person in play.validators}


async def test_a_broken_worker_leaves_the_epoch_unchecked(play, tmp_path):
    """What cannot be evaluated accuses nobody."""
    play.epoch_of().epoch_of()
    play.is_worker_broken = True
    play.ledger.publish_keys(play.creator, play.task)
    play.ledger.block()
    audit = await Auditor(play, tmp_path).audit()
    assert not audit.comparisons
    assert len(audit.unchecked) == 2


async def test_an_unsettled_task_has_nothing_to_audit(play, tmp_path):
    """It is refused with the reason."""
    with pytest.raises(NothingToAudit):
        await Auditor(play, tmp_path).audit()
