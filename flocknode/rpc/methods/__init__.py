"""The methods of the socket, by namespace: thin functions from the node's parts to the records of `flocknode.rpc`.

They decide nothing; rules are in `protocol`, doing is in the node's parts.
"""

from flocknode.node import Node
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods import (
    accounts,
    alliance,
    alliance_acts,
    alliance_explain,
    alliance_rounds,
    alliance_training,
    arena,
    arena_acts,
    arena_audit,
    arena_delegation,
    arena_funding,
    arena_proofs,
    arena_results,
    arena_training,
    chain,
    keys,
    nodes,
    transactions,
    verification,
)


def make_methods(node: Node) -> dict[str, Handler]:
    """Return all methods of a running node."""
    namespaces = (
        nodes,
        keys,
        accounts,
        transactions,
        chain,
        alliance,
        alliance_acts,
        alliance_explain,
        alliance_rounds,
        alliance_training,
        arena,
        arena_acts,
        arena_audit,
        arena_delegation,
        arena_funding,
        arena_proofs,
        arena_results,
        arena_training,
        verification,
    )
    return {name: handler for namespace in namespaces for name, handler in namespace.make_methods(node).items()}
