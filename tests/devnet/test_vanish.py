"""How long the rounds of a disturbed alliance took, from what a daemon told of their steps."""

from devnet.vanish import PHASE_MS, Disturber


def test_a_step_that_is_repeated_counts_each_time():
    """An aggregator's turn ran to its deadline, the next one's did not; the round took all of that."""
    disturber = Disturber(None, 1, None, {}, [])
    times = {"draw": 0, "train": 100, "seal": 200, "hold": 300, "aggregate": 400}
    again = {"seal": 400 + PHASE_MS, "hold": 500 + PHASE_MS, "aggregate": 600 + PHASE_MS, "vote": 700 + PHASE_MS}
    disturber.began_ms[3] = [*times.items(), *again.items(), ("accepted", 900 + PHASE_MS)]
    assert disturber.late_steps(3) == ["aggregate"]
    assert disturber.took_s(3) == (900 + PHASE_MS) / 1_000
    assert (disturber.late_steps(0), disturber.took_s(0)) == ([], 0.0)
