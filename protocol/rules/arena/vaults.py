"""Delegated stake (white paper II.D.4, V.E, V.G): a vault for each operator, that is a trainer or validator of a task.

A vault's units lie in its purse and count as stake of its operator; its delegators hold shares of it. Rewards raise
what a share is worth, slashes lower it. What comes in waits until the next epoch begins, what goes out until the
current one has settled: nobody buys into a reward that is earned already, or out of a slash that is deserved already.

Reward B accrues over all epochs, so its delegators' part goes by points, collected epoch by epoch: stake times reward
share. Who has left before the end has no part in it, as a trainer that left has none.
"""

from collections.abc import Callable
from functools import partial

from msgspec.structs import replace

from protocol.crypto import integer_bytes, wide_bytes
from protocol.formulas import arena as formulas
from protocol.formulas import vaults as arithmetic
from protocol.params import Params
from protocol.rules import purses
from protocol.rules.arena.records import Task, get_places, put_places
from protocol.rules.context import Context
from protocol.rules.jobs import Mark
from protocol.state import Overlay, StateView, Table
from protocol.transactions import Role
from protocol.types import MAX_INTEGER, Amount, Count, Ratio, Record, TimeMs, WideAmount


class Vault(Record):
    """What an operator's delegators hold together, and what they get.

    `reward_share` is in force this epoch, `promised_share` from the next one on; a cut waits until `cut_ms`. `index` is
    the points a share collected since the vault began (`formulas.vaults`), `points` those of all shares that ever were.
    """

    shares: Count
    delegators: Count
    reward_share: Ratio
    promised_share: Ratio
    cut_share: Ratio | None
    cut_ms: TimeMs | None
    index: WideAmount
    points: WideAmount


class Delegation(Record):
    """One delegator's shares of a vault, those of them that leave at the settlement, and its points up to an index.

    `size` are the units by which it holds its place among the delegations: what it brought, or what that was worth when
    some of it was asked back. None once all of it leaves: then it has no place any more.
    """

    shares: Count
    leaving: Count
    size: Amount | None
    index: WideAmount
    points: WideAmount


class Delegator(Record):
    """To how many operators of a task an account delegates."""

    operators: Count


# Keys: task, operator; task, operator, delegator; task, delegator; task, operator, delegator.
VAULTS = Table(b"v", Vault)
DELEGATIONS = Table(b"D", Delegation)
DELEGATORS = Table(b"d", Delegator)
LEAVING = Table(b"l", Mark)
# The places of a task, the smallest first. Keys: task, size (8 bytes), operator, delegator.
SIZES = Table(b"z", Mark)


# --- what is there ---------------------------------------------------------------------------------------------------


def find_vault(state: StateView, task: int, operator: bytes) -> Vault | None:
    """Return an operator's vault; None if nobody ever delegated to it and it never set its reward share."""
    return VAULTS.get(state, integer_bytes(task), operator)


def require_vault(state: StateView, task: int, operator: bytes) -> Vault:
    """Return the vault of an operator that has delegators."""
    vault = find_vault(state, task, operator)
    assert vault is not None, "a delegation without a vault"
    return vault


def make_vault(params: Params, role: Role) -> Vault:
    """Return an empty vault: validators share by default, trainers once they say so."""
    share = params.default_reward_share_millionths if role is Role.VALIDATOR else 0
    return Vault(0, 0, share, share, None, None, wide_bytes(0), wide_bytes(0))


def put_vault(state: Overlay, task: int, operator: bytes, vault: Vault) -> None:
    """Set a vault."""
    VAULTS.put(state, vault, integer_bytes(task), operator)


def get_delegation(state: StateView, task: int, operator: bytes, delegator: bytes) -> Delegation | None:
    """Return what an account delegated to an operator."""
    return DELEGATIONS.get(state, integer_bytes(task), operator, delegator)


def put_delegation(state: Overlay, task: int, operator: bytes, delegator: bytes, delegation: Delegation) -> None:
    """Set a delegation."""
    DELEGATIONS.put(state, delegation, integer_bytes(task), operator, delegator)


def require_delegation(state: StateView, task: int, operator: bytes, delegator: bytes) -> Delegation:
    """Return a delegation that must be there."""
    delegation = get_delegation(state, task, operator, delegator)
    assert delegation is not None, "units or shares of nobody"
    return delegation


