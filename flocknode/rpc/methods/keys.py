"""`keys.*`: the key of this node's account."""

import structlog

from flocknode.node import Node
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.records import Unlocked

log = structlog.get_logger()


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace."""

    async def unlock(*, passphrase: str) -> Unlocked:
        """Open the account's key until the daemon stops."""
        await node.kit.account.unlock(passphrase)
        log.info("account unlocked")
        return Unlocked(account=node.kit.address.hex())

    return {"keys.unlock": unlock}
