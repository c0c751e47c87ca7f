"""Delegated stake: who may delegate, what operators promise, and the hard cases of a vault."""

import pytest
from msgspec.structs import replace

from protocol.errors import InsufficientFunds, NotEligible, OutOfBounds, WrongPhase
from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.arena import judging, seats, settlement, vaults
from protocol.rules.arena.delegation import delegate
from protocol.rules.arena.records import get_places
from protocol.transactions import Delegate, Role, SetRewardShare, Undelegate, check_payload
from protocol.types import MILLION
from tests.delegation_play import SHARE, DelegationPlay, begin
from tests.ledger_driver import FML, Person
from tests.ledger_invariants import expect_sound


@pytest.fixture
def play() -> DelegationPlay:
    """A task in which trainer 0 shares a fifth; nobody has joined yet."""
    return DelegationPlay()


# --- reward shares ---------------------------------------------------------------------------------------------------


def shares_of(play: DelegationPlay, operator: Person) -> tuple[int, int]:
    """Return the reward share in force and the promised one."""
    vault = vaults.find_vault(play.ledger.state, play.task, operator.address)
    assert vault is not None
    return vault.reward_share, vault.promised_share


def test_a_raise_takes_effect_with_the_next_epoch(play):
    """Not before, or the operator could wait for the result and then raise for itself as a delegator."""
    operator = play.validators[0]
    begin(play, (play.delegators[0], operator, 100 * FML)).submit().open().commit().reveal()
    play.share(operator, 500_000)
    assert shares_of(play, operator) == (100_000, 500_000)
    play.claim()
    member = play.member(operator)
    assert member.passed_on == (member.earned_validating + member.passed_on) // 20
    assert shares_of(play, operator) == (500_000, 500_000)


def test_a_promise_is_not_paid_before_it_is_in_force(play):
    """Reward B counts each epoch with the share that was in force in it."""
    operator = play.trainers[0]
    begin(play, (play.delegators[0], operator, 100 * FML))
    play.share(operator, 500_000)
    state, _ = play.overlay()
    vaults.collect_points(state, play.task, operator.address)
    points = vaults.require_vault(state, play.task, operator.address).points
    assert vaults.from_wide(points) == 100 * FML * SHARE


def test_a_cut_waits_for_an_unbonding_period():
    """Delegators have the time to leave: it is in force from the first epoch that begins after it."""
    play = DelegationPlay(epochs=4, escrow=2_000 * FML, params=replace(DEVNET, unbonding_ms=40_000))
    operator = play.validators[0]
    begin(play, (play.delegators[0], operator, 100 * FML))
    play.share(operator, 0)
    due = play.ledger.before.head.time_ms + 40_000
    play.run_epoch()
    assert play.ledger.before.head.time_ms < due
    assert shares_of(play, operator) == (100_000, 100_000)
    while play.ledger.before.head.time_ms < due:
        play.ledger.block(after_ms=7_000)
    assert shares_of(play, operator) == (100_000, 100_000)
    play.run_epoch()
    assert shares_of(play, operator) == (0, 0)


def test_a_promise_cannot_be_taken_back_at_once(play):
    """A raise announced to attract delegators stands, even if a cut follows in the same epoch."""
    operator = play.validators[0]
    begin(play, (play.delegators[0], operator, 100 * FML))
    play.share(operator, 500_000)
    play.share(operator, 100_000)
    play.run_epoch()
    assert shares_of(play, operator) == (500_000, 500_000)


def test_a_cut_can_be_taken_back(play):
    """Setting the promised share again, or more, ends the wait."""
    operator = play.validators[0]
    begin(play, (play.delegators[0], operator, 100 * FML))
    play.share(operator, 0)
    play.share(operator, 100_000)
    play.ledger.block(after_ms=DEVNET.unbonding_ms)
    play.run_epoch()
    assert shares_of(play, operator) == (100_000, 100_000)


def test_without_delegators_there_is_nobody_to_warn(play):
    """A validator that wants none cuts its default for the next epoch."""
    operator = play.validators[0]
    begin(play)
    play.share(operator, 0)
    assert shares_of(play, operator) == (100_000, 0)
    assert play.send(play.delegators[0], Delegate(play.task, operator.address, FML)).error == NotEligible.number


