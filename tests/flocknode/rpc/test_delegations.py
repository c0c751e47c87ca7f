"""How delegated stake looks over RPC, read from the state of a real ledger."""

from flocknode.rpc.delegations import describe_delegations, describe_vault
from flocknode.rpc.methods.accounts import describe_account
from flocknode.rpc.methods.arena import describe_members
from flocknode.rpc.methods.arena_results import describe_epoch, describe_payouts
from protocol.rules.arena.records import get_task
from protocol.transactions import Leave
from tests.delegation_play import SHARE, DelegationPlay, begin
from tests.ledger_driver import FML


def test_an_account_sees_what_it_delegates():
    """Shares, what they are worth, what leaves and what waits, by task and operator; others have none of it."""
    play = DelegationPlay()
    who, other, _ = play.delegators
    first, second = play.trainers[0], play.validators[1]
    begin(play, (who, first, 30 * FML), (who, second, 20 * FML), (other, second, 5 * FML))
    play.undelegate(who, second, 4 * FML)
    play.delegate(who, first, 7 * FML)
    found = {one.operator: one for one in describe_delegations(play.ledger.state, who.address)}
    trained, judged = found[first.address.hex()], found[second.address.hex()]
    assert (trained.task, trained.name) == (play.task, play.record.spec.name)
    assert (trained.shares, trained.worth_units, trained.waiting_units) == (30 * FML, 30 * FML, 7 * FML)
    assert (judged.shares, judged.leaving_shares, judged.waiting_units) == (20 * FML, 4 * FML, 0)
    assert describe_account(play.ledger.state, who.address).delegated_units == 57 * FML
    assert describe_account(play.ledger.state, play.stranger.address).delegations == ()


def test_a_task_shows_the_vaults_of_its_members():
    """What is delegated and shared, also of those whom nobody delegated to; a creator has no vault."""
    play = DelegationPlay()
    begin(play, (play.delegators[0], play.trainers[0], 30 * FML))
    play.share(play.trainers[0], 0)
    state, params = play.ledger.state, play.ledger.before.params
    members = {one.account: one for one in describe_members(state, params, get_task(state, play.task))}
    assert members[play.creator.address.hex()].vault is None
    shared = members[play.trainers[0].address.hex()].vault
    assert shared is not None
    assert (shared.delegated_units, shared.delegators, shared.reward_share_millionths) == (30 * FML, 1, SHARE)
    assert (shared.promised_share_millionths, shared.cut_share_millionths) == (SHARE, 0)
    assert shared.cut_ms is not None
    untouched = describe_vault(state, params, play.task, play.validators[0].address, play.member(play.validators[0]))
    assert (untouched.delegators, untouched.reward_share_millionths) == (0, params.default_reward_share_millionths)


def test_a_leaderboard_shows_stake_with_delegation():
    """Own and delegated together: what the epoch counted with, of trainers and validators."""
    play = DelegationPlay()
    trainer, validator = play.trainers[0], play.validators[0]
    begin(play, (play.delegators[0], trainer, 30 * FML), (play.delegators[1], validator, 40 * FML)).run_epoch()
    state = play.ledger.state
    epoch = describe_epoch(state, get_task(state, play.task), 0)
    assert {one.account: one.stake_units for one in epoch.ranking}[trainer.address.hex()] == 130 * FML
    assert {one.account: one.stake_units for one in epoch.validators}[validator.address.hex()] == 140 * FML


def test_a_leaderboard_keeps_who_was_paid_and_left():
    """The payouts are all that the task made, whoever is still there."""
    play = DelegationPlay(epochs=3)
    leaver = play.trainers[0]
    begin(play, (play.delegators[0], leaver, 30 * FML))
    play.send(leaver, Leave(play.task))
    play.run_epoch()
    state, task = play.ledger.state, get_task(play.ledger.state, play.task)
    payouts = {one.account: one for one in describe_payouts(state, task)}
    epoch = describe_epoch(state, task, 0)
    place = next(one for one in epoch.ranking if one.account == leaver.address.hex())
    found = payouts[leaver.address.hex()]
    assert found.a_units + found.passed_on_units == place.reward_a_units > 0
    paid = sum(one.payout_units for one in (*epoch.ranking, *epoch.validators))
    assert sum(one.a_units + one.validating_units + one.passed_on_units for one in payouts.values()) == paid
