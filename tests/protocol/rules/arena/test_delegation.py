"""Delegated stake: what counts, who is paid, who is slashed; nobody buys into a reward or out of a slash."""

import pytest
from msgspec.structs import replace

from protocol.errors import NotEligible, OutOfBounds
from protocol.formulas import fees
from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.arena import vaults
from protocol.rules.arena.records import Phase
from protocol.transactions import Attest, CancelTask, Delegate, Leave, Role, Undelegate
from protocol.types import MILLION
from tests.delegation_play import SHARE, DelegationPlay, begin
from tests.ledger_driver import FML

# What the validators of an epoch earn together.
VALIDATING = 250 * FML
# More than anybody pays or, as a proposer, earns in fees.
FEES = FML // 10


@pytest.fixture
def play() -> DelegationPlay:
    """A task in which trainer 0 shares a fifth; nobody has joined yet."""
    return DelegationPlay()


# --- what counts -----------------------------------------------------------------------------------------------------


def test_a_delegation_counts_from_the_next_epoch_on(play):
    """It waits while the task opens, and counts as stake of the operator once the epoch begins."""
    operator, who = play.trainers[0], play.delegators[0]
    begin(play, (who, operator, 50 * FML))
    seats = {seat.address: seat.stake for seat in play.epoch_record.seats}
    assert seats[operator.address] == 150 * FML
    assert play.vault(operator) == 50 * FML
    assert play.waiting(operator, who) == 0
    play.delegate(who, operator, 30 * FML)
    assert play.vault(operator) == 50 * FML
    assert play.waiting(operator, who) == 30 * FML
    play.expect_counted()


def test_a_delegation_raises_the_share_of_its_operator(play):
    """A6 with stake 200 of the second against 100 of the first: 2 x 0.85 to 1."""
    first, second = play.trainers[:2]
    begin(play)
    play.share(second, SHARE)
    play.delegate(play.delegators[0], second, 100 * FML)
    play.run_epoch()
    play.submit().open().commit().reveal().claim()
    paid = {ranked.author: ranked.reward_a for ranked in play.result(1).ranking}
    assert abs(paid[second.address] * 100 - paid[first.address] * 170) <= 1_000
    play.expect_counted()


def test_a_delegation_weighs_in_the_consensus(play):
    """A4 and A9: the validator with twice the stake, others' included, pulls the score and earns more."""
    heavy, light, other = play.validators
    begin(play, (play.delegators[0], heavy, 100 * FML)).submit().open()
    stakes = {juror.address: juror.stake for juror in play.epoch_record.drawn}
    assert [stakes[person.address] for person in (heavy, light, other)] == [200 * FML, 100 * FML, 100 * FML]
    high = tuple(replace(entry, score=entry.score + 4_000) for entry in play.entries())
    play.commit({heavy: high, light: play.entries(), other: play.entries()}).reveal().claim()
    assert play.result(0).ranking[0].score == 902_000


def test_the_own_stake_must_reach_the_minimum(play):
    """Others' stake does not let an operator sit that itself stands for less than the least."""
    params = replace(DEVNET, absence_slash_millionths=500_000)
    play = DelegationPlay(params=params)
    poor, who = play.validators[0], play.delegators[0]
    play.begin(stakes={poor: DEVNET.min_stake_validator_units})
    play.delegate(who, poor, 500 * FML)
    play.submit().open()
    play.commit(dict.fromkeys(play.validators[1:], play.entries())).reveal().claim()
    assert play.vault(poor) == 500 * FML
    play.submit().draw()
    assert poor not in play.drawn()


# --- rewards ---------------------------------------------------------------------------------------------------------


