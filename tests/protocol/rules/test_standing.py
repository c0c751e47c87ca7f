"""Who may create a task: by stake, by record, or because governance recognised it."""

import pytest
from msgspec.structs import replace

from protocol.blobs import BlobId
from protocol.errors import AlreadyDone, NotEligible
from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.standing import get_standing
from protocol.transactions import CreateTask, Recognise, VerifyTask
from tests.arena_play import Play
from tests.ledger_driver import FML, Person, seed_of


@pytest.fixture
def play() -> Play:
    return Play(is_governed=True)


def create(play: Play, person: Person, *, stake: int = 0) -> int:
    """Have somebody create a task of its own with an escrow; returns the receipt's error."""
    dataset = replace(play.record.spec.dataset_a, blob=BlobId(seed_of("blob of", person.name), 10))
    spec = replace(play.record.spec, dataset_a=dataset)
    return play.send(person, CreateTask(spec, stake, FML)).error


def test_without_a_stake_a_stranger_creates_nothing(play):
    """One unit below the minimum neither; with the minimum it does."""
    least = DEVNET.min_stake_creator_units
    assert create(play, play.stranger) == NotEligible.number
    assert create(play, play.stranger, stake=least - 1) == NotEligible.number
    assert create(play, play.stranger, stake=least) == 0


def test_who_is_recognised_needs_no_stake_but_the_deposit(play):
    """Governance's word stands in for the stake; what fraud costs is due all the same."""
    assert play.send(play.governor, Recognise(play.stranger.address)).error == 0
    assert create(play, play.stranger) == 0
    assert play.units(purses.deposit_of(2, play.stranger.address)) == DEVNET.creator_deposit_units
    assert play.units(purses.stake_of(2, play.stranger.address)) == 0
    play.expect_conserved()


def test_only_governance_recognises_and_once(play):
    """Neither the account itself nor a creator, and on a chain without a governance account nobody."""
    payload = Recognise(play.stranger.address)
    for person in (play.stranger, play.creator):
        assert play.send(person, payload).error == NotEligible.number
    assert play.send(play.governor, payload).error == 0
    assert play.send(play.governor, payload).error == AlreadyDone.number
    lawless = Play()
    assert lawless.send(lawless.creator, payload).error == NotEligible.number


def test_who_was_paid_for_work_has_a_record():
    """Trainers and validators that earned something may create without a stake; who joined and did nothing may not."""
    play = Play(trainers=4, validators=4, is_governed=True)
    assert play.send(play.governor, VerifyTask(play.task)).error == 0
    play.begin()
    idle_trainer, idle_validator = play.trainers[3], play.validators[3]
    working = play.trainers[:3]
    play.submit(working).open(working)
    sheets = {person: play.entries() for person in play.drawn() if person != idle_validator}
    play.commit(sheets).reveal().claim(working)
    for person in (*working, *play.validators[:3]):
        assert get_standing(play.ledger.state, person.address).has_record
        assert create(play, person) == 0
    for person in (idle_trainer, idle_validator, play.stranger):
        assert not get_standing(play.ledger.state, person.address).has_record
        assert create(play, person) == NotEligible.number


def test_nobody_makes_a_record_in_a_task_of_its_own(play):
    """Its creator may be all of its trainers and validators: whatever it pays comes back to it."""
    play.begin().run_epoch()
    assert all(play.member(person).earned_a for person in play.trainers)
    for person in (*play.trainers, *play.validators):
        assert not get_standing(play.ledger.state, person.address).has_record
        assert create(play, person) == NotEligible.number


def test_work_that_paid_nothing_makes_no_record():
    """An epoch without a pot: else records could be had for nothing."""
    play = Play(is_governed=True, escrow=0, params=replace(DEVNET, emission_units=0))
    assert play.send(play.governor, VerifyTask(play.task)).error == 0
    play.begin().run_epoch()
    assert play.result(0).pot == 0
    assert len(play.result(0).ranking) == 3
    for person in (*play.trainers, *play.validators):
        assert not get_standing(play.ledger.state, person.address).has_record


def test_recognition_and_record_do_not_forget_each_other(play):
    """An account that has one keeps it when it gets the other."""
    trainer = play.trainers[0]
    assert play.send(play.governor, Recognise(trainer.address)).error == 0
    assert play.send(play.governor, VerifyTask(play.task)).error == 0
    play.begin().run_epoch()
    standing = get_standing(play.ledger.state, trainer.address)
    assert standing.has_record
    assert standing.is_recognised
    assert play.send(play.governor, Recognise(play.trainers[1].address)).error == 0
    assert get_standing(play.ledger.state, play.trainers[1].address).has_record
