"""The devnet from end to end, on seven real daemons."""

import json


def test_once_settles_two_tasks_and_reports_them(devnet, find_processes, tmp_path):
    """Seven daemons agree on two tasks at once, a classification and a regression, trained, judged blindly and paid.

    Each node plays another role in each. All is paid to the last unit, and no daemon is left over.
    """
    state, file = tmp_path / "state", tmp_path / "report.json"
    done = devnet("run", "--once", "--task", "digits", "--task", "diabetes", "--json", file, "--state", state)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr}"
    report = json.loads(file.read_text())
    check_nodes(report["nodes"])
    supply = report["supply"]
    assert supply["genesis"] + supply["minted"] - supply["burned"] == supply["total"]
    digits, diabetes = report["tasks"]
    accounts = [node["address"] for node in report["nodes"]]
    check_task(digits, trainers=set(accounts[1:4]), validators=set(accounts[4:]), least=800_000)
    check_task(diabetes, trainers=set(accounts[4:]), validators=set(accounts[:3]), least=300_000)
    assert 0 < report["seconds"]["first_block"] < report["seconds"]["settled"]
    assert "7 of 7 nodes agree" in done.stdout
    assert not find_processes(state), "a daemon survived its launcher"


def check_nodes(nodes):
    """All seven nodes have one block and one state."""
    assert [node["name"] for node in nodes] == ["alice", "bob", "carol", "dave", "erin", "frank", "grace"]
    assert [node["role"] for node in nodes] == ["creator", *["trainer"] * 3, *["validator"] * 3]
    assert len({(node["height"], node["block"], node["state_root"]) for node in nodes}) == 1
    assert len({node["address"] for node in nodes}) == 7


def check_task(task, *, trainers, validators, least):
    """One task with an epoch on A and one on B, three different models each, and payouts that sum to the pots."""
    assert [epoch["dataset"] for epoch in task["epochs"]] == ["a", "b"]
    for epoch in task["epochs"]:
        assert {ranked["account"] for ranked in epoch["ranking"]} == trainers
        assert len({ranked["score"] for ranked in epoch["ranking"]}) == 3
        assert all(ranked["score"] > least and ranked["payout"] > 0 for ranked in epoch["ranking"])
        assert set(epoch["scores"]) == set(epoch["validator_payouts"]) == validators
        assert all(set(scores) == {ranked["tag"] for ranked in epoch["ranking"]} for scores in epoch["scores"].values())
    paid = sum(sum(payout.values()) for payout in task["payouts"].values())
    assert paid == sum(epoch["pot"] for epoch in task["epochs"])
    assert paid == 600 * 10**9 + sum(epoch["emitted"] for epoch in task["epochs"])
    by_epoch = [epoch["creator_payout"] for epoch in task["epochs"]]
    by_epoch += [ranked["payout"] for epoch in task["epochs"] for ranked in epoch["ranking"]]
    by_epoch += [units for epoch in task["epochs"] for units in epoch["validator_payouts"].values()]
    assert paid == sum(by_epoch)
