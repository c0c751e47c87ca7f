"""The ledger's figures, those of a moment, within twice their goals."""

from devnet.bench.ledger import measure_settlement, measure_submission


def test_an_epoch_settles_in_time():
    """20 trainers and 10 validators: 50 ms is the goal, in processor time."""
    assert measure_settlement() < 2 * 50


def test_a_submission_is_checked_in_time():
    """A ring of 100: 20 ms is the goal, in processor time."""
    assert measure_submission() < 2 * 20
