"""`tx.*`: sending transactions and asking what became of them."""

from flocknode.node import Node
from flocknode.participants.sender import Included
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.records import Count, Hex, Hex32, Outcome, Transaction, Units
from protocol.blocks import Receipt
from protocol.errors import Expired, NotFound
from protocol.plain import to_plain
from protocol.transactions import Payload, SignedTransaction, Transfer, open_transaction


def describe_outcome(identity: bytes, found: Included | None, expires: int | None) -> Outcome:
    """Return the answer to whoever sent a transaction; None is one that still waits."""
    receipt = None if found is None else found.receipt
    status = "pending" if receipt is None else "failed" if receipt.error else "included"
    return Outcome(
        id=identity.hex(),
        status=status,  # type: ignore[arg-type]
        height=None if found is None else found.height,
        expiry_height=expires,
        error=0 if receipt is None else receipt.error,
        message="" if receipt is None else receipt.message,
    )


async def send(node: Node, payload: Payload, *, wait: bool, fee_units: int | None = None) -> Outcome:
    """Send a transaction of this node's account; when asked to wait, return once it is on the log or never will be."""
    identity, expires = node.kit.sender.send(payload, fee=fee_units)
    return await follow(node, identity, expires) if wait else describe_outcome(identity, None, expires)


async def follow(node: Node, identity: bytes, expires: int | None) -> Outcome:
    """Return what became of a transaction once that is certain. Raises what refused it after it had waited."""
    try:
        return describe_outcome(identity, await node.kit.sender.wait(identity, expires), expires)
    except Expired as error:
        return Outcome(
            id=identity.hex(),
            status="expired",
            height=None,
            expiry_height=expires,
            error=error.number,
            message=error.message,
        )


def describe_transaction(
    node: Node, data: bytes, *, identity: bytes, place: tuple[int, int, Receipt] | None
) -> Transaction:
    """Return a transaction for people, from the log (with its place) or the mempool."""
    transaction = open_transaction(node.chain.id, data)
    signed = transaction if isinstance(transaction, SignedTransaction) else None
    receipt = None if place is None else place[2]
    status = "pending" if receipt is None else "failed" if receipt.error else "included"
    return Transaction(
        id=identity.hex(),
        kind=type(transaction.payload).__name__,
        status=status,  # type: ignore[arg-type]
        sender=None if signed is None else signed.sender.hex(),
        nonce=None if signed is None else signed.nonce,
        fee_units=0 if signed is None else signed.fee,
        expiry_height=None if signed is None else signed.expires,
        height=None if place is None else place[0],
        index=None if place is None else place[1],
        error=0 if receipt is None else receipt.error,
        message="" if receipt is None else receipt.message,
        size_bytes=len(data),
        fields=to_plain(transaction.payload),
    )


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace."""

    async def transfer(*, to: Hex32, amount_units: Units, fee_units: Units | None = None, wait: bool = True) -> Outcome:
        """Move units from this node's account to another."""
        return await send(node, Transfer(bytes.fromhex(to), amount_units), wait=wait, fee_units=fee_units)

    async def submit(*, transaction: Hex, wait: bool = True) -> Outcome:
        """Broadcast a finished transaction in its canonical encoding."""
        data = bytes.fromhex(transaction)
        opened = open_transaction(node.chain.id, data)
        expires = opened.expires if isinstance(opened, SignedTransaction) else None
        identity = node.kit.sender.submit(data)
        return await follow(node, identity, expires) if wait else describe_outcome(identity, None, expires)

    async def wait_for(*, id: Hex32, expiry_height: Count | None = None) -> Outcome:
        """Return what became of a transaction that was sent before, here or elsewhere, once that is certain.

        With its expiry height the answer comes in any case; without one, a transaction that this node does not know
        counts as expired.
        """
        return await follow(node, bytes.fromhex(id), expiry_height)

    async def show(*, id: Hex32) -> Transaction:
        """Show a transaction of the log or of the mempool."""
        identity = bytes.fromhex(id)
        place, waiting = node.chain.find_receipt(identity), node.mempool.get(identity)
        if place is not None:
            block = node.chain.load_block(place[0])
            assert block is not None, "an indexed transaction without its block"
            return describe_transaction(node, block.transactions[place[1]], identity=identity, place=place)
        if waiting is not None:
            return describe_transaction(node, waiting.data, identity=identity, place=None)
        if identity in node.mempool.refusals:
            raise node.mempool.refusals[identity]
        raise NotFound(f"no transaction {id} on the log or waiting at this node")

    return {"tx.transfer": transfer, "tx.submit": submit, "tx.wait": wait_for, "tx.show": show}
