"""What a node tells of blocks and tasks, on a real log with a real task: lines for people, events for programs."""

import pytest
import structlog

from flocknode.block_history import BlockHistory
from flocknode.chain import Chain
from flocknode.rounds import Rounds
from flocknode.rpc.events import EventHub
from storage.database import Database
from storage.log import ChainStore
from tests.arena_play import Play


@pytest.fixture(scope="module")
def play():
    """Two epochs of a task, settled."""
    return Play(trainers=3, validators=3, epochs=2).begin().run_epoch().run_epoch()


@pytest.fixture
def chain(play, tmp_path):
    """A log that is still empty."""
    database = Database(tmp_path)
    yield Chain(play.ledger.document, ChainStore(database))
    database.close()


def follow(play, chain, address):
    """Append all blocks, and return per block the lines that an account's node logs, and all events."""
    hub, told = EventHub(), []
    hub.publish = lambda topic, event: told.append((topic, event))
    rounds = Rounds(
        chain, hub=hub, address=address, names={person.address: person.name for person in play.ledger.people}
    )
    lines = []
    for block in play.ledger.blocks:
        commit = play.ledger.sign_commit(block)
        chain.commit_block(block, commit, chain.check_block(block))
        with structlog.testing.capture_logs() as captured:
            rounds.observe(block, commit, duration_ms=5)
        lines.append([line for line in captured if line["log_level"] == "info"])
    return rounds, lines, told


def test_a_block_adds_one_line_at_most(play, chain):
    """With the line of the block itself that makes two, also where an epoch is settled and the next one begins."""
    _, lines, _ = follow(play, chain, play.creator.address)
    assert max(map(len, lines)) == 1
    (settled,) = [line for (line, *_) in filter(None, lines) if line["phase"] == "settled" and line["epoch"] == 1]
    assert " best " in settled["text"]
    assert " e2 submit: open for models" in settled["text"]


def test_strangers_log_nothing_of_a_task_and_hear_all_of_it(play, chain):
    """Who has no role logs no phase; the events of the task come to every subscriber."""
    _, lines, told = follow(play, chain, play.stranger.address)
    assert not any(lines)
    phases = [event.phase for topic, event in told if topic == "tasks"]
    for phase in ("opening", "submit", "open", "score", "reveal", "claim", "settled"):
        assert phase in phases
    assert phases.count("settled") == 2


def test_what_the_node_does_is_an_event_and_no_line(play, chain):
    """Duties are told to subscribers; the log has them at level debug only."""
    rounds, _, told = follow(play, chain, play.creator.address)
    with structlog.testing.capture_logs() as captured:
        rounds.report(play.record, "claimed 0a51f727")
    assert [line["log_level"] for line in captured] == ["debug"]
    assert (told[-1][1].phase, told[-1][1].text) == ("work", "claimed 0a51f727")


def test_a_block_is_told_again_as_it_was_told(play, chain):
    """The past of the topic is the log: the same events, but for the duration, which nobody wrote down."""
    _, _, told = follow(play, chain, play.stranger.address)
    live = [event for topic, event in told if topic == "blocks"]
    past = BlockHistory(chain)
    again = [event for page in past.pages(past.find(0)) for _, event in page]
    assert [event.duration_ms for event in live[:1] + again[:1]] == [5, None]
    assert [(one.height, one.block, one.signed, one.transactions) for one in again] == [
        (one.height, one.block, one.signed, one.transactions) for one in live
    ]
    assert past.next_position() == live[-1].height + 1