def leave_later(
    state: Overlay, task: int, operator: bytes, delegator: bytes, delegation: Delegation, size: int | None
) -> None:
    """Set a delegation some shares of which leave when the epoch has settled, and the size of what stays."""
    resize(state, task, operator, delegator, delegation, size)
    LEAVING.put(state, Mark(), integer_bytes(task), operator, delegator)


def scan_delegations(state: StateView, task: int, operator: bytes) -> list[tuple[bytes, Delegation]]:
    """Return an operator's delegations, sorted by delegator."""
    return list(DELEGATIONS.scan(state, integer_bytes(task), operator))


def count_operators(state: StateView, task: int, delegator: bytes) -> int:
    """Return to how many operators of a task an account delegates, or will from the next epoch on."""
    found = DELEGATORS.get(state, integer_bytes(task), delegator)
    return 0 if found is None else found.operators


def count_delegation(state: Overlay, task: int, delegator: bytes, change: int) -> None:
    """Note that a delegation of an account began (1) or ended (-1)."""
    operators = count_operators(state, task, delegator) + change
    if operators:
        DELEGATORS.put(state, Delegator(operators), integer_bytes(task), delegator)
    else:
        DELEGATORS.delete(state, integer_bytes(task), delegator)


def resize(
    state: Overlay, task: int, operator: bytes, delegator: bytes, delegation: Delegation, size: int | None
) -> Delegation:
    """Set by which size a delegation holds its place, or with None that it gives it up; returns the delegation."""
    old, resized = delegation.size, replace(delegation, size=size)
    if old is not None:
        SIZES.delete(state, integer_bytes(task), integer_bytes(old), operator, delegator)
    if size is not None:
        SIZES.put(state, Mark(), integer_bytes(task), integer_bytes(size), operator, delegator)
    change = (size is not None) - (old is not None)
    vault, places = require_vault(state, task, operator), get_places(state, task)
    put_vault(state, task, operator, replace(vault, delegators=vault.delegators + change))
    put_places(state, task, replace(places, delegations=places.delegations + change))
    put_delegation(state, task, operator, delegator, resized)
    return resized


def get_worth(state: StateView, task: int, operator: bytes, shares: int) -> int:
    """Return what shares of an operator's vault are worth now, in units."""
    vault = require_vault(state, task, operator)
    held = purses.get_units(state, purses.vault_of(task, operator))
    return arithmetic.units_for_shares(shares, vault_units=held, vault_shares=vault.shares)


# --- delegators come and go ------------------------------------------------------------------------------------------


def add_delegation(state: Overlay, task: int, operator: bytes, delegator: bytes, size: int) -> None:
    """Give an account a place among an operator's delegators, without shares yet; the operator has a vault."""
    vault = require_vault(state, task, operator)
    resize(state, task, operator, delegator, Delegation(0, 0, None, vault.index, wide_bytes(0)), size)
    count_delegation(state, task, delegator, 1)


def remove_delegation(state: Overlay, task: int, operator: bytes, delegator: bytes) -> None:
    """End a delegation that holds no shares any more, and free its place."""
    resize(state, task, operator, delegator, require_delegation(state, task, operator, delegator), None)
    DELEGATIONS.delete(state, integer_bytes(task), operator, delegator)
    LEAVING.delete(state, integer_bytes(task), operator, delegator)
    count_delegation(state, task, delegator, -1)


def begin_vaults(state: Overlay, context: Context, task: Task) -> None:
    """At an epoch's begin, put the promised reward shares in force, and let in who waited."""
    for operator, vault in list(VAULTS.scan(state, integer_bytes(task.id))):
        put_vault(state, task.id, operator, with_due_share(context, vault))
    for operator, delegator in purses.scan_waiting(state, task.id):
        admit(state, task.id, operator, delegator)


def with_due_share(context: Context, vault: Vault) -> Vault:
    """Return the vault with the reward share of the epoch that begins."""
    if vault.cut_ms is None or context.time_ms < vault.cut_ms:
        return replace(vault, reward_share=vault.promised_share)
    assert vault.cut_share is not None, "a time without a cut"
    return replace(vault, reward_share=vault.cut_share, promised_share=vault.cut_share, cut_share=None, cut_ms=None)


