"""Delegated stake on real daemons: put behind a trainer and a validator, it earns with them, comes back, is told of."""

import json

import pytest
import trio

from flocknode.cli.text import format_fml
from flocknode.errors import Exit
from flocknode.keystore import load_public_keys
from flocknode.rpc.arena_records import Leaderboard, Task
from flocknode.rpc.audit_records import Explanation
from flocknode.rpc.chain_records import Supply
from flocknode.rpc.client import open_client
from flocknode.rpc.records import Account, Transaction
from tests.daemon_task import act, reach, read_task, start
from tests.dataset_files import write_dataset

CREATOR, TRAINERS, VALIDATORS, DELEGATOR = "alice", ("bob", "carol", "dave"), ("erin", "frank", "grace"), "heidi"
NAMES = (CREATOR, *TRAINERS, *VALIDATORS, DELEGATOR)
TRAINER, VALIDATOR, LAST = "bob", "erin", "grace"
FML, MILLION = 10**9, 10**6
BALANCE, ESCROW, STAKE = 10_000 * FML, 1_000 * FML, 100 * FML
# What is delegated to the trainer and the validator, and what the latter gives back after the first epoch.
BEHIND_TRAINER, BEHIND_VALIDATOR, BACK = 100 * FML, 60 * FML, 20 * FML
# What delegators get: the trainer says it, of the validator it is the default.
TRAINER_SHARE, VALIDATOR_SHARE = 500_000, 100_000
UNBONDING_MS = 4_000
SETTLE_S = 180


@pytest.fixture
def flock(make_flock):
    """Eight daemons of one chain on which stake unbonds within seconds; the last has no role but to delegate."""
    times = {"unbonding_ms": UNBONDING_MS, "evidence_age_ms": 2_000, "emission_period_ms": 4_000, "idle_block_ms": 500}
    return make_flock(NAMES, balance_units=BALANCE, **times)


async def run(daemon, command):
    """Return what a command prints that succeeds."""
    code, out, err = await trio.to_thread.run_sync(daemon.run, command)
    assert code == Exit.OK, (command, out, err)
    return out


async def send(daemon, command):
    """Have a daemon send a transaction by the command line, and return its fee."""
    outcome = json.loads(await run(daemon, f"{command} --json"))["outcome"]
    assert outcome["status"] == "included", outcome
    return daemon.call("tx.show", Transaction, id=outcome["id"]).fee_units


async def open_task(flock, folder):
    """Create a task and have everybody join but the last validator, without whom it does not begin; return its number.

    Each trainer has data and a seed of its own, so that no model is a copy.
    """
    data = {name: str(write_dataset(folder / f"{name}.data", rows=60, columns=3, seed=name)) for name in NAMES}
    model = {
        "family": "linear",
        "model": {"inputs": [3], "outputs": [2]},
        "metric": "accuracy",
        "measure_baseline": False,
    }
    files = {"dataset_a": data[CREATOR], "dataset_b": data[DELEGATOR]}
    height = await act(flock[CREATOR], "arena.create", name="x", **model, **files, epochs=2, escrow_units=ESCROW)
    async with trio.open_nursery() as nursery:
        for number, name in enumerate(TRAINERS):
            nursery.start_soon(join, flock[name], height, {"dataset": data[name], "training": {"seed": number}})
        for name in VALIDATORS[:-1]:
            nursery.start_soon(join, flock[name], height, {})
        nursery.start_soon(reach, flock[DELEGATOR], height)


async def join(daemon, height, training):
    role = "trainer" if training else "validator"
    await act(daemon, "arena.join", height, task="1", role=role, stake_units=STAKE, **training)


def account(flock):
    return flock[DELEGATOR].call("account.show", Account)


def delegations(flock):
    """Return what the delegator has by operator: shares, of them leaving, their worth, and what waits."""
    names = {load_public_keys(flock[name].home).account.hex(): name for name in NAMES}
    return {
        names[one.operator]: (one.shares, one.leaving_shares, one.worth_units, one.waiting_units)
        for one in account(flock).delegations
    }


async def delegate(flock):
    """Delegate while the task opens, ask a part back in its first epoch, and return the fees of all that."""
    heidi = flock[DELEGATOR]
    code, out, _ = await trio.to_thread.run_sync(heidi.run, "arena delegate x bob 100 --json")
    refused = json.loads(out)["outcome"]
    assert (code, "shares no rewards" in refused["message"]) == (Exit.REFUSED, True), "a trainer must share first"
    await send(flock[TRAINER], "arena reward-share x 0.5")
    fees = heidi.call("tx.show", Transaction, id=refused["id"]).fee_units
    fees += await send(heidi, "arena delegate x bob 100")
    fees += await send(heidi, "arena delegate x erin 60")
    assert delegations(flock) == {TRAINER: (0, 0, 0, BEHIND_TRAINER), VALIDATOR: (0, 0, 0, BEHIND_VALIDATOR)}
    rows = [line.split() for line in (await run(heidi, "account show")).splitlines()]
    assert ["delegated", "160", "FML"] in rows
    assert ["1", "x", "bob", "0", "0", "0", "100"] in rows, "what waits for the first epoch to begin"
    async with open_client(heidi.home) as client:
        events = await client.subscribe(["tasks"], from_height=1)
        await act(flock[LAST], "arena.join", task="1", role="validator", stake_units=STAKE)
        await read_task(events, until=("submit",))
        fees += await send(heidi, f"arena undelegate x erin --shares {BACK}")
        assert delegations(flock) == {
            TRAINER: (BEHIND_TRAINER, 0, BEHIND_TRAINER, 0),
            VALIDATOR: (BEHIND_VALIDATOR, BACK, BEHIND_VALIDATOR, 0),
        }
        assert (await read_task(events))[-1].phase == "finished"
    return fees


