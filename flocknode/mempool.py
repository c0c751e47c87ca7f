"""Transactions that wait for a block: checked against the state when they come, and again after every block.

Accounts' transactions stand in nonce order; anonymous ones have a lane of their own, one per pseudonym. What no longer
may stand in a block is dropped with its reason, so that whoever sent it gets an honest answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from protocol.blocks import transaction_id
from protocol.errors import (
    AlreadyDone,
    Expired,
    FeeTooLow,
    InsufficientFunds,
    ProtocolError,
    TransactionRefused,
    WrongNonce,
)
from protocol.ledger import ChainState, check_anonymous
from protocol.rules import purses
from protocol.rules.accounts import get_next_nonce
from protocol.transactions import AnonymousTransaction, SignedTransaction, Submit, Transaction, open_transaction

MAX_TRANSACTIONS = 10_000
MAX_BYTES = 64 * 1024 * 1024
MAX_PER_ACCOUNT = 256
MAX_ANONYMOUS = 1_024
MAX_REFUSALS = 1_024


class MempoolFull(TransactionRefused):
    """The node holds as many waiting transactions as it may."""

    number = 60
    help = "Send it again in a while."


@dataclass(frozen=True)
class Waiting:
    """One transaction in the pool."""

    id: bytes
    data: bytes
    transaction: Transaction


class Mempool:
    """The waiting transactions of one node. `state` is what the next block continues."""

    def __init__(self, state: ChainState) -> None:
        self._state = state
        self._by_id: dict[bytes, Waiting] = {}
        self._accounts: dict[bytes, dict[int, Waiting]] = {}
        self._anonymous: dict[bytes, Waiting] = {}
        self._size_bytes = 0
        self.refusals: dict[bytes, ProtocolError] = {}

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, identity: bytes) -> bool:
        return identity in self._by_id

    def get(self, identity: bytes) -> Waiting | None:
        """Return a waiting transaction by its id."""
        return self._by_id.get(identity)

    def add(self, data: bytes) -> bool:
        """Take a transaction in; returns whether it is new. Raises a `ProtocolError` when it cannot wait here."""
        identity = transaction_id(data)
        if identity in self._by_id:
            return False
        waiting = Waiting(identity, data, open_transaction(self._state.chain, data))
        self._check_room(waiting)
        match waiting.transaction:
            case SignedTransaction() as signed:
                self._check_account(signed)
                self._accounts.setdefault(signed.sender, {})[signed.nonce] = waiting
            case AnonymousTransaction(payload):
                check_anonymous(self._state, payload)
                lane = _lane(waiting.transaction)
                if lane in self._anonymous:
                    raise AlreadyDone("another transaction of this pseudonym is waiting")
                self._anonymous[lane] = waiting
        self._by_id[identity] = waiting
        self._size_bytes += len(data)
        return True

    def pick(self, max_bytes: int) -> list[bytes]:
        """Return what to put into a block, anonymous ones first, then the accounts' in turns and nonce order."""
        picked, room = [], max_bytes
        for waiting in [*self._anonymous.values(), *self._in_turns()]:
            if len(waiting.data) > room:
                continue
            picked.append(waiting.data)
            room -= len(waiting.data)
        return picked

    def has_includable(self) -> bool:
        """Return whether a block made now would have a transaction."""
        return bool(self._anonymous) or next(self._in_turns(), None) is not None

    def next_nonce(self, address: bytes) -> int:
        """Return the nonce for the account's next transaction: after those that wait."""
        nonce = get_next_nonce(self._state.view, address)
        waiting = self._accounts.get(address, {})
        while nonce in waiting:
            nonce += 1
        return nonce

    def all_data(self) -> list[bytes]:
        """Return the bytes of all waiting transactions, to tell a peer that just came."""
        return [waiting.data for waiting in self._by_id.values()]

    def advance(self, state: ChainState, included: tuple[bytes, ...]) -> None:
        """Move on to a new state: drop what a block included and what may no longer stand in one."""
        self._state = state
        for data in included:
            self._remove(transaction_id(data))
        for waiting in list(self._by_id.values()):
            try:
                self._check_again(waiting)
            except ProtocolError as error:
                self._remove(waiting.id)
                self._note_refusal(waiting.id, error)

    def _check_room(self, waiting: Waiting) -> None:
        if len(waiting.data) > self._state.params.max_transaction_bytes:
            raise TransactionRefused("the transaction is too long", have=len(waiting.data))
        if len(self._by_id) >= MAX_TRANSACTIONS or self._size_bytes + len(waiting.data) > MAX_BYTES:
            raise MempoolFull("the node holds as many waiting transactions as it may", have=len(self._by_id))
        if isinstance(waiting.transaction, AnonymousTransaction) and len(self._anonymous) >= MAX_ANONYMOUS:
            raise MempoolFull("the node holds as many waiting submissions as it may", have=len(self._anonymous))

    def _check_account(self, signed: SignedTransaction) -> None:
        """Raise unless the transaction can follow those of its account that are on the log or waiting."""
        waiting = self._accounts.get(signed.sender, {})
        self._check_expiry(signed)
        next_nonce = get_next_nonce(self._state.view, signed.sender)
        if not next_nonce <= signed.nonce < next_nonce + MAX_PER_ACCOUNT:
            raise WrongNonce(
                f"nonce {signed.nonce}, the account's next is {next_nonce}", have=signed.nonce, need=next_nonce
            )
        if signed.nonce in waiting:
            raise WrongNonce(f"another transaction with nonce {signed.nonce} is waiting", have=signed.nonce)
        floor = self._state.params.fee_floor_units
        if signed.fee < floor:
            raise FeeTooLow("the fee is below the floor", have=signed.fee, need=floor)
        self._check_balance(signed)

    def _check_again(self, waiting: Waiting) -> None:
        match waiting.transaction:
            case SignedTransaction() as signed:
                self._check_expiry(signed)
                if signed.nonce < get_next_nonce(self._state.view, signed.sender):
                    raise WrongNonce("another transaction took its nonce", have=signed.nonce)
                self._check_balance(signed)
            case AnonymousTransaction(payload):
                check_anonymous(self._state, payload)

    def _check_balance(self, signed: SignedTransaction) -> None:
        """Raise unless the account can pay the fee: what can never be included must not wait to be."""
        balance = purses.get_units(self._state.view, purses.balance_of(signed.sender))
        if balance < signed.fee:
            raise InsufficientFunds("the balance does not cover the fee", have=balance, need=signed.fee)

    def _check_expiry(self, signed: SignedTransaction) -> None:
        height, limit = self._state.head.height + 1, self._state.params.max_expiry_blocks
        if not height <= signed.expires <= height + limit:
            raise Expired(f"expiry height {signed.expires} is not within {height} to {height + limit}", height=height)

    def _in_turns(self) -> Iterator[Waiting]:
        """Yield the includable transactions of all accounts: first everybody's first, then everybody's second."""
        queues = [iter(self._runnable(address)) for address in sorted(self._accounts)]
        while queues:
            for queue in list(queues):
                waiting = next(queue, None)
                if waiting is None:
                    queues.remove(queue)
                else:
                    yield waiting

    def _runnable(self, address: bytes) -> Iterator[Waiting]:
        nonce, waiting = get_next_nonce(self._state.view, address), self._accounts[address]
        while nonce in waiting:
            yield waiting[nonce]
            nonce += 1

    def _remove(self, identity: bytes) -> None:
        waiting = self._by_id.pop(identity, None)
        if waiting is None:
            return
        self._size_bytes -= len(waiting.data)
        match waiting.transaction:
            case SignedTransaction() as signed:
                del self._accounts[signed.sender][signed.nonce]
                if not self._accounts[signed.sender]:
                    del self._accounts[signed.sender]
            case AnonymousTransaction():
                del self._anonymous[_lane(waiting.transaction)]

    def _note_refusal(self, identity: bytes, error: ProtocolError) -> None:
        while len(self.refusals) >= MAX_REFUSALS:
            del self.refusals[next(iter(self.refusals))]
        self.refusals[identity] = error


def _lane(transaction: AnonymousTransaction) -> bytes:
    payload = transaction.payload
    kind = b"submit" if isinstance(payload, Submit) else b"open"
    return kind + payload.task.to_bytes(8, "big") + payload.epoch.to_bytes(8, "big") + payload.tag
