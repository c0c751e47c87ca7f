"""A market with its usual honest cast, played once: what scenarios vary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from devnet.economy.actors import FML, Actor, Creator, Delegator, Trainer, Validator
from devnet.economy.course import play
from devnet.economy.market import RANDOM_SCORE, Market
from devnet.economy.outcome import Account, Line, get_results, group_lines, settle_accounts
from devnet.economy.world import World
from protocol.params import DEVNET, Aggregation, Params
from protocol.rules.arena.records import Phase
from protocol.rules.arena.results import EpochResult, Ranked

BALANCE = 100_000 * FML
# Honest trainers are so far apart in quality, in millionths, which is more than the noise between two epochs.
QUALITY_STEP = 5_000
BEST_QUALITY = 920_000


def honest_trainers(count: int, *, best: int = BEST_QUALITY, stake: int = 100 * FML) -> list[Trainer]:
    """Return trainers whose models get a little worse from one to the next, alike on both datasets."""
    qualities = [best - QUALITY_STEP * place for place in range(count)]
    return [
        Trainer(name=f"trainer {place}", group="honest trainers", stake=stake, quality_a=quality, quality_b=quality)
        for place, quality in enumerate(qualities, 1)
    ]


def honest_validators(count: int, *, stake: int = 100 * FML) -> list[Validator]:
    """Return validators that say what they measure."""
    return [
        Validator(name=f"validator {number}", group="honest validators", stake=stake) for number in range(1, count + 1)
    ]


@dataclass(frozen=True)
class Played:
    """A market that has ended, with everybody's result by name."""

    market: Market
    accounts: Mapping[str, Account]

    @property
    def results(self) -> list[EpochResult]:
        """How each epoch was settled."""
        return get_results(self.market)

    def lines(self, *, creator: bool = False) -> tuple[Line, ...]:
        """Return the results by group, the creator's only if it matters."""
        cast: list[Actor] = [*self.market.trainers, *self.market.validators, *self.market.delegators]
        return group_lines(self.accounts, [self.market.creator, *cast] if creator else cast)

    def line(self, group: str) -> Line:
        """Return the result of one group."""
        return next(line for line in self.lines(creator=True) if line.group == group)

    def ranked(self, trainer: Trainer, epoch: int) -> Ranked:
        """Return how a trainer's model did in an epoch."""
        tag = self.market.tag(trainer, epoch)
        return next(entry for entry in self.results[epoch].ranking if entry.tag == tag)


def play_market(
    trainers: Sequence[Trainer],
    validators: Sequence[Validator],
    *,
    creator: Creator | None = None,
    delegators: Sequence[Delegator] = (),
    epochs: int = 3,
    escrow: int = 1_000 * FML,
    aggregation: Aggregation = Aggregation.MEAN,
    baseline: int = RANDOM_SCORE,
    params: Params = DEVNET,
    seed: int = 0,
    outages: Mapping[tuple[int, Phase], int] | None = None,
) -> Played:
    """Play one self-funded task to its end."""
    creator = creator or Creator(name="creator", group="creator")
    actors = [creator, *trainers, *validators, *delegators]
    world = World(actors, balance=BALANCE, params=params, seed=seed)
    market = Market(
        world,
        creator,
        trainers,
        validators,
        delegators,
        epochs=epochs,
        escrow=escrow,
        settings=replace(params.task, aggregation=aggregation),
        baseline=baseline,
    )
    play(world, market, outages=outages or {})
    return Played(market, settle_accounts(world, BALANCE, market))
