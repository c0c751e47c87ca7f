"""An alliance that improves a task's winner: every node makes the start by itself, from what stands on the log."""

from types import SimpleNamespace

import pytest
import structlog
import torch
from msgspec.structs import replace

from flocknode.frames import Failed
from flocknode.learning import child
from flocknode.learning.families import build_model
from flocknode.learning.fixed_point import load_fixed, quantise
from flocknode.learning.weights import get_module_shapes, save_weights
from flocknode.network.errors import BlobUnavailable
from flocknode.participants.alliance_models import StartMissing, bring_model
from flocknode.participants.kit import seal_into_blob
from flocknode.rpc.events import EventHub
from flocknode.sealing import open_file
from flocknode.work import Works
from protocol.alliance_acts import CreateAlliance
from protocol.codec import encode
from protocol.params import DEVNET
from protocol.rules.alliance.records import get_alliance
from protocol.rules.arena.records import SUBMISSIONS
from protocol.state import Overlay
from storage.blobs import BlobStore
from tests.alliance_play import make_spec
from tests.arena_play import Play
from tests.ledger_driver import FML, seed_of


class Finder:
    """What finding a start needs of a kit; blobs come from a store that others hold."""

    def __init__(self, play, folder, others):
        self.play, self.others, self.told, self.failures = play, others, [], 1
        self.scratch, self.alliances = folder / "scratch", folder / "alliances"
        self.blobs, self.works = BlobStore(folder / "blobs"), Works(EventHub())
        self.chain = SimpleNamespace(view=play.ledger.state)
        self.worker, self.source = SimpleNamespace(run=self.run), SimpleNamespace(fetch_blob=self.fetch_blob)

    async def run(self, job):
        answer = child._perform(child._load_performers(), encode(job), lambda *progress: False)
        assert not isinstance(answer, Failed), answer
        return answer

    async def fetch_blob(self, blob, *, on_progress=None):
        self.failures -= 1
        if self.failures >= 0:
            raise BlobUnavailable("nobody is connected yet")
        self.blobs.put(self.others.path(blob).read_bytes())

    async def open_blob(self, blob, target, key):
        open_file(self.blobs.path(blob), target, key)

    def report(self, alliance, words):
        self.told.append(words)


@pytest.fixture
def play():
    """A task with one epoch to go."""
    return Play().begin().run_epoch()


def finish(play, others, folder):
    """Let the first trainer win the last epoch with real weights, and return their module."""
    torch.manual_seed(5)
    module = build_model(play.record.spec.model)
    weights = folder / "weights.safetensors"
    save_weights(module, weights)
    winner = play.trainers[0]
    blob = seal_into_blob(others, weights, seed_of("key", winner.name, 1))
    play.ledger.submit(winner, play.task, 1, blob)
    play.submit(play.trainers[1:]).open().commit().reveal().claim()
    return module


def create(play, **changes):
    """Create an alliance that improves the task's winner."""
    spec = make_spec(
        DEVNET.alliance.settings, **{"model": play.record.spec.model, "fresh_model": None, "base_task": 1} | changes
    )
    receipt = play.send(play.creator, CreateAlliance(spec, 100 * FML, 1_000 * FML))
    assert receipt.error == 0, receipt
    return get_alliance(play.ledger.state, 1)


async def test_every_node_derives_the_same_start_from_the_winner(play, tmp_path, autojump_clock):
    """Fetched though nobody had it at first, opened with the key on the log, and quantised: the winner's weights."""
    others = BlobStore(tmp_path / "others")
    module = finish(play, others, tmp_path)
    alliance = create(play)
    first, second = (Finder(play, tmp_path / name, others) for name in ("first", "second"))
    with structlog.testing.capture_logs() as captured:
        starts = [await bring_model(finder, alliance, None) for finder in (first, second)]
    assert [line["reason"] for line in captured] == ["nobody is connected yet"] * 2
    assert starts[0].read_bytes() == starts[1].read_bytes()
    vector = load_fixed(starts[0], get_module_shapes(module))
    assert (vector == quantise(module)[0]).all()
    assert first.told == ["starts from the winner of task 1"]
    assert list(first.scratch.iterdir()) == [], "no weights lie about"


async def test_the_start_is_made_once(play, tmp_path, autojump_clock):
    """The next round finds it in the node's own folder, though the task's blobs may be gone by then."""
    others = BlobStore(tmp_path / "others")
    finish(play, others, tmp_path)
    alliance, finder = create(play), Finder(play, tmp_path / "first", others)
    start = await bring_model(finder, alliance, None)
    for blob in finder.blobs.list():
        finder.blobs.delete(blob)
    assert await bring_model(finder, alliance, None) == start


async def test_a_winner_without_a_key_is_no_start(play, tmp_path):
    """Nothing on the log opens it, which is said instead of waited for."""
    others = BlobStore(tmp_path / "others")
    finish(play, others, tmp_path)
    alliance, finder = create(play), Finder(play, tmp_path / "first", others)
    entered = play.ledger.submission_of(play.trainers[0], 1, 1)
    key = next(key for key, found in SUBMISSIONS.scan(play.ledger.state) if found == entered)
    finder.chain.view = Overlay(play.ledger.state)
    SUBMISSIONS.put(finder.chain.view, replace(entered, key=None), key)
    with pytest.raises(StartMissing, match="winner of task 1"):
        await bring_model(finder, alliance, None)
