"""Sends an account's transactions and waits for the honest answer: included, refused with the reason, or expired."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from flocknode.account import AccountKey
from flocknode.chain import Chain
from flocknode.errors import Exit, FlocknodeError
from flocknode.mempool import Mempool
from protocol.blocks import Receipt, transaction_id
from protocol.codec import encode
from protocol.errors import Expired
from protocol.transactions import Payload, sign_transaction

# Blocks ahead that a transaction of this node stays valid for.
EXPIRY_BLOCKS = 100


class ReceiptRefused(FlocknodeError):
    """A transaction stands on the log and changed nothing but its fee and nonce; the message says why."""

    number = 140
    exit_code = Exit.REFUSED


@dataclass(frozen=True)
class Included:
    """A transaction on the log; its receipt says whether it was applied."""

    id: bytes
    height: int
    receipt: Receipt


class Sender:
    """The way of one account's transactions into the log."""

    def __init__(
        self,
        chain: Chain,
        mempool: Mempool,
        *,
        account: AccountKey,
        broadcast: Callable[[bytes], None],
        wait_for_height: Callable[[int], Awaitable[None]],
    ) -> None:
        """`broadcast` tells peers a transaction; `wait_for_height` returns once a block of that height is committed."""
        self._chain = chain
        self._mempool = mempool
        self._account = account
        self._broadcast = broadcast
        self._wait_for_height = wait_for_height
        self.address = account.address

    def send(self, payload: Payload, *, fee: int | None = None) -> tuple[bytes, int]:
        """Sign and broadcast a transaction; returns its id and its expiry height.

        Raises a `ProtocolError`, or `KeyLocked`.
        """
        expires = self._chain.head.height + EXPIRY_BLOCKS
        transaction = sign_transaction(
            self._chain.id,
            self._account.seed,
            payload,
            nonce=self._mempool.next_nonce(self.address),
            expires=expires,
            fee=self._chain.params.fee_floor_units if fee is None else fee,
        )
        return self.submit(encode(transaction)), expires

    def submit(self, data: bytes) -> bytes:
        """Broadcast a finished transaction; returns its id. Raises a `ProtocolError` when it is refused at once."""
        if self._mempool.add(data):
            self._broadcast(data)
        return transaction_id(data)

    async def send_and_wait(self, payload: Payload, *, fee: int | None = None) -> Included:
        """Send a transaction and return once it is on the log; raises a `ProtocolError` when it will not get there."""
        identity, expires = self.send(payload, fee=fee)
        return await self.wait(identity, expires)

    async def apply(self, payload: Payload) -> None:
        """Send a transaction and return once it is applied; raises a `ProtocolError` or `ReceiptRefused` otherwise."""
        included = await self.send_and_wait(payload)
        if included.receipt.error:
            raise ReceiptRefused(included.receipt.message, height=included.height)

    async def wait(self, identity: bytes, expires: int | None) -> Included:
        """Return once a transaction is on the log; raises what refused it, or `Expired`."""
        while True:
            found = self._chain.find_receipt(identity)
            if found is not None:
                return Included(identity, found[0], found[2])
            if identity in self._mempool.refusals:
                raise self._mempool.refusals[identity]
            if identity not in self._mempool and (expires is None or self._chain.head.height >= expires):
                raise Expired("it was not included before it expired", height=self._chain.head.height)
            await self._wait_for_height(self._chain.head.height + 1)
            await trio.lowlevel.checkpoint()
