"""What must hold of any state between two blocks, whatever was sent: money, stakes, vaults and their counts agree."""

from collections import Counter

from protocol.crypto import integer_bytes
from protocol.rules import purses
from protocol.rules.arena import vaults
from protocol.rules.arena.records import CLOSED_PHASES, MEMBERS, TASKS, Phase, get_places
from protocol.rules.arena.sources import count_sources
from protocol.state import StateView
from protocol.transactions import Role

# Balances, replicas' bonds, unbonding stakes, the treasury and the reserve belong to no task.
TASK_KINDS = b"svwdper"


def expect_sound(state: StateView) -> None:
    """Assert that supply, escrows, stakes and vault shares add up to the unit."""
    held = dict(purses.scan_purses(state))
    supply = purses.get_supply(state)
    assert sum(held.values()) == supply.minted - supply.burned, "the purses do not add up to the supply"
    assert all(units > 0 for units in held.values()), "an empty or negative purse is kept"
    due = {key[8:] for key, _ in purses.DUE.scan(state)}
    assert {purse for purse in held if purse.startswith(purses.UNBONDING)} <= due, "units that never return"
    for _, task in TASKS.scan(state):
        expect_task(state, task, {purse: units for purse, units in held.items() if is_of(purse, task.id)})


def is_of(purse, task):
    """Return whether a purse belongs to a task."""
    return purse[:1] in (bytes([kind]) for kind in TASK_KINDS) and purse[1:9] == integer_bytes(task)


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
    for operator, vault in vaults.VAULTS.scan(state, integer_bytes(task.id)):
        operators.add(operator)
        found = vaults.scan_delegations(state, task.id, operator)
        units = held.get(purses.vault_of(task.id, operator), 0)
        assert vault.shares == sum(delegation.shares for _, delegation in found), "shares of nobody"
        assert vault.delegators == len(found)
        assert bool(vault.shares) == bool(units), f"{vault.shares} shares of {units} units"
        worth = [vaults.get_worth(state, task.id, operator, one.shares) for _, one in found if one.shares]
        assert sum(worth) <= units, "the shares are worth more than the vault holds"
        assert all(delegation.leaving <= delegation.shares for _, delegation in found)
        delegations += len(found)
    assert places == delegations, f"{places} delegations are counted, {delegations} are there"
    kept = {purse[9:41] for purse in held if purse[:1] in b"vw"}
    assert kept <= operators, "delegated units without a vault"
