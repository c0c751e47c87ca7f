"""What every role should do now, in each phase and after each act: read from the state alone."""

from msgspec.structs import replace

from protocol.params import DEVNET
from protocol.rules.arena.records import Phase
from protocol.rules.duties import (
    AttestDatasets,
    ClaimOwnSubmission,
    Duty,
    EnterSubmission,
    OpenOwnSubmission,
    PublishDatasetKey,
    ReleaseDatasetKey,
    RevealOwnScores,
    ScoreSubmissions,
    get_duties,
)
from protocol.transactions import Attest, DatasetName, Leave, Role
from tests.arena_play import Play
from tests.ledger_driver import Person

DEVNET_WITH_THREE = replace(DEVNET, validators_per_epoch=3)


def duties(play: Play, person: Person) -> list[Duty]:
    return get_duties(play.ledger.state, person.address, lambda task, epoch: play.ledger.tag(person, task, epoch))


def expect_nobody_but(play: Play, expected: dict[Person, list[Duty]]) -> None:
    """Assert everybody's duties; who is not named has none."""
    for person in play.ledger.people:
        assert duties(play, person) == expected.get(person, []), person.name


def test_everybodys_duties_through_a_whole_task():
    """From joining to the published keys: each act takes one duty off the list, each phase brings the next ones."""
    play = Play()
    task, trainers, validators, ledger = play.task, play.trainers, play.validators, play.ledger
    expect_nobody_but(play, {})
    for role, people in ((Role.TRAINER, trainers), (Role.VALIDATOR, validators)):
        for person in people:
            ledger.join(person, task, role)
    ledger.block()
    expect_nobody_but(play, {person: [AttestDatasets(task)] for person in validators})
    play.send(validators[0], Attest(task))
    expect_nobody_but(play, {person: [AttestDatasets(task)] for person in validators[1:]})
    for person in validators[1:]:
        ledger.send(person, Attest(task))
    ledger.block()
    for epoch in range(2):
        go_through_epoch(play, epoch)
    keys = [PublishDatasetKey(task, DatasetName.A), PublishDatasetKey(task, DatasetName.B)]
    expect_nobody_but(play, {play.creator: keys})
    ledger.publish_keys(play.creator, task)
    ledger.pending = ledger.pending[:1]
    ledger.block()
    expect_nobody_but(play, {play.creator: keys[1:]})
    ledger.publish_keys(play.creator, task)
    ledger.block()
    expect_nobody_but(play, {})


def go_through_epoch(play: Play, epoch: int) -> None:
    """Assert the duties of one epoch, and perform them one by one."""
    task, ledger, trainers = play.task, play.ledger, play.trainers
    expect_nobody_but(play, {person: [EnterSubmission(task, epoch)] for person in trainers})
    ledger.submit(trainers[0], task, epoch)
    ledger.block()
    expect_nobody_but(play, {person: [EnterSubmission(task, epoch)] for person in trainers[1:]})
    play.submit(trainers[1:])
    to_open = {person: [OpenOwnSubmission(task, epoch, play.tag(person))] for person in trainers}
    expect_nobody_but(play, to_open)
    play.draw()
    dataset = DatasetName.B if epoch == 1 else DatasetName.A
    to_release = {play.creator: [ReleaseDatasetKey(task, epoch, dataset, play.epoch_record.drawn)]}
    expect_nobody_but(play, to_open | to_release)
    ledger.open(trainers[0], task, epoch)
    ledger.block()
    del to_open[trainers[0]]
    expect_nobody_but(play, to_open | to_release)
    ledger.release_key(play.creator, task)
    ledger.block()
    expect_nobody_but(play, to_open)
    for person in trainers[1:]:
        ledger.open(person, task, epoch)
    ledger.block()
    expect_nobody_but(play, {person: [ScoreSubmissions(task, epoch)] for person in play.validators})
    entries = play.entries()
    ledger.commit_scores(play.validators[0], task, epoch, entries)
    ledger.block()
    expect_nobody_but(play, {person: [ScoreSubmissions(task, epoch)] for person in play.validators[1:]})
    play.commit(dict.fromkeys(play.validators[1:], entries))
    expect_nobody_but(play, {person: [RevealOwnScores(task, epoch)] for person in play.validators})
    ledger.reveal_scores(play.validators[0], task, epoch, entries)
    ledger.block()
    expect_nobody_but(play, {person: [RevealOwnScores(task, epoch)] for person in play.validators[1:]})
    play.reveal(play.validators[1:])
    to_claim = {person: [ClaimOwnSubmission(task, epoch, play.tag(person))] for person in trainers}
    expect_nobody_but(play, to_claim)
    ledger.claim(trainers[0], task, epoch)
    ledger.block()
    del to_claim[trainers[0]]
    expect_nobody_but(play, to_claim)
    play.claim(trainers[1:])


