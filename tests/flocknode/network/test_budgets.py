"""What one peer may send."""

from flocknode.network.budgets import BURST_MESSAGES, BYTES_PER_S, IDS_PER_S, MESSAGES_PER_S, Budget, PeerBudgets


def test_a_burst_is_free_and_what_exceeds_it_waits() -> None:
    """Credit is paid back at the rate, and a pause fills the bucket no further than its brim."""
    budget = Budget(per_s=10, burst=100)
    assert budget.spend(100, now=0) == 0
    assert budget.spend(5, now=0) == 0.5
    assert budget.spend(0, now=0.5) == 0
    assert budget.spend(100, now=1000) == 0
    assert budget.spend(10, now=1000) == 1


def test_ids_beyond_the_budget_are_not_looked_at() -> None:
    """What is granted is never on credit."""
    budget = Budget(per_s=10, burst=100)
    assert [budget.grant(60, now=0), budget.grant(60, now=0), budget.grant(60, now=0)] == [60, 40, 0]
    assert budget.grant(60, now=2) == 20


def test_a_flood_is_read_at_the_rate_whatever_its_messages_are() -> None:
    """Many small messages and few large ones are both slowed down; ids are bounded apart."""
    small, large = PeerBudgets(), PeerBudgets()
    for _ in range(BURST_MESSAGES):
        assert small.spend_message(100, now=0) == 0
    assert small.spend_message(100, now=0) == 1 / MESSAGES_PER_S
    waits = [large.spend_message(2**20, now=0) for _ in range(40)]
    assert waits[-1] == 8 * 2**20 / BYTES_PER_S
    assert sum(large.grant_ids(1024, now=second) for second in range(100)) <= 8192 + 100 * IDS_PER_S
    assert large.grant_ids(10**6, now=100) <= 8192
