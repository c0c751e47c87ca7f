"""Joining, leaving, topping up, and who is out for good."""

import pytest
from msgspec.structs import replace

from protocol.alliance_acts import JoinAlliance, LeaveAlliance, TopUpStake
from protocol.errors import AlreadyDone, InsufficientFunds, NotEligible, NotFound, OutOfBounds, WrongPhase
from protocol.params import DEVNET
from protocol.rules.alliance.records import AlliancePhase
from protocol.rules.alliance.results import AllianceRole
from tests.alliance_play import AlliancePlay, make_spec
from tests.ledger_driver import FML, Person
from tests.ledger_invariants import expect_sound


def harsh_play(participants: int = 8, **settings) -> AlliancePlay:
    """Return a play in which one absence costs a proposer more than half of its stake."""
    params = replace(DEVNET, absence_slash_millionths=500_000)
    settings = {"threshold_millionths": 600_000, "rounds": 20} | settings
    return AlliancePlay(participants=participants, params=params, **settings)


def lose_one(play: AlliancePlay) -> Person:
    """Let a round pass in which one proposer is absent; return it."""
    play.draw()
    lazy = play.proposers()[0]
    play.train(play.proposers()[1:]).hold().commit().reveal().confirm()
    return lazy


# --- joining ---------------------------------------------------------------------------------------------------------


def test_joining_takes_exactly_the_stake():
    """It lies in a purse of its own, and the declared sizes are on record."""
    play = AlliancePlay()
    person = play.participants[0]
    before = play.balance(person)
    assert play.send(person, JoinAlliance(1, 1_234, 56)).error == 0
    assert play.stake(person) == 64 * FML
    assert before - 64 * FML - DEVNET.fee_floor_units <= play.balance(person) <= before - 64 * FML
    member = play.member(person)
    assert (member.train_rows, member.test_rows, member.is_out) == (1_234, 56, False)
    assert play.record.places == 1


def test_who_cannot_join():
    """Too little money, too small a test split, twice, no such alliance; each refusal says why."""
    play = AlliancePlay(balance=1_200 * FML, spec=make_spec(DEVNET.alliance.settings, joining_stake=1_300 * FML))
    poor = play.send(play.participants[0], JoinAlliance(1, 100, 20))
    assert poor.error == InsufficientFunds.number
    assert "stake of 1300000000000 units" in poor.message
    play = AlliancePlay()
    small = play.send(play.participants[0], JoinAlliance(1, 100, 19))
    assert small.error == NotEligible.number
    assert "at least 20 rows" in small.message
    assert play.send(play.participants[0], JoinAlliance(2, 100, 20)).error == NotFound.number
    assert play.send(play.participants[0], JoinAlliance(1, 100, 20)).error == 0
    assert play.send(play.participants[0], JoinAlliance(1, 100, 20)).error == AlreadyDone.number
    assert play.record.places == 1


def test_the_creator_may_take_part():
    """Its stake as a creator and as a participant are two."""
    play = AlliancePlay()
    assert play.send(play.creator, JoinAlliance(1, 100, 20)).error == 0
    assert play.stake(play.creator) == 64 * FML


def test_a_full_alliance_takes_nobody_until_somebody_leaves():
    """Places are as many as the chain allows."""
    params = replace(DEVNET, alliance=replace(DEVNET.alliance, max_participants=4))
    play = AlliancePlay(participants=4, params=params, bystanders=[Person("late")])
    late = play.ledger.people[-1]
    for person in play.participants[:3]:
        play.send(person, JoinAlliance(1, 100, 20))
    play.send(play.creator, JoinAlliance(1, 100, 20))
    full = play.send(late, JoinAlliance(1, 100, 20))
    assert full.error == NotEligible.number
    assert "all 4 places" in full.message


def test_who_joins_while_it_runs_is_drawn_from_the_next_round_on():
    """A sixth participant joins in the first round; six are candidates in the second."""
    play = AlliancePlay().begin()
    assert play.send(play.stranger, JoinAlliance(1, 100, 20)).error == 0
    assert play.stranger.address not in play.round_record.stakes()
    play.run_round()
    assert play.phase is AlliancePhase.DRAW
    assert play.stranger.address in {one.address for one in play.round_record.candidates}


# --- leaving ---------------------------------------------------------------------------------------------------------


def test_leaving_during_the_opening_acts_at_once():
    """The stake unbonds, the place is free, and the account may come back."""
    play = AlliancePlay()
    person = play.participants[0]
    assert play.send(person, LeaveAlliance(1)).error == NotEligible.number
    play.send(person, JoinAlliance(1, 100, 20))
    assert play.send(person, LeaveAlliance(1)).error == 0
    assert (play.stake(person), play.unbonding(person)) == (0, 64 * FML)
    assert play.record.places == 0
    assert play.member(person) is None
    assert play.send(person, JoinAlliance(1, 100, 20)).error == 0
    play.ledger.block(after_ms=DEVNET.unbonding_ms)
    assert play.unbonding(person) == 0


