"""`account.*`: who owns what."""

from flocknode.node import Node
from flocknode.rpc.delegations import describe_delegations
from flocknode.rpc.dispatch import Handler
from flocknode.rpc.methods.transactions import send
from flocknode.rpc.records import MAX_LIST, Account, AccountList, Count, Hex32, Outcome
from protocol.rules import purses
from protocol.rules.accounts import get_next_nonce
from protocol.rules.standing import get_standing
from protocol.state import StateView
from protocol.transactions import Recognise

BALANCE, UNBONDING = b"b", b"u"
# Stakes and deposits in tasks, a creator's and a participant's stake in alliances.
STAKES = (b"s", b"d", b"c", b"f")


def describe_account(state: StateView, address: bytes) -> Account:
    """Return everything that an account owns, by what it is bonded to."""

    def bonded(kind: bytes) -> int:
        return sum(units for purse, units in purses.scan_purses(state, kind) if purse.endswith(address))

    delegations, standing = describe_delegations(state, address), get_standing(state, address)
    return Account(
        address=address.hex(),
        nonce=get_next_nonce(state, address),
        balance_units=purses.get_units(state, purses.balance_of(address)),
        bonded_units=purses.get_units(state, purses.replica_bond_of(address)),
        staked_units=sum(map(bonded, STAKES)),
        delegated_units=sum(one.worth_units + one.waiting_units for one in delegations),
        unbonding_units=bonded(UNBONDING),
        has_record=standing.has_record,
        is_recognised=standing.is_recognised,
        delegations=delegations,
    )


def make_methods(node: Node) -> dict[str, Handler]:
    """Return the methods of this namespace."""

    async def show(*, address: Hex32 | None = None) -> Account:
        """Show what an account owns; without an address, this node's own."""
        return describe_account(node.chain.view, node.kit.sender.address if address is None else bytes.fromhex(address))

    async def list_accounts(*, after: Hex32 | None = None, limit: Count = 100) -> AccountList:
        """List the accounts with a balance, by address."""
        view, start = node.chain.view, "" if after is None else after
        found = [purse[1:] for purse, _ in purses.scan_purses(view, BALANCE) if purse[1:].hex() > start]
        shown = found[: min(limit, MAX_LIST)]
        return AccountList(
            height=node.chain.head.height,
            accounts=tuple(describe_account(view, address) for address in shown),
            next=shown[-1].hex() if shown and len(found) > len(shown) else None,
        )

    async def recognise(*, address: Hex32, wait: bool = True) -> Outcome:
        """Let an account create tasks without a stake: for the governance account, which `chain.params` names."""
        return await send(node, Recognise(bytes.fromhex(address)), wait=wait)

    return {"account.show": show, "account.list": list_accounts, "account.recognise": recognise}
