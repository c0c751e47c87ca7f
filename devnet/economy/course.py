"""The course of markets from their first block to the last: when blocks come, not what is done in them."""

from collections.abc import Mapping

from devnet.economy.market import Market
from devnet.economy.world import World
from protocol.rules.arena.records import CLOSED_PHASES, Phase

# Blocks in which nobody has anything to do are so far apart, which is no outage yet; the others follow at once.
IDLE_MS, BUSY_MS = 7_000, 100
# Whatever is played, a task ends within so many blocks an epoch.
MAX_BLOCKS_PER_EPOCH = 200


def play(world: World, *markets: Market, outages: Mapping[tuple[int, Phase], int]) -> None:
    """Play all markets to their end, and on until every stake is free again.

    `outages` are gaps in milliseconds by (epoch, phase): once the first market comes there, no block follows for so
    long, and then one before anybody acts.
    """
    pending = dict(outages)
    begin(world, *markets)
    limit = MAX_BLOCKS_PER_EPOCH * max(market.epochs for market in markets)
    for _ in range(limit):
        gap_ms = pending.pop((markets[0].record.epoch, markets[0].record.phase), 0)
        if gap_ms:
            world.block(after_ms=gap_ms)
        if not step(world, *markets) and all(market.record.phase in CLOSED_PHASES for market in markets):
            break
    else:
        raise AssertionError(f"not over after {limit} blocks")
    for wait_ms in (world.params.evidence_age_ms, world.params.unbonding_ms):
        world.block(after_ms=wait_ms)
    assert world.count_missing() == 0, "the purses do not add up to the supply"


def begin(world: World, *markets: Market) -> None:
    """Create all markets' tasks."""
    for number, market in enumerate(markets, 1):
        market.create(number)
    world.block()


def step(world: World, *markets: Market) -> bool:
    """Let everybody act, and make a block of it; returns whether anybody had anything to do."""
    acted = [market.queue_acts() for market in markets]
    world.block(after_ms=BUSY_MS if any(acted) else IDLE_MS)
    return any(acted)