def admit(state: Overlay, task: int, operator: bytes, delegator: bytes) -> None:
    """Turn waiting units into as many shares as they pay for; what is left goes back to the balance."""
    vault, delegation = require_vault(state, task, operator), require_delegation(state, task, operator, delegator)
    waiting, purse = purses.waiting_of(task, operator, delegator), purses.vault_of(task, operator)
    units, held = purses.get_units(state, waiting), purses.get_units(state, purse)
    bought = arithmetic.shares_for_units(units, vault_units=held, vault_shares=vault.shares)
    if vault.shares + bought > MAX_INTEGER:
        bought = 0
    price = arithmetic.price_of_shares(bought, vault_units=held, vault_shares=vault.shares)
    purses.move(state, waiting, purse, price)
    purses.move_all(state, waiting, purses.balance_of(delegator))
    counted = with_points(delegation, vault)
    put_delegation(state, task, operator, delegator, replace(counted, shares=delegation.shares + bought))
    put_vault(state, task, operator, replace(vault, shares=vault.shares + bought))
    if not delegation.shares and not bought:
        remove_delegation(state, task, operator, delegator)


def with_points(delegation: Delegation, vault: Vault) -> Delegation:
    """Return the delegation with the points that its shares collected up to now."""
    return replace(delegation, points=wide_bytes(count_points(delegation, vault)), index=vault.index)


def count_points(delegation: Delegation, vault: Vault) -> int:
    """Return the points that a delegation's shares collected up to now."""
    return arithmetic.points_of_shares(
        from_wide(delegation.points),
        shares=delegation.shares,
        index_before=from_wide(delegation.index),
        index=from_wide(vault.index),
    )


def release_leaving(state: Overlay, context: Context, task: Task) -> None:
    """Once an epoch has settled, start the unbonding of what delegators asked back."""
    for key, _ in list(LEAVING.scan(state, integer_bytes(task.id))):
        redeem(state, context, task, key[: purses.ADDRESS_BYTES], key[purses.ADDRESS_BYTES :])


def redeem(state: Overlay, context: Context, task: Task, operator: bytes, delegator: bytes) -> None:
    """Turn the leaving shares of a delegation into units that unbond."""
    vault = require_vault(state, task.id, operator)
    delegation = require_delegation(state, task.id, operator, delegator)
    leaving, purse = delegation.leaving, purses.vault_of(task.id, operator)
    unbond(state, context, task, operator, purse, delegator, get_worth(state, task.id, operator, leaving))
    kept = arithmetic.kept_points(count_points(delegation, vault), shares=delegation.shares, leaving=leaving)
    left = Delegation(delegation.shares - leaving, 0, delegation.size, vault.index, wide_bytes(kept))
    put_delegation(state, task.id, operator, delegator, left)
    put_vault(state, task.id, operator, replace(vault, shares=vault.shares - leaving))
    LEAVING.delete(state, integer_bytes(task.id), operator, delegator)
    if not left.shares and not purses.get_units(state, purses.waiting_of(task.id, operator, delegator)):
        remove_delegation(state, task.id, operator, delegator)


def unbond(
    state: Overlay, context: Context, task: Task, operator: bytes, source: bytes, owner: bytes, units: int
) -> None:
    """Let units leave an operator's role in a task: they stay liable for what it did as long as they unbond."""
    purses.unbond(
        state,
        source,
        units,
        bond=purses.stake_of(task.id, operator),
        begun=task.begun(),
        release_ms=context.time_ms + context.params.unbonding_ms,
        owner=owner,
    )


def unbond_vault(state: Overlay, context: Context, task: Task, operator: bytes) -> None:
    """End a vault whose operator or task is done: shares unbond, what waits returns at once."""
    close_vault(state, task.id, operator, partial(unbond, state, context, task, operator))


def return_vaults(state: Overlay, task: int) -> None:
    """End all vaults of a task that comes to nothing: everything returns at once."""

    def pay(source: bytes, delegator: bytes, units: int) -> None:
        purses.move(state, source, purses.balance_of(delegator), units)

    for operator, _ in list(VAULTS.scan(state, integer_bytes(task))):
        close_vault(state, task, operator, pay)


