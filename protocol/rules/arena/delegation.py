"""Delegating stake to a trainer or validator, taking it back, and what delegators get (white paper II.D.4)."""

from msgspec.structs import replace

from protocol.crypto import integer_bytes
from protocol.errors import NotEligible, OutOfBounds, WrongPhase
from protocol.rules import purses
from protocol.rules.arena import vaults
from protocol.rules.arena.records import Member, Phase, Task, get_member, get_places, get_task
from protocol.rules.context import Context
from protocol.rules.jobs import Mark
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
    if vaults.get_delegation(state, task.id, payload.operator, sender) is None:
        check_room(state, context, task, vault)
        vaults.add_delegation(state, task.id, payload.operator, sender, vault)
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


def check_room(state: StateView, context: Context, task: Task, vault: vaults.Vault) -> None:
    """Return if operator and task have room for one more delegator; raises `NotEligible`."""
    if vault.delegators >= context.params.max_delegators:
        raise NotEligible(f"the operator has {vault.delegators} delegators, no more fit", have=vault.delegators)
    if get_places(state, task.id).delegations >= context.params.max_task_delegations:
        raise NotEligible("the task has as many delegations as fit", have=context.params.max_task_delegations)


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
    vaults.put_delegation(state, task.id, payload.operator, sender, leaving)
    vaults.LEAVING.put(state, Mark(), integer_bytes(task.id), payload.operator, sender)


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
