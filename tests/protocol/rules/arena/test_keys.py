"""Complaints about sealed keys: who is hurt if the creator cheats, if a validator lies, if either is silent."""

import pytest
from msgspec.structs import replace

from protocol.crypto import seal_key
from protocol.errors import AlreadyDone, NotEligible, OutOfBounds, WrongPhase
from protocol.params import DEVNET
from protocol.rules.arena.records import Phase
from protocol.rules.duties import PublishDatasetKey, ScoreSubmissions, get_duties
from protocol.transactions import CommitScores, DatasetName, KeyComplaint, PublishKey, ReleaseKey, SealedKey
from tests.arena_play import STEP_MS, Play
from tests.ledger_driver import FML, Person, seed_of

KEY_A = PublishKey(1, DatasetName.A, seed_of("key a"))
COMPLAINT = KeyComplaint(1, 0)


def start(*, cheated: int = 0, validators: int = 3, epochs: int = 2) -> Play:
    """Return a play that scores, in which the first of the drawn got boxes with a wrong key."""
    play = Play(validators=validators, epochs=epochs, params=replace(DEVNET, validators_per_epoch=3)).begin()
    play.submit().draw()
    boxes = tuple(
        SealedKey(juror.address, seal_key(seed_of("wrong" if number < cheated else "key a"), juror.address))
        for number, juror in enumerate(play.epoch_record.drawn)
    )
    for person in play.trainers:
        play.ledger.open(person, play.task, 0)
    play.ledger.send(play.creator, ReleaseKey(play.task, 0, boxes, None))
    play.ledger.block()
    assert play.phase is Phase.SCORE
    return play


def in_order(play: Play) -> list[Person]:
    by_address = {person.address: person for person in play.validators}
    return [by_address[juror.address] for juror in play.epoch_record.drawn]


def duties(play: Play, person: Person):
    return get_duties(play.ledger.state, person.address, lambda task, epoch: play.ledger.tag(person, task, epoch))


def test_a_wrong_box_costs_the_creator_its_deposit():
    """The published key shows it. The validator scores with that key, and nobody else loses anything."""
    play = start(cheated=1)
    victim, *others = in_order(play)
    assert play.send(victim, COMPLAINT).error == 0
    assert play.phase is Phase.ANSWER
    assert play.record.deadline_ms == play.ledger.before.head.time_ms + DEVNET.answer_phase_ms
    assert duties(play, victim) == []
    assert duties(play, play.creator) == [PublishDatasetKey(1, DatasetName.A)]
    # Whoever can score need not wait.
    assert duties(play, others[0]) == [ScoreSubmissions(1, 0)]
    play.ledger.commit_scores(others[0], 1, 0, play.entries())
    play.ledger.block()
    assert play.send(play.creator, KEY_A).error == 0
    assert play.deposit(play.creator) == 0
    assert play.stake(victim) == 100 * FML
    assert play.phase is Phase.SCORE
    assert play.epoch_record.clear_key == KEY_A.key
    assert play.record.deadline_ms == play.ledger.before.head.time_ms + DEVNET.task.score_phase_ms
    assert duties(play, victim) == [ScoreSubmissions(1, 0)]
    play.commit(dict.fromkeys([victim, others[1]], play.entries()))
    play.sheets = dict.fromkeys(in_order(play), play.entries())
    play.reveal().claim()
    assert all(payout.slashed == 0 and payout.earned > 0 for payout in play.result(0).validators)
    play.expect_conserved()


def test_a_false_complaint_costs_the_complainer_its_stake():
    """Its box was right, as the published key shows: the creator keeps its deposit, the liar's word counts nothing."""
    play = start()
    liar, *others = in_order(play)
    assert play.send(liar, COMPLAINT).error == 0
    assert play.send(play.creator, KEY_A).error == 0
    assert play.deposit(play.creator) == DEVNET.creator_deposit_units
    assert play.stake(liar) == 0
    assert [play.stake(person) for person in others] == [100 * FML] * 2
    play.commit().reveal().claim()
    earned = {payout.address: payout.earned for payout in play.result(0).validators}
    assert earned[liar.address] == 0
    assert all(earned[person.address] > 0 for person in others)
    play.expect_conserved()


def test_both_can_be_wrong_at_once():
    """One box was wrong and one was right, and both complained: creator and liar pay."""
    play = start(cheated=1)
    victim, liar, honest = in_order(play)
    play.ledger.send(victim, COMPLAINT)
    play.ledger.send(liar, COMPLAINT)
    play.ledger.block()
    assert play.send(play.creator, KEY_A).error == 0
    assert play.deposit(play.creator) == play.stake(liar) == 0
    assert play.stake(victim) == play.stake(honest) == 100 * FML


def test_a_wrong_box_shows_though_its_owner_kept_silent():
    """The key tells of every box of the panel."""
    play = start(cheated=1)
    liar = in_order(play)[2]
    play.send(liar, COMPLAINT)
    play.send(play.creator, KEY_A)
    assert play.deposit(play.creator) == play.stake(liar) == 0


