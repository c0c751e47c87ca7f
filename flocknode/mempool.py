"""Transactions that wait for a block: checked against the state when they come, and again after every block.

Accounts' transactions stand in nonce order; anonymous ones have a lane of their own, one per pseudonym. What no longer
may stand in a block is dropped with its reason, so that whoever sent it gets an honest answer.

An account's proof that is costly to verify comes into no block before somebody has verified it (`proofs`): then judging
the block finds the result remembered. A pseudonym's is verified on the spot, for nobody could be held to it later.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import trio

from protocol.blocks import transaction_id
from protocol.errors import (
    AlreadyDone,
    Expired,
    FeeTooLow,
    InsufficientFunds,
    InvalidProof,
    ProtocolError,
    TooCostly,
    TransactionRefused,
    WrongNonce,
)
from protocol.ledger import ChainState, check_anonymous
from protocol.rules import purses
from protocol.rules.accounts import get_next_nonce
from protocol.rules.costs import add_proof_us, get_proof_us
from protocol.transactions import AnonymousTransaction, SignedTransaction, Submit, Transaction, open_transaction

MAX_TRANSACTIONS = 10_000
MAX_BYTES = 64 * 1024 * 1024
MAX_PER_ACCOUNT = 256
MAX_ANONYMOUS = 1_024
MAX_REFUSALS = 1_024
# Costly proofs of one account that wait: as many rounds of alliances at once.
MAX_PROOFS_PER_ACCOUNT = 4
# Whoever signed a proof that does not hold brings no other for so many blocks: finding out is what costs.
REFUSED_BLOCKS = 100
MAX_AT_FAULT = 1_024


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
        # Bytes that wait per account, and those of all that wait.
        self._account_bytes: dict[bytes, int] = {}
        self._size_bytes = 0
        # Those whose proof nobody has verified, in the order they came, and the bell that rings when one comes.
        self._unproven: dict[bytes, Waiting] = {}
        self._came = trio.Event()
        # Until which height an account brings no more proofs.
        self._at_fault: dict[bytes, int] = {}
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
        if len(data) > self._state.params.max_transaction_bytes:
            raise TransactionRefused("the transaction is too long", have=len(data))
        waiting = Waiting(identity, data, open_transaction(self._state.chain, data))
        match waiting.transaction:
            case SignedTransaction() as signed:
                self._check_account(signed)
                self._make_room(len(data), self._account_bytes.get(signed.sender, 0) + len(data))
                self._accounts.setdefault(signed.sender, {})[signed.nonce] = waiting
                self._note_proof(waiting)
                self._account_bytes[signed.sender] = self._account_bytes.get(signed.sender, 0) + len(data)
            case AnonymousTransaction() as anonymous:
                self._check_lane(anonymous)
                self._make_room(len(data), 0)
                self._anonymous[_lane(anonymous)] = waiting
        self._by_id[identity] = waiting
        self._size_bytes += len(data)
        self.refusals.pop(identity, None)
        return True

    def pick(self, max_bytes: int) -> list[bytes]:
        """Return what to put into a block, anonymous ones first, then the accounts' in turns and nonce order.

        What has no room, in bytes or among the proofs of a block, is passed over, so that it keeps nothing else out.
        """
        picked, room, proofs_us = [], max_bytes, 0
        for waiting in [*self._anonymous.values(), *self._in_turns()]:
            if len(waiting.data) > room:
                continue
            try:
                proofs_us = add_proof_us(self._state.params, proofs_us, waiting.transaction.payload)
            except TooCostly:
                continue
            picked.append(waiting.data)
            room -= len(waiting.data)
        return picked

    async def next_unproven(self) -> Waiting:
        """Return the first transaction whose proof can be verified and was not, once there is one; `settle` it then.

        It must be the next of its account: what comes before may change what the proof has to be about.
        """
        while True:
            for waiting in self._unproven.values():
                signed = waiting.transaction
                assert isinstance(signed, SignedTransaction), "only accounts' proofs are verified later"
                if signed.nonce == get_next_nonce(self._state.view, signed.sender):
                    return waiting
            self._came = trio.Event()
            await self._came.wait()

    def settle(self, waiting: Waiting, error: InvalidProof | None) -> None:
        """Let a transaction come into blocks; if its proof does not hold, drop it and refuse its author's next ones."""
        self._unproven.pop(waiting.id, None)
        signed = waiting.transaction
        assert isinstance(signed, SignedTransaction), "only accounts' proofs are verified later"
        if error is None:
            return
        while len(self._at_fault) >= MAX_AT_FAULT:
            del self._at_fault[next(iter(self._at_fault))]
        self._at_fault[signed.sender] = self._state.head.height + REFUSED_BLOCKS
        if waiting.id in self._by_id:
            self._drop(waiting.id, error)

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
        self._came.set()
        for data in included:
            self._remove(transaction_id(data))
        for address, queue in list(self._accounts.items()):
            nonce = get_next_nonce(state.view, address)
            balance = purses.get_units(state.view, purses.balance_of(address))
            for waiting in list(queue.values()):
                self._drop_if_refused(waiting, partial(self._check_again, waiting, nonce, balance))
        for waiting in list(self._anonymous.values()):
            assert isinstance(waiting.transaction, AnonymousTransaction), "accounts' transactions wait in queues"
            self._drop_if_refused(waiting, partial(check_anonymous, state, waiting.transaction.payload))

    def _drop_if_refused(self, waiting: Waiting, check: Callable[[], None]) -> None:
        try:
            check()
        except ProtocolError as error:
            self._drop(waiting.id, error)

    def _make_room(self, size_bytes: int, account_bytes: int) -> None:
        """Make room for a transaction whose account would then have so many bytes waiting; raises `MempoolFull`.

        Whoever has the most waiting loses the last of it, until there is room or the newcomer itself has as much. So
        nobody can keep others out with transactions that never come to pay, such as those behind a missing nonce.
        """
        while len(self._by_id) >= MAX_TRANSACTIONS or self._size_bytes + size_bytes > MAX_BYTES:
            full = MempoolFull("the node holds as many waiting transactions as it may", have=len(self._by_id))
            longest = max(self._account_bytes, key=self._account_bytes.__getitem__, default=None)
            if longest is None or self._account_bytes[longest] <= account_bytes:
                raise full
            queue = self._accounts[longest]
            self._drop(queue[max(queue)].id, full)

    def _check_lane(self, anonymous: AnonymousTransaction) -> None:
        """Raise unless the pseudonym's act is the first of its kind, and possible."""
        if _lane(anonymous) in self._anonymous:
            raise AlreadyDone("another transaction of this pseudonym is waiting")
        if len(self._anonymous) >= MAX_ANONYMOUS:
            raise MempoolFull("the node holds as many waiting submissions as it may", have=len(self._anonymous))
        check_anonymous(self._state, anonymous.payload)

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
        self._check_proofs(signed, [other.transaction for other in waiting.values()])
        floor = self._state.params.fee_floor_units
        if signed.fee < floor:
            raise FeeTooLow("the fee is below the floor", have=signed.fee, need=floor)
        _check_balance(signed, purses.get_units(self._state.view, purses.balance_of(signed.sender)))

    def _check_proofs(self, signed: SignedTransaction, others: Sequence[Transaction]) -> None:
        """Raise if an account brings a costly proof too many, or one after a false one."""
        if not self._is_costly(signed):
            return
        until = self._at_fault.get(signed.sender, 0)
        if self._state.head.height < until:
            raise TransactionRefused(f"a proof of this account did not hold; no other until height {until}", need=until)
        count = sum(map(self._is_costly, others))
        if count >= MAX_PROOFS_PER_ACCOUNT:
            raise MempoolFull(f"{count} costly proofs of this account are waiting", have=count)

    def _is_costly(self, transaction: Transaction) -> bool:
        return get_proof_us(self._state.params, transaction.payload) > 0

    def _note_proof(self, waiting: Waiting) -> None:
        if self._is_costly(waiting.transaction):
            self._unproven[waiting.id] = waiting
            self._came.set()

    def _check_again(self, waiting: Waiting, next_nonce: int, balance: int) -> None:
        signed = waiting.transaction
        assert isinstance(signed, SignedTransaction), "anonymous transactions wait in lanes"
        self._check_expiry(signed)
        if signed.nonce < next_nonce:
            raise WrongNonce("another transaction took its nonce", have=signed.nonce)
        _check_balance(signed, balance)

    def _check_expiry(self, signed: SignedTransaction) -> None:
        height, limit = self._state.head.height + 1, self._state.params.max_expiry_blocks
        if not height <= signed.expires <= height + limit:
            raise Expired(f"expiry height {signed.expires} is not within {height} to {height + limit}", height=height)

    def _in_turns(self) -> Iterator[Waiting]:
        """Yield the includable transactions of all accounts: first everybody's first, then everybody's second."""
        queues = [self._runnable(address) for address in sorted(self._accounts)]
        while queues:
            unfinished = []
            for queue in queues:
                waiting = next(queue, None)
                if waiting is not None:
                    yield waiting
                    unfinished.append(queue)
            queues = unfinished

    def _runnable(self, address: bytes) -> Iterator[Waiting]:
        nonce, waiting = get_next_nonce(self._state.view, address), self._accounts[address]
        while nonce in waiting and waiting[nonce].id not in self._unproven:
            yield waiting[nonce]
            nonce += 1

    def _remove(self, identity: bytes) -> None:
        waiting = self._by_id.pop(identity, None)
        if waiting is None:
            return
        self._size_bytes -= len(waiting.data)
        self._unproven.pop(identity, None)
        match waiting.transaction:
            case SignedTransaction() as signed:
                del self._accounts[signed.sender][signed.nonce]
                self._account_bytes[signed.sender] -= len(waiting.data)
                if not self._accounts[signed.sender]:
                    del self._accounts[signed.sender], self._account_bytes[signed.sender]
            case AnonymousTransaction():
                del self._anonymous[_lane(waiting.transaction)]

    def _drop(self, identity: bytes, error: ProtocolError) -> None:
        """Remove a transaction and remember why."""
        self._remove(identity)
        while len(self.refusals) >= MAX_REFUSALS:
            del self.refusals[next(iter(self.refusals))]
        self.refusals[identity] = error


def _check_balance(signed: SignedTransaction, balance: int) -> None:
    """Raise unless the account can pay the fee: what can never be included must not wait to be."""
    if balance < signed.fee:
        raise InsufficientFunds("the balance does not cover the fee", have=balance, need=signed.fee)


def _lane(transaction: AnonymousTransaction) -> bytes:
    payload = transaction.payload
    kind = b"submit" if isinstance(payload, Submit) else b"open"
    return kind + payload.task.to_bytes(8, "big") + payload.epoch.to_bytes(8, "big") + payload.tag