def close_vault(state: Overlay, task: int, operator: bytes, pay: Callable[[bytes, bytes, int], None]) -> None:
    """Pay every delegator its units from a vault and delete that; what rounding left goes to the treasury."""
    vault = find_vault(state, task, operator)
    if vault is None:
        return
    purse = purses.vault_of(task, operator)
    held = purses.get_units(state, purse)
    for delegator, delegation in scan_delegations(state, task, operator):
        units = arithmetic.units_for_shares(delegation.shares, vault_units=held, vault_shares=vault.shares)
        pay(purse, delegator, units)
        purses.move_all(state, purses.waiting_of(task, operator, delegator), purses.balance_of(delegator))
        remove_delegation(state, task, operator, delegator)
    purses.move_all(state, purse, purses.TREASURY)
    VAULTS.delete(state, integer_bytes(task), operator)


def write_off(state: Overlay, task: int, operator: bytes) -> None:
    """End the shares of a vault that a slash emptied: whoever delegates next owes them nothing."""
    vault = find_vault(state, task, operator)
    if vault is None or not vault.shares or purses.get_units(state, purses.vault_of(task, operator)):
        return
    put_vault(state, task, operator, replace(vault, shares=0))
    for delegator, delegation in scan_delegations(state, task, operator):
        LEAVING.delete(state, integer_bytes(task), operator, delegator)
        waiting = purses.get_units(state, purses.waiting_of(task, operator, delegator))
        if waiting:
            emptied = Delegation(0, 0, delegation.size, vault.index, wide_bytes(0))
            resize(state, task, operator, delegator, emptied, waiting)
        else:
            remove_delegation(state, task, operator, delegator)


# --- rewards ---------------------------------------------------------------------------------------------------------


def collect_points(state: Overlay, task: int, operator: bytes) -> None:
    """Count an epoch for the part of the delegators in reward B, before anything is paid."""
    vault = find_vault(state, task, operator)
    if vault is None or not vault.shares:
        return
    units = purses.get_units(state, purses.vault_of(task, operator))
    points = arithmetic.collected_points(units, reward_share_millionths=vault.reward_share)
    index = arithmetic.next_index(from_wide(vault.index), points=points, vault_shares=vault.shares)
    collected = replace(vault, index=wide_bytes(index), points=wide_bytes(from_wide(vault.points) + points))
    put_vault(state, task, operator, collected)


def pay_operator(state: Overlay, task: int, source: bytes, operator: bytes, units: int) -> int:
    """Pay a reward of this epoch (A7, A11 to A13): its operator's part to the balance, the rest into the vault.

    Returns what went into the vault, in units.
    """
    purse, vault = purses.vault_of(task, operator), find_vault(state, task, operator)
    passed = 0
    if vault is not None and vault.shares:
        _, parts = formulas.operator_and_delegators(
            units,
            own_stake=purses.get_units(state, purses.stake_of(task, operator)),
            delegations={operator: purses.get_units(state, purse)},
            reward_share_millionths=vault.reward_share,
        )
        passed = parts[operator]
        purses.move(state, source, purse, passed)
    purses.move(state, source, purses.balance_of(operator), units - passed)
    return passed


def pay_accrued(
    state: Overlay, task: int, source: bytes, operator: bytes, units: int, stake_sum: int
) -> tuple[int, int]:
    """Pay a reward that accrued over the epochs (A15) to balances; returns (operator's units, delegators' units).

    `stake_sum` adds the operator's stake, delegation included, over the epochs. What delegators that left would have
    got stays in the source: it is nobody's, so that nobody gains by their leaving.
    """
    vault = find_vault(state, task, operator)
    if vault is None:
        purses.move(state, source, purses.balance_of(operator), units)
        return units, 0
    own, parts = arithmetic.split_accrued(
        units,
        stake_sum=stake_sum,
        points={
            delegator: count_points(delegation, vault)
            for delegator, delegation in scan_delegations(state, task, operator)
        },
        points_of_all=from_wide(vault.points),
    )
    for delegator, part in parts.items():
        purses.move(state, source, purses.balance_of(delegator), part)
    purses.move(state, source, purses.balance_of(operator), own)
    return own, sum(parts.values())


def from_wide(amount: bytes) -> int:
    """Return the number that 16 bytes stand for."""
    return int.from_bytes(amount, "big")
