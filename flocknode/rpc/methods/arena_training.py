"""`arena.training`: what this node trains for its tasks."""

from flocknode.node import Node
from flocknode.rpc.arena_records import TaskReference
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods.arena import find_task
from flocknode.rpc.training_records import TrainingList


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace about training."""

    async def training(*, task: TaskReference | None = None) -> TrainingList:
        """Tell how far this node's trainings are, oldest first, with their losses; nothing here leaves the node."""
        number = None if task is None else find_task(node.chain.view, task).id
        return TrainingList(trainings=node.kit.trainings.list_for_tasks(number))

    return {"arena.training": training}
