"""The equations of AI Arena (white paper V.B, V.E to V.H): from the validators' scores to everybody's reward.

The order of a settlement: `judge_submission` for each (O2, O1, A4); for trainers `rank_weights` (A5), `training_shares`
(A6), `reward_a_and_b` (A14, A15); for validators `validator_shares` (A8, A9), `validator_totals` (A10); and
`fixed.split_by_key` for every pot.

Scores are millionths, stakes and pots base units; weights and shares are decimals of 34 digits.
"""

import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import NamedTuple

from protocol.crypto import hash_parts, integer_bytes
from protocol.fixed import MILLION, from_millionths, pinned, power, split
from protocol.params import Aggregation

# O1 needs a majority to measure against.
MIN_SCORES_FOR_OUTLIERS = 3
# O1 in ten-thousandths: 3 times 1.4826, which makes the MAD of a normal distribution its standard deviation.
OUTLIER_FACTOR = 44_478
OUTLIER_FACTOR_SCALE = 10_000


# --- from scores to one score ----------------------------------------------------------------------------------------


class Judgement(NamedTuple):
    """One submission's final score in millionths (None when nobody scored it), and the scores that earn (A9)."""

    score: Decimal | None
    kept: dict[bytes, int]


def judge_submission(
    scores: Mapping[bytes, int],
    *,
    author: bytes | None,
    stakes: Mapping[bytes, int],
    floor_millionths: int,
    aggregation: Aggregation,
) -> Judgement:
    """Return what the validators' scores of one submission mean: O2, then O1, then A4.

    The mean is taken without outliers. The median is taken with them: it is robust by itself, and dropping honest
    outliers first could make a minority near the median the majority of what is left.
    """
    foreign = without_own(scores, author=author)
    kept = without_outliers(foreign, stakes=stakes, floor_millionths=floor_millionths)
    counted = foreign if aggregation is Aggregation.MEDIAN else kept
    return Judgement(consensus_score(counted, stakes=stakes, aggregation=aggregation), kept)


def without_own(scores: Mapping[bytes, int], *, author: bytes | None) -> dict[bytes, int]:
    """Return one submission's scores by validator, without its author's own. Formula O2.

    `author` is the account that claimed the submission, if any. Roles are disjoint, so this guards against changes of
    the rules only.
    """
    return {validator: scores[validator] for validator in sorted(scores) if validator != author}


def without_outliers(
    scores: Mapping[bytes, int], *, stakes: Mapping[bytes, int], floor_millionths: int
) -> dict[bytes, int]:
    """Return one submission's scores by validator, without outliers. Formula O1 (white paper V.E gives no rule).

    With mu the stake-weighted median and MAD the stake-weighted median of the distances from it, a score r is dropped
    when abs(r - mu) > 3 * 1.4826 * MAD + floor. Only from 3 validators with a stake on; those without one do not count.
    """
    staked = {validator: scores[validator] for validator in sorted(scores) if stakes[validator] > 0}
    if len(staked) < MIN_SCORES_FOR_OUTLIERS:
        return staked
    middle = _weighted_median(staked, stakes)
    distances = {validator: abs(score - middle) for validator, score in staked.items()}
    limit = OUTLIER_FACTOR * _weighted_median(distances, stakes) + OUTLIER_FACTOR_SCALE * floor_millionths
    return {
        validator: score for validator, score in staked.items() if OUTLIER_FACTOR_SCALE * distances[validator] <= limit
    }


@pinned
def consensus_score(
    scores: Mapping[bytes, int], *, stakes: Mapping[bytes, int], aggregation: Aggregation
) -> Decimal | None:
    """Return one submission's final score in millionths, or None when nobody with a stake scored it. Formula A4, V.E.

    The mean sum(r s) / sum(s), or the lower stake-weighted median.
    """
    staked = {validator: score for validator, score in scores.items() if stakes[validator] > 0}
    if not staked:
        return None
    if aggregation is Aggregation.MEDIAN:
        return Decimal(_weighted_median(staked, stakes))
    weighted = sum(score * stakes[validator] for validator, score in staked.items())
    return Decimal(weighted) / sum(stakes[validator] for validator in staked)


