"""New money (white paper IV.A): each emission period, into the pots of verified tasks and alliances that are at work.

Emissions lie on a fixed grid of block times, and a block makes at most one, so haste mints nothing; those that an
outage ran over are left out. What nobody could be paid returns to the reserve, which is used up before minting anew.
The hosts' slice stays unminted.
"""

from msgspec.structs import replace

from protocol.crypto import integer_bytes
from protocol.formulas import emission as formulas
from protocol.params import Params
from protocol.rules import purses
from protocol.rules.alliance import pool
from protocol.rules.alliance.records import AlliancePhase, get_alliance, put_alliance, scan_active_alliances
from protocol.rules.arena.records import Phase, scan_active_tasks
from protocol.rules.context import Context
from protocol.rules.jobs import Funding
from protocol.state import Overlay, StateView, Table
from protocol.types import Count, Record, TimeMs


class Emission(Record):
    """How many emissions there were, and the block time from which the next is due."""

    period: Count
    next_ms: TimeMs


EMISSION = Table(b"e", Emission)


def begin_emission(state: Overlay, params: Params, genesis_ms: int) -> None:
    """Put the first emission a period after the chain's beginning."""
    EMISSION.put(state, Emission(period=0, next_ms=genesis_ms + params.emission_period_ms))


def get_emission(state: StateView) -> Emission:
    """Return where the emission stands; every state has it."""
    emission = EMISSION.get(state)
    assert emission is not None, "a state without an emission"
    return emission


def end_block(state: Overlay, context: Context) -> None:
    """Make the emission that is due, if one is."""
    emission, params = get_emission(state), context.params
    if context.time_ms < emission.next_ms:
        return
    arena, alliance = formulas.emission_split(
        get_task_part(params, emission.period),
        arena_stake=sum(count_stakes(state).values()),
        alliance_stake=sum(count_alliance_stakes(state, params).values()),
    )
    pay_tasks(state, params, arena)
    pay_alliances(state, params, alliance)
    following = formulas.next_boundary(context.time_ms, due_ms=emission.next_ms, period_ms=params.emission_period_ms)
    EMISSION.put(state, replace(emission, period=emission.period + 1, next_ms=following))


def get_task_part(params: Params, period: int) -> int:
    """Return what an emission is worth to tasks, in units: all but the hosts' part."""
    whole = formulas.period_emission(
        period, initial_units=params.emission_units, halving_periods=params.halving_periods
    )
    hosts = formulas.host_part(
        whole,
        period=period,
        slice_millionths=params.host_slice_millionths,
        halving_periods=params.host_halving_periods,
    )
    return whole - hosts


def pay_tasks(state: Overlay, params: Params, units: int) -> None:
    """Divide Arena's part among its verified tasks by stake."""
    parts = formulas.task_emission(
        units, stakes=count_stakes(state), stake_exponent_millionths=params.task_stake_exponent_millionths
    )
    for key, part in parts.items():
        fund(state, purses.emission_of(int.from_bytes(key, "big")), part)


def count_stakes(state: StateView) -> dict[bytes, int]:
    """Return the stake (S_i of E3) of each verified task that is at work, by its key; one that still opens is not."""
    return {
        integer_bytes(task.id): purses.count_task_stake(state, task.id)
        for task in scan_active_tasks(state)
        if task.funding is Funding.VERIFIED and task.phase is not Phase.OPENING
    }


def pay_alliances(state: Overlay, params: Params, units: int) -> None:
    """Divide the alliances' part among the verified ones by stake, each straight into its pool (IV.A.2)."""
    stakes = count_alliance_stakes(state, params)
    parts = formulas.task_emission(
        units, stakes=stakes, stake_exponent_millionths=params.task_stake_exponent_millionths
    )
    for key, part in parts.items():
        alliance = get_alliance(state, int.from_bytes(key, "big"))
        fund(state, purses.pool_of(alliance.id), part)
        pool.note_income(state, alliance.id, emission=part)
        put_alliance(state, replace(alliance, periods=alliance.periods + 1))


def count_alliance_stakes(state: StateView, params: Params) -> dict[bytes, int]:
    """Return the stake of each verified alliance that is at work, by its key, until it had all its emissions."""
    return {
        integer_bytes(alliance.id): purses.count_alliance_stake(state, alliance.id)
        for alliance in scan_active_alliances(state)
        if alliance.funding is Funding.VERIFIED
        and alliance.phase is not AlliancePhase.OPENING
        and alliance.periods < params.alliance.max_periods
    }


def fund(state: Overlay, purse: bytes, units: int) -> None:
    """Put units into a purse: from the reserve as far as it goes, the rest newly minted."""
    kept = min(units, purses.get_units(state, purses.RESERVE))
    purses.move(state, purses.RESERVE, purse, kept)
    purses.mint(state, purse, units - kept)
