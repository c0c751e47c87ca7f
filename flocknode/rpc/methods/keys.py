"""`keys.*`: the key of this node's account."""

import structlog

from flocknode.node import Node
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.records import Locked, Unlocked

log = structlog.get_logger()


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace."""

    async def unlock(*, passphrase: str) -> Unlocked:
        """Open the account's key until the daemon stops or it is locked again."""
        await node.kit.account.unlock(passphrase)
        log.info("account unlocked")
        return Unlocked(account=node.kit.address.hex())

    async def lock() -> Locked:
        """Forget the account's key until it is unlocked again; the node goes on replicating."""
        await node.kit.account.lock()
        log.info("account locked")
        return Locked(account=node.kit.address.hex())

    return {"keys.unlock": unlock, "keys.lock": lock}
