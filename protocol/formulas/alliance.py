"""The equations of FL Alliance (white paper VI.D to VI.F): from local updates to votes, rewards and slashes.

The order of a round: `count_roles`, `role_seed`; `aggregation_weights` (L1); `vote` (L2), `aggregate_vote` (L3),
`accepts` (L4); `round_reward` (L6), `reward_and_slash` (L5).

Scores are the metric's own values in millionths, stakes and pools base units. One participant, one vote.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from protocol.crypto import hash_parts, integer_bytes
from protocol.fixed import MILLION, split_by_key

# Fewer voters cannot outvote one of them.
MIN_VOTERS = 3
# What votes and holdings need: so many of so many.
QUORUM_PARTS, QUORUM_WHOLE = 2, 3


# --- roles -----------------------------------------------------------------------------------------------------------


class RoleCounts(NamedTuple):
    """How many of a round's candidates train and how many judge; both 0 when they are too few."""

    proposers: int
    voters: int


def count_roles(
    candidates: int,
    *,
    proposer_share_millionths: int,
    voter_share_millionths: int,
    min_proposers: int = 1,
    others: int = 0,
) -> RoleCounts:
    """Return the sizes of the roles (VI.B): shares of the candidates, an odd number of voters, at least 1 and 3.

    `others` candidates are left over for what else a round needs, and there are at least `min_proposers`.
    """
    room = candidates - min_proposers - others
    if room < MIN_VOTERS:
        return RoleCounts(0, 0)
    share = min(room, candidates * voter_share_millionths // MILLION)
    voters = max(MIN_VOTERS, share - 1 + share % 2)
    proposers = max(min_proposers, candidates * proposer_share_millionths // MILLION)
    return RoleCounts(min(proposers, candidates - voters - others), voters)


def role_seed(beacon: bytes, *, alliance: int, round: int) -> bytes:
    """Return the seed (32 bytes) of the draw of one round's roles."""
    return hash_parts("flock/draw/roles", beacon, integer_bytes(alliance), integer_bytes(round))


def stake_threshold(joining_stake: int, *, threshold_millionths: int) -> int:
    """Return the stake below which a participant has no role, in units, rounded up (BalThreshold of Algorithm 2)."""
    return -(-joining_stake * threshold_millionths // MILLION)


# --- aggregation and votes -------------------------------------------------------------------------------------------


def aggregation_weights(rows: Mapping[bytes, int]) -> dict[bytes, int]:
    """Return the integer weight of each proposer's update in the aggregate. Formula L1, VI.D.

    beta_p = n_p / N, but n_p is self-reported: so min(n_p, c) with the largest c for which no beta exceeds 2 / P, P the
    number of proposers. The ratio grows with c, so c is found by halving. Every n_p is at least 1.
    """
    assert all(count >= 1 for count in rows.values()), "a proposer without data"
    low, high = 1, max(rows.values(), default=1)
    while low < high:
        middle = (low + high + 1) // 2
        if 2 * sum(min(count, middle) for count in rows.values()) >= len(rows) * middle:
            low = middle
        else:
            high = middle - 1
    return {proposer: min(rows[proposer], low) for proposer in sorted(rows)}


def count_faulty(updates: int, *, faulty_millionths: int) -> int:
    """Return how many of so many updates a robust aggregator takes for hostile, rounded down (alliance.md)."""
    return updates * faulty_millionths // MILLION


def vote(
    score: int | None, *, best: int, higher_is_better: bool, tolerance_millionths: int, floor_millionths: int
) -> int:
    """Return +1 or -1: whether a model is about as good as the best accepted one or better. Formula L2, VI.E.

    s >= b - eps max(abs b, s0), with the sign of both turned where lower is better: so it also holds for losses and for
    a negative R^2. A score of None is a model that does not load.
    """
    if score is None:
        return -1
    gained = score - best if higher_is_better else best - score
    return 1 if MILLION * gained >= -tolerance_millionths * max(abs(best), floor_millionths) else -1


def aggregate_vote(votes: Sequence[int]) -> int:
    """Return the sum of the votes. Formula L3, VI.E."""
    return sum(votes)


def accepts(aggregate: int) -> bool:
    """Return whether the model is taken over: a tie accepts. Formula L4, VI.E."""
    return aggregate >= 0


def is_quorum(count: int, *, of: int) -> bool:
    """Return whether so many voters suffice to decide a round or to call an update available: 2/3 of them."""
    return of > 0 and QUORUM_WHOLE * count >= QUORUM_PARTS * of


def is_majority(count: int, *, of: int) -> bool:
    """Return whether so many voters are more than half: then one of them is honest, unless half of all are not."""
    return 2 * count > of


def median_score(scores: Sequence[int]) -> int:
    """Return the lower median of the voters' scores; asserts that there is one."""
    assert scores, "a median of nothing"
    return sorted(scores)[(len(scores) - 1) // 2]


def is_better(score: int, than: int | None, *, higher_is_better: bool) -> bool:
    """Return whether a score beats another, or is the first."""
    return than is None or (score > than if higher_is_better else score < than)


def agreement(votes: Sequence[int], aggregates: Sequence[int]) -> int:
    """Return the part, in millionths, of the outcomes that a voter agreed with; with a tie everybody agrees.

    As printed (Algorithm 2 line 19) for one outcome: vote times aggregate is not negative.
    """
    assert len(votes) == len(aggregates) > 0, "a vote for each outcome"
    agreed = sum(own * outcome >= 0 for own, outcome in zip(votes, aggregates, strict=True))
    return MILLION * agreed // len(votes)


# --- rewards and slashes ---------------------------------------------------------------------------------------------


def round_reward(pool: int, *, rounds_left: int) -> int:
    """Return what a round may pay, in units: an equal part for each round left. Formula L6, Algorithm 2 line 11."""
    return pool // rounds_left


def aggregator_fee(reward: int, *, fee_millionths: int) -> int:
    """Return the part of a round's reward that is the aggregator's where updates are hidden, in units (VI.H)."""
    return reward * fee_millionths // MILLION


def reward_and_slash(
    reward: int, *, stakes: Mapping[bytes, int], merits: Mapping[bytes, int], slash_millionths: int
) -> tuple[dict[bytes, int], dict[bytes, int]]:
    """Return (rewards, slashes) in units of everybody selected in a round. Formula L5, Algorithm 2.

    `stakes` are those of the round's snapshot, `merits` the part in millionths in which each was right: 0 or a million
    for a proposer, the agreement for a voter. Rewards go by stake and merit over the stake of all selected, so that the
    part of those who were wrong stays in the pool; slashes are s_p of the stake, times what lacks in merit. As printed,
    balances are used after they were changed, which destroys tokens; here every delta comes from the snapshot.
    """
    total = sum(stakes.values())
    rewards = {
        address: reward * stakes[address] * merits[address] // (MILLION * total) for address in sorted(merits) if total
    }
    slashes = {
        address: stakes[address] * slash_millionths * (MILLION - merits[address]) // MILLION**2
        for address in sorted(merits)
    }
    return rewards, slashes


def share_by_impact(
    rewards: Mapping[bytes, int], *, stakes: Mapping[bytes, int], gains: Mapping[bytes, int]
) -> dict[bytes, int]:
    """Return the proposers' rewards divided anew, by stake times gain (II.B "quantifiable impact of their data").

    A gain is what the score would lose without the update, in millionths, and counts from zero up. Where nobody gained
    anything, the rewards stay as they are.
    """
    weights = {address: stakes[address] * max(gains[address], 0) for address in sorted(rewards)}
    parts = split_by_key(sum(rewards.values()), weights)
    return {address: parts.get(address, 0) for address in sorted(rewards)} if parts else dict(rewards)


def absence_loss(absence_units: int, *, verdict_units: int) -> int:
    """Return what an absent participant loses, in units: the more of what absence costs and what its votes cost.

    So nobody saves anything by staying away once it sees that it loses.
    """
    return max(absence_units, verdict_units)


def remainder_weights(stakes: Mapping[bytes, int], *, rounds: Mapping[bytes, int]) -> dict[bytes, int]:
    """Return the weights by which a pool's remainder is divided at the end: stake times accepted rounds."""
    return {address: stakes[address] * rounds[address] for address in sorted(stakes)}
