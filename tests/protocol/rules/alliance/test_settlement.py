"""What rounds pay and cost, to the unit: L5 and L6 from the snapshot, impact, the remainder at the end."""

import random

from protocol.alliance_acts import FundAlliance, LeaveAlliance
from protocol.alliance_settings import RewardRule
from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.alliance.records import AlliancePhase
from protocol.rules.alliance.results import AllianceRole, Outcome
from protocol.rules.standing import get_standing
from tests.alliance_play import AlliancePlay, verified
from tests.ledger_driver import FML
from tests.ledger_invariants import expect_sound

MILLION = 1_000_000


def test_a_round_pays_its_part_of_the_pool_by_stake():
    """1,000 FML over two rounds, five equal stakes, all right: 100 FML each, into the stakes."""
    play = AlliancePlay().begin()
    selected = play.people_at(list(play.round_record.stakes()))
    play.run_round()
    result = play.result(0)
    assert (result.pool, result.reward) == (1_000 * FML, 500 * FML)
    assert [one.role for one in result.settled] == [AllianceRole.PROPOSER] * 2 + [AllianceRole.VOTER] * 3
    for person in selected:
        assert play.settled(0, person).earned == 100 * FML
        assert play.stake(person) == 164 * FML
        assert play.member(person).earned == 100 * FML
        assert play.member(person).accepted_rounds == 1
        # A founder that pays for itself makes no record.
        assert not get_standing(play.ledger.state, person.address).has_record
    assert play.pool() == 500 * FML


def test_who_was_paid_in_a_verified_alliance_has_a_record():
    """Governance vouches for the alliance, and so for those that it pays; who earned nothing has none."""
    play = verified().begin()
    selected = play.people_at(list(play.round_record.stakes()))
    play.run_round()
    paid = [person for person in selected if play.settled(0, person).earned]
    assert paid
    records = [person for person in play.participants if get_standing(play.ledger.state, person.address).has_record]
    assert sorted(records, key=lambda person: person.name) == sorted(paid, key=lambda person: person.name)


def test_what_the_wrong_would_have_earned_stays_in_the_pool():
    """One proposer of two is slashed: its part is nobody's, 90 % of its slash is the pool's, 10 % is burned."""
    play = AlliancePlay().begin().train().hold()
    good, bad = play.proposers()
    burned = purses.get_supply(play.ledger.state).burned
    play.commit(dict.fromkeys(play.voters(), play.ballot(good=[good]))).reveal().confirm()
    assert play.settled(0, bad).slashed == 8 * FML
    assert play.stake(bad) == 56 * FML
    assert play.member(bad).slashed == 8 * FML
    assert play.member(bad).accepted_rounds == 0
    assert play.pool() == 1_000 * FML - 400 * FML + 8 * FML * 9 // 10
    fees = 12 * DEVNET.fee_floor_units
    assert 8 * FML // 10 <= purses.get_supply(play.ledger.state).burned - burned <= 8 * FML // 10 + fees
    assert not get_standing(play.ledger.state, bad.address).has_record


def test_a_later_round_counts_compounded_stakes():
    """Who earned before has more at stake, earns more of the next round, and loses more."""
    play = AlliancePlay(participants=6, rounds=3).begin().run_round()
    idle = next(person for person in play.participants if play.stake(person) == 64 * FML)
    for _ in range(2):
        play.draw()
        if idle.address in play.round_record.stakes() and play.round == 1:
            break
    stakes = play.round_record.stakes()
    play.run_round()
    result, total = play.result(1), sum(stakes.values())
    for one in result.settled:
        assert one.stake == stakes[one.address]
        assert one.earned == result.reward * one.stake // total
    if idle.address in stakes:
        assert play.settled(1, idle).earned < result.reward // 5


def test_voters_earn_by_how_often_they_agreed():
    """Right in one of two outcomes: half of the share, and half of the slash."""
    play = AlliancePlay().begin().train().hold()
    good, _ = play.proposers()
    loner, *others = play.voters()
    play.commit({**dict.fromkeys(others, play.ballot(good=[good])), loner: play.ballot(good=[])})
    play.reveal().confirm()
    settled = play.settled(0, loner)
    assert (settled.earned, settled.slashed) == (50 * FML, 4 * FML)


