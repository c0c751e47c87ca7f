"""Who is paid and who pays when an epoch, and then the task, settles; every unit stays accounted for."""

from itertools import pairwise

import pytest
from msgspec.structs import replace

from protocol.formulas import fees
from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.arena.records import Phase, scan_earned
from protocol.transactions import CreateTask, Leave, Role, Verdict
from tests.arena_play import Play
from tests.ledger_driver import FML

# An epoch's pot of 500 FML: A is a tenth of the trainers' half, B the rest of it.
A, B, VALIDATING = 25 * FML, 225 * FML, 250 * FML


@pytest.fixture
def play() -> Play:
    return Play().begin()


def all_say(play: Play, verdict: Verdict) -> dict:
    """Return sheets in which every validator says the same of every submission."""
    changes = {"verdict": verdict, "score": 0} | ({"root": None} if verdict is Verdict.UNFETCHABLE else {})
    entries = tuple(replace(entry, **changes) for entry in play.entries())
    return dict.fromkeys(play.drawn(), entries)


# --- trainers, A -----------------------------------------------------------------------------------------------------


def test_who_does_not_claim_has_no_rank_and_loses_the_deposit(play):
    """The others move up; the deposit goes to the pot but for the burned share."""
    silent = play.trainers[0]
    play.submit().open().commit().reveal()
    pot, burned = play.units(purses.pot_of(play.task)), purses.get_supply(play.ledger.state).burned
    balance = play.balance(silent)
    play.claim(play.trainers[1:])
    ranking = play.result(0).ranking
    assert [ranked.rank for ranked in ranking] == [1, 2, 0]
    assert ranking[2].author is None
    assert ranking[2].score == 900_000
    lost, kept = fees.split_fee(DEVNET.seat_deposit_units, burn_millionths=DEVNET.slash_burn_millionths)
    assert play.units(purses.pot_of(play.task)) == pot - A - B - VALIDATING + kept
    assert purses.get_supply(play.ledger.state).burned >= burned + lost
    assert balance - play.balance(silent) >= DEVNET.seat_deposit_units - 3 * DEVNET.fee_floor_units
    play.expect_conserved()


def test_models_that_are_all_worthless_are_paid_nothing(play):
    """Validators found every submission invalid: the trainers' pot waits for better models."""
    pot = play.units(purses.pot_of(play.task))
    play.submit().open()
    play.commit(all_say(play, Verdict.INVALID)).reveal().claim()
    assert all(play.member(person).earned_a == 0 for person in play.trainers)
    assert play.units(purses.pot_of(play.task)) == pot
    assert play.units(purses.reward_b_of(play.task)) == 0
    assert play.result(0).weights == ()
    play.expect_conserved()


