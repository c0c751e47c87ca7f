"""A task's money over the socket and the command line of a real daemon, whose account governs its chain."""

import json

import pytest

from flocknode.errors import Exit
from flocknode.rpc.arena_records import Task, TaskSummary
from flocknode.rpc.chain_records import ChainParams, Supply
from flocknode.rpc.records import Account
from tests.dataset_files import write_dataset

FML = 10**9
MODEL = "--family linear --set inputs=2 --set outputs=2 --metric accuracy"


@pytest.fixture
def running(daemon, tmp_path):
    """A daemon with an open account, and a way to create a task of any funding on it; returns its number."""
    for name in ("a", "b"):
        write_dataset(tmp_path / name, rows=60, columns=2, seed=name)
    daemon.start()
    code, _, err = daemon.run("keys unlock", "--passphrase-file", daemon.passphrase_file)
    assert code == Exit.OK, err

    def create(name, *more):
        data = ("--data-a", tmp_path / "a", "--data-b", tmp_path / "b")
        code, out, err = daemon.run(f"arena create {name} {MODEL} --json", *data, *more)
        assert code == Exit.OK, (out, err)
        return json.loads(out)["task"]

    daemon.create = create
    return daemon


def show(daemon, task) -> TaskSummary:
    return daemon.call("arena.show", Task, task=str(task)).summary


def test_a_task_waits_for_its_verification(running):
    """Created without an escrow it awaits governance; verified, it is the emission's; twice is refused and says why."""
    assert running.call("chain.params", ChainParams).governance == running.call("account.show", Account).address
    task = running.create("waiting", "--escrow", "0")
    assert show(running, task).funding == "awaited"
    assert running.run(f"arena verify {task}")[0] == Exit.OK
    assert show(running, task).funding == "verified"
    code, out, _ = running.run("arena verify waiting")
    assert (code, "the task is verified" in out) == (Exit.REFUSED, True)


def test_bounties_come_back_when_a_task_is_called_off(running):
    """Escrow and bounty are in its pot, and all but the fees is in the balance again."""
    before = running.call("account.show", Account).balance_units
    task = running.create("bounteous", "--escrow", "10")
    assert running.run(f"arena bounty {task} 2.5")[0] == Exit.OK
    assert show(running, task).escrow_units == 12_500_000_000
    code, out, _ = running.run(f"arena bounty {task} 0.5")
    assert (code, "below the minimum" in out) == (Exit.REFUSED, True)
    assert running.run(f"arena cancel {task}")[0] == Exit.OK
    assert show(running, task).status == "cancelled"
    after = running.call("account.show", Account).balance_units
    # Half of every fee comes back to whom alone makes blocks; the registration fee does not.
    assert 1 * FML < before - after < 1 * FML + FML // 10
    code, out, _ = running.run(f"arena cancel {task}")
    assert (code, "is over" in out) == (Exit.REFUSED, True)


def test_who_is_recognised_creates_without_a_stake(running):
    """Refused before, done after; the account shows why, and settings of its own arrive."""
    address = running.call("account.show", Account).address
    with pytest.raises(AssertionError, match="recognised by governance"):
        running.create("early", "--escrow", "1", "--stake", "0")
    assert running.run(f"account recognise {address}")[0] == Exit.OK
    assert running.call("account.show", Account).is_recognised
    task = running.create("late", "--escrow", "1", "--stake", "0", "--option", "aggregation=median")
    found = running.call("arena.show", Task, task=str(task))
    assert found.parameters["aggregation"] == "median"
    assert found.members[0].stake_units == 0
    # Either class is about half of the rows.
    assert all(500_000 <= one.baseline_millionths < 700_000 for one in found.datasets)
    raised = running.create("raised", "--escrow", "1", "--stake", "0", "--baseline", "0.75")
    found = running.call("arena.show", Task, task=str(raised))
    assert [one.baseline_millionths for one in found.datasets] == [750_000, 750_000]
    with pytest.raises(AssertionError, match="colour"):
        running.create("odd", "--escrow", "1", "--option", "colour=red")


def test_the_supply_shows_the_emission(running):
    """Its places add up with the reserve among them, and the next emission is due within a period."""
    supply = running.call("chain.supply", Supply)
    assert {"reserve", "emitted_for_tasks"} <= supply.places.keys()
    assert sum(supply.places.values()) == supply.total_units
    assert supply.emission.next_units == 900 * FML
    code, out, _ = running.run("chain supply")
    assert (code, "emissions so far" in out) == (Exit.OK, True)