def majority_choice(choices: Mapping[bytes, bytes], *, stakes: Mapping[bytes, int]) -> bytes | None:
    """Return what validators with more than half of the stake of all who chose agree on, or None.

    Decides whether a submission is valid, its plaintext root, and which earlier one it is a copy of.
    """
    backing: dict[bytes, int] = {}
    for validator, choice in choices.items():
        backing[choice] = backing.get(choice, 0) + stakes[validator]
    total = sum(backing.values())
    return next((choice for choice in sorted(backing) if 2 * backing[choice] > total), None)


def is_quorum(revealed: int, *, drawn: int) -> bool:
    """Return whether validators with at least 2/3 of the drawn stake revealed their scores: fewer call for a redraw."""
    return 3 * revealed >= 2 * drawn


def is_overruled(scored: int, *, drawn: int) -> bool:
    """Return whether validators with at least 2/3 of the drawn stake could score what others call invalid.

    Evaluation is deterministic, so somebody is wrong; of the drawn stake, not of that which revealed, for else a few
    could convict an honest validator while the others are away. Below that nobody is held to a verdict.
    """
    return 3 * scored >= 2 * drawn


def is_available(held: int, *, revealed: int) -> bool:
    """Return whether validators with more than half of the stake that revealed scores could fetch a submission.

    So a trainer cannot be judged by the one validator that it serves, and a minority that abstains hides nothing.
    """
    return 2 * held > revealed


@pinned
def is_improvement(score: Decimal, *, over: Decimal, min_improvement_millionths: int) -> bool:
    """Return whether a score beats another by enough to be ranked; scores in millionths.

    That other is the score of the first of a cluster of near-duplicates, or the task's baseline, which needs no
    learning: where fewer models come than are paid, nothing else would keep random ones from a rank.
    """
    return score >= over + min_improvement_millionths


# --- training nodes --------------------------------------------------------------------------------------------------


@pinned
def rank_weight(rank: int, *, count: int, ratio_millionths: int) -> Decimal:
    """Return g of one rank, from 1, among `count` ranked training nodes. Formula A5, V.E.

    (1 - q) / (1 - q^count) * q^(rank - 1); for q = 1 the limit, 1 / count. The weights of all ranks add up to 1.
    """
    assert 1 <= rank <= count, f"rank {rank} of {count}"
    if ratio_millionths == MILLION:
        return Decimal(1) / count
    ratio = from_millionths(ratio_millionths)
    total = 1 - power(ratio, exponent_millionths=count * MILLION)
    return (1 - ratio) / total * power(ratio, exponent_millionths=(rank - 1) * MILLION)


def get_ranking(scores: Mapping[bytes, Decimal]) -> tuple[tuple[bytes, ...], ...]:
    """Return the ranked, best score first; those with equal scores stand together, sorted."""
    ordered = sorted(sorted(scores), key=lambda key: scores[key], reverse=True)
    return tuple(tuple(tied) for _, tied in groupby(ordered, key=lambda key: scores[key]))


@pinned
def rank_weights(
    scores: Mapping[bytes, Decimal], *, ratio_millionths: int, rewarded_count: int
) -> dict[bytes, Decimal]:
    """Return the weight of every ranked training node by its consensus score; the higher, the better.

    Only the first `rewarded_count` ranks (k1) weigh anything. Ties share the mean of their ranks' weights, the zeros
    beyond k1 included. Invalid, copied and unclaimed submissions have no rank and must not be among the scores.
    """
    weights: dict[bytes, Decimal] = {}
    for tied in get_ranking(scores):
        ranks = range(len(weights) + 1, len(weights) + len(tied) + 1)
        paid = [
            rank_weight(rank, count=len(scores), ratio_millionths=ratio_millionths)
            for rank in ranks
            if rank <= rewarded_count
        ]
        shared = sum(paid, Decimal(0)) / len(tied)
        weights.update(dict.fromkeys(tied, shared))
    return weights


