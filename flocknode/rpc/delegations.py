"""Delegated stake for people: what an operator's vault holds and shares, and what an account delegates."""

from flocknode.rpc.arena_records import Vault
from flocknode.rpc.records import Delegation
from protocol.crypto import integer_bytes
from protocol.params import Params
from protocol.rules import purses
from protocol.rules.arena import vaults
from protocol.rules.arena.records import Member, get_task
from protocol.state import StateView

ID_BYTES = len(integer_bytes(0))


def describe_vault(state: StateView, params: Params, task: int, operator: bytes, member: Member) -> Vault:
    """Return what others delegated to a member of a task, and what it shares with them."""
    vault = vaults.find_vault(state, task, operator) or vaults.make_vault(params, member.role)
    return Vault(
        delegated_units=purses.get_units(state, purses.vault_of(task, operator)),
        shares=vault.shares,
        delegators=vault.delegators,
        reward_share_millionths=vault.reward_share,
        promised_share_millionths=vault.promised_share,
        cut_share_millionths=vault.cut_share,
        cut_ms=vault.cut_ms,
    )


def describe_delegations(state: StateView, delegator: bytes) -> tuple[Delegation, ...]:
    """Return what an account delegates, by task and operator."""
    found = []
    for key, held in vaults.DELEGATIONS.scan(state):
        if not key.endswith(delegator):
            continue
        task, operator = int.from_bytes(key[:ID_BYTES], "big"), key[ID_BYTES : -purses.ADDRESS_BYTES]
        found.append(
            Delegation(
                task=task,
                name=get_task(state, task).spec.name,
                operator=operator.hex(),
                shares=held.shares,
                leaving_shares=held.leaving,
                worth_units=vaults.get_worth(state, task, operator, held.shares),
                waiting_units=purses.get_units(state, purses.waiting_of(task, operator, delegator)),
            )
        )
    return tuple(found)
