"""New money: when it comes, to whom it goes, and where it goes when nobody can be paid."""

import pytest
from msgspec.structs import replace

from protocol.formulas import emission as formulas
from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.arena.records import Phase
from protocol.rules.emission import fund, get_emission
from protocol.state import Overlay
from protocol.transactions import Attest, CreateTask, Leave, Role, VerifyTask
from tests.arena_play import Play
from tests.ledger_driver import FML, START_MS

PERIOD_MS = DEVNET.emission_period_ms
# C0 of the devnet without the hosts' tenth.
FIRST = 900 * FML


def verified(**options) -> Play:
    """Return a play whose task is verified and has begun its first epoch, long before the first emission."""
    play = Play(is_governed=True, **options)
    assert play.send(play.governor, VerifyTask(play.task)).error == 0
    return play.begin()


def minted(play: Play) -> int:
    return purses.get_supply(play.ledger.state).minted


def emitted(play: Play, task: int | None = None) -> int:
    return play.units(purses.emission_of(play.task if task is None else task))


def pass_boundary(play: Play) -> None:
    """Make the block in which the next emission is due."""
    play.ledger.block(after_ms=get_emission(play.ledger.state).next_ms - play.ledger.before.head.time_ms)


def test_an_emission_comes_once_a_period():
    """Not a moment early, once however many blocks there are, and again a period later."""
    play = verified()
    born = minted(play)
    play.ledger.block(after_ms=START_MS + PERIOD_MS - 1 - play.ledger.before.head.time_ms)
    assert (emitted(play), minted(play)) == (0, born)
    play.ledger.block(after_ms=1)
    assert (emitted(play), minted(play)) == (FIRST, born + FIRST)
    for _ in range(5):
        play.ledger.block(after_ms=1)
    assert emitted(play) == FIRST
    pass_boundary(play)
    assert emitted(play) == 2 * FIRST
    assert get_emission(play.ledger.state).period == 2
    play.expect_conserved()


def test_what_an_outage_ran_over_is_not_made_up_for():
    """One emission after any gap, none in the blocks right after it, and the next one on the same grid."""
    play = verified()
    play.ledger.block(after_ms=1_000 * PERIOD_MS + 5)
    assert emitted(play) == FIRST
    play.ledger.block()
    assert emitted(play) == FIRST
    emission = get_emission(play.ledger.state)
    assert emission.period == 1
    assert (emission.next_ms - START_MS) % PERIOD_MS == 0
    assert 0 < emission.next_ms - play.ledger.before.head.time_ms <= PERIOD_MS


def test_only_verified_tasks_at_work_count():
    """Neither a self-funded one, nor one that still opens, nor one that is over has any part; nothing is minted."""
    unverified = Play(is_governed=True).begin()
    opening = Play(is_governed=True)
    assert opening.send(opening.governor, VerifyTask(opening.task)).error == 0
    over = verified().run_epoch().run_epoch()
    assert over.phase is Phase.FINISHED
    for play in (unverified, opening, over):
        born = minted(play)
        pass_boundary(play)
        assert (emitted(play), minted(play)) == (0, born)
        assert get_emission(play.ledger.state).period >= 1


def begin_second(play: Play, *, stake: int) -> None:
    """Have the stranger create task 2 and everybody join it with another stake; verify and begin it."""
    play.send(play.stranger, CreateTask(play.record.spec, 100 * FML, FML))
    play.send(play.governor, VerifyTask(2))
    for role, people in ((Role.TRAINER, play.trainers), (Role.VALIDATOR, play.validators)):
        for person in people:
            play.ledger.join(person, 2, role, stake)
    play.ledger.block()
    for person in play.validators:
        play.ledger.send(person, Attest(2))
    play.ledger.block()


