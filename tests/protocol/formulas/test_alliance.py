"""Known answers and properties of the equations of FL Alliance."""

import inspect
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.fixed import MILLION
from protocol.formulas import alliance, fees

VECTORS = Path(__file__).parents[2] / "vectors"
ALLIANCE: dict[str, list[dict[str, Any]]] = json.loads((VECTORS / "alliance.json").read_text())
CASES = [pytest.param(case, id=f"{tag}-{case['note']}") for tag, cases in ALLIANCE.items() for case in cases]
PROPOSERS = st.binary(min_size=4, max_size=4)


def read(value: Any) -> Any:
    """Return an argument of the vectors as Python has it: keys in hex."""
    return {bytes.fromhex(key): item for key, item in value.items()} if isinstance(value, dict) else value


def write(value: Any) -> Any:
    """Return a result as the vectors have it."""
    if isinstance(value, dict):
        return {key.hex(): item for key, item in value.items()}
    return [write(item) for item in value] if isinstance(value, tuple) else value


@pytest.mark.parametrize("case", CASES)
def test_known_answer(case: dict[str, Any]) -> None:
    """Every vector's arguments give its result, to the unit."""
    function = getattr(alliance, case["function"])
    bound = inspect.signature(function).bind_partial(**{k: read(v) for k, v in case["arguments"].items()})
    assert write(function(*bound.args, **bound.kwargs)) == case["result"]


@given(rows=st.dictionaries(PROPOSERS, st.integers(1, 10**9), min_size=1, max_size=12))
def test_no_proposer_weighs_more_than_twice_its_head(rows: dict[bytes, int]) -> None:
    """No beta exceeds 2 / P, and the next larger cap would let one exceed it or change nothing."""
    weights = alliance.aggregation_weights(rows)
    count, cap = len(rows), max(weights.values())
    assert cap * count <= 2 * sum(weights.values())
    wider = [min(n, cap + 1) for n in rows.values()]
    assert max(wider) == cap or max(wider) * count > 2 * sum(wider)


@given(
    candidates=st.integers(0, 300),
    proposer_share=st.integers(1, MILLION),
    voter_share=st.integers(1, MILLION),
)
def test_roles_fit_and_the_voters_are_odd(candidates: int, proposer_share: int, voter_share: int) -> None:
    """From four candidates on there is a proposer and an odd number of at least three voters; below, nobody."""
    if proposer_share + voter_share > MILLION:
        voter_share = MILLION - proposer_share or 1
    counts = alliance.count_roles(
        candidates, proposer_share_millionths=proposer_share, voter_share_millionths=voter_share
    )
    if candidates < 4:
        assert counts == (0, 0)
        return
    assert counts.proposers >= 1
    assert counts.voters >= 3
    assert counts.voters % 2 == 1
    assert counts.proposers + counts.voters <= candidates