def test_a_trainers_reward_is_divided_by_its_share(play):
    """A7: own 600, delegated 400, reward share 0.1, of the rewards A and B alike: 96 and 4 of 100."""
    operator, who = play.trainers[0], play.delegators[0]
    for person in play.trainers:
        play.ledger.join(person, play.task, Role.TRAINER, 600 * FML if person is operator else 100 * FML)
    for person in play.validators:
        play.ledger.join(person, play.task, Role.VALIDATOR)
    play.ledger.block()
    play.share(operator, 100_000)
    play.delegate(who, operator, 400 * FML)
    play.begin(joined=True).run_epoch()
    passed = play.vault(operator) - 400 * FML
    earned = play.member(operator).earned_a
    assert abs(earned * 4 - passed * 96) <= 100
    assert play.result(0).ranking[0].reward_a == earned + passed
    assert [(part.operator, part.reward_a) for part in play.result(0).passed_on] == [(operator.address, passed)]
    assert play.member(operator).passed_on == passed
    balance = play.balance(who)
    play.run_epoch()
    assert play.phase is Phase.FINISHED
    paid = play.balance(who) - balance
    # The vault grew by the first reward, so its share of the second epoch is a little above 4 %.
    assert 40_000 <= paid * MILLION // (paid + play.member(operator).earned_b) < 41_000
    play.expect_counted()


def test_a_validators_reward_is_divided_by_its_share(play):
    """A12 with the default of a tenth: delegated half of the stake earns a twentieth."""
    operator, who = play.validators[0], play.delegators[0]
    begin(play, (who, operator, 100 * FML)).run_epoch()
    member = play.member(operator)
    reward = member.earned_validating + member.passed_on
    assert play.worth(operator, who) == 100 * FML + member.passed_on
    assert member.passed_on == reward // 20
    assert reward > VALIDATING // 3
    play.expect_counted()


def test_trainers_share_nothing_until_they_say_so(play):
    """Nobody can put stake behind a trainer that did not opt in."""
    begin(play, share=0)
    receipt = play.send(play.delegators[0], Delegate(play.task, play.trainers[0].address, 10 * FML))
    assert receipt.error == NotEligible.number
    play.share(play.trainers[0], 1)
    play.delegate(play.delegators[0], play.trainers[0], 10 * FML)