@pinned
def training_shares(
    weights: Mapping[bytes, Decimal | int], *, stakes: Mapping[bytes, int], stake_exponent_millionths: int
) -> dict[bytes, Decimal]:
    """Return f of every training node with a weight and a stake: its share of the trainers' pot. Formula A6, V.E.

    f_i = g_i t_i^alpha / sum g_k t_k^alpha, with the stake t_i including delegation. The scale of the weights does not
    matter, so sums over epochs serve as well. Empty when nobody has a claim.
    """
    claims = {
        node: weights[node] * power(stakes[node], exponent_millionths=stake_exponent_millionths)
        for node in sorted(weights)
        if weights[node] > 0 and stakes[node] > 0
    }
    return _normalised(claims)


@pinned
def add_weights(epochs: Sequence[Mapping[bytes, Decimal]]) -> dict[bytes, Decimal]:
    """Return each account's rank weights added up over epochs: their mean, but for a scale that no share depends on."""
    accounts = sorted({account for weights in epochs for account in weights})
    return {account: sum((weights.get(account, Decimal(0)) for weights in epochs), Decimal(0)) for account in accounts}


def vested_stake(stake_sum: int, *, claimed_epochs: int, epochs: int) -> int:
    """Return the stake that counts for reward B: averaged over all epochs, times the share of epochs with a claim.

    `stake_sum` adds up the trainer's stake, delegation included, over the epochs; 0 where it was absent. Without this,
    one who joins on the last day takes what accrued before (A15).
    """
    assert 0 <= claimed_epochs <= epochs, f"claims in {claimed_epochs} of {epochs} epochs"
    return stake_sum * claimed_epochs // (epochs * epochs)


# --- validators ------------------------------------------------------------------------------------------------------


@pinned
def validator_shares(
    scores: Mapping[bytes, int],
    *,
    consensus: Decimal,
    stakes: Mapping[bytes, int],
    sensitivity: int,
    stake_exponent_millionths: int,
) -> dict[bytes, Decimal]:
    """Return each validator's share in one submission that it scored. Formulas A8 and A9, V.F.

    A8: Delta_j = abs(consensus - r_j), on the scale [0, 1]. A9: exp(-lambda Delta_j) s_j^alpha over the sum of all.
    `scores` are those that O2 and O1 left over: whom they dropped earns nothing here.
    """
    claims: dict[bytes, Decimal] = {}
    for validator in sorted(scores):
        if stakes[validator] > 0:
            distance = from_millionths(abs(consensus - scores[validator]))
            stake_factor = power(stakes[validator], exponent_millionths=stake_exponent_millionths)
            claims[validator] = (-sensitivity * distance).exp() * stake_factor
    return _normalised(claims)


@pinned
def validator_totals(shares: Mapping[bytes, Mapping[bytes, Decimal]], *, rewarded_count: int) -> dict[bytes, Decimal]:
    """Return what each paid validator's shares add up to over all submissions. Formula A10, V.F.

    `shares` holds A9's result for every submission with a consensus score, claimed or not. Paid are the highest
    `rewarded_count` (k2) totals, and whoever ties with the last of them.
    """
    totals: dict[bytes, Decimal] = {}
    for submission in sorted(shares):
        for validator, share in sorted(shares[submission].items()):
            totals[validator] = totals.get(validator, Decimal(0)) + share
    best_first = sorted(totals.values(), reverse=True)
    last_paid = best_first[:rewarded_count][-1] if best_first else Decimal(0)
    return {validator: totals[validator] for validator in sorted(totals) if totals[validator] >= last_paid}


# --- pots ------------------------------------------------------------------------------------------------------------


def epoch_pots(escrow: int, *, epochs: int) -> tuple[int, ...]:
    """Return the pot of every epoch of a self-funded task: equal parts, the first ones a unit larger where needed."""
    return split(escrow, [1] * epochs, [epoch.to_bytes(4, "big") for epoch in range(epochs)])


def role_pots(
    pot: int, *, creator_share_millionths: int, trainer_share_millionths: int, validator_share_millionths: int
) -> tuple[int, int, int]:
    """Return (creator's, trainers', validators') part of an epoch's pot (IV.A.1)."""
    weights = (creator_share_millionths, trainer_share_millionths, validator_share_millionths)
    creator, trainers, validators = split(pot, weights, (b"creator", b"trainers", b"validators"))
    return creator, trainers, validators


