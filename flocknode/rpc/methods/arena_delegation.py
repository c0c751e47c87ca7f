"""`arena.*`: putting stake behind trainers and validators, taking it back, and what they share."""

from flocknode.node import Node
from flocknode.rpc.arena_records import Submitted, TaskReference
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods.arena import find_task
from flocknode.rpc.methods.transactions import send
from flocknode.rpc.records import Count, Hex32, Ratio, Units
from protocol.errors import NotFound
from protocol.rules.arena import vaults
from protocol.state import StateView
from protocol.transactions import Delegate, SetRewardShare, Undelegate


def find_shares(state: StateView, task: int, operator: bytes, delegator: bytes) -> int:
    """Return all shares that an account may still ask back; raises `NotFound`."""
    held = vaults.get_delegation(state, task, operator, delegator)
    if held is None or held.shares == held.leaving:
        raise NotFound(
            "the account has no shares of this operator that could leave; what waits comes in with the next epoch",
            task=task,
        )
    return held.shares - held.leaving


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace about delegated stake."""

    async def delegate(*, task: TaskReference, operator: Hex32, units: Units, wait: bool = True) -> Submitted:
        """Put stake behind a trainer or validator from its next epoch on: it earns with it, and is slashed with it."""
        found = find_task(node.chain.view, task)
        payload = Delegate(found.id, bytes.fromhex(operator), units)
        return Submitted(task=found.id, outcome=await send(node, payload, wait=wait))

    async def undelegate(
        *, task: TaskReference, operator: Hex32, shares: Count | None = None, wait: bool = True
    ) -> Submitted:
        """Ask shares back, all without a number: they leave when the running epoch has settled, and then unbond."""
        found, address = find_task(node.chain.view, task), bytes.fromhex(operator)
        if shares is None:
            shares = find_shares(node.chain.view, found.id, address, node.kit.sender.address)
        payload = Undelegate(found.id, address, shares)
        return Submitted(task=found.id, outcome=await send(node, payload, wait=wait))

    async def reward_share(*, task: TaskReference, millionths: Ratio, wait: bool = True) -> Submitted:
        """Set what this node's delegators get of its rewards: more from the next epoch on, less after unbonding."""
        found = find_task(node.chain.view, task)
        return Submitted(task=found.id, outcome=await send(node, SetRewardShare(found.id, millionths), wait=wait))

    return {"arena.delegate": delegate, "arena.undelegate": undelegate, "arena.reward_share": reward_share}
