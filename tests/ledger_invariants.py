"""What must hold of any state between two blocks, whatever was sent: money, stakes, vaults and their counts agree."""

from collections import Counter

from protocol.crypto import integer_bytes
from protocol.rules import purses
from protocol.rules.alliance import pool
from protocol.rules.alliance.records import ALLIANCES, PARTICIPANTS
from protocol.rules.alliance.records import CLOSED_PHASES as CLOSED_ALLIANCES
from protocol.rules.arena import vaults
from protocol.rules.arena.records import CLOSED_PHASES, MEMBERS, TASKS, Phase, get_places
from protocol.rules.arena.sources import count_sources
from protocol.state import StateView
from protocol.transactions import Role

# Balances, replicas' bonds, unbonding stakes, the treasury and the reserve belong to no task or alliance.
TASK_KINDS = b"svwdper"
ALLIANCE_KINDS = b"cfa"


def expect_sound(state: StateView) -> None:
    """Assert that supply, escrows, stakes and vault shares add up to the unit."""
    held = dict(purses.scan_purses(state))
    supply = purses.get_supply(state)
    assert sum(held.values()) == supply.minted - supply.burned, "the purses do not add up to the supply"
    assert all(units > 0 for units in held.values()), "an empty or negative purse is kept"
    due = {key[8:] for key, _ in purses.DUE.scan(state)}
    assert {purse for purse in held if purse.startswith(purses.UNBONDING)} <= due, "units that never return"
    for _, task in TASKS.scan(state):
        expect_task(state, task, {purse: units for purse, units in held.items() if is_of(purse, TASK_KINDS, task.id)})
    for _, alliance in ALLIANCES.scan(state):
        own = {purse: units for purse, units in held.items() if is_of(purse, ALLIANCE_KINDS, alliance.id)}
        expect_alliance(state, alliance, own)


def is_of(purse, kinds, job):
    """Return whether a purse belongs to a task or an alliance."""
    return purse[:1] in (bytes([kind]) for kind in kinds) and purse[1:9] == integer_bytes(job)


def expect_alliance(state, alliance, held):
    """Assert that the purses of an alliance are its creator's and participants', and that its counts are right."""
    members = dict(PARTICIPANTS.scan(state, integer_bytes(alliance.id)))
    inside = {address for address, member in members.items() if not member.is_out}
    assert alliance.places == len(inside)
    parts = pool.get_parts(state, alliance.id)
    sources = (parts.emission, parts.escrow, parts.bounties, parts.slashes)
    assert sum(sources) == held.get(purses.pool_of(alliance.id), 0), f"the pool's sources are {sources}"
    assert {purse[9:] for purse in held if purse[:1] == b"f"} <= inside, "a stake of nobody"
    assert {purse[9:] for purse in held if purse[:1] == b"c"} <= {alliance.creator}, "a bond of nobody"
    if alliance.phase in CLOSED_ALLIANCES:
        assert held == {}, f"an alliance in phase {alliance.phase.name} holds money that is somebody else's"


def expect_task(state, task, held):
    """Assert that the purses of a task are its members' and delegators', and that its counts are right."""
    members = dict(MEMBERS.scan(state, integer_bytes(task.id)))
    places = get_places(state, task.id)
    roles = Counter(member.role for member in members.values())
    if task.phase not in CLOSED_PHASES:
        assert (places.trainers, places.validators) == (roles[Role.TRAINER], roles[Role.VALIDATOR])
        assert places.attested == sum(member.is_attested for member in members.values())
    owners = {purse[9:41] for purse in held if purse[:1] in b"sd"}
    assert owners <= {*members, task.creator}, "a stake or deposit of nobody"
    if task.phase in CLOSED_PHASES:
        left = {purse[:1] + purse[9:] for purse in held}
        bonds = {b"s" + task.creator, b"d" + task.creator} if task.phase is Phase.FINISHED else set()
        assert left <= bonds, f"a task in phase {task.phase.name} holds money that is somebody else's"
    expect_vaults(state, task, held, places.delegations)
    sources = count_sources(state, task.id)
    assert min(sources.escrow, sources.bounties, sources.slashes) >= 0, f"the pot's sources are {sources}"


def expect_vaults(state, task, held, places):
    """Assert that shares, delegators and units of every vault of a task agree."""
    delegations = 0
    operators = set()
    listed = {key for key, _ in vaults.SIZES.scan(state, integer_bytes(task.id))}
    for operator, vault in vaults.VAULTS.scan(state, integer_bytes(task.id)):
        operators.add(operator)
        found = vaults.scan_delegations(state, task.id, operator)
        units = held.get(purses.vault_of(task.id, operator), 0)
        assert vault.shares == sum(delegation.shares for _, delegation in found), "shares of nobody"
        sizes = {integer_bytes(one.size) + operator + who for who, one in found if one.size is not None}
        assert vault.delegators == len(sizes)
        assert all(one.size is not None or one.leaving == one.shares > 0 for _, one in found), "no place, but it stays"
        assert {key for key in listed if key[8:40] == operator} == sizes, "another order of places than the sizes say"
        assert bool(vault.shares) == bool(units), f"{vault.shares} shares of {units} units"
        worth = [vaults.get_worth(state, task.id, operator, one.shares) for _, one in found if one.shares]
        assert sum(worth) <= units, "the shares are worth more than the vault holds"
        assert all(delegation.leaving <= delegation.shares for _, delegation in found)
        delegations += len(sizes)
    assert places == delegations, f"{places} delegations are counted, {delegations} are there"
    kept = {purse[9:41] for purse in held if purse[:1] in b"vw"}
    assert kept <= operators, "delegated units without a vault"
