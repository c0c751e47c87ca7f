"""Accounts: nonces, fees and transfers."""

from protocol.errors import Expired, FeeTooLow, WrongNonce
from protocol.formulas import fees
from protocol.rules import purses
from protocol.rules.context import Context
from protocol.state import Overlay, StateView, Table
from protocol.transactions import SignedTransaction, Transfer
from protocol.types import Count, Record


class Account(Record):
    """What the ledger keeps of an account besides its purses."""

    next_nonce: Count


ACCOUNTS = Table(b"A", Account)


def get_next_nonce(state: StateView, address: bytes) -> int:
    """Return the nonce that the account's next transaction must carry; the first is 0."""
    account = ACCOUNTS.get(state, address)
    return account.next_nonce if account else 0


def check_expiry(context: Context, expires: int) -> None:
    """Return if a transaction may stand in the block at the context's height; raise `Expired` otherwise."""
    if context.height > expires:
        raise Expired(f"it expired at height {expires}", height=context.height)
    if expires > context.height + context.params.max_expiry_blocks:
        raise Expired(f"it may expire at most {context.params.max_expiry_blocks} blocks ahead", height=context.height)


def pay_fee(state: Overlay, context: Context, transaction: SignedTransaction) -> None:
    """Use up the nonce and the fee: half burned, half to the block proposer (params.md).

    Raises a `TransactionRefused` when the transaction may not stand in a block at all.
    """
    check_expiry(context, transaction.expires)
    expected = get_next_nonce(state, transaction.sender)
    if transaction.nonce != expected:
        raise WrongNonce(
            f"nonce {transaction.nonce}, the account's next is {expected}", have=transaction.nonce, need=expected
        )
    if transaction.fee < context.params.fee_floor_units:
        raise FeeTooLow("the fee is below the floor", have=transaction.fee, need=context.params.fee_floor_units)
    burned, earned = fees.split_fee(transaction.fee, burn_millionths=context.params.fee_burn_millionths)
    balance = purses.balance_of(transaction.sender)
    purses.burn(state, balance, burned)
    purses.move(state, balance, purses.balance_of(context.proposer), earned)
    ACCOUNTS.put(state, Account(next_nonce=expected + 1), transaction.sender)


def transfer(state: Overlay, context: Context, sender: bytes, payload: Transfer) -> None:
    """Move units between two accounts' balances."""
    purses.move(state, purses.balance_of(sender), purses.balance_of(payload.to), payload.units)