def reward_a_and_b(pot: int, *, reward_a_millionths: int) -> tuple[int, int]:
    """Return (reward A, reward B) of the trainers' pot: delta R and (1 - delta) R. Formulas A14 and A15, V.H.

    A is paid each epoch by that epoch's ranks; B accrues and is paid at the end by the ranks on dataset B. A is rounded
    down, so that both add up to the pot.
    """
    reward_a = pot * reward_a_millionths // MILLION
    return reward_a, pot - reward_a


def operator_and_delegators(
    reward: int, *, own_stake: int, delegations: Mapping[bytes, int], reward_share_millionths: int
) -> tuple[int, dict[bytes, int]]:
    """Return (operator's part, each delegator's part) of a reward. Formulas A7, A11, A12 and A13, V.E to V.G.

    For training nodes and validators alike, with rho the reward share that the operator set: a delegator with the stake
    t_d gets f rho t_d / T, rounded down, the operator the remainder. As printed, the parts add up to f at sigma = 1/2
    only; rho keeps the sentence of II.D.4, the higher, the more for delegators.
    """
    total = own_stake + sum(delegations.values())
    assert total > 0, "a reward for no stake"
    parts = {
        delegator: reward * reward_share_millionths * delegations[delegator] // (MILLION * total)
        for delegator in sorted(delegations)
    }
    return reward - sum(parts.values()), parts


# --- selection -------------------------------------------------------------------------------------------------------


def selection_weight(stake: int, *, min_stake: int, max_stake: int) -> int:
    """Return the likelihood of being drawn, as an integer weight. Formula A16, Fig. 4 (no formula there).

    The integer square root of the stake, delegation included: it grows ever slower, and not at all beyond `max_stake`.
    Zero below the minimum stake.
    """
    return math.isqrt(min(stake, max_stake)) if stake >= min_stake else 0


def draw_seed(beacon: bytes, *, task: int, epoch: int) -> bytes:
    """Return the seed (32 bytes) of one epoch's draw: the beacon serves every draw of a block, each with its own."""
    return hash_parts("flock/draw/seed", beacon, integer_bytes(task), integer_bytes(epoch))


def seat_seed(beacon: bytes, *, task: int, epoch: int) -> bytes:
    """Return the seed (32 bytes) of the draw of one epoch's seats."""
    return hash_parts("flock/draw/seats", beacon, integer_bytes(task), integer_bytes(epoch))


def draw(seed: bytes, *, weights: Mapping[bytes, int], count: int) -> tuple[bytes, ...]:
    """Return up to `count` distinct keys in the order they were drawn, each time in proportion to the weights left.

    Keys without weight are never drawn. Exact integers, one hash of the seed (32 bytes) for each: modulo a total below
    2^128, no key is favoured by more than 2^-128.
    """
    assert count >= 0, f"a draw of {count}"
    left = {key: weights[key] for key in sorted(weights) if weights[key] > 0}
    drawn: list[bytes] = []
    while left and len(drawn) < count:
        chosen = _pick(left, hash_parts("flock/draw", seed, integer_bytes(len(drawn))))
        drawn.append(chosen)
        del left[chosen]
    return tuple(drawn)


def _pick(weights: Mapping[bytes, int], randomness: bytes) -> bytes:
    total = sum(weights.values())
    assert total < 2**128, "weights too large for an even draw"
    position = int.from_bytes(randomness, "big") % total
    for key, weight in weights.items():
        if position < weight:
            return key
        position -= weight
    raise AssertionError("a position beyond all weights")


# --- parts of the above ----------------------------------------------------------------------------------------------


def _weighted_median(values: Mapping[bytes, int], stakes: Mapping[bytes, int]) -> int:
    """Return the lowest value up to which at least half of the stake lies."""
    total = sum(stakes[key] for key in values)
    below = 0
    for value, stake in sorted((value, stakes[key]) for key, value in values.items()):
        below += stake
        if 2 * below >= total:
            return value
    raise AssertionError("a median of nothing")


def _normalised(claims: Mapping[bytes, Decimal]) -> dict[bytes, Decimal]:
    total = sum((claims[key] for key in sorted(claims)), Decimal(0))
    return {key: claims[key] / total for key in sorted(claims)}
