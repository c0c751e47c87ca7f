"""`arena.training`: what this node trains for its tasks."""

from flocknode.node import Node
from flocknode.rpc.arena_records import TaskReference, TrainingList
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods.arena import find_task


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace about training."""

    async def training(*, task: TaskReference | None = None) -> TrainingList:
        """Tell how far this node's trainings are, oldest first, with their losses; nothing here leaves the node."""
        number = None if task is None else find_task(node.chain.view, task).id
        return TrainingList(trainings=node.kit.trainings.list(number))

    return {"arena.training": training}