def test_leaving_a_round_waits_for_its_end():
    """Who leaves still does its part, is paid, and then its stake unbonds, reward included."""
    play = AlliancePlay(participants=6, rounds=3).begin()
    person = play.proposers()[0]
    assert play.send(person, LeaveAlliance(1)).error == 0
    assert play.send(person, LeaveAlliance(1)).error == AlreadyDone.number
    play.run_round()
    earned = play.settled(0, person).earned
    assert earned > 0
    assert (play.stake(person), play.unbonding(person)) == (0, 64 * FML + earned)
    assert person.address not in {one.address for one in play.round_record.candidates}
    assert play.record.places == 5
    expect_sound(play.ledger.state)


def test_leaving_between_freeze_and_draw_waits_for_the_round_too():
    """Who was frozen as a candidate may be drawn: it cannot shrink the draw by going."""
    play = AlliancePlay()
    for person in play.participants:
        play.join(person)
    play.ledger.block()
    assert play.phase is AlliancePhase.DRAW
    assert play.send(play.participants[0], LeaveAlliance(1)).error == 0
    play.draw()
    assert len(play.round_record.stakes()) == 5
    play.run_round()
    assert play.member(play.participants[0]) is None


def test_with_too_few_left_it_finishes_early():
    """Two of five go: three are no round, so the pool's remainder is paid to those that stayed."""
    play = AlliancePlay(rounds=10).begin()
    leaving = play.participants[:2]
    for person in leaving:
        play.ledger.send(person, LeaveAlliance(1))
    play.run_round()
    assert play.phase is AlliancePhase.FINISHED
    assert play.round == 0
    closing = play.closing()
    assert sum(one.units for one in closing.paid) == closing.pool == 900 * FML
    assert {one.address for one in closing.paid} == {person.address for person in play.participants[2:]}
    assert play.send(leaving[0], LeaveAlliance(1)).error == WrongPhase.number
    expect_sound(play.ledger.state)


# --- below the threshold ---------------------------------------------------------------------------------------------


def test_a_stake_below_the_threshold_is_warned_then_out():
    """It is not drawn for the next round; still too low when that closes, it is out, and the rest unbonds."""
    play = harsh_play().begin()
    low = lose_one(play)
    assert play.stake(low) == 32 * FML
    assert play.member(low).is_warned
    assert low.address not in {one.address for one in play.round_record.candidates}
    play.run_round()
    assert play.member(low).is_out
    assert (play.stake(low), play.unbonding(low)) == (0, 32 * FML)
    assert play.record.places == 7
    for act in (JoinAlliance(1, 100, 20), TopUpStake(1, FML), LeaveAlliance(1)):
        assert play.send(low, act).error == NotEligible.number
    expect_sound(play.ledger.state)


def test_topping_up_in_time_clears_the_warning():
    """Filled up during the round that it sits out, it is a candidate again."""
    play = harsh_play().begin()
    low = lose_one(play)
    assert play.send(low, TopUpStake(1, 6 * FML)).error == 0
    assert play.member(low).is_warned, "38 FML are below 38.4"
    assert play.send(low, TopUpStake(1, FML)).error == 0
    assert not play.member(low).is_warned
    play.run_round()
    assert not play.member(low).is_out
    assert play.stake(low) == 39 * FML
    assert low.address in {one.address for one in play.round_record.candidates}


@pytest.mark.parametrize(
    ("units", "error"), [(32 * FML + 1, OutOfBounds.number), (2**62, OutOfBounds.number), (32 * FML, 0)]
)
def test_a_stake_is_filled_up_to_the_joining_stake_at_most(units, error):
    """Else who has more money would weigh more in every reward."""
    play = harsh_play().begin()
    low = lose_one(play)
    assert play.send(low, TopUpStake(1, units)).error == error
    assert play.send(play.stranger, TopUpStake(1, units)).error == NotEligible.number


def test_a_top_up_takes_money():
    """The balance must cover it."""
    play = harsh_play()
    play.begin()
    low = lose_one(play)
    play.ledger.transfer(low, play.stranger, play.balance(low) - FML)
    play.ledger.block()
    assert play.send(low, TopUpStake(1, 7 * FML)).error == InsufficientFunds.number


def test_leaving_does_not_dodge_the_expulsion():
    """Who leaves with a stake below the threshold is out as well."""
    play = harsh_play().begin()
    play.draw()
    lazy = play.proposers()[0]
    play.send(lazy, LeaveAlliance(1))
    play.train(play.proposers()[1:]).hold().commit().reveal().confirm()
    assert play.member(lazy).is_out
    assert play.unbonding(lazy) == 32 * FML
    assert play.send(lazy, JoinAlliance(1, 100, 20)).error == NotEligible.number


def test_a_top_up_in_the_round_does_not_raise_what_is_at_stake():
    """The round counts the lesser of the stake at the draw and now."""
    play = harsh_play(threshold_millionths=100_000).begin()
    low = lose_one(play)
    assert not play.member(low).is_warned
    for _ in range(10):
        play.draw()
        if low.address in play.round_record.stakes():
            break
        play.run_round()
    role = AllianceRole.PROPOSER if play.round_record.is_proposer(low.address) else AllianceRole.VOTER
    counted, round = play.round_record.stakes()[low.address], play.round
    assert play.send(low, TopUpStake(1, FML)).error == 0
    play.run_round()
    settled = play.settled(round, low)
    assert (settled.role, settled.stake) == (role, counted)
