"""What a node tells of blocks and tasks, on a real log with a real task: lines for people, events for programs."""

import re
from contextlib import aclosing

import pytest
import structlog
import trio

from flocknode.block_history import BlockHistory
from flocknode.chain import Chain
from flocknode.round_history import RoundHistory
from flocknode.rounds import Rounds
from flocknode.rpc import history
from flocknode.rpc.events import EventHub
from flocknode.rpc.records import RoundEvent
from flocknode.task_events import TaskHistory
from storage.database import Database
from storage.log import ChainStore
from tests.arena_play import Play


@pytest.fixture(scope="module")
def play():
    """Two epochs of a task, settled, and a block after them in which nothing becomes of it."""
    play = Play(trainers=3, validators=3, epochs=2).begin().run_epoch().run_epoch()
    play.ledger.block()
    return play


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
    rounds = Rounds(chain, hub=hub, address=address)
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


def test_what_became_of_tasks_is_told_again_for_good(play, chain, tmp_path):
    """The past of the topic is stored with the blocks: after a restart it is what was told, in order, each once."""
    rounds, _, told = follow(play, chain, play.creator.address)
    rounds.report(play.record, "published the key of dataset A")
    live = [event for topic, event in told if topic == "tasks"]
    assert len({(event.height, event.index) for event in live}) == len(live)
    past = TaskHistory(Chain(play.ledger.document, ChainStore(chain.store._database)).store)
    stored = [item for page in past.pages(past.find(1)) for item in page]
    assert [event for _, event in stored] == live
    assert [position for position, _ in stored] == [past.position_of(event) for event in live]
    assert past.next_position() == stored[-1][0] + 1
    settled = next(event for event in live if event.phase == "settled")
    assert next(past.pages(past.find(settled.height)))[0][1].height == settled.height
    assert list(past.pages(past.next_position())) == []


async def test_a_subscriber_of_tasks_goes_over_from_the_past_to_the_present(play, chain):
    """What is stored comes first, also where the newest blocks did nothing to tasks; then what happens, each once."""
    _, _, told = follow(play, chain, play.creator.address)
    live = [event for topic, event in told if topic == "tasks"]
    assert live[-1].height < chain.head.height, "the last blocks brought no event"
    hub = EventHub()
    hub.histories["tasks"] = TaskHistory(chain.store)
    rounds, found = Rounds(chain, hub=hub, address=play.creator.address), []
    subscriber = hub.subscribe(["tasks"], from_height=1)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery, aclosing(subscriber.events()) as events:

            async def act():
                while subscriber.is_replaying:  # noqa: ASYNC110 - a thread reads
                    await trio.sleep(0.01)
                rounds.report(play.record, "opened 0a51f727")
                for block in play.ledger.blocks[-20:]:
                    rounds.observe(block, play.ledger.sign_commit(block), duration_ms=5)
                rounds.report(play.record, "claimed 0a51f727")

            nursery.start_soon(act)
            async for _, event in events:
                found.append(event)
                if event.text == "claimed 0a51f727":
                    break
    *past, opened, _ = found
    assert past == live, "nothing twice, although the last blocks were told again"
    assert opened.text == "opened 0a51f727"


def test_events_have_the_height_of_their_block_however_late_they_are_told(play, chain):
    """A node that appends a hundred blocks before it tells of the first one tells each as if it had been quick."""
    _, _, quick = follow(play, chain, play.stranger.address)
    hub, late = EventHub(), []
    hub.publish = lambda topic, event: late.append((topic, event))
    rounds = Rounds(chain, hub=hub, address=play.stranger.address)
    for block in play.ledger.blocks:
        rounds.observe(block, play.ledger.sign_commit(block), duration_ms=5)
    assert [event for topic, event in late if topic == "tasks"] == [event for topic, event in quick if topic == "tasks"]


def test_a_second_epoch_names_its_gain(play, chain):
    """The best score of an epoch is compared with that of the epoch before, which the state knows."""
    _, _, told = follow(play, chain, play.stranger.address)
    first, second = [event.text for topic, event in told if topic == "tasks" and event.phase == "settled"]
    assert re.search(r"  best \d\.\d{4}$", first)
    assert re.search(r"  best \d\.\d{4} \([+-]\d\.\d{4}\)$", second)


def test_rounds_of_heights_before_the_start_are_those_that_decided(play, chain):
    """Steps are remembered, and before them the log says in which round each height was decided."""
    follow(play, chain, play.stranger.address)
    head, past = chain.head.height, RoundHistory(chain)
    found = [event for page in past.pages(past.find(0)) for _, event in page]
    assert [(event.height, event.step) for event in found] == [(height, "decided") for height in range(1, head + 1)]
    assert [event.round for event in found] == [chain.load_commit(event.height).round for event in found]
    assert past.next_position() == head + 1
    steps = [RoundEvent(height=head + 1, round=0, step=step, cause="") for step in ("propose", "prevote", "precommit")]
    for step in steps:
        past.append(step)
    joined = [item for page in past.pages(past.find(head)) for item in page]
    assert [event for _, event in joined] == [found[-1], *steps]
    assert past.next_position() == joined[-1][0] + 1
    assert [event for page in past.pages(past.find(head + 1)) for _, event in page] == steps


def test_rounds_that_memory_forgets_come_from_the_log(play, chain, monkeypatch):
    """Of a height whose steps are remembered in part, the log tells the round; nothing is told of one undecided."""
    monkeypatch.setattr(history, "MAX_REMEMBERED", 4)
    past = RoundHistory(chain)
    for block in play.ledger.blocks[:3]:
        chain.commit_block(block, play.ledger.sign_commit(block), chain.check_block(block))
    for height in range(1, 5):
        for step in ("propose", "prevote", "decided"):
            past.append(RoundEvent(height=height, round=0, step=step, cause=""))
    told = [(event.height, event.step) for page in past.pages(past.find(1)) for _, event in page]
    assert told == [
        (1, "decided"),
        (2, "decided"),
        (3, "decided"),
        *((4, s) for s in ("propose", "prevote", "decided")),
    ]
    for number in range(20):
        past.append(RoundEvent(height=4, round=number, step="propose", cause=""))
    told = [(event.height, event.round) for page in past.pages(past.find(3)) for _, event in page]
    assert told == [(3, 0), (4, 16), (4, 17), (4, 18), (4, 19)]


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
