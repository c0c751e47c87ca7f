"""`alliance.training`: what this node trains for its alliances."""

from flocknode.node import Node
from flocknode.rpc.alliance_records import AllianceReference
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods.alliance import find_alliance
from flocknode.rpc.training_records import RoundTrainingList


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace about training."""

    async def training(*, alliance: AllianceReference | None = None) -> RoundTrainingList:
        """Tell how far this node's trainings are, oldest first, with their losses; nothing here leaves the node."""
        number = None if alliance is None else find_alliance(node.chain.view, alliance).id
        return RoundTrainingList(trainings=node.kit.trainings.list_for_alliances(number))

    return {"alliance.training": training}
