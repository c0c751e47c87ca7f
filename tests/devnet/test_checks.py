"""The judgements at the end of a run, each shown to fail."""

from msgspec.structs import replace

from devnet.checks import Snapshot, check_agreement, check_duties, check_settled, check_supply
from flocknode.rpc.chain_records import Emission, Supply

SNAPSHOTS = [Snapshot(name, 9, "b" * 64, "5" * 64) for name in ("alice", "bob")]
SUPPLY = Supply(
    height=9,
    genesis_units=100,
    minted_units=10,
    burned_units=4,
    total_units=106,
    places={"balances": 100, "stakes": 6},
    emission=Emission(period=0, next_ms=0, next_units=0),
)


def test_nodes_with_the_same_block_and_state_agree():
    """One height, block and state root on all nodes passes, and the sentence says so."""
    check = check_agreement(SNAPSHOTS, nodes=2)
    assert check.passed
    assert check.found.startswith("2 of 2 nodes agree: height 9")


def test_a_missing_or_different_node_breaks_the_agreement():
    """A node that did not answer, another block, or another state root fails."""
    assert not check_agreement(SNAPSHOTS[:1], nodes=2).passed
    for name in ("block", "state_root"):
        other = SNAPSHOTS[1]._replace(**{name: "0" * 64})
        assert not check_agreement([SNAPSHOTS[0], other], nodes=2).passed


def test_money_that_appeared_or_vanished_fails():
    """The counters must give the total, and the places must sum to it, on every node."""
    assert check_supply({"alice": SUPPLY}).passed
    assert not check_supply({"alice": SUPPLY, "bob": replace(SUPPLY, burned_units=5)}).passed
    assert not check_supply({"alice": replace(SUPPLY, places={"balances": 105})}).passed
    assert not check_supply({}).passed


def test_a_task_counts_as_settled_only_with_every_unit_paid(board):
    """A running task, an open epoch or an unpaid rest fails."""
    assert check_settled(board).passed
    assert not check_settled(replace(board, status="running")).passed
    assert not check_settled(replace(board, payouts=board.payouts[1:])).passed
    unsettled = replace(board.epochs[1], is_settled=False)
    assert not check_settled(replace(board, epochs=(board.epochs[0], unsettled))).passed


def test_a_missing_model_or_a_slash_is_a_missed_duty(board, address):
    """Every trainer must be ranked, every validator paid and unslashed, in every epoch."""
    trainers, validators = [address(who) for who in "bcd"], [address(who) for who in "ef"]
    assert check_duties(board, trainers=trainers, validators=validators).passed
    assert not check_duties(board, trainers=[*trainers, address("9")], validators=validators).passed
    slashed = tuple(replace(one, slashed_units=1) for one in board.epochs[0].validators)
    harmed = replace(board, epochs=(replace(board.epochs[0], validators=slashed), board.epochs[1]))
    check = check_duties(harmed, trainers=trainers, validators=validators)
    assert not check.passed
    assert "in epoch 1" in check.found
