"""What one peer may send."""

import pytest

from flocknode.network.budgets import (
    BACKED,
    BURST_LINKS,
    BURST_REPEATS,
    LINKS_PER_S,
    REPEATS_PER_S,
    STRANGER,
    Budget,
    PeerBudgets,
    Rates,
)


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


@pytest.mark.parametrize(("is_backed", "rates"), [(True, BACKED), (False, STRANGER)])
def test_a_flood_is_read_at_the_rate_whatever_its_messages_are(is_backed: bool, rates: Rates) -> None:
    """Many small messages and few large ones are both slowed down; ids are bounded apart."""
    small, large = PeerBudgets(), PeerBudgets()
    small.trust(is_backed=is_backed)
    large.trust(is_backed=is_backed)
    for _ in range(rates.burst_messages):
        assert small.spend_message(100, now=0) == 0
    assert small.spend_message(100, now=0) == 1 / rates.messages_per_s
    waits = [large.spend_message(2**20, now=0) for _ in range(40)]
    assert waits[-1] == (40 * 2**20 - rates.burst_bytes) / rates.bytes_per_s
    assert sum(large.grant_ids(1024, now=second) for second in range(100)) <= rates.burst_ids + 100 * rates.ids_per_s
    assert large.grant_ids(10**6, now=100) <= rates.burst_ids


def test_a_stranger_may_send_a_fraction_and_no_more_for_being_asked_again() -> None:
    """What a peer may send follows its standing; asserting the same standing again fills no bucket."""
    assert all(stranger < backed for stranger, backed in zip(STRANGER, BACKED, strict=True))
    budgets = PeerBudgets()
    for _ in range(STRANGER.burst_messages):
        budgets.spend_message(1, now=0)
    budgets.trust(is_backed=False)
    assert budgets.spend_message(1, now=0) > 0
    budgets.trust(is_backed=True)
    assert budgets.spend_message(1, now=0) == 0


def test_a_large_amount_is_afforded_once_and_paid_back() -> None:
    """More than the bucket holds is taken on credit; until that is paid back nothing is."""
    budget = Budget(per_s=10, burst=100)
    assert [budget.afford(amount, now=0) for amount in (60, 140, 1)] == [True, True, False]
    assert not budget.afford(1, now=10)
    assert budget.afford(1, now=11)


def test_transactions_of_a_stranger_are_bounded_apart() -> None:
    """Whatever it may send beside them; a peer with a bond may send as much of them as of anything."""
    budgets = PeerBudgets()
    assert sum(budgets.grant_transactions(1024, now=0) for _ in range(10_000)) == 256
    assert sum(budgets.grant_transactions(1024, now=10) for _ in range(10_000)) == 160
    budgets.trust(is_backed=True)
    assert all(budgets.grant_transactions(1024, now=10) for _ in range(10_000))


def test_repeats_and_links_have_budgets_of_their_own() -> None:
    """A burst of each, then a few; a peer with a bond may link as often as it must."""
    budgets = PeerBudgets()
    assert sum(budgets.grant_repeat(now=0) for _ in range(1000)) == BURST_REPEATS
    assert sum(budgets.grant_repeat(now=10) for _ in range(1000)) == 10 * REPEATS_PER_S
    assert sum(budgets.grant_link(now=0) for _ in range(1000)) == BURST_LINKS
    assert sum(budgets.grant_link(now=10) for _ in range(1000)) == 10 * LINKS_PER_S
    budgets.trust(is_backed=True)
    assert all(budgets.grant_link(now=10) for _ in range(1000))
