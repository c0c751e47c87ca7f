"""What the rules of money come to when nobody trains: good and bad updates, and votes that are mostly right.

The setting of the paper's Fig. 6: 50 clients with 64 FML each, 10 of whom propose and 10 vote in a round.
"""

from dataclasses import dataclass
from random import Random

from devnet.study.bank import STAKE_UNITS, Bank
from protocol.fixed import MILLION, split_by_key
from protocol.formulas.alliance import accepts, aggregate_vote, agreement
from protocol.types import UNITS_PER_FML

CLIENTS, PROPOSERS, VOTERS, ROUNDS = 50, 10, 10, 100
PERCENTS = (10, 20, 30, 40)
# An honest voter is right nine times in ten; a malicious one says the opposite of what an honest one would.
RIGHT_PERCENT = 90
TRANSFER_UNITS = 8 * UNITS_PER_FML


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """How it ends with so many malicious clients: mean stakes in units, and how many are left without a role."""

    malicious_percent: int
    honest_units: int
    malicious_units: int
    honest_expelled: int
    malicious_expelled: int
    drift_units: int
    limit_units: int


def expect(malicious_percent: int, seed: int) -> Expectation:
    """Play all rounds with votes on each update, whose quality is known: that of a malicious proposer is bad."""
    random = Random(seed)
    addresses = make_addresses()
    malicious = set(random.sample(addresses, CLIENTS * malicious_percent // 100))
    bank = Bank(addresses, rounds=ROUNDS)
    drift = 0
    for _ in range(ROUNDS):
        candidates = bank.get_candidates()
        drawn = random.sample(candidates, min(len(candidates), PROPOSERS + VOTERS))
        bank.settle(judge(drawn[:PROPOSERS], drawn[PROPOSERS:], malicious, random))
        drift = max(drift, abs(bank.drift))
    honest = tuple(address for address in addresses if address not in malicious)
    out = set(addresses) - set(bank.get_candidates())
    return Expectation(
        malicious_percent=malicious_percent,
        honest_units=bank.get_mean(honest),
        malicious_units=bank.get_mean(tuple(malicious)),
        honest_expelled=len(out - malicious),
        malicious_expelled=len(out & malicious),
        drift_units=drift,
        limit_units=play_transfers(len(malicious), seed),
    )


def judge(proposers: list[bytes], voters: list[bytes], malicious: set[bytes], random: Random) -> dict[bytes, int]:
    """Return everybody's merit, in millionths, in a round with a vote on each update."""
    votes: dict[bytes, list[int]] = {voter: [] for voter in voters}
    merits, outcomes = {}, []
    for proposer in proposers:
        truth = -1 if proposer in malicious else 1
        for voter in voters:
            opinion = truth if random.randrange(100) < RIGHT_PERCENT else -truth
            votes[voter].append(-opinion if voter in malicious else opinion)
        outcomes.append(aggregate_vote([cast[-1] for cast in votes.values()]))
        merits[proposer] = MILLION if accepts(outcomes[-1]) else 0
    return merits | {voter: agreement(votes[voter], outcomes) for voter in voters}


def play_transfers(malicious: int, seed: int) -> int:
    """Return the honest clients' mean, in units, once losers have paid winners 8 FML a round until they have nothing.

    No pool and no slashing: the limit is 64 FML / (1 - share of the malicious).
    """
    random = Random(seed)
    addresses = make_addresses()
    stakes, losers = dict.fromkeys(addresses, STAKE_UNITS), set(addresses[:malicious])
    while any(stakes[address] for address in losers):
        drawn = random.sample(addresses, PROPOSERS + VOTERS)
        winners = [address for address in drawn if address not in losers]
        for address in drawn:
            if address in losers and winners:
                paid = min(TRANSFER_UNITS, stakes[address])
                stakes[address] -= paid
                for winner, part in split_by_key(paid, dict.fromkeys(winners, 1)).items():
                    stakes[winner] += part
    assert sum(stakes.values()) == STAKE_UNITS * CLIENTS, "a transfer made or lost money"
    return sum(units for address, units in stakes.items() if address not in losers) // (CLIENTS - malicious)


def make_addresses() -> tuple[bytes, ...]:
    """Return one address for each client."""
    return tuple(number.to_bytes(32, "big") for number in range(CLIENTS))