def test_two_delegators_are_paid_by_their_shares(play):
    """Pro rata of what each put in, also for the one who came an epoch later at a higher price."""
    operator, (early, late, _) = play.validators[0], play.delegators
    begin(play, (early, operator, 100 * FML))
    play.delegate(late, operator, 300 * FML)
    play.run_epoch()
    grown, passed = play.worth(operator, early), play.member(operator).passed_on
    assert grown == 100 * FML + passed
    assert abs(play.worth(operator, late) - 300 * FML) <= 1
    assert play.shares(operator, late) < 300 * FML
    play.submit().open().commit().reveal()
    vault = play.vault(operator)
    before = play.balance(early), play.balance(late)
    play.claim()
    gained = play.member(operator).passed_on - passed
    back = play.unbonding(early), play.unbonding(late)
    assert abs(back[0] - grown - gained * grown // vault) <= 1
    assert abs(sum(back) - vault - gained) <= 2
    assert (play.balance(early), play.balance(late)) == before
    play.expect_counted()


def test_who_delegates_late_has_no_part_of_what_was_earned(play):
    """A huge delegation in the claim phase gets nothing of that epoch, neither A nor what validators earn."""
    operator, (early, late, _) = play.validators[0], play.delegators
    begin(play, (early, operator, 10 * FML)).submit().open().commit().reveal()
    play.delegate(late, operator, 5_000 * FML)
    play.claim()
    assert play.worth(operator, early) == 10 * FML + play.member(operator).passed_on
    assert play.worth(operator, late) <= 5_000 * FML


def test_reward_b_goes_by_the_epochs_that_a_delegator_was_there():
    """Of three epochs, a delegator of the last one gets a third of what one gets that was always there."""
    play = DelegationPlay(epochs=3, escrow=1_500 * FML)
    operator, (early, late, _) = play.trainers[0], play.delegators
    begin(play, (early, operator, 100 * FML)).run_epoch().submit().open().commit().reveal()
    play.delegate(late, operator, 100 * FML)
    play.claim()
    before = play.balance(early), play.balance(late)
    play.run_epoch()
    got = play.balance(early) - before[0], play.balance(late) - before[1]
    # The early one's stake grew by what reward A passed on, so it is a little more than three times as much.
    assert 3 * got[1] <= got[0] < 3 * got[1] * 102 // 100
    assert abs(play.result(2).passed_on[0].reward_b - sum(got)) < FEES
    play.expect_counted()


def test_the_part_of_those_that_left_is_nobodys():
    """Neither operator nor other delegators gain when one leaves before reward B: it goes to the treasury."""
    results = []
    for leaves in (False, True):
        play = DelegationPlay()
        operator, (loyal, leaver, _) = play.trainers[0], play.delegators
        begin(play, (loyal, operator, 100 * FML), (leaver, operator, 100 * FML)).submit().open().commit().reveal()
        if leaves:
            play.undelegate(leaver, operator, play.shares(operator, leaver))
        play.claim().submit().open().commit().reveal()
        before = play.balance(loyal), play.units(purses.TREASURY)
        play.claim()
        results.append((play.balance(loyal) - before[0], play.units(purses.TREASURY) - before[1]))
        play.expect_counted()
    (stayed, rest), (alone, forfeited) = results
    # A little more, for there is less stake to share with; half as much again, had the leaver's part gone to it.
    assert stayed < alone < stayed * 115 // 100
    assert forfeited > rest + stayed // 3


# --- leaving ---------------------------------------------------------------------------------------------------------


def test_shares_leave_when_the_epoch_settles_and_then_unbond(play):
    """Asked back in the submit phase they count and earn to the end of the epoch; a period later they are free."""
    operator, who = play.validators[0], play.delegators[0]
    begin(play, (who, operator, 100 * FML))
    balance = play.balance(who)
    play.undelegate(who, operator, 100 * FML)
    play.submit().open()
    assert {juror.address: juror.stake for juror in play.epoch_record.drawn}[operator.address] == 200 * FML
    play.commit().reveal().claim()
    assert play.unbonding(who) == 100 * FML + play.member(operator).passed_on
    assert play.vault(operator) == play.shares(operator, who) == 0
    assert play.balance(who) < balance
    play.ledger.block(after_ms=DEVNET.unbonding_ms)
    assert play.balance(who) > balance + 100 * FML
    play.expect_counted()


def test_nobody_leaves_before_a_slash_that_is_deserved(play):
    """An undelegation after the operator's absence showed is slashed like its own stake, by the same part."""
    operator, who = play.validators[0], play.delegators[0]
    begin(play, (who, operator, 200 * FML)).submit().open()
    play.commit(dict.fromkeys(play.validators[1:], play.entries())).reveal()
    play.undelegate(who, operator, 200 * FML)
    pot, burned = play.units(purses.pot_of(play.task)), purses.get_supply(play.ledger.state).burned
    play.claim()
    assert play.stake(operator) == 95 * FML
    assert play.unbonding(who) == 190 * FML
    payout = next(p for p in play.result(0).validators if p.address == operator.address)
    assert payout.slashed == 15 * FML
    _, kept = fees.split_fee(15 * FML, burn_millionths=DEVNET.slash_burn_millionths)
    assert play.units(purses.pot_of(play.task)) >= pot - 500 * FML + kept
    assert purses.get_supply(play.ledger.state).burned >= burned + 15 * FML - kept
    play.expect_counted()


def test_what_waits_is_not_slashed(play):
    """It did not count in the epoch; it comes in at the lower price afterwards."""
    operator, (old, new, _) = play.validators[0], play.delegators
    begin(play, (old, operator, 100 * FML)).submit().open()
    play.delegate(new, operator, 95 * FML)
    play.commit(dict.fromkeys(play.validators[1:], play.entries())).reveal().claim()
    assert play.worth(operator, old) == 95 * FML
    assert abs(play.worth(operator, new) - 95 * FML) <= 1
    assert play.shares(operator, new) == play.shares(operator, old) == 100 * FML
    play.expect_counted()


def test_a_part_may_leave_if_the_rest_is_a_delegation(play):
    """Less than the least delegation cannot stay behind."""
    operator, who = play.validators[0], play.delegators[0]
    begin(play, (who, operator, 10 * FML))
    least = DEVNET.min_delegation_units
    assert play.send(who, Undelegate(play.task, operator.address, 10 * FML - least + 1)).error == OutOfBounds.number
    play.undelegate(who, operator, 4 * FML)
    play.undelegate(who, operator, 5 * FML)
    assert play.send(who, Undelegate(play.task, operator.address, 2 * FML)).error == OutOfBounds.number
    play.undelegate(who, operator, 1 * FML)
    assert play.send(who, Undelegate(play.task, operator.address, 1)).error == OutOfBounds.number
    play.run_epoch()
    assert play.shares(operator, who) == 0
    play.expect_counted()


def test_an_operator_that_leaves_pays_its_delegators_out(play):
    """Shares unbond with the reward of the last epoch; what waits returns at once."""
    operator, (who, late, _) = play.trainers[0], play.delegators
    begin(play, (who, operator, 50 * FML))
    play.delegate(late, operator, 20 * FML)
    balance = play.balance(late)
    play.send(operator, Leave(play.task))
    assert play.send(late, Delegate(play.task, operator.address, FML)).error == NotEligible.number
    play.run_epoch()
    part = play.result(0).passed_on[0].reward_a
    assert play.unbonding(who) == 50 * FML + part
    assert abs(play.balance(late) - balance - 20 * FML) < FEES
    assert vaults.find_vault(play.ledger.state, play.task, operator.address) is None
    play.expect_counted()


def test_a_task_that_expires_returns_what_waits(play):
    """At once, for nothing ever counted; also behind a validator that did its part."""
    who, operator = play.delegators[0], play.validators[0]
    play.ledger.join(operator, play.task, Role.VALIDATOR)
    play.ledger.block()
    play.send(operator, Attest(play.task))
    balance = play.balance(who)
    play.delegate(who, operator, 30 * FML)
    play.wait(Phase.EXPIRED)
    assert abs(play.balance(who) - balance) < FEES
    assert play.units(purses.waiting_of(play.task, operator.address, who.address)) == 0
    play.expect_counted()


def test_a_task_that_is_called_off_returns_delegations(play):
    """Before the first submission nothing was earned and nothing can be slashed: shares return at once, too."""
    who, operator = play.delegators[0], play.validators[0]
    begin(play, (who, operator, 30 * FML))
    balance = play.balance(who)
    play.send(play.creator, CancelTask(play.task))
    assert abs(play.balance(who) - balance - 30 * FML) < FEES
    assert vaults.find_vault(play.ledger.state, play.task, operator.address) is None
    play.expect_counted()


def test_all_is_paid_out_when_the_task_ends(play):
    """No vault, no waiting unit and no record of a delegation stays behind."""
    begin(play, *((who, play.validators[0], 10 * FML) for who in play.delegators))
    play.delegate(play.delegators[0], play.trainers[0], 5 * FML)
    play.run_epoch()
    play.run_epoch()
    assert play.phase is Phase.FINISHED
    for kind in (b"v", b"w"):
        assert not list(purses.scan_purses(play.ledger.state, kind))
    for table in (vaults.VAULTS, vaults.DELEGATIONS, vaults.DELEGATORS, vaults.LEAVING):
        assert not list(table.scan(play.ledger.state))
    play.ledger.block(after_ms=DEVNET.unbonding_ms)
    assert all(play.unbonding(who) == 0 for who in play.delegators)
    play.expect_counted()
