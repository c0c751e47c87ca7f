"""Everybody at once: several tasks, thousands of accounts, honest ones and most kinds of others, delegators behind."""

from msgspec.structs import replace

from devnet.economy.actors import FML, SCORE_ONE, Actor, Creator, Delegator, Trainer, Validator, spread_of
from devnet.economy.attacks import fml
from devnet.economy.course import play
from devnet.economy.market import Market
from devnet.economy.outcome import group_lines, settle_accounts
from devnet.economy.report import Check, Report
from devnet.economy.stage import BALANCE, BEST_QUALITY
from devnet.economy.world import World
from protocol.params import DEVNET

# Of a hundred accounts of a task, so many play each part; the rest, but for the creator, delegate to validators.
HONEST_TRAINERS, RANDOM_TRAINERS, CLONING_TRAINERS = 24, 3, 3
HONEST_VALIDATORS, GUESSING_VALIDATORS, HIDING_VALIDATORS = 8, 1, 1
ACCOUNTS_PER_TASK = 1_000
# Trainers' qualities are spread over so many millionths.
QUALITY_RANGE = 100_000


def cast_task(world_seed: int, number: int, accounts: int, epochs: int) -> tuple[Creator, list[Trainer], list[Actor]]:
    """Return the creator, the trainers, and all others of one task."""
    part = accounts // 100

    def name(kind: str, index: int) -> str:
        return f"{number} {kind} {index}"

    def quality(index: int) -> int:
        return BEST_QUALITY - spread_of(QUALITY_RANGE, world_seed, number, "quality", index)

    trainers = [
        Trainer(name=name("trainer", n), group="honest trainers", quality_a=quality(n), quality_b=quality(n))
        for n in range(HONEST_TRAINERS * part)
    ]
    trainers += [
        Trainer(name=name("rider", n), group="random models", quality_a=100_000 + n, quality_b=100_000 + n)
        for n in range(RANDOM_TRAINERS * part)
    ]
    trainers += [
        Trainer(name=name("clone", n), group="cloned models", near=trainers[0].name, quality_a=800_000 + n)
        for n in range(CLONING_TRAINERS * part)
    ]
    validators: list[Actor] = [
        Validator(name=name("validator", n), group="honest validators") for n in range(HONEST_VALIDATORS * part)
    ]
    validators += [
        Validator(
            name=name("guesser", n),
            group="guessing validators",
            opinion=lambda author, score, epoch, n=n: spread_of(SCORE_ONE, n, author.name, epoch),  # type: ignore[misc]
        )
        for n in range(GUESSING_VALIDATORS * part)
    ]
    validators += [
        Validator(name=name("hider", n), group="hiding validators", reveals=False)
        for n in range(HIDING_VALIDATORS * part)
    ]
    left = accounts - 1 - len(trainers) - len(validators)
    delegators = [
        Delegator(
            name=name("delegator", n),
            group="delegators",
            stake=50 * FML,
            operator=validators[n % (HONEST_VALIDATORS * part)].name,
        )
        for n in range(left)
    ]
    creator = Creator(name=name("creator", 0), group="creators")
    return creator, trainers, [*validators, *delegators]


def crowd(size: int, seed: int, *, epochs: int = 30) -> Report:
    """Thousands of accounts in several tasks over 30 epochs: trainers, validators, delegators, most of them honest."""
    tasks = max(1, size // ACCOUNTS_PER_TASK)
    casts = [cast_task(seed, number, size // tasks, epochs) for number in range(1, tasks + 1)]
    actors = [actor for creator, trainers, others in casts for actor in (creator, *trainers, *others)]
    world = World(actors, balance=BALANCE, params=replace(DEVNET, max_trainer_members=1_000), seed=seed)
    markets = [
        Market(
            world,
            creator,
            trainers,
            [actor for actor in others if isinstance(actor, Validator)],
            [actor for actor in others if isinstance(actor, Delegator)],
            epochs=epochs,
            escrow=10_000 * FML,
        )
        for creator, trainers, others in casts
    ]
    play(world, *markets, outages={})
    lines = group_lines(settle_accounts(world, BALANCE, *markets), actors)
    found = {line.group: line for line in lines}
    return Report(
        scenario="crowd",
        conditions=f"{len(actors)} accounts in {tasks} tasks over {epochs} epochs, {world.height} blocks",
        lines=lines,
        checks=(
            Check("every unit is where the supply says", f"{world.count_missing()} missing", not world.count_missing()),
            Check(
                "honest trainers, validators and delegators gain",
                ", ".join(f"{kind} {fml(found[kind].net)}" for kind in HONEST_GROUPS),
                all(found[kind].net > 0 for kind in HONEST_GROUPS),
            ),
            Check(
                "random and cloned models, guessed and hidden scores earn less for their stake",
                ", ".join(f"{kind} {found[kind].earned_per_stake:.4f}" for kind in (*HONEST_GROUPS[:2], *OTHERS)),
                max(found[kind].earned_per_stake for kind in OTHERS)
                < min(found[kind].earned_per_stake for kind in HONEST_GROUPS[:2]),
            ),
        ),
    )


HONEST_GROUPS = ("honest trainers", "honest validators", "delegators")
OTHERS = ("random models", "cloned models", "guessing validators", "hiding validators")
