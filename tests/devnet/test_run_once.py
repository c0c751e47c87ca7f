"""The devnet from end to end, on seven real daemons."""

import json


def test_once_settles_a_task_and_reports_it(devnet, find_processes, tmp_path):
    """Seven daemons agree on a task, trained, judged blindly and paid to the last unit, and none is left over."""
    state, file = tmp_path / "state", tmp_path / "report.json"
    done = devnet("run", "--once", "--json", file, "--state", state)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr}"
    report = json.loads(file.read_text())
    check_nodes(report["nodes"])
    supply = report["supply"]
    assert supply["genesis"] + supply["minted"] - supply["burned"] == supply["total"]
    check_task(report["tasks"], {node["address"]: node["role"] for node in report["nodes"]})
    assert 0 < report["seconds"]["first_block"] < report["seconds"]["settled"]
    assert "7 of 7 nodes agree" in done.stdout
    assert not find_processes(state), "a daemon survived its launcher"


def check_nodes(nodes):
    """All seven nodes have one block and one state."""
    assert [node["name"] for node in nodes] == ["alice", "bob", "carol", "dave", "erin", "frank", "grace"]
    assert [node["role"] for node in nodes] == ["creator", *["trainer"] * 3, *["validator"] * 3]
    assert len({(node["height"], node["block"], node["state_root"]) for node in nodes}) == 1
    assert len({node["address"] for node in nodes}) == 7


def check_task(tasks, roles):
    """One task with an epoch on A and one on B, three different models each, and payouts that sum to the escrow."""
    (task,) = tasks
    assert [epoch["dataset"] for epoch in task["epochs"]] == ["a", "b"]
    trainers = {account for account, role in roles.items() if role == "trainer"}
    validators = {account for account, role in roles.items() if role == "validator"}
    for epoch in task["epochs"]:
        assert {ranked["account"] for ranked in epoch["ranking"]} == trainers
        assert len({ranked["score"] for ranked in epoch["ranking"]}) == 3
        assert all(ranked["score"] > 800_000 and ranked["payout"] > 0 for ranked in epoch["ranking"])
        assert set(epoch["scores"]) == set(epoch["validator_payouts"]) == validators
        assert all(set(scores) == {ranked["tag"] for ranked in epoch["ranking"]} for scores in epoch["scores"].values())
    paid = sum(sum(payout.values()) for payout in task["payouts"].values())
    assert paid == 600 * 10**9
    by_epoch = [ranked["payout"] for epoch in task["epochs"] for ranked in epoch["ranking"]]
    by_epoch += [units for epoch in task["epochs"] for units in epoch["validator_payouts"].values()]
    assert paid == sum(by_epoch)
