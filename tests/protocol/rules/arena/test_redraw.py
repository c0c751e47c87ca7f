"""Too few reveal: others are drawn once, what was revealed stays, and nobody pays twice."""

import pytest
from msgspec.structs import replace

from protocol.errors import AlreadyDone, NotEligible, OutOfBounds, WrongPhase
from protocol.formulas import fees
from protocol.params import DEVNET
from protocol.rules.arena.records import Phase
from protocol.rules.duties import ReleaseDatasetKey, RevealOwnScores, ScoreSubmissions, get_duties
from protocol.transactions import CommitScores, DatasetName, OpenSubmission, ReleaseKey
from tests.arena_play import STEP_MS, Play
from tests.ledger_driver import FML, Person, seed_of

PARAMS = replace(DEVNET, validators_per_epoch=3)
SLASH = fees.slash_amount(100 * FML, slash_millionths=DEVNET.absence_slash_millionths)


def start(*, validators: int = 6, stakes=None) -> Play:
    """Return a play in which three of the validators are drawn and have the key."""
    return Play(validators=validators, params=PARAMS).begin(stakes=stakes).submit().open()


def let_reveal(play: Play, people: list[Person]) -> None:
    """Let some of the drawn commit and reveal, until the next phase that is not revealing."""
    play.sheets = dict.fromkeys(people, play.entries())
    for person in people:
        play.ledger.commit_scores(person, play.task, play.epoch, play.sheets[person])
    play.ledger.block()
    play.wait(Phase.REVEAL)
    for person in people:
        play.ledger.reveal_scores(person, play.task, play.epoch, play.sheets[person])
    play.ledger.block()
    play.wait(Phase.REDRAW, Phase.CLAIM)


def panel(play: Play) -> list[Person]:
    chosen = {juror.address for juror in play.epoch_record.panel()}
    return [person for person in play.validators if person.address in chosen]


def duties(play: Play, person: Person):
    return get_duties(play.ledger.state, person.address, lambda task, epoch: play.ledger.tag(person, task, epoch))


def test_others_are_drawn_when_less_than_two_thirds_revealed():
    """One of three revealed: three others score and reveal, and all four sheets decide; the absent pay once."""
    play = start()
    first = play.drawn()
    let_reveal(play, first[:1])
    assert play.phase is Phase.REDRAW
    assert play.record.deadline_ms is None
    play.draw()
    second = panel(play)
    assert len(second) == 3
    assert not set(first) & set(second)
    assert play.record.deadline_ms == play.ledger.before.head.time_ms + DEVNET.task.open_phase_ms
    assert duties(play, play.creator) == [ReleaseDatasetKey(play.task, 0, DatasetName.A, play.epoch_record.panel())]
    play.ledger.release_key(play.creator, play.task)
    play.ledger.block()
    assert play.phase is Phase.SCORE
    assert [duties(play, person) for person in first] == [[]] * 3
    assert [duties(play, person) for person in second] == [[ScoreSubmissions(play.task, 0)]] * 3
    play.commit(dict.fromkeys(second, play.entries()))
    assert duties(play, second[0]) == [RevealOwnScores(play.task, 0)]
    play.reveal().claim()
    result = play.result(0)
    assert [ranked.rank for ranked in result.ranking] == [1, 2, 3]
    outcome = {payout.address: payout for payout in result.validators}
    assert all(outcome[person.address].slashed == SLASH for person in first[1:])
    assert all(outcome[person.address].slashed == 0 for person in [first[0], *second])
    assert all(outcome[person.address].earned > 0 for person in [first[0], *second])
    assert [play.stake(person) for person in first] == [100 * FML, 100 * FML - SLASH, 100 * FML - SLASH]
    play.expect_conserved()


@pytest.mark.parametrize(("stake", "is_enough"), [(400 * FML, True), (399 * FML, False)])
def test_two_thirds_of_the_drawn_stake_are_enough(stake, is_enough):
    """Exactly 2/3 settle; a little less calls for others. Heads do not matter, stake does."""
    # Several chains, until the rich one is drawn, with two others.
    for balance in range(10_000, 10_020):
        play = Play(validators=4, params=PARAMS, balance=balance * FML)
        rich = play.validators[0]
        play.begin(stakes={rich: stake}).submit().draw()
        if rich in play.drawn():
            break
    play.open()
    let_reveal(play, [rich])
    assert (play.phase is Phase.CLAIM) == is_enough


