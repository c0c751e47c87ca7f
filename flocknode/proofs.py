"""Verifies what is costly before a block brings it, off the event loop, one proof at a time.

What verified is remembered by the rules themselves, so judging a block with it costs nothing. What could not be judged
yet, since this node is a block behind, is judged with its block; `Params.max_block_proof_us` bounds that.
"""

from collections.abc import Callable

import structlog
import trio

from flocknode.chain import Chain
from flocknode.mempool import Mempool
from flocknode.replica.engine import Offload
from protocol.errors import InvalidProof, ProtocolError
from protocol.ledger import check_signed
from protocol.transactions import SignedTransaction, Transaction

log = structlog.get_logger()


class ProofVerifier:
    """Verifies the proofs that wait in a mempool. `notice` is told that a transaction may come into a block now."""

    def __init__(
        self,
        chain: Chain,
        mempool: Mempool,
        notice: Callable[[], None],
        *,
        offload: Offload = trio.to_thread.run_sync,
    ) -> None:
        self._chain = chain
        self._mempool = mempool
        self._notice = notice
        self._offload = offload

    async def run(self) -> None:
        """Verify what comes, until cancelled."""
        while True:
            waiting = await self._mempool.next_unproven()
            error = await self._offload(self._find_fault, waiting.transaction)
            if error is not None:
                log.warning("a waiting proof does not hold", id=waiting.id.hex(), reason=error.message)
            self._mempool.settle(waiting, error)
            self._notice()

    def _find_fault(self, transaction: Transaction) -> InvalidProof | None:
        """Return what is wrong with a proof; None where it holds, or the rules do not get as far as looking at it."""
        assert isinstance(transaction, SignedTransaction), "pseudonyms' proofs are verified when they come"
        with self._chain.freeze() as state:
            try:
                check_signed(state, transaction)
            except InvalidProof as error:
                return error
            except ProtocolError as error:
                log.debug("a proof cannot be judged yet", reason=error.message)
        return None