def test_a_reward_share_has_bounds(play):
    """At most half, and only an operator of the task sets one."""
    begin(play)
    over = SetRewardShare(play.task, DEVNET.max_reward_share_millionths + 1)
    assert play.send(play.validators[0], over).error == OutOfBounds.number
    play.share(play.validators[0], DEVNET.max_reward_share_millionths)
    assert play.send(play.delegators[0], SetRewardShare(play.task, 1)).error == NotEligible.number
    assert play.send(play.creator, SetRewardShare(play.task, 1)).error == NotEligible.number


# --- who may ---------------------------------------------------------------------------------------------------------


def test_creator_and_members_do_not_delegate(play):
    """Whoever has a role in the task has an interest in it; and who delegates takes no role afterwards."""
    begin(play)
    operator = play.validators[0]
    for person in (play.creator, play.trainers[0], play.validators[1], operator):
        assert play.send(person, Delegate(play.task, operator.address, 10 * FML)).error == NotEligible.number
    play.delegate(play.delegators[0], operator, 10 * FML)
    play.ledger.join(play.delegators[0], play.task, Role.TRAINER)
    (receipt,) = play.ledger.block()
    assert receipt.error == NotEligible.number


def test_who_took_all_back_may_take_a_role():
    """The mark of a delegator goes with its last share."""
    play = DelegationPlay(epochs=3, escrow=1_500 * FML)
    operator, who = play.validators[0], play.delegators[0]
    begin(play, (who, operator, 10 * FML))
    play.undelegate(who, operator, 10 * FML)
    play.run_epoch()
    play.ledger.join(who, play.task, Role.TRAINER)
    (receipt,) = play.ledger.block()
    assert receipt.error == 0


@pytest.mark.parametrize(
    ("units", "error"),
    [
        (DEVNET.min_delegation_units - 1, OutOfBounds),
        (DEVNET.min_delegation_units, None),
        (10_001 * FML, InsufficientFunds),
    ],
)
def test_a_delegation_is_neither_dust_nor_more_than_is_there(play, units, error):
    """The least delegation bounds what others can make a payout cost."""
    begin(play)
    receipt = play.send(play.delegators[0], Delegate(play.task, play.validators[0].address, units))
    assert receipt.error == (0 if error is None else error.number)
    play.expect_counted()


def test_only_operators_take_delegations(play):
    """Not the creator, not a stranger, and no task that is over or in its last epoch."""
    begin(play)
    who = play.delegators[0]
    for person in (play.creator, play.stranger, play.delegators[1]):
        assert play.send(who, Delegate(play.task, person.address, FML)).error == NotEligible.number
    play.run_epoch()
    operator = play.validators[0].address
    assert play.send(who, Delegate(play.task, operator, FML)).error == WrongPhase.number
    play.run_epoch()
    assert play.send(who, Delegate(play.task, operator, FML)).error == WrongPhase.number
    assert play.send(who, Undelegate(play.task, operator, 1)).error == WrongPhase.number
    assert play.send(play.validators[0], SetRewardShare(play.task, 1)).error == WrongPhase.number


def crowded(**bounds) -> DelegationPlay:
    """Return a play in which two delegators have 1 and 2 FML behind one validator, a third nothing yet."""
    play = DelegationPlay(params=replace(DEVNET, **bounds))
    small, large, _ = play.delegators
    return begin(play, (small, play.validators[0], FML), (large, play.validators[0], 2 * FML))


@pytest.mark.parametrize("bounds", [{"max_delegators": 2}, {"max_task_delegations": 2}])
def test_a_larger_delegation_takes_the_place_of_the_smallest(bounds):
    """Who gives way keeps its shares, and what they earn, until the epoch has settled; then they unbond."""
    play = crowded(**bounds)
    operator, (small, large, new) = play.validators[0], play.delegators
    refused = play.send(new, Delegate(play.task, operator.address, FML))
    assert (refused.error, f"the cheapest by {FML} units" in refused.message) == (NotEligible.number, True)
    # More of one's own takes no place.
    play.delegate(large, operator, FML)
    play.delegate(new, operator, FML + 1)
    assert play.shares(operator, small) == FML
    assert play.send(small, Delegate(play.task, operator.address, FML)).error == NotEligible.number
    assert play.send(small, Undelegate(play.task, operator.address, 1)).error == OutOfBounds.number
    expect_sound(play.ledger.state)
    play.run_epoch()
    assert play.unbonding(small) > FML
    assert [play.shares(operator, person) > 0 for person in play.delegators] == [False, True, True]
    assert get_places(play.ledger.state, play.task).delegations == 2
    play.expect_counted()