def test_with_nobody_left_the_available_scores_settle():
    """All validators were drawn already: one sheet decides, the others are slashed."""
    play = start(validators=3)
    first = play.drawn()
    let_reveal(play, first[:1])
    assert play.phase is Phase.CLAIM
    play.claim()
    assert [ranked.rank for ranked in play.result(0).ranking] == [1, 2, 3]
    assert sorted(payout.slashed for payout in play.result(0).validators) == [0, SLASH, SLASH]


def test_there_is_one_redraw_only():
    """Should the second panel be absent too, the epoch settles with what is there, and each pays once."""
    play = Play(validators=9, params=PARAMS).begin().submit().open()
    let_reveal(play, play.drawn()[:1])
    play.draw()
    play.ledger.release_key(play.creator, play.task)
    play.ledger.block()
    assert play.phase is Phase.SCORE
    play.wait(Phase.CLAIM)
    play.claim()
    assert sorted(payout.slashed for payout in play.result(0).validators) == [0, *[SLASH] * 5]
    assert play.epoch == 1
    assert play.epoch_record.earlier == 0


def test_nobody_of_the_first_panel_acts_in_the_second():
    """Neither a late commitment nor a late reveal counts; nobody opens a submission now that scores are known."""
    play = Play(validators=6, params=PARAMS).begin().submit().open(None)
    first = play.drawn()
    entries = play.entries()
    for person in first[:2]:
        play.ledger.commit_scores(person, play.task, 0, entries)
    play.ledger.block()
    play.wait(Phase.REVEAL)
    play.wait(Phase.REDRAW)
    play.draw()
    opening = OpenSubmission(play.task, 0, play.tag(play.trainers[0]), seed_of("key", "trainer 0", 0))
    play.ledger.send_anonymous(opening)
    assert play.ledger.block() == ()
    play.ledger.release_key(play.creator, play.task)
    play.ledger.block()
    assert play.send(first[2], CommitScores(play.task, 0, bytes(32))).error == NotEligible.number
    second = panel(play)
    play.commit(dict.fromkeys(second, entries))
    play.ledger.reveal_scores(first[0], play.task, 0, entries)
    (receipt,) = play.ledger.block()
    assert receipt.error == NotEligible.number
    play.sheets = dict.fromkeys(second, entries)
    play.reveal().claim()
    assert sorted(payout.slashed for payout in play.result(0).validators) == [0, 0, 0, SLASH, SLASH, SLASH]


def test_the_second_key_is_sealed_to_the_second_panel():
    """Boxes for the first are refused, and a release counts once."""
    play = start()
    first = play.epoch_record.drawn
    old = ReleaseKey(play.task, 0, play.epoch_record.sealed, None)
    let_reveal(play, [])
    assert play.send(play.creator, old).error == NotEligible.number
    play.draw()
    assert play.send(play.creator, old).error == OutOfBounds.number
    play.ledger.release_key(play.creator, play.task)
    play.ledger.release_key(play.creator, play.task)
    errors = [receipt.error for receipt in play.ledger.block()]
    assert errors[0] == 0
    assert errors[1] == AlreadyDone.number
    assert play.epoch_record.drawn[:3] == first
    assert play.send(play.creator, old).error == WrongPhase.number


def test_a_second_key_that_is_withheld_costs_the_creator():
    """The second panel could not score and pays nothing; the first one's sheet decides."""
    play = start()
    first = play.drawn()
    let_reveal(play, first[:1])
    play.wait(Phase.CLAIM)
    assert play.deposit(play.creator) == 0
    play.claim()
    outcome = {payout.address: payout.slashed for payout in play.result(0).validators}
    assert len(outcome) == 6
    assert {address for address, slashed in outcome.items() if slashed} == {person.address for person in first[1:]}
    assert [ranked.rank for ranked in play.result(0).ranking] == [1, 2, 3]
    play.expect_conserved()


def test_the_last_epoch_is_redrawn_without_another_release():
    """B's key is in clear since the first draw."""
    play = Play(validators=6, params=PARAMS).begin().run_epoch().submit().open()
    let_reveal(play, play.drawn()[:1])
    assert play.phase is Phase.REDRAW
    play.ledger.run_until(lambda: play.phase is Phase.SCORE, after_ms=STEP_MS)
    assert duties(play, play.creator) == []
    play.commit(dict.fromkeys(panel(play), play.entries())).reveal().claim()
    assert play.phase is Phase.FINISHED
    play.expect_conserved()
