"""`log.*`: checks the stored log again from genesis, while the daemon goes on."""

from flocknode.node import Node
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.log_records import Verification


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace."""

    async def verify(*, wait: bool = False) -> Verification:
        """Begin to verify the log up to its head, unless that is under way; `log.verification` says how far it is.

        With `wait`, the answer is the verdict.
        """
        found = node.verifier.request()
        return await node.verifier.wait() if wait else found

    async def verification() -> Verification:
        """Say how far the newest verification is, or what came of it."""
        return node.verifier.newest

    async def cancel() -> Verification:
        """Stop the verification that is under way."""
        return node.verifier.cancel()

    return {"log.verify": verify, "log.verification": verification, "log.cancel": cancel}