def test_what_only_waits_gives_way_at_once():
    """It comes back to the balance, and nothing of the delegation is left."""
    play = crowded(max_delegators=3)
    operator, (small, _, new) = play.validators[0], play.delegators
    balance = play.balance(new)
    play.delegate(small, operator, FML)
    play.delegate(new, operator, FML)
    play.delegate(play.stranger, operator, FML + 1)
    assert balance - play.balance(new) <= DEVNET.fee_floor_units
    assert vaults.get_delegation(play.ledger.state, play.task, operator.address, new.address) is None
    play.expect_counted()


def test_the_smallest_of_the_whole_task_gives_way():
    """Behind whichever operator it stands; among equal ones the operator's account decides."""
    play = DelegationPlay(params=replace(DEVNET, max_task_delegations=2))
    first, second, third = play.delegators
    begin(play, (first, play.validators[0], FML), (second, play.validators[1], FML))
    play.delegate(third, play.validators[2], FML + 1)
    found = {first: play.validators[0], second: play.validators[1]}
    loser, other = sorted(found, key=lambda person: found[person].address)
    play.run_epoch()
    assert (play.shares(found[loser], loser), play.shares(found[other], other) > 0) == (0, True)
    assert play.shares(play.validators[2], third) == FML + 1
    play.expect_counted()


def test_nobody_takes_back_what_is_not_there(play):
    """Neither shares of others nor what still waits."""
    operator, (who, other, _) = play.validators[0], play.delegators
    begin(play, (who, operator, 10 * FML))
    play.delegate(other, operator, 10 * FML)
    assert play.send(other, Undelegate(play.task, operator.address, 1)).error == OutOfBounds.number
    assert play.send(who, Undelegate(play.task, operator.address, 10 * FML + 1)).error == OutOfBounds.number
    assert play.send(play.stranger, Undelegate(play.task, operator.address, 1)).error == OutOfBounds.number


# --- hard cases ------------------------------------------------------------------------------------------------------


def test_a_slash_of_everything_ends_the_shares(play):
    """The old shares are worth nothing and stay so; who delegates afterwards is not diluted by them."""
    operator, (old, new, _) = play.validators[0], play.delegators
    begin(play, (old, operator, 100 * FML))
    play.delegate(new, operator, 50 * FML)
    state, context = play.overlay()
    taken = settlement.slash_stake(state, context, play.record, operator.address, MILLION, epoch=0)
    assert taken == 200 * FML
    vaults.begin_vaults(state, context, play.record)
    assert vaults.get_delegation(state, play.task, operator.address, old.address) is None
    found = vaults.get_delegation(state, play.task, operator.address, new.address)
    assert found is not None
    assert vaults.get_worth(state, play.task, operator.address, found.shares) == 50 * FML