@given(
    reward=st.integers(0, 10**17),
    stakes=st.dictionaries(PROPOSERS, st.integers(0, 10**17), min_size=1, max_size=12),
    data=st.data(),
)
def test_rewards_never_exceed_what_the_round_may_pay(
    reward: int, stakes: dict[bytes, int], data: st.DataObject
) -> None:
    """What is paid is at most the round's reward, and nobody loses more than the rate of its stake."""
    merits = {address: data.draw(st.integers(0, MILLION)) for address in stakes}
    rewards, slashes = alliance.reward_and_slash(reward, stakes=stakes, merits=merits, slash_millionths=125_000)
    assert sum(rewards.values()) <= reward
    assert all(slashes[address] <= stakes[address] // 8 for address in stakes)


@given(
    rewards=st.dictionaries(PROPOSERS, st.integers(0, 10**15), min_size=1, max_size=8),
    data=st.data(),
)
def test_impact_divides_the_same_sum(rewards: dict[bytes, int], data: st.DataObject) -> None:
    """By impact the proposers get together what they would get by stake, and who gained nothing gets nothing of it."""
    stakes = {address: data.draw(st.integers(1, 10**12)) for address in rewards}
    gains = {address: data.draw(st.integers(-MILLION, MILLION)) for address in rewards}
    shared = alliance.share_by_impact(rewards, stakes=stakes, gains=gains)
    assert sum(shared.values()) == sum(rewards.values())
    if max(gains.values()) > 0:
        assert all(shared[address] == 0 for address in shared if gains[address] <= 0)


def test_a_voter_agrees_with_every_tie() -> None:
    """A tie accepts and slashes no voter, so both sides were right; otherwise only one was."""
    assert alliance.agreement([1, -1], [0, 0]) == MILLION
    assert alliance.agreement([1, -1], [1, 1]) == MILLION // 2


def test_a_quorum_is_two_thirds() -> None:
    """Two of three decide, one of three does not, and nobody decides for nobody."""
    assert alliance.is_quorum(2, of=3)
    assert not alliance.is_quorum(3, of=5)
    assert not alliance.is_quorum(0, of=0)


def test_a_majority_is_more_than_half() -> None:
    """Three of five are, two of four are not."""
    assert alliance.is_majority(3, of=5)
    assert not alliance.is_majority(2, of=4)


@given(candidates=st.integers(0, 100), share=st.integers(1, MILLION // 2), others=st.integers(0, 3))
def test_a_round_with_hidden_updates_has_somebody_to_aggregate(candidates: int, share: int, others: int) -> None:
    """Two proposers, three voters and the others are left where there are enough of all; else nobody has a role."""
    counts = alliance.count_roles(
        candidates, proposer_share_millionths=share, voter_share_millionths=share, min_proposers=2, others=others
    )
    if candidates < 5 + others:
        assert counts == (0, 0)
        return
    assert counts.proposers >= 2
    assert counts.voters >= 3
    assert counts.voters % 2 == 1
    assert counts.proposers + counts.voters + others <= candidates


def test_what_absence_costs_is_never_less_than_the_votes() -> None:
    """Who stays away saves nothing; the aggregator's fee is rounded down."""
    assert alliance.absence_loss(5, verdict_units=8) == 8
    assert alliance.absence_loss(5, verdict_units=0) == 5
    assert alliance.aggregator_fee(1_099, fee_millionths=10_000) == 10


# --- a hundred rounds (formulas.md "Known answers") ------------------------------------------------------------------

UNITS = 10**9
CLIENTS = [bytes([number]) for number in range(50)]


def play_out(malicious: int, *, is_per_proposal: bool, seed: int) -> tuple[dict[bytes, int], int]:
    """Return the clients' stakes after 100 rounds with 10 proposers and 10 voters, and the drift of the supply.

    Malicious proposers poison, malicious voters invert; who is below half of 64 FML is not drawn any more.
    """
    chance, bad = random.Random(seed), set(CLIENTS[:malicious])
    stakes, pool, burned = dict.fromkeys(CLIENTS, 64 * UNITS), 6_400 * UNITS, 0
    for number in range(100):
        candidates = [client for client in CLIENTS if stakes[client] >= 32 * UNITS]
        drawn = chance.sample(candidates, 20)
        merits = weigh(drawn[:10], drawn[10:], bad, is_per_proposal=is_per_proposal)
        reward = alliance.round_reward(pool, rounds_left=100 - number)
        selected = {client: stakes[client] for client in drawn}
        rewards, slashes = alliance.reward_and_slash(reward, stakes=selected, merits=merits, slash_millionths=125_000)
        for client in drawn:
            lost, kept = fees.split_fee(slashes[client], burn_millionths=100_000)
            stakes[client] += rewards[client] - slashes[client]
            pool, burned = pool + kept - rewards[client], burned + lost
    return stakes, sum(stakes.values()) + pool + burned - (50 * 64 + 6_400) * UNITS


def weigh(proposers: list[bytes], voters: list[bytes], bad: set[bytes], *, is_per_proposal: bool) -> dict[bytes, int]:
    """Return the merits of a round's roles."""
    qualities = [-1 if proposer in bad else 1 for proposer in proposers]
    truths = qualities if is_per_proposal else [min(qualities)]
    votes = {voter: [-truth if voter in bad else truth for truth in truths] for voter in voters}
    aggregates = [alliance.aggregate_vote([votes[voter][place] for voter in voters]) for place in range(len(truths))]
    merits = {voter: alliance.agreement(votes[voter], aggregates) for voter in voters}
    verdicts = aggregates if is_per_proposal else aggregates * len(proposers)
    return merits | {p: MILLION * alliance.accepts(verdict) for p, verdict in zip(proposers, verdicts, strict=True)}


@pytest.mark.parametrize("malicious", [5, 10, 15, 20])
@pytest.mark.parametrize("is_per_proposal", [True, False])
def test_honest_balances_rise_and_malicious_ones_fall(malicious: int, is_per_proposal: bool) -> None:
    """50 clients, 64 FML each, s_p 0.125, a pool of 6,400, a tenth to four tenths malicious: drift exactly 0."""
    stakes, drift = play_out(malicious, is_per_proposal=is_per_proposal, seed=malicious)
    assert drift == 0
    bad = [stakes[client] for client in CLIENTS[:malicious]]
    honest = [stakes[client] for client in CLIENTS[malicious:]]
    assert sum(honest) > 200 * UNITS * len(honest), "the pool and the slashes are the honest clients'"
    assert sum(bad) < 32 * UNITS * len(bad), "the malicious are below the threshold on average"