def test_silence_costs_the_creator_alone():
    """Without the key nobody can score, and nobody but the creator pays; claims share the pot by stake."""
    play = start(cheated=3)
    first, second, _ = in_order(play)
    play.send(first, COMPLAINT)
    play.ledger.commit_scores(second, 1, 0, play.entries())
    play.ledger.block()
    play.wait(Phase.CLAIM)
    assert play.deposit(play.creator) == 0
    play.claim()
    assert all(payout.slashed == payout.earned == 0 for payout in play.result(0).validators)
    rewards = [ranked.reward_a for ranked in play.result(0).ranking]
    assert min(rewards) > 0
    assert max(rewards) - min(rewards) <= 1
    play.expect_conserved()


def test_the_answer_must_come_in_time_and_be_right():
    """A wrong key is none, B's is none, and after the deadline there is nothing to answer."""
    play = start(cheated=1)
    play.send(in_order(play)[0], COMPLAINT)
    for payload in (
        replace(KEY_A, key=seed_of("wrong")),
        replace(KEY_A, key=seed_of("key b")),
    ):
        assert play.send(play.creator, payload).error == OutOfBounds.number
    assert play.send(play.creator, PublishKey(1, DatasetName.B, seed_of("key b"))).error == WrongPhase.number
    assert play.send(play.stranger, KEY_A).error == NotEligible.number
    play.wait(Phase.CLAIM)
    assert play.send(play.creator, KEY_A).error == WrongPhase.number


@pytest.mark.parametrize("late", [False, True])
def test_an_outage_takes_no_time_from_the_answer(late):
    """All blocks stop for an hour right after the complaint: the creator still has its time."""
    play = start(cheated=1)
    play.send(in_order(play)[0], COMPLAINT)
    play.ledger.block(after_ms=3_600_000)
    assert play.phase is Phase.ANSWER
    if late:
        play.wait(Phase.CLAIM)
    else:
        assert play.send(play.creator, KEY_A).error == 0
        assert play.phase is Phase.SCORE


def test_who_may_complain_and_when():
    """Only the drawn, once, before committing, while there is no public key, in the phase that needs one."""
    play = Play(validators=4, params=replace(DEVNET, validators_per_epoch=3)).begin().submit().draw()
    assert play.send(play.drawn()[0], COMPLAINT).error == WrongPhase.number
    play.open()
    first, second, third = play.drawn()
    undrawn = next(person for person in play.validators if person not in play.drawn())
    for person in (undrawn, play.trainers[0], play.creator, play.stranger):
        assert play.send(person, COMPLAINT).error == NotEligible.number
    assert play.send(first, KeyComplaint(1, 1)).error == WrongPhase.number
    assert play.send(second, CommitScores(1, 0, bytes(32))).error == 0
    assert play.send(second, COMPLAINT).error == NotEligible.number
    assert play.send(first, COMPLAINT).error == 0
    assert play.send(first, COMPLAINT).error == AlreadyDone.number
    assert play.send(play.creator, KEY_A).error == 0
    assert play.send(third, COMPLAINT).error == NotEligible.number


def test_nobody_complains_about_a_key_in_clear():
    """The last epoch's key is checked when it is released."""
    play = Play().begin().run_epoch().submit().open()
    assert play.send(play.drawn()[0], KeyComplaint(1, 1)).error == NotEligible.number


def test_a_key_that_is_public_is_not_released_again():
    """The epochs after a complaint go on with the public key, until the last one needs B's."""
    play = start(cheated=1, epochs=3)
    play.send(in_order(play)[0], COMPLAINT)
    play.send(play.creator, KEY_A)
    play.commit().reveal().claim()
    play.submit()
    for person in play.trainers:
        play.ledger.open(person, play.task, 1)
    play.ledger.run_until(lambda: play.phase is Phase.SCORE, after_ms=STEP_MS)
    assert play.epoch_record.clear_key == KEY_A.key
    assert duties(play, play.creator) == []
    play.commit().reveal().claim()
    play.submit().open().commit().reveal().claim()
    assert play.phase is Phase.FINISHED
    assert duties(play, play.creator) == [PublishDatasetKey(1, DatasetName.B)]
    assert play.send(play.creator, PublishKey(1, DatasetName.B, seed_of("key b"))).error == 0
    play.expect_conserved()


def test_a_second_panel_may_complain_too():
    """Its boxes are its own; what the first panel got is not judged again."""
    play = start(validators=6)
    play.wait(Phase.REDRAW)
    play.draw()
    boxes = tuple(SealedKey(juror.address, bytes(80)) for juror in play.epoch_record.panel())
    play.ledger.send(play.creator, ReleaseKey(1, 0, boxes, None))
    play.ledger.block()
    (victim, *_) = [person for person in play.validators if play.epoch_record.is_on_panel(person.address)]
    early = next(person for person in play.validators if not play.epoch_record.is_on_panel(person.address))
    assert play.send(early, COMPLAINT).error == NotEligible.number
    assert play.send(victim, COMPLAINT).error == 0
    assert play.send(play.creator, KEY_A).error == 0
    assert play.deposit(play.creator) == 0
    assert play.stake(victim) == 100 * FML
