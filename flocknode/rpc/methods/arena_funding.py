"""`arena.*`: bounties, calling a task off, and letting one take part in the emission."""

from flocknode.node import Node
from flocknode.rpc.arena_records import Submitted, TaskReference
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods.arena import find_task
from flocknode.rpc.methods.transactions import send
from flocknode.rpc.records import Units
from protocol.transactions import AddBounty, CancelTask, VerifyTask


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace about a task's money."""

    async def bounty(*, task: TaskReference, units: Units, wait: bool = True) -> Submitted:
        """Give to the pots of a task's coming epochs; it comes back only if nothing is ever entered for it."""
        found = find_task(node.chain.view, task)
        return Submitted(task=found.id, outcome=await send(node, AddBounty(found.id, units), wait=wait))

    async def cancel(*, task: TaskReference, wait: bool = True) -> Submitted:
        """Call off a task of this node's account before anything was entered: all but the registration fee returns."""
        found = find_task(node.chain.view, task)
        return Submitted(task=found.id, outcome=await send(node, CancelTask(found.id), wait=wait))

    async def verify(*, task: TaskReference, wait: bool = True) -> Submitted:
        """Let a task take part in the emission: for the governance account, which `chain.params` names."""
        found = find_task(node.chain.view, task)
        return Submitted(task=found.id, outcome=await send(node, VerifyTask(found.id), wait=wait))

    return {"arena.bounty": bounty, "arena.cancel": cancel, "arena.verify": verify}