def test_stake_slashed_within_an_epoch_does_not_count_in_it(play):
    """What counts is the lesser of begin and end, delegation included, of validators and trainers alike."""
    operator, trainer = play.validators[0], play.trainers[0]
    begin(play, (play.delegators[0], operator, 100 * FML), (play.delegators[1], trainer, 100 * FML)).submit().draw()
    state, context = play.overlay()
    for person in (operator, trainer):
        settlement.slash_stake(state, context, play.record, person.address, MILLION // 4, epoch=0)
    assert judging.count_stakes(state, play.record, play.epoch_record)[operator.address] == 150 * FML
    assert judging.get_epoch_stakes(state, play.record)[trainer.address] == 150 * FML


def test_a_trainer_needs_the_least_stake_of_its_own(play):
    """Others' stake does not seat a trainer whose own fell below the least."""
    trainer = play.trainers[0]
    begin(play, (play.delegators[0], trainer, 1_000 * FML))
    state, context = play.overlay()
    assert len(seats.find_candidates(state, context, play.record)) == 3
    left = play.stake(trainer) - DEVNET.min_stake_trainer_units + 1
    purses.move(state, purses.stake_of(play.task, trainer.address), purses.TREASURY, left)
    found = {seat.address for seat in seats.find_candidates(state, context, play.record)}
    assert found == {person.address for person in play.trainers[1:]}


def test_no_shares_are_no_undelegation(play):
    """Such a transaction is refused before it reaches a block."""
    with pytest.raises(OutOfBounds):
        check_payload(Undelegate(play.task, play.validators[0].address, 0))


def test_a_dear_share_takes_nothing_from_who_comes_later(play):
    """One share that is worth half a delegation: the next one pays for whole shares and gets the rest back."""
    operator, (first, victim, _) = play.validators[0], play.delegators
    begin(play, (first, operator, 100 * FML))
    state, context = play.overlay()
    address = operator.address
    vault = vaults.require_vault(state, play.task, address)
    found = vaults.get_delegation(state, play.task, address, first.address)
    vaults.put_vault(state, play.task, address, replace(vault, shares=1))
    vaults.put_delegation(state, play.task, address, first.address, replace(found, shares=1))
    vaults.add_delegation(state, play.task, address, victim.address, 199 * FML)
    balance = purses.get_units(state, purses.balance_of(victim.address))
    waiting = purses.waiting_of(play.task, address, victim.address)
    purses.move(state, purses.balance_of(victim.address), waiting, 199 * FML)
    vaults.begin_vaults(state, context, play.record)
    assert purses.get_units(state, purses.balance_of(victim.address)) == balance - 100 * FML
    assert vaults.get_worth(state, play.task, address, 1) == 100 * FML


def test_more_than_can_be_counted_is_returned(play):
    """Shares of a vault that lost almost everything are so cheap that a delegation could buy too many to count."""
    operator, (first, late, _) = play.validators[0], play.delegators
    begin(play, (first, operator, 100 * FML))
    state, context = play.overlay()
    settlement.slash_stake(state, context, play.record, operator.address, MILLION - 1, epoch=0)
    vault = vaults.require_vault(state, play.task, operator.address)
    dear = vaults.get_delegation(state, play.task, operator.address, first.address)
    vaults.put_vault(state, play.task, operator.address, replace(vault, shares=2**62))
    vaults.put_delegation(state, play.task, operator.address, first.address, replace(dear, shares=2**62))
    balance = purses.get_units(state, purses.balance_of(late.address))
    delegate(state, context, late.address, Delegate(play.task, operator.address, 2 * FML))
    vaults.begin_vaults(state, context, play.record)
    assert purses.get_units(state, purses.balance_of(late.address)) == balance
    assert vaults.get_delegation(state, play.task, operator.address, late.address) is None


def test_who_holds_shares_keeps_them_when_more_buys_none(play):
    """A top-up below the price of a share returns; the delegation stays."""
    operator, (first, other, _) = play.validators[0], play.delegators
    begin(play, (first, operator, 50 * FML), (other, operator, 50 * FML))
    state, context = play.overlay()
    vault = vaults.require_vault(state, play.task, operator.address)
    vaults.put_vault(state, play.task, operator.address, replace(vault, shares=2))
    for who in (first, other):
        found = vaults.get_delegation(state, play.task, operator.address, who.address)
        vaults.put_delegation(state, play.task, operator.address, who.address, replace(found, shares=1))
    delegate(state, context, first.address, Delegate(play.task, operator.address, 49 * FML))
    vaults.begin_vaults(state, context, play.record)
    found = vaults.get_delegation(state, play.task, operator.address, first.address)
    assert found is not None
    assert found.shares == 1


def test_a_part_that_leaves_takes_its_points_along_once():
    """Half of the shares asked back in the first of three epochs: the other half counts on, and for itself alone."""
    play = DelegationPlay(epochs=3, escrow=1_500 * FML)
    operator, (half, whole, _) = play.trainers[0], play.delegators
    begin(play, (half, operator, 100 * FML), (whole, operator, 50 * FML))
    play.undelegate(half, operator, 50 * FML)
    play.run_epoch().run_epoch().submit().open().commit().reveal()
    assert play.shares(operator, half) == play.shares(operator, whole)
    before = play.balance(half), play.balance(whole)
    play.claim()
    got = play.balance(half) - before[0], play.balance(whole) - before[1]
    assert abs(got[0] - got[1]) < FML // 100
    assert got[0] > FML
    play.expect_counted()
