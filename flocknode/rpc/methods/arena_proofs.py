"""`arena.*`: complaints about keys, keys in clear, and proofs of fraud; the daemon does all of it by itself as well."""

from typing import Literal

from flocknode.node import Node
from flocknode.participants.creator import load_key
from flocknode.participants.faults import bring_piece
from flocknode.rpc.arena_records import Submitted, TaskReference
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods.arena import find_task
from flocknode.rpc.methods.transactions import send
from flocknode.rpc.records import Count, Hex32
from protocol.errors import NotFound
from protocol.rules.arena.keys import get_dataset
from protocol.rules.arena.records import get_submission
from protocol.transactions import DatasetName, KeyComplaint, ProveBadPiece, ProveWrongVerdict, PublishKey

Dataset = Literal["a", "b"]
DATASETS: dict[Dataset, DatasetName] = {"a": DatasetName.A, "b": DatasetName.B}


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace that accuse, and that answer."""

    async def complain(*, task: TaskReference, wait: bool = True) -> Submitted:
        """Say that the key sealed to this validator is not dataset A's; if it was, the whole stake is lost."""
        found = find_task(node.chain.view, task)
        return Submitted(task=found.id, outcome=await send(node, KeyComplaint(found.id, found.epoch), wait=wait))

    async def publish_key(*, task: TaskReference, dataset: Dataset, wait: bool = True) -> Submitted:
        """Publish the key of a dataset of this account's task: as the answer to a complaint, or after the end."""
        found = find_task(node.chain.view, task)
        key = load_key(node.kit, found, DATASETS[dataset])
        return Submitted(
            task=found.id, outcome=await send(node, PublishKey(found.id, DATASETS[dataset], key), wait=wait)
        )

    async def prove_piece(*, task: TaskReference, dataset: Dataset, piece: Count, wait: bool = True) -> Submitted:
        """Show a piece of a dataset that does not decrypt under its public key: the creator loses its deposit."""
        found, name = find_task(node.chain.view, task), DATASETS[dataset]
        data, path = await bring_piece(node.kit, get_dataset(found, name).blob, piece)
        payload = ProveBadPiece(found.id, name, piece, data, path)
        return Submitted(task=found.id, outcome=await send(node, payload, wait=wait))

    async def prove_verdict(
        *, task: TaskReference, epoch: Count, tag: Hex32, piece: Count = 0, wait: bool = True
    ) -> Submitted:
        """Show a piece that makes a submission no model of the task: who scored it loses its stake."""
        found = find_task(node.chain.view, task)
        submission = get_submission(node.chain.view, found.id, epoch, bytes.fromhex(tag))
        if submission is None:
            raise NotFound("there is no submission of this pseudonym in this epoch", task=found.id, epoch=epoch)
        data, path = await bring_piece(node.kit, submission.blob, piece)
        payload = ProveWrongVerdict(found.id, epoch, bytes.fromhex(tag), piece, data, path)
        return Submitted(task=found.id, outcome=await send(node, payload, wait=wait))

    return {
        "arena.complain": complain,
        "arena.publish_key": publish_key,
        "arena.prove_piece": prove_piece,
        "arena.prove_verdict": prove_verdict,
    }