def test_only_who_sits_in_an_epoch_has_its_duties():
    """A trainer that joins during an epoch waits for the next one; a validator attests at once."""
    play = Play(trainers=4, validators=4)
    late, later = play.trainers[3], play.validators[3]
    validators, play.validators = play.validators, play.validators[:3]
    play.begin(trainers=play.trainers[:3])
    play.validators = validators
    play.ledger.join(late, play.task, Role.TRAINER)
    play.ledger.join(later, play.task, Role.VALIDATOR)
    play.ledger.block()
    assert duties(play, late) == []
    assert duties(play, later) == [AttestDatasets(play.task)]
    early = play.trainers[:3]
    play.submit(early).open(early)
    assert duties(play, later) == [AttestDatasets(play.task)]
    play.commit().reveal().claim(early)
    assert duties(play, late) == [EnterSubmission(play.task, 1)]


def test_only_the_drawn_have_to_score():
    """The others may rest, and have nothing to reveal."""
    play = Play(validators=4, params=DEVNET_WITH_THREE).begin().submit().open()
    resting = next(person for person in play.validators if person not in play.drawn())
    assert duties(play, resting) == []
    for person in play.drawn():
        assert duties(play, person) == [ScoreSubmissions(play.task, 0)]
    play.commit(dict.fromkeys(play.drawn()[:2], play.entries()))
    assert duties(play, resting) == []
    # Who did not commit has nothing to reveal either.
    assert [len(duties(play, person)) for person in play.drawn()] == [1, 1, 0]


def test_who_missed_a_phase_has_no_duty_left_in_the_next():
    """Nothing entered is nothing to open, nothing opened is nothing to claim."""
    play = Play().begin()
    absent, silent = play.trainers[:2]
    play.submit(play.trainers[1:])
    assert duties(play, absent) == []
    play.open(play.trainers[2:]).commit().reveal()
    assert play.phase is Phase.CLAIM
    assert duties(play, silent) == []
    assert duties(play, play.trainers[2]) == [ClaimOwnSubmission(play.task, 0, play.tag(play.trainers[2]))]


def test_who_is_leaving_still_does_its_part():
    """The role lasts until the epoch settles, and so do its duties."""
    play = Play().begin()
    for person in (play.trainers[0], play.validators[0]):
        play.send(person, Leave(play.task))
    assert duties(play, play.trainers[0]) == [EnterSubmission(play.task, 0)]
    play.run_epoch()
    assert duties(play, play.trainers[0]) == []


def test_an_expired_task_asks_nothing_of_anybody():
    """Not even its keys of its creator: nobody saw the data."""
    play = Play()
    play.wait(Phase.EXPIRED)
    expect_nobody_but(play, {})


def test_duties_of_several_tasks_come_by_task():
    """One account may be a creator here and a trainer there."""
    play = Play().begin()
    other = play.trainers[0]
    play.ledger.create_task(other)
    second = 2
    for person in (play.trainers[1], play.trainers[2], play.creator):
        play.ledger.join(person, second, Role.TRAINER)
    for person in play.validators:
        play.ledger.join(person, second, Role.VALIDATOR)
    play.ledger.block()
    assert duties(play, play.validators[0]) == [AttestDatasets(second)]
    for person in play.validators:
        play.ledger.send(person, Attest(second))
    play.ledger.block()
    assert duties(play, other) == [EnterSubmission(play.task, 0)]
    assert duties(play, play.trainers[1]) == [EnterSubmission(play.task, 0), EnterSubmission(second, 0)]
    assert duties(play, play.creator) == [EnterSubmission(second, 0)]