@pytest.mark.parametrize(("exponent", "first_part"), [(1_000_000, 700), (0, 1_000), (2_000_000, 49 * 2_000 // 218)])
def test_tasks_share_by_all_stake_in_them(exponent, first_part):
    """Creator, trainers and validators: 700 FML in one task, 1,300 in the other; by E3 with its exponent p."""
    play = Play(is_governed=True, params=replace(DEVNET, task_stake_exponent_millionths=exponent))
    play.send(play.governor, VerifyTask(play.task))
    play.begin()
    begin_second(play, stake=200 * FML)
    pass_boundary(play)
    parts = emitted(play), emitted(play, 2)
    assert sum(parts) == FIRST
    stakes = {b"1": 700 * FML, b"2": 1_300 * FML}
    expected = formulas.task_emission(FIRST, stakes=stakes, stake_exponent_millionths=exponent)
    assert parts == (expected[b"1"], expected[b"2"])
    assert abs(parts[0] * 2_000 - FIRST * first_part) <= FIRST * 2
    play.expect_conserved()


def test_the_emission_halves():
    """After as many as the parameters say, and the hosts' slice of it on top: 900, then 475 of 500."""
    play = verified(params=replace(DEVNET, halving_periods=1, host_halving_periods=1))
    pass_boundary(play)
    assert emitted(play) == FIRST
    pass_boundary(play)
    assert emitted(play) - FIRST == 475 * FML


def test_an_epoch_pays_all_that_was_emitted_for_it():
    """The day's emission goes out the same day, besides the epoch's part of the escrow."""
    play = verified()
    pass_boundary(play)
    play.run_epoch()
    first = play.result(0)
    assert (first.pot, first.emitted) == (500 * FML + FIRST, FIRST)
    assert emitted(play) == 0
    ranked = sum(entry.reward_a for entry in first.ranking)
    judged = sum(payout.earned for payout in first.validators)
    kept = play.units(purses.reward_b_of(play.task))
    assert ranked + judged + kept + first.creator_reward == first.pot
    play.run_epoch()
    assert play.result(1).pot == 500 * FML + play.result(1).emitted
    play.expect_conserved()


def test_what_nobody_could_be_paid_is_used_before_anything_is_minted():
    """A void epoch gives its emission to the reserve, the next emission takes it from there, and nothing is lost."""
    play = verified(epochs=3)
    pass_boundary(play)
    play.submit([]).open(key=False).claim()
    returned = play.result(0).emitted
    assert play.result(0).pot == returned + 1_000 * FML // 3 + 1
    assert play.units(purses.RESERVE) == returned >= FIRST
    # What trainers without a model lost of their seats stays in the task's own pot.
    assert play.units(purses.pot_of(play.task)) > 1_000 * FML
    born = minted(play)
    pass_boundary(play)
    assert (play.units(purses.RESERVE), emitted(play), minted(play)) == (returned - FIRST, FIRST, born)
    play.expect_conserved()


def test_the_reserve_is_used_up_before_the_rest_is_minted():
    """A hundred from the reserve, the missing units newly minted, and none twice."""
    play = Play()
    state = Overlay(play.ledger.state)
    purses.move(state, purses.TREASURY, purses.RESERVE, 100)
    fund(state, purses.emission_of(1), 250)
    assert purses.get_units(state, purses.emission_of(1)) == 250
    assert purses.get_units(state, purses.RESERVE) == 0
    assert purses.get_supply(state).minted == minted(play) + 150
    assert purses.compute_drift(play.ledger.state, state) == 0


def test_a_role_nobody_worked_in_gives_its_part_back():
    """No validator reveals: the claims share the trainers' part, the rest returns to the reserve."""
    play = verified()
    pass_boundary(play)
    play.submit().open().commit().reveal([])
    settled = get_emission(play.ledger.state).period
    play.claim()
    share = formulas.creator_share(settled, initial_millionths=50_000, fade_periods=365)
    creator, _, validators = formulas.verified_pots(
        play.result(0).emitted,
        creator_share_millionths=share,
        trainer_share_millionths=500_000,
        validator_share_millionths=500_000,
    )
    assert play.units(purses.RESERVE) >= creator + validators > 0
    assert play.result(0).creator_reward == 0
    play.expect_conserved()


@pytest.mark.parametrize("is_verified", [True, False])
def test_reward_b_that_nobody_earned_goes_where_it_came_from(is_verified):
    """Never judged, then void: a verified task's goes to the reserve, a self-funded one's to the treasury."""
    play = verified() if is_verified else Play(is_governed=True).begin()
    play.submit().open(key=False).claim()
    kept = play.units(purses.reward_b_of(play.task))
    reserve, treasury = play.units(purses.RESERVE), play.units(purses.TREASURY)
    own = play.units(purses.pot_of(play.task))
    play.submit([]).open(key=False).claim()
    assert play.phase is Phase.FINISHED
    assert kept > 0
    assert (play.units(purses.RESERVE) - reserve >= kept) == is_verified
    assert (play.units(purses.TREASURY) - treasury >= kept + own) != is_verified
    for purse in (purses.pot_of, purses.reward_b_of, purses.emission_of):
        assert play.units(purse(play.task)) == 0
    play.expect_conserved()


# --- the creator's part ----------------------------------------------------------------------------------------------


def test_a_verified_tasks_creator_is_paid_by_the_schedule():
    """5 % falling to nothing over the periods, whatever else the settings say."""
    play = verified()
    pass_boundary(play)
    before = play.balance(play.creator)
    play.submit().open().commit().reveal()
    fees = before - play.balance(play.creator)
    period = get_emission(play.ledger.state).period
    balance = play.balance(play.creator)
    play.claim()
    reward = play.result(0).creator_reward
    share = formulas.creator_share(period, initial_millionths=50_000, fade_periods=365)
    assert 0 < share < 50_000
    assert abs(reward * 10**6 - play.result(0).pot * share) <= 2 * 10**6
    assert play.balance(play.creator) - balance >= reward
    assert fees < FML


def test_the_schedule_reaches_nothing():
    """After its periods a verified task's creator gets none."""
    play = verified(params=replace(DEVNET, creator_slice_periods=1))
    pass_boundary(play)
    play.run_epoch()
    assert play.result(0).creator_reward == 0
    assert play.result(0).emitted == FIRST


def test_a_self_funded_tasks_creator_is_paid_by_its_settings():
    """Up to a tenth of what it put in itself, or of what others gave."""
    settings = replace(DEVNET.task, creator_share_millionths=100_000, trainer_share_millionths=400_000)
    play = Play(settings=settings).begin().run_epoch()
    assert play.result(0).creator_reward == 50 * FML
    play.run_epoch()
    assert play.result(1).creator_reward == 50 * FML
    play.expect_conserved()


@pytest.mark.parametrize("is_verified", [True, False])
def test_a_creator_whose_epoch_nobody_judged_gets_nothing(is_verified):
    """Withholding the key, or keeping a task that nobody works for, does not pay."""
    settings = replace(DEVNET.task, creator_share_millionths=100_000, trainer_share_millionths=400_000)
    play = verified() if is_verified else Play(settings=settings).begin()
    pass_boundary(play)
    play.submit().open(key=False)
    before = play.balance(play.creator)
    play.claim()
    assert play.result(0).creator_reward == 0
    assert play.balance(play.creator) - before < FML
    play.expect_conserved()


def test_a_stake_counts_while_it_is_bonded_and_no_longer():
    """Who left a task gives it no weight: what unbonds counts nowhere."""
    play = Play(is_governed=True, trainers=4)
    play.send(play.governor, VerifyTask(play.task))
    play.begin(stakes={play.trainers[3]: 1_000 * FML})
    assert purses.count_task_stake(play.ledger.state, play.task) == 1_700 * FML
    play.send(play.trainers[3], Leave(play.task))
    play.run_epoch()
    assert purses.count_task_stake(play.ledger.state, play.task) == 700 * FML


def test_a_chain_may_emit_nothing():
    """With C0 = 0 periods pass and nothing comes of them."""
    play = verified(params=replace(DEVNET, emission_units=0))
    born = minted(play)
    pass_boundary(play)
    play.run_epoch()
    assert minted(play) == born
    assert play.result(0).emitted == 0
    assert get_emission(play.ledger.state).period >= 1