@pytest.mark.parametrize("has_sheets", [True, False], ids=["all abstain", "nobody reveals"])
def test_an_epoch_that_nobody_judged_is_shared_by_stake(has_sheets):
    """Nobody said what a model is worth: claims share by stake, and validators earn nothing."""
    play = Play()
    play.begin(stakes={play.trainers[0]: 200 * FML}).submit().open()
    if has_sheets:
        play.commit(all_say(play, Verdict.UNFETCHABLE)).reveal()
    play.wait(Phase.CLAIM)
    play.claim()
    assert [play.member(person).earned_a for person in play.trainers] == [A // 2, A // 4, A // 4]
    assert play.units(purses.reward_b_of(play.task)) == B
    assert all(payout.earned == 0 for payout in play.result(0).validators)
    assert [payout.slashed > 0 for payout in play.result(0).validators] == [not has_sheets] * 3
    play.expect_conserved()


def test_stake_multiplies_the_weight_of_a_rank():
    """A6: with three times the stake the second earns 3 x 0.85 of what the first does."""
    play = Play()
    play.begin(stakes={play.trainers[1]: 300 * FML}).run_epoch()
    first, second = (play.member(person).earned_a for person in play.trainers[:2])
    assert abs(second * 1_000 - first * 2_550) <= 2_550


def test_only_the_first_ranks_are_paid():
    """k1 = 1 and k2 = 1: the winner takes the trainers' pot, and tied validators share theirs."""
    settings = replace(DEVNET.task, rewarded_trainers=1, rewarded_validators=1)
    play = Play(settings=settings).begin()
    play.submit().open()
    exact = play.entries()
    off = tuple(replace(entry, score=entry.score - 5_000) for entry in exact)
    play.commit({play.validators[0]: exact, play.validators[1]: exact, play.validators[2]: off}).reveal().claim()
    assert [play.member(person).earned_a for person in play.trainers] == [A, 0, 0]
    assert [play.member(person).earned_validating for person in play.validators] == [
        VALIDATING // 2,
        VALIDATING // 2,
        0,
    ]


def expect_ratio(earned: list[int]) -> None:
    """Assert that each rank earned q = 0.85 of the one above it, but for rounding."""
    for higher, lower in pairwise(earned):
        assert abs(lower * 100 - higher * 85) <= 500


# --- trainers, B -----------------------------------------------------------------------------------------------------


def test_who_joins_on_the_last_day_does_not_take_what_accrued():
    """Equal stake, better model: two epochs of three missed leave a ninth of the stake to count for B."""
    play = Play(trainers=4, epochs=3, escrow=1_500 * FML)
    early, late = play.trainers[:3], play.trainers[3]
    play.begin(trainers=early)
    play.submit(early).open(early).commit().reveal().claim(early)
    play.ledger.join(late, play.task, Role.TRAINER)
    play.submit(early).open(early).commit().reveal().claim(early)
    play.submit().open()
    play.commit(dict.fromkeys(play.drawn(), play.entries({late: 999_999}))).reveal().claim()
    assert play.phase is Phase.FINISHED
    assert play.result(2).ranking[0].author == late.address
    earned = [play.member(person).earned_b for person in (late, early[0])]
    assert sum(play.member(person).earned_b for person in play.trainers) == 3 * B
    # Weights 1 x 1/9 against 0.85 x 1.
    assert abs(earned[0] * 9 * 85 - earned[1] * 100) <= 10_000
    play.expect_conserved()


def test_a_last_epoch_without_a_key_goes_by_the_earlier_ranks(play):
    """B, and that epoch's A, are shared by the weights of the epochs that were judged."""
    play.run_epoch().submit().open(key=False).claim()
    assert play.phase is Phase.FINISHED
    expect_ratio([play.member(person).earned_b for person in play.trainers])
    expect_ratio([play.member(person).earned_a for person in play.trainers])
    # The creator's lost deposit is in the last pot.
    assert sum(play.member(person).earned_b for person in play.trainers) > 2 * B


def test_an_epoch_that_nobody_judged_has_no_ranks_to_go_by():
    """A last epoch without a key goes by judged epochs only: one without scores does not level them."""
    play = Play(epochs=3, escrow=1_500 * FML).begin()
    play.submit().open()
    play.wait(Phase.CLAIM)
    play.claim()
    play.run_epoch().submit().open(key=False).claim()
    assert play.result(0).weights == ()
    expect_ratio([play.member(person).earned_b for person in play.trainers])


def test_nobody_gets_b_for_what_did_well_on_a_alone():
    """No last model is worth anything on dataset B, be it invalid or below the baseline: what accrued is nobody's."""
    for verdict in (Verdict.INVALID, Verdict.SCORED):
        play = Play(baseline=500_000).begin().run_epoch().submit().open()
        treasury = play.units(purses.TREASURY)
        play.commit(all_say(play, verdict)).reveal().claim()
        assert sum(play.member(person).earned_a for person in play.trainers) == A
        assert sum(play.member(person).earned_b for person in play.trainers) == 0
        assert play.units(purses.TREASURY) >= treasury + B
        play.expect_conserved()


# --- the baseline ----------------------------------------------------------------------------------------------------


def test_a_model_that_is_no_better_than_the_baseline_earns_nothing():
    """Less than `min_improvement` above it is not enough, though three ranks are paid and nobody else would take one.

    Whoever scored it is paid like for any other model.
    """
    least = 500_000 + DEVNET.min_improvement_millionths
    play = Play(baseline=500_000).begin().submit().open()
    good, bare, short = play.trainers
    play.commit(dict.fromkeys(play.drawn(), play.entries({good: 900_000, bare: least, short: least - 1}))).reveal()
    play.claim()
    ranked = {entry.author: entry for entry in play.result(0).ranking}
    assert [ranked[person.address].rank for person in play.trainers] == [1, 2, 0]
    assert (ranked[short.address].score, ranked[short.address].share) == (least - 1, 0)
    assert (play.member(short).earned_a, play.deposit(short)) == (0, DEVNET.seat_deposit_units)
    assert play.member(good).earned_a + play.member(bare).earned_a == A
    assert sum(payout.earned for payout in play.result(0).validators) == VALIDATING
    play.expect_conserved()


def test_each_dataset_has_its_own_baseline():
    """A score that was enough on A may be none on B."""
    play = Play()
    spec = play.record.spec
    spec = replace(spec, dataset_b=replace(spec.dataset_b, baseline=899_999))
    play.send(play.creator, CreateTask(spec, 100 * FML, 1_000 * FML))
    play.task = 2
    play.begin().run_epoch().run_epoch()
    assert [[entry.rank for entry in play.result(epoch).ranking] for epoch in (0, 1)] == [[1, 2, 3], [0, 0, 0]]
    assert [play.member(person).earned_b for person in play.trainers] == [0, 0, 0]


def test_what_somebody_was_paid_stays_on_record_after_it_left():
    """To the end of the task, and with a new role it goes on from there."""
    play = Play(epochs=3, validators=4, escrow=1_500 * FML).begin().submit().open()
    trainer, validator = play.trainers[0], play.validators[0]
    for person in (trainer, validator):
        play.send(person, Leave(play.task))
    play.commit().reveal().claim()
    earned = dict(scan_earned(play.ledger.state, play.task))
    assert earned[trainer.address].earned_a > 0
    assert earned[validator.address].earned_validating > 0
    assert sum(one.earned_a for one in earned.values()) == A
    assert sum(one.earned_validating for one in earned.values()) == VALIDATING
    play.ledger.join(trainer, play.task, Role.TRAINER)
    play.ledger.block()
    assert play.member(trainer).earned_a == earned[trainer.address].earned_a
    assert play.member(trainer).epochs_claimed == 0
    play.send(trainer, Leave(play.task))
    stayed = play.trainers[1:]
    for _ in range(2):
        play.submit(stayed).open(stayed).commit().reveal().claim(stayed)
    assert play.phase is Phase.FINISHED
    found = dict(scan_earned(play.ledger.state, play.task))
    assert found[trainer.address] == earned[trainer.address]
    assert sum(one.earned_a for one in found.values()) == 3 * A


def test_who_left_has_no_part_in_b(play):
    """B is paid to those who are there at the end."""
    leaver = play.trainers[0]
    play.send(leaver, Leave(play.task))
    play.run_epoch()
    stayed = play.trainers[1:]
    balance = play.balance(leaver)
    play.submit(stayed).open(stayed).commit().reveal().claim(stayed)
    assert play.phase is Phase.FINISHED
    assert sum(play.member(person).earned_b for person in stayed) == 2 * B
    assert play.balance(leaver) - balance < FML
    play.expect_conserved()


def test_the_largest_stakes_add_up_over_many_epochs():
    """A twelfth part of all money that fits into 64 bits, twelve times: the sum does not, and nothing breaks."""
    everything = 10**18
    play = Play(epochs=12, balance=everything)
    play.begin(stakes={play.trainers[0]: 9 * 10**17})
    for _ in range(12):
        play.run_epoch()
    assert play.phase is Phase.FINISHED
    member = play.member(play.trainers[0])
    assert int.from_bytes(member.stake_sum, "big") == 12 * 9 * 10**17 > 2**63
    assert member.earned_b > 0
    play.expect_conserved()


# --- validators ------------------------------------------------------------------------------------------------------


def test_nearness_to_the_consensus_is_paid(play):
    """A8 and A9: at equal stake e^(-50 Delta), here of 2,000 and 1,000 millionths around the mean."""
    play.submit().open()
    exact = play.entries()
    high = tuple(replace(entry, score=entry.score + 3_000) for entry in exact)
    play.commit({play.validators[0]: exact, play.validators[1]: exact, play.validators[2]: high}).reveal().claim()
    earned = {payout.address: payout.earned for payout in play.result(0).validators}
    near, far = earned[play.validators[0].address], earned[play.validators[2].address]
    # e^0.05 = 1.05127...
    assert far < near
    assert near * 100_000 // far == 105_127


def test_absence_costs_a_part_of_the_stake_once(play):
    """Not committing and not revealing cost the same; what is left counts in the next epoch."""
    play.submit().open()
    absent, silent, honest = play.drawn()
    play.commit(dict.fromkeys((silent, honest), play.entries())).reveal([honest]).claim()
    assert [play.stake(person) for person in (absent, silent, honest)] == [95 * FML, 95 * FML, 100 * FML]
    slashed = {payout.address: payout.slashed for payout in play.result(0).validators}
    assert [slashed[person.address] for person in (absent, silent, honest)] == [5 * FML, 5 * FML, 0]
    assert play.member(honest).earned_validating == VALIDATING
    play.expect_conserved()


def test_who_falls_below_the_least_stake_is_no_longer_drawn():
    """A slash may end a validator's part in the task, but not the task."""
    play = Play()
    poor = play.validators[0]
    play.begin(stakes={poor: DEVNET.min_stake_validator_units})
    play.submit().open()
    play.commit(dict.fromkeys(play.validators[1:], play.entries())).reveal().claim()
    assert play.stake(poor) < DEVNET.min_stake_validator_units
    play.submit().draw()
    assert poor not in play.drawn()
    play.open().commit().reveal().claim()
    assert play.phase is Phase.FINISHED
    play.ledger.block(after_ms=DEVNET.unbonding_ms)
    assert play.stake(poor) == 0
    play.expect_conserved()


# --- what is left ----------------------------------------------------------------------------------------------------


def test_leftovers_go_to_the_treasury(play):
    """Validators' money of epochs that nobody judged is nobody's: not the creator's, who might have arranged it."""
    treasury, creator = play.units(purses.TREASURY), play.balance(play.creator)
    for _ in range(2):
        play.submit().open()
        play.wait(Phase.CLAIM)
        play.claim()
    assert play.phase is Phase.FINISHED
    assert play.units(purses.TREASURY) - treasury > VALIDATING
    assert play.balance(play.creator) - creator < FML
    assert not list(purses.scan_purses(play.ledger.state, b"p"))
    assert not list(purses.scan_purses(play.ledger.state, b"r"))
    play.expect_conserved()


def test_the_escrow_returns_if_nobody_ever_submitted(play):
    """With what the absent trainers lost; the creator did not cause it."""
    creator = play.balance(play.creator)
    for _ in range(2):
        play.submit([]).open([], key=False).claim([])
    assert play.phase is Phase.FINISHED
    assert play.balance(play.creator) - creator >= 1_000 * FML
    play.expect_conserved()


def test_an_escrow_of_one_unit_settles():
    """Pots of nothing are divided among nobody without a fault."""
    play = Play(escrow=1).begin().run_epoch().run_epoch()
    assert play.phase is Phase.FINISHED
    play.expect_conserved()
