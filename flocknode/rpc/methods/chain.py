"""`chain.*`: the log, its parameters and its money."""

from flocknode.block_history import FIRST_HEIGHT
from flocknode.node import Node
from flocknode.rpc.chain_records import ChainParams, Emission, Header, HeaderList, Supply
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.records import MAX_LIST, Block, BlockTransaction, ChainHead, Count, Signer
from protocol import blocks
from protocol.codec import encode
from protocol.errors import NotFound
from protocol.plain import to_plain
from protocol.rules import purses
from protocol.rules.emission import get_emission, get_task_part
from protocol.rules.standing import get_governance
from protocol.transactions import SignedTransaction, open_transaction

# What the first byte of a purse's name says its units are bonded to.
PLACES = {
    b"b": "balances",
    b"k": "replica_bonds",
    b"s": "stakes",
    b"v": "delegated",
    b"w": "waiting_delegations",
    b"d": "deposits",
    b"p": "task_pots",
    b"r": "reward_b",
    b"a": "alliance_pools",
    b"c": "alliance_bonds",
    b"f": "alliance_stakes",
    b"u": "unbonding",
    b"t": "treasury",
    b"e": "emitted_for_tasks",
    b"x": "reserve",
}


def describe_block(node: Node, block: blocks.Block) -> Block:
    """Return a block for people."""
    header, commit = block.header, node.chain.load_commit(block.header.height)
    receipts = node.chain.load_receipts(header.height)
    assert commit is not None, "a committed block without its commit"
    assert receipts is not None, "a committed block without its receipts"
    signers = {entry.replica for entry in commit.signatures}
    return Block(
        height=header.height,
        block=commit.block_id.hex(),
        time_ms=header.time_ms,
        round=header.round,
        commit_round=commit.round,
        proposer=header.proposer.hex(),
        previous_block=header.previous_block.hex(),
        transactions_root=header.transactions_root.hex(),
        state_root=header.state_root.hex(),
        receipts_root=header.receipts_root.hex(),
        size_bytes=len(encode(block)),
        transactions=tuple(
            describe_entry(node, data, receipt) for data, receipt in zip(block.transactions, receipts, strict=True)
        ),
        # The set is the genesis document's, so today's replicas are those of any height.
        signers=tuple(
            Signer(consensus_key=replica.key.hex(), power=replica.power, has_signed=replica.key in signers)
            for replica in node.chain.replicas.replicas
        ),
    )


def describe_header(block: blocks.Block) -> Header:
    """Return a block in a line."""
    header = block.header
    return Header(
        height=header.height,
        block=blocks.block_id(header).hex(),
        time_ms=header.time_ms,
        round=header.round,
        proposer=header.proposer.hex(),
        previous_block=header.previous_block.hex(),
        state_root=header.state_root.hex(),
        transactions=len(block.transactions),
    )


def describe_entry(node: Node, data: bytes, receipt: blocks.Receipt) -> BlockTransaction:
    """Return one transaction of a block in a line."""
    transaction = open_transaction(node.chain.id, data)
    return BlockTransaction(
        id=receipt.transaction.hex(),
        kind=type(transaction.payload).__name__,
        sender=transaction.sender.hex() if isinstance(transaction, SignedTransaction) else None,
        error=receipt.error,
        message=receipt.message,
    )


def describe_emission(node: Node) -> Emission:
    """Return where the emission stands."""
    found = get_emission(node.chain.view)
    return Emission(
        period=found.period, next_ms=found.next_ms, next_units=get_task_part(node.chain.params, found.period)
    )


def describe_supply(node: Node) -> Supply:
    """Return where all FML is."""
    view = node.chain.view
    counted, genesis = purses.get_supply(view), node.chain.document
    born = sum(account.balance for account in genesis.accounts) + sum(r.bond for r in genesis.replicas)
    places = dict.fromkeys(PLACES.values(), 0)
    for purse, units in purses.scan_purses(view):
        places[PLACES[purse[:1]]] += units
    return Supply(
        height=node.chain.head.height,
        genesis_units=born,
        minted_units=counted.minted - born,
        burned_units=counted.burned,
        total_units=counted.minted - counted.burned,
        places=places,
        emission=describe_emission(node),
    )


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace."""

    async def head() -> ChainHead:
        """Show the newest committed block of this node."""
        newest = node.chain.head
        return ChainHead(
            chain=node.chain.id.hex(),
            height=newest.height,
            block=newest.block_id.hex(),
            time_ms=newest.time_ms,
            state_root=newest.state_root.hex(),
            receipts_root=newest.receipts_root.hex(),
        )

    async def block(*, height: Count | None = None) -> Block:
        """Show a block of the log; without a height, the newest."""
        wanted = node.chain.head.height if height is None else height
        found = node.chain.load_block(wanted)
        if found is None:
            raise NotFound(f"no block {wanted}; the newest is {node.chain.head.height}", height=wanted)
        return describe_block(node, found)

    async def headers(*, from_height: Count | None = None, limit: Count = 20) -> HeaderList:
        """List blocks without their transactions, from a height on; without one, the newest."""
        newest, count = node.chain.head.height, min(limit, MAX_LIST)
        first = max(FIRST_HEIGHT, newest - count + 1 if from_height is None else from_height)
        loaded = (node.chain.load_block(height) for height in range(first, min(first + count, newest + 1)))
        return HeaderList(headers=tuple(describe_header(block) for block in loaded if block is not None))

    async def params() -> ChainParams:
        """Show the parameters of the rules."""
        governance = get_governance(node.chain.view)
        return ChainParams(
            height=node.chain.head.height,
            governance=None if governance is None else governance.hex(),
            parameters=to_plain(node.chain.params),
        )

    async def supply() -> Supply:
        """Show where all FML is; the places add up to the total."""
        return describe_supply(node)

    return {
        "chain.head": head,
        "chain.block": block,
        "chain.headers": headers,
        "chain.params": params,
        "chain.supply": supply,
    }
