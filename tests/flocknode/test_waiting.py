"""What tasks and alliances wait for, in sentences, on a real ledger step by step."""

import pytest
from msgspec.structs import replace

from flocknode.rpc.records import WorkEvent
from flocknode.waiting import describe_alliance, describe_calm, describe_jobs
from protocol.alliance_acts import ProposeUpdate
from protocol.rules.alliance.records import AlliancePhase
from protocol.rules.arena.records import Phase
from protocol.rules.jobs import Funding
from tests.alliance_play import AlliancePlay, update_of
from tests.arena_play import Play
from tests.ledger_driver import FML
from tests.masked_play import MaskedPlay, until_aggregation
from tests.private_play import PrivatePlay


def describe(play, person=None, *, works=(), later_ms=0):
    """Return what the node of a person, or the creator's, says of the play so long after its newest block."""
    names = {one.address: one.name for one in play.ledger.people}
    address = (person or play.creator).address
    now_ms = play.ledger.before.head.time_ms + later_ms
    params = play.ledger.before.params
    return describe_jobs(play.ledger.state, params, address, name=names.get, works=works, now_ms=now_ms)


def awaited(play):
    """Return what the only job of the play waits for, without how long."""
    (sentence,) = describe(play)
    place, _, text = sentence.partition(": waits for ")
    return place, text.partition(", ")[0]


def work(subject, done=0, total=0):
    return WorkEvent(
        work=1,
        kind="training",
        subject=subject,
        unit="steps",
        state="running",
        done=done,
        total=total,
        elapsed_ms=1,
        rate_millionths=0,
        left_ms=None,
        note="",
    )


def test_a_round_says_what_is_missing_and_how_long_it_may_take():
    """One of two updates, and how much of the training phase is left; once that is over, the next block ends it."""
    play = AlliancePlay(participants=5).begin()
    first = play.proposers()[0]
    play.send(first, ProposeUpdate(play.alliance, play.round, update_of(first, 0)))
    (sentence,) = describe(play, later_ms=19_900)
    left_s = (play.record.deadline_ms - play.ledger.before.head.time_ms - 19_900) // 1_000
    assert 30 < left_s < 60
    assert sentence == f"alliance 1, round 1: waits for 1 of 2 updates, at most {left_s} s more"
    assert describe(play, first) == describe(play)
    assert describe(play, later_ms=60_000) == ["alliance 1, round 1: waits for 1 of 2 updates, until the next block"]
    assert describe(play, play.stranger) == []


def test_what_the_node_does_for_it_is_said_too():
    """Of this alliance only, and how far it is once that is known."""
    play = AlliancePlay(participants=5).begin()
    works = [work("alliance 1 hospitals t1", 40, 160), work("alliance 12 x t1"), work("task 1 digits")]
    (sentence,) = describe(play, works=works)
    assert sentence.endswith(" s more; this node is training, 40 of 160 steps")
    (sentence,) = describe(play, works=[work("alliance 1 hospitals t1")])
    assert sentence.endswith("; this node is training")


def test_every_step_of_a_round_has_its_words():
    """From the first participant to the confirmed aggregate, and nothing once it has ended."""
    play = AlliancePlay(participants=5, rounds=1)
    assert awaited(play) == ("alliance 1", "5 of 5 participants")
    for person in play.participants:
        play.join(person)
    play.ledger.block()
    assert awaited(play) == ("alliance 1, round 1", "the beacon's draw")
    play.draw()
    assert awaited(play)[1] == "2 of 2 updates"
    assert awaited(play.train())[1] == "3 of 3 voters to fetch the updates"
    assert awaited(play.hold())[1] == "3 of 3 votes"
    assert awaited(play.commit())[1] == "3 of 3 votes to be revealed"
    assert awaited(play.reveal())[1] == "3 of 3 voters to confirm the aggregate"
    play.confirm()
    assert play.phase is AlliancePhase.FINISHED
    assert describe(play) == []


def test_who_waits_for_governance_says_so():
    """A task that nobody pays for opens once it is verified, and an alliance that enough joined."""
    play = Play(escrow=0, is_governed=True)
    assert awaited(play) == ("task 1", "governance to verify it")
    play = AlliancePlay(participants=5)
    full = replace(play.record, places=5, funding=Funding.AWAITED)
    assert describe_alliance(play.ledger.state, full, str) == "governance to verify it"


def test_the_steps_of_hidden_updates_have_theirs():
    """Commitments, sealed updates, and the aggregator's name."""
    play = PrivatePlay(rounds=1).begin()
    proposers = len(play.proposers())
    assert awaited(play)[1] == f"{proposers} of {proposers} commitments"
    assert awaited(play.train())[1] == f"{proposers} of {proposers} sealed updates"
    assert awaited(play.seal())[1] == "3 of 3 voters to fetch the updates"
    assert awaited(play.hold())[1] == f"{play.aggregator().name}'s sum of the updates"
    assert awaited(play.publish())[1] == "3 of 3 votes"


def test_the_steps_of_a_dispute_have_theirs():
    """Voters add, clients open their masks, voters name who lied."""
    play = MaskedPlay(rounds=1).begin().train()
    proposers = len(play.proposers())
    assert awaited(play)[1] == f"{proposers} of {proposers} masked updates"
    play = until_aggregation(spoiled=1).dispute()
    assert awaited(play)[1] == "3 of 3 voters to add up the sum"
    frozen = len(play.round_record.frozen)
    assert awaited(play.judge())[1] == f"{frozen} of {frozen} masks to be opened"
    assert awaited(play.unmask())[1] == "3 of 3 voters to name who lied"


def test_every_phase_of_a_task_has_its_words():
    """From members to claims; phases in which something went wrong are told by who must act."""
    play = Play(epochs=2)
    assert awaited(play) == ("task 1", "3 of 3 trainers and 3 of 3 validators with its datasets")
    play.begin()
    assert awaited(play) == ("task 1, epoch 1", "3 of 3 models")
    assert awaited(play.submit())[1] == "the beacon's draw"
    play.draw()
    assert awaited(play)[1] == "creator to hand out the dataset's key"
    play.ledger.release_key(play.creator, play.task)
    play.ledger.block()
    assert awaited(play)[1] == "3 of 3 models to be opened"
    assert awaited(play.open(key=False))[1] == "3 of 3 validators to score"
    assert awaited(play.commit())[1] == "3 of 3 scores to be revealed"
    assert awaited(play.reveal())[1] == "3 of 3 models to be claimed"
    play.claim()
    assert awaited(play) == ("task 1, epoch 2", "3 of 3 models")
    assert play.phase is Phase.SUBMIT
    assert describe(play, play.stranger) == []


def test_of_many_jobs_a_few_are_named():
    """Three sentences, and how many more there are."""
    play = Play()
    for _ in range(4):
        play.ledger.create_task(play.creator, epochs=2, escrow=FML)
    found = describe(play)
    assert [sentence.partition(":")[0] for sentence in found] == ["task 1", "task 2", "task 3", "and 2 more"]


@pytest.mark.parametrize(
    ("pending", "words"),
    [(0, "idle: height 7 begins with the next transaction or deadline"), (2, "height 7 is being agreed on")],
)
def test_a_node_that_nothing_keeps_waiting_says_so(pending, words):
    """By whether transactions wait."""
    assert describe_calm(7, pending=pending) == words