def explained(flock, who, kind):
    """Return (units, of them for delegators) of an account's payouts of a kind, epoch by epoch."""
    address = load_public_keys(flock[who].home).account.hex()
    found = flock[DELEGATOR].call("arena.explain", Explanation, task="x", account=address)
    assert all(one.own_units + one.passed_on_units == one.units for one in found.payouts)
    return [(one.units, one.passed_on_units) for one in found.payouts if one.kind == kind]


def check_trainer(flock):
    """A7: half of what delegated stake earns is the delegators', of reward B over both epochs."""
    (first, passed_first), (second, passed_second) = explained(flock, TRAINER, "reward a")
    assert passed_first == first * TRAINER_SHARE * BEHIND_TRAINER // (MILLION * (STAKE + BEHIND_TRAINER)) > 0
    grown = BEHIND_TRAINER + passed_first
    assert passed_second == second * TRAINER_SHARE * grown // (MILLION * (STAKE + grown)) > 0
    ((last, passed_last),) = explained(flock, TRAINER, "reward b")
    delegated = BEHIND_TRAINER + grown
    expected = last * TRAINER_SHARE * delegated // (MILLION * (2 * STAKE + delegated))
    assert abs(passed_last - expected) <= 1, "points are rounded down"
    return passed_first + passed_second + passed_last


def check_validator(flock):
    """A11 to A13: a tenth of what delegated stake earns, and in the second epoch of what is left of it."""
    (first, passed_first), (second, passed_second) = explained(flock, VALIDATOR, "validating")
    assert passed_first == first * VALIDATOR_SHARE * BEHIND_VALIDATOR // (MILLION * (STAKE + BEHIND_VALIDATOR)) > 0
    held = BEHIND_VALIDATOR + passed_first
    left = held - BACK * held // BEHIND_VALIDATOR
    assert passed_second == second * VALIDATOR_SHARE * left // (MILLION * (STAKE + left)) > 0
    return passed_first + passed_second


def check_board(flock, earned):
    """The leaderboard counts delegated stake, says what went to delegators, and all of the escrow is paid."""
    board = flock[DELEGATOR].call("arena.leaderboard", Leaderboard, task="x")
    trainer, validator = (load_public_keys(flock[name].home).account.hex() for name in (TRAINER, VALIDATOR))
    first = board.epochs[0]
    assert {one.account: one.stake_units for one in first.ranking}[trainer] == STAKE + BEHIND_TRAINER
    assert {one.account: one.stake_units for one in first.validators}[validator] == STAKE + BEHIND_VALIDATOR
    passed = {one.account: one.passed_on_units for one in board.payouts if one.passed_on_units}
    assert passed == {trainer: earned[TRAINER], validator: earned[VALIDATOR]}
    parts = [(p.a_units, p.b_units, p.validating_units, p.creating_units, p.passed_on_units) for p in board.payouts]
    assert sum(map(sum, parts)) == sum(epoch.pot_units for epoch in board.epochs) == ESCROW


async def check_words(flock, earned):
    """People see the same: in the payouts, in the reckoning, and for the delegator itself where to look for it."""
    heidi = flock[DELEGATOR]
    payouts = (await run(heidi, "arena leaderboard x")).split("payouts\n")[1]
    assert [line.split()[-1] for line in payouts.splitlines() if line.startswith("bob ")] == [format_fml(earned)]
    assert "the delegators' part" in await run(heidi, "explain x/2/bob")
    assert "their operators' payouts" in await run(heidi, "explain x/2/heidi")


def check_supply(flock):
    """On every node all FML are somewhere, and what was delegated nowhere but with its owner."""
    for name, daemon in flock.items():
        supply = daemon.call("chain.supply", Supply)
        assert supply.minted_units == 0, name
        assert supply.genesis_units - supply.burned_units == supply.total_units == sum(supply.places.values()), name
    members = flock[CREATOR].call("arena.show", Task, task="x").members
    assert {member.vault.delegated_units for member in members if member.vault is not None} == {0}


async def wait_for_unbonding(flock):
    """Return once nothing of the delegator's unbonds any more."""
    async with open_client(flock[DELEGATOR].home) as client:
        blocks = await client.subscribe(["blocks"])
        while account(flock).unbonding_units:
            await blocks.receive()


async def test_a_delegator_earns_with_a_trainer_and_a_validator_and_gets_all_back(flock, tmp_path):
    """Two delegations, a part of one taken back: stake and earnings return to the unit, and every command tells so."""
    await start(flock)
    with trio.fail_after(SETTLE_S):
        await open_task(flock, tmp_path)
        fees = await delegate(flock)
        after = account(flock)
        assert (after.delegated_units, after.delegations) == (0, ())
        earned = {TRAINER: check_trainer(flock), VALIDATOR: check_validator(flock)}
        owned = BALANCE - fees + sum(earned.values())
        assert after.balance_units + after.unbonding_units == owned
        check_board(flock, earned)
        await check_words(flock, earned[TRAINER])
        await wait_for_unbonding(flock)
    assert account(flock).balance_units == owned
    check_supply(flock)
