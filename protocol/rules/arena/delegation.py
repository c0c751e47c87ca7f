"""Delegating stake to a trainer or validator, taking it back, and what delegators get (white paper II.D.4)."""

from msgspec.structs import replace

from protocol.crypto import integer_bytes
from protocol.errors import NotEligible, OutOfBounds, WrongPhase
from protocol.rules import purses
from protocol.rules.arena import vaults
from protocol.rules.arena.records import Member, Phase, Task, get_member, get_places, get_task
from protocol.rules.context import Context
from protocol.state import Overlay, StateView
from protocol.transactions import Delegate, SetRewardShare, Undelegate

CLOSED_PHASES = (Phase.FINISHED, Phase.EXPIRED)


def delegate(state: Overlay, context: Context, sender: bytes, payload: Delegate) -> None:
    """Put units behind an operator. They wait until its next epoch begins; until then nothing can be won or lost."""
    task, member = require_operator(state, payload.task, payload.operator)
    if sender == task.creator or get_member(state, task.id, sender) is not None:
        raise NotEligible("the creator and the members of a task do not delegate in it")
    if task.is_last_epoch() and task.phase is not Phase.OPENING:
        raise WrongPhase("no epoch follows in which the delegation could count")
    vault = vaults.find_vault(state, task.id, payload.operator) or vaults.make_vault(context.params, member.role)
    if member.is_leaving or not vault.promised_share:
        raise NotEligible("the operator takes no delegations: it is leaving, or shares no rewards")
    if payload.units < context.params.min_delegation_units:
        raise OutOfBounds(
            f"a delegation has at least {context.params.min_delegation_units} units",
            have=payload.units,
            need=context.params.min_delegation_units,
        )
    vaults.put_vault(state, task.id, payload.operator, vault)
    take_place(state, context, task, payload.operator, sender, payload.units)
    waiting = purses.waiting_of(task.id, payload.operator, sender)
    purses.move(state, purses.balance_of(sender), waiting, payload.units)


def require_operator(state: StateView, task: int, operator: bytes) -> tuple[Task, Member]:
    """Return a running task and the operator's role in it; raises `NotFound`, `WrongPhase` or `NotEligible`."""
    found, member = get_task(state, task), get_member(state, task, operator)
    if found.phase in CLOSED_PHASES:
        raise WrongPhase(f"task {task} is over and its delegations were returned")
    if member is None:
        raise NotEligible("the account is no trainer or validator of this task")
    return found, member


def take_place(state: Overlay, context: Context, task: Task, operator: bytes, delegator: bytes, units: int) -> None:
    """Give units more a place among the delegations, that of the account's others if they stay; see `make_room`."""
    delegation = vaults.get_delegation(state, task.id, operator, delegator)
    if delegation is not None and delegation.size is not None:
        vaults.resize(state, task.id, operator, delegator, delegation, delegation.size + units)
        return
    make_room(state, context, task, operator, units)
    if delegation is None:
        vaults.add_delegation(state, task.id, operator, delegator, units)
    else:
        vaults.resize(state, task.id, operator, delegator, delegation, units)


def make_room(state: Overlay, context: Context, task: Task, operator: bytes, units: int) -> None:
    """Return with room for one more delegation, to the operator and in the task; raises `NotEligible`.

    Where all places are taken, the smallest delegation gives way to a larger one: or they could be held for next to
    nothing against everybody else. Of equal ones the operator's, then the delegator's account decides.
    """
    params = context.params
    if vaults.require_vault(state, task.id, operator).delegators >= params.max_delegators:
        found = vaults.scan_delegations(state, task.id, operator)
        size, delegator = min((one.size, address) for address, one in found if one.size is not None)
        check_larger(units, size=size, places=params.max_delegators)
        give_way(state, task.id, operator, delegator)
    if get_places(state, task.id).delegations >= params.max_task_delegations:
        key, _ = next(vaults.SIZES.scan(state, integer_bytes(task.id)))
        check_larger(units, size=int.from_bytes(key[:8], "big"), places=params.max_task_delegations)
        give_way(state, task.id, key[8 : -purses.ADDRESS_BYTES], key[-purses.ADDRESS_BYTES :])


def check_larger(units: int, *, size: int, places: int) -> None:
    """Return if units are more than what holds the cheapest of so many places; raises `NotEligible`."""
    if units <= size:
        raise NotEligible(
            f"all {places} places are taken, the cheapest by {size} units: only more than that takes it",
            have=units,
            need=size + 1,
        )


def give_way(state: Overlay, task: int, operator: bytes, delegator: bytes) -> None:
    """Let a delegation leave as if it was asked back: what waits at once, shares when the epoch has settled."""
    purses.move_all(state, purses.waiting_of(task, operator, delegator), purses.balance_of(delegator))
    delegation = vaults.require_delegation(state, task, operator, delegator)
    if delegation.shares:
        leaving = replace(delegation, leaving=delegation.shares)
        vaults.leave_later(state, task, operator, delegator, leaving, None)
    else:
        vaults.remove_delegation(state, task, operator, delegator)


def undelegate(state: Overlay, context: Context, sender: bytes, payload: Undelegate) -> None:
    """Ask shares back: they leave when the current epoch has settled, and unbond from then on."""
    task, _ = require_operator(state, payload.task, payload.operator)
    delegation = vaults.get_delegation(state, task.id, payload.operator, sender)
    held = 0 if delegation is None else delegation.shares - delegation.leaving
    if delegation is None or payload.shares > held:
        raise OutOfBounds("the account has not so many shares that could leave", have=held, need=payload.shares)
    rest = vaults.get_worth(state, task.id, payload.operator, held - payload.shares)
    if payload.shares < held and rest < context.params.min_delegation_units:
        raise OutOfBounds(
            "what stays is less than a delegation may be: take all shares",
            have=rest,
            need=context.params.min_delegation_units,
        )
    leaving = replace(delegation, leaving=delegation.leaving + payload.shares)
    waiting = purses.get_units(state, purses.waiting_of(task.id, payload.operator, sender))
    size = rest + waiting if payload.shares < held or waiting else None
    vaults.leave_later(state, task.id, payload.operator, sender, leaving, size)


def set_reward_share(state: Overlay, context: Context, sender: bytes, payload: SetRewardShare) -> None:
    """Promise delegators a share of rewards: more from the next epoch on, less only after an unbonding period.

    A promise stands even before it is in force, so it cannot attract delegators and then be taken back at once. Without
    delegators there is nobody to warn.
    """
    task, member = require_operator(state, payload.task, sender)
    if payload.millionths > context.params.max_reward_share_millionths:
        raise OutOfBounds(
            f"a reward share is at most {context.params.max_reward_share_millionths} millionths",
            have=payload.millionths,
            need=context.params.max_reward_share_millionths,
        )
    vault = vaults.find_vault(state, task.id, sender) or vaults.make_vault(context.params, member.role)
    if payload.millionths >= vault.promised_share or not vault.delegators:
        changed = replace(vault, promised_share=payload.millionths, cut_share=None, cut_ms=None)
    else:
        cut_ms = context.time_ms + context.params.unbonding_ms
        changed = replace(vault, cut_share=payload.millionths, cut_ms=cut_ms)
    vaults.put_vault(state, task.id, sender, changed)
