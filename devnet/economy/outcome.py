"""What a played market was worth to whom: earned, spent, slashed, by group of actors. Exact units, no opinions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from devnet.economy.actors import Actor, Creator
from devnet.economy.market import Market
from devnet.economy.world import World
from protocol.crypto import integer_bytes
from protocol.rules.arena import records, results


@dataclass(frozen=True, kw_only=True)
class Account:
    """One actor's result in units: `net` is what it owns more than at first, and equals the other three together.

    `spent` are fees, and for a creator the registration and the escrow.
    """

    earned: int
    spent: int
    slashed: int
    net: int


@dataclass(frozen=True, kw_only=True)
class Line:
    """A group's results added up, over so many accounts with so much stake."""

    group: str
    accounts: int
    stake: int
    earned: int
    spent: int
    slashed: int
    net: int

    @property
    def earned_per_stake(self) -> float:
        """What it earned for each unit that it staked."""
        return self.earned / self.stake


def settle_accounts(world: World, balance: int, *markets: Market) -> dict[str, Account]:
    """Return everybody's result by name, once all stakes are free again; all began with the same balance."""
    accounts: dict[str, Account] = {}
    for market in markets:
        for actor in (market.creator, *market.trainers, *market.validators, *market.delegators):
            net = world.balance_of(actor) - balance
            spent = world.fees.get(actor.address, 0)
            if isinstance(actor, Creator):
                spent += world.params.registration_fee_units + market.escrow
                earned = sum(result.creator_reward for result in get_results(market))
            else:
                earned = count_earned(market, actor) if actor.name in market.by_name else max(0, net + spent)
            accounts[actor.name] = Account(earned=earned, spent=spent, slashed=earned - spent - net, net=net)
    return accounts


def count_earned(market: Market, actor: Actor) -> int:
    """Return what a member of a task was paid itself."""
    member = records.get_member(market.world.state, market.id, actor.address)
    return 0 if member is None else member.earned_a + member.earned_b + member.earned_validating


def get_results(market: Market) -> list[results.EpochResult]:
    """Return how each epoch of a market's task was settled."""
    return [result for _, result in results.RESULTS.scan(market.world.state, integer_bytes(market.id))]


def count_paid(market: Market) -> int:
    """Return what a task paid out in all."""
    ranked = [entry for result in get_results(market) for entry in result.ranking]
    jurors = [entry for result in get_results(market) for entry in result.validators]
    return sum(entry.reward_a + entry.reward_b for entry in ranked) + sum(entry.earned for entry in jurors)


def group_lines(accounts: Mapping[str, Account], actors: Sequence[Actor]) -> tuple[Line, ...]:
    """Return the results by group, in the order in which the groups first come."""
    groups = dict.fromkeys(actor.group for actor in actors)
    return tuple(
        add_up(group, [(actor, accounts[actor.name]) for actor in actors if actor.group == group]) for group in groups
    )


def add_up(group: str, entries: Sequence[tuple[Actor, Account]]) -> Line:
    """Return the sum of some accounts' results."""
    return Line(
        group=group,
        accounts=len(entries),
        stake=sum(actor.stake for actor, _ in entries),
        earned=sum(account.earned for _, account in entries),
        spent=sum(account.spent for _, account in entries),
        slashed=sum(account.slashed for _, account in entries),
        net=sum(account.net for _, account in entries),
    )
