"""The ledger's figures, those of a moment."""

from devnet.bench.ledger import measure_settlement, measure_submission


def test_an_epoch_settles_in_time():
    """20 trainers and 10 validators: 50 ms is the goal, in processor time; a busy machine gets twice that."""
    assert measure_settlement() < 2 * 50


def test_a_submission_costs_no_more_than_its_multiplications():
    """Two a member, two additions and a hash: three in all at most. On a quiet machine, 20 ms are the goal for 100."""
    checked_ms, multiplied_ms = measure_submission()
    assert checked_ms < 3 * multiplied_ms
