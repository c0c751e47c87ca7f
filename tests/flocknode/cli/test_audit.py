"""The commands that check a task's scores and explain its payouts: what they print, and what they end with."""

import json

import pytest

from flocknode.errors import Exit


async def test_an_audit_counts_by_validator_and_fails_if_anything_differs(in_process):
    """A table by validator, what differs beside what is so, what could not be checked, and exit code 1."""
    code, out, err = await in_process("arena audit digits")
    assert code == Exit.ERROR
    lines = [line.split() for line in out.splitlines()]
    assert ["alice", "2", "1", "0", "1"] in lines
    assert ["bob", "1", "0", "1", "0"] in lines
    assert "0.900000 copy of e1e1e1e1" in out
    assert "the dataset's key is not public" in out
    assert "1 of 3 revealed verdicts" in err


async def test_an_audit_without_a_difference_is_well(in_process, node):
    """Abstentions are no differences: exit code 0."""
    node.is_wrong = False
    code, _, err = await in_process("arena audit digits")
    assert (code, err) == (Exit.OK, "")


async def test_all_payouts_come_with_their_sums(in_process, node):
    """Origins add up to what was paid, line by line, and in the last line over all."""
    code, out, _ = await in_process("explain digits/1")
    assert code == Exit.OK
    assert node.calls[-1] == ("digits", 0, None)
    rows = [line.split() for line in out.splitlines()]
    assert ["1", "alice", "reward", "a", "1", "5", "3", "1", "10", "1"] in rows
    assert rows[-1] == ["sum", "2", "10", "6", "2", "20", "2"]


async def test_one_payout_comes_with_its_reckoning(in_process, node):
    """Formulas, values and votes of one account's payout."""
    code, out, _ = await in_process("explain digits/1/bob")
    assert code == Exit.OK
    assert node.calls[-1] == ("digits", 0, node.bob)
    assert "pot of the epoch" in out
    assert "40 FML" in out
    assert "0.2500000000" in out
    assert "0.900000" in out
    assert "sum" not in out


async def test_who_was_paid_nothing_is_told_where_delegators_look(in_process):
    """Somebody without a payout, such as a delegator, gets a sentence instead of an empty table."""
    code, out, _ = await in_process(f"explain digits/1/{'0' * 64}")
    assert (code, out.count("\n")) == (Exit.OK, 1)
    assert "operators' payouts" in out


@pytest.mark.parametrize("payout", ["", "digits/0", "digits/x", "digits/1/bob/2", "digits/1/nobody"])
async def test_what_names_no_payout_is_refused(in_process, payout):
    """Epochs count from 1, accounts have names or addresses, and nothing follows them."""
    code, _, err = await in_process(f"explain {payout} --json")
    assert code == Exit.USAGE
    assert json.loads(err)["error"]["message"]