def test_a_void_round_pays_nobody_and_its_money_waits():
    """The next round may pay all of what is left."""
    play = AlliancePlay().begin()
    lost = sum(5 * 64 * FML // 100 for _ in play.proposers())
    play.skip_round()
    assert play.result(0).outcome is Outcome.VOID
    assert play.pool() == 1_000 * FML + lost * 9 // 10
    play.run_round()
    assert play.result(1).reward == 1_000 * FML + lost * 9 // 10
    assert play.phase is AlliancePhase.FINISHED


# --- impact ----------------------------------------------------------------------------------------------------------


def impact_play() -> AlliancePlay:
    """Return a play before the vote, with two proposers whose reward goes by what their updates gained."""
    return AlliancePlay(reward=RewardRule.IMPACT).begin().train().hold()


def test_by_impact_proposers_share_by_the_median_gain():
    """Gains of 30 and 10 thousandths by two voters, absurd ones by a third: 150 and 50 FML of their 200."""
    play = impact_play().commit().reveal()
    liar, *honest = play.voters()
    told = dict.fromkeys(honest, play.confirmation(gains=[30_000, 10_000]))
    play.confirm({**told, liar: play.confirmation(gains=[0, MILLION])})
    more, less = play.result(0).settled[:2]
    assert (more.earned, less.earned) == (150 * FML, 50 * FML)
    assert [one.gain for one in play.result(0).updates] == [30_000, 10_000]
    assert play.settled(0, liar).earned == 100 * FML


def test_by_impact_only_accepted_updates_share():
    """A rejected update has no gain and gets nothing; an absent voter's gains count as little as its rest."""
    play = impact_play()
    good, bad = play.proposers()
    play.commit(dict.fromkeys(play.voters(), play.ballot(good=[good]))).reveal()
    gone, *others = play.voters()
    play.confirm(dict.fromkeys(others, play.confirmation(gains=[-5])))
    assert play.settled(0, good).earned == 100 * FML, "where nobody gained anything, rewards go by stake"
    assert play.settled(0, bad).earned == 0
    gains = {one.proposer: one.gain for one in play.result(0).updates}
    assert gains == {good.address: -5, bad.address: None}
    assert play.settled(0, gone).is_absent


# --- the end ---------------------------------------------------------------------------------------------------------


def test_the_remainder_goes_by_stake_times_accepted_rounds():
    """What a wrong proposer forfeited in the last round is divided among those that were right in accepted rounds."""
    play = AlliancePlay().begin().run_round().draw().train().hold()
    good, bad = play.proposers()
    play.commit(dict.fromkeys(play.voters(), play.ballot(good=[good]))).reveal()
    before = {person: play.stake(person) for person in play.participants}
    play.confirm()
    assert play.phase is AlliancePhase.FINISHED
    closing = play.closing()
    forfeited = play.result(1).reward - sum(one.earned for one in play.result(1).settled)
    assert closing.pool == forfeited + play.settled(1, bad).slashed * 9 // 10
    assert sum(one.units for one in closing.paid) == closing.pool
    weights = {one.address: one.stake * one.rounds for one in closing.paid}
    assert {one.rounds for one in closing.paid} == {1, 2}
    for one in closing.paid:
        assert abs(one.units - closing.pool * weights[one.address] // sum(weights.values())) <= 1
    paid = {one.address: one.units for one in closing.paid}
    for person in play.participants:
        settled = play.settled(1, person)
        expected = before[person] + settled.earned - settled.slashed + paid[person.address]
        assert play.unbonding(person) == expected
    assert play.unbonding(play.creator) == 100 * FML
    expect_sound(play.ledger.state)


def test_everything_unbonds_at_the_end():
    """After the unbonding period every participant and the creator have their money back."""
    play = AlliancePlay().begin().run_round().run_round()
    assert play.phase is AlliancePhase.FINISHED
    play.ledger.block(after_ms=DEVNET.unbonding_ms)
    assert all(play.unbonding(person) == 0 for person in (*play.participants, play.creator))
    assert sum(play.balance(person) for person in play.participants) > 51_000 * FML - FML


def test_without_an_accepted_round_the_remainder_is_the_treasurys():
    """Rounds began, so the creator gets no escrow back; nobody has a claim, whoever gave."""
    play = AlliancePlay().begin()
    play.send(play.stranger, FundAlliance(1, 10 * FML))
    treasury = play.units(purses.TREASURY)
    play.skip_round().skip_round()
    assert play.phase is AlliancePhase.FINISHED
    left = play.units(purses.TREASURY) - treasury
    slashed = sum(one.slashed for round in range(2) for one in play.result(round).settled)
    assert left == 1_010 * FML + slashed * 9 // 10
    assert play.pool() == 0
    expect_sound(play.ledger.state)


def test_who_left_has_no_part_in_the_remainder():
    """Its stake is not there any more when the alliance ends."""
    play = AlliancePlay(participants=6).begin()
    leaver = play.proposers()[0]
    play.send(leaver, LeaveAlliance(1))
    play.run_round()
    play.draw().train().hold()
    play.commit(dict.fromkeys(play.voters(), play.ballot(good=[]))).reveal()
    assert play.phase is AlliancePhase.FINISHED
    assert leaver.address not in {one.address for one in play.closing().paid}
    assert play.closing().paid


# --- over many rounds ------------------------------------------------------------------------------------------------


def test_poisoners_are_expelled_and_the_honest_earn():
    """Two of ten poison and invert their votes: in the end they are out, with less than the threshold."""
    play = AlliancePlay(participants=10, rounds=16, slash_millionths=300_000).begin()
    bad = set(play.participants[:2])
    while play.phase is not AlliancePhase.FINISHED:
        play.draw().train().hold()
        good = [person for person in play.proposers() if person not in bad]
        poisoned = [person for person in play.proposers() if person in bad]
        play.commit({voter: play.ballot(good=poisoned if voter in bad else good) for voter in play.voters()})
        play.reveal().confirm()
        expect_sound(play.ledger.state)
    assert all(play.member(person).is_out for person in bad)
    assert all(play.member(person).slashed > 32 * FML for person in bad)
    assert all(play.unbonding(person) > 64 * FML for person in play.participants if person not in bad)


def test_a_drawn_seed_changes_nothing_about_the_sum():
    """Whatever stakes and slashes come together, supply and purses agree (random verdicts for five rounds)."""
    chance = random.Random(7)
    play = AlliancePlay(participants=9, rounds=5, slash_millionths=333_333).begin()
    play.send(play.stranger, FundAlliance(1, 123_456_789_012))
    for _ in range(5):
        play.draw().train().hold()
        play.commit(
            {v: play.ballot(good=[p for p in play.proposers() if chance.random() < 0.5]) for v in play.voters()}
        )
        play.reveal().confirm()
        expect_sound(play.ledger.state)
    assert play.phase is AlliancePhase.FINISHED
