"""Blocks in, changes out: the one place where the log becomes state.

`apply_block` is the whole ledger: it checks that a block continues the log, applies its transactions and whatever the
block's end brings, and returns the changes without writing anything. A transaction that may not stand in a block makes
the block invalid; one that may stand there but breaks a rule pays its fee and gets a receipt with the reason.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum

from protocol import vrf
from protocol.blinding import beacon_alpha, next_beacon
from protocol.blocks import (
    MAX_BLOCK_TIME_MS,
    Block,
    Head,
    Header,
    Receipt,
    block_id,
    check_body,
    commit_digest,
    receipts_root,
    transaction_id,
    transactions_root,
)
from protocol.errors import InvalidBlock, InvalidCommit, InvalidProof, ProtocolError, TransactionRefused
from protocol.params import Params
from protocol.rules import accounts, emission, purses
from protocol.rules.alliance import phases as alliance_phases
from protocol.rules.alliance.records import scan_active_alliances
from protocol.rules.arena import phases as task_phases
from protocol.rules.arena.records import scan_active_tasks
from protocol.rules.context import Context
from protocol.rules.costs import add_proof_us
from protocol.rules.dispatch import apply_anonymous, apply_payload
from protocol.rules.jobs import is_due
from protocol.rules.voters import Voters, advance_voters, get_voters
from protocol.state import Commitment, Overlay, StateView
from protocol.tendermint.messages import Commit
from protocol.tendermint.proposer import proposer_of
from protocol.tendermint.replicas import replica_set_digest, verify_commit
from protocol.transactions import (
    AnonymousPayload,
    AnonymousTransaction,
    Payload,
    SignedTransaction,
    Transaction,
    open_transaction,
)

# Finding the proposer takes a step per round; so many rounds of one height take months to pass.
MAX_ROUND = 10_000


@dataclass(frozen=True, kw_only=True)
class ChainState:
    """The state after some height, with what the next block must continue."""

    chain: bytes
    params: Params
    head: Head
    view: StateView
    commitment: Commitment


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What a block does. `changes` maps state keys to new values, None deletes; nothing is written yet.

    `is_phase_changed` says whether a task or an alliance began another phase or ended, as even an empty block may do.
    """

    head: Head
    changes: Mapping[bytes, bytes | None]
    commitment: Commitment
    receipts: tuple[Receipt, ...]
    is_phase_changed: bool


def apply_block(before: ChainState, block: Block) -> Applied:
    """Return what the block does to the state; raises `InvalidBlock` if no honest replica may vote for it."""
    context = check_header(before, block)
    state = Overlay(before.view)
    receipts = apply_transactions(state, context, block.transactions)
    finish_block(state, context)
    drift = purses.compute_drift(before.view, state)
    assert drift == 0, f"block {block.header.height} makes {drift} units from nothing"
    commitment = before.commitment.update(before.view, state.changes)
    head = Head(
        height=block.header.height,
        block_id=block_id(block.header),
        time_ms=block.header.time_ms,
        state_root=commitment.root(),
        receipts_root=receipts_root(receipts),
    )
    return Applied(
        head=head,
        changes=state.changes,
        commitment=commitment,
        receipts=receipts,
        is_phase_changed=get_phases(before.view) != get_phases(state),
    )


def build_block(
    before: ChainState,
    *,
    transactions: Sequence[bytes],
    commit: Commit | None,
    time_ms: int,
    round: int,
    proposer: bytes,
    beacon_proof: bytes,
) -> Block:
    """Return a valid block on top of a state, with those of the transactions that may stand in it, in their order."""
    voters = get_voters(before.view)
    header = make_header(
        before, voters, commit=commit, time_ms=time_ms, round=round, proposer=proposer, beacon_proof=beacon_proof
    )
    context = make_context(before, voters, header)
    state, chosen = Overlay(before.view), []
    room_bytes, proofs_us = before.params.max_block_bytes, 0
    for data in transactions:
        if len(data) > room_bytes:
            continue
        try:
            transaction = open_included(context, data)
            total_us = add_proof_us(context.params, proofs_us, transaction.payload)
            apply_transaction(state, context, data, transaction)
        except ProtocolError:
            continue
        chosen.append(data)
        room_bytes, proofs_us = room_bytes - len(data), total_us
    return seal_block(header, commit, tuple(chosen))


def make_header(
    before: ChainState,
    voters: Voters,
    *,
    commit: Commit | None,
    time_ms: int,
    round: int,
    proposer: bytes,
    beacon_proof: bytes,
) -> Header:
    """Return the header of an empty block that continues the state."""
    return Header(
        chain=before.chain,
        height=before.head.height + 1,
        time_ms=max(time_ms, before.head.time_ms + 1),
        round=round,
        proposer=proposer,
        previous_block=before.head.block_id,
        previous_commit=commit_digest(commit),
        transactions_root=transactions_root(()),
        state_root=before.head.state_root,
        receipts_root=before.head.receipts_root,
        replicas=replica_set_digest(voters.current),
        next_replicas=replica_set_digest(voters.following),
        beacon_proof=beacon_proof,
    )


def seal_block(header: Header, commit: Commit | None, transactions: tuple[bytes, ...]) -> Block:
    """Return the block with a header that names these transactions."""
    fields = {name: getattr(header, name) for name in header.__struct_fields__}
    return Block(Header(**{**fields, "transactions_root": transactions_root(transactions)}), commit, transactions)


def prove_beacon(before: ChainState, vrf_secret: bytes, randomness: bytes) -> bytes:
    """Return the proposer's beacon proof for the next height. `randomness` is 32 fresh bytes."""
    voters = get_voters(before.view)
    alpha = beacon_alpha(before.chain, before.head.height + 1, voters.beacon)
    return vrf.prove(vrf_secret, alpha=alpha, ad=b"", randomness=randomness)


# --- the header ------------------------------------------------------------------------------------------------------


def check_header(before: ChainState, block: Block) -> Context:
    """Return the context of a block that continues the log; raises `InvalidBlock`."""
    header, head, voters = block.header, before.head, get_voters(before.view)
    check_body(block)
    expected = {
        "chain": before.chain,
        "height": head.height + 1,
        "previous_block": head.block_id,
        "state_root": head.state_root,
        "receipts_root": head.receipts_root,
        "replicas": replica_set_digest(voters.current),
        "next_replicas": replica_set_digest(voters.following),
    }
    for name, value in expected.items():
        if getattr(header, name) != value:
            raise InvalidBlock(f"the header's {name} is not what this node computed", height=header.height)
    if not head.time_ms < header.time_ms <= MAX_BLOCK_TIME_MS:
        raise InvalidBlock("the block is not later than the one before it, or later than any block may be")
    if header.round > MAX_ROUND:
        raise InvalidBlock(f"round {header.round} is beyond {MAX_ROUND}")
    if header.proposer != proposer_of(voters.current, voters.priorities, header.round).key:
        raise InvalidBlock("another replica proposes in this round")
    check_previous_commit(before, block, voters)
    return make_context(before, voters, header)


def check_previous_commit(before: ChainState, block: Block, voters: Voters) -> None:
    """Return if the body carries the commit of the head; raises `InvalidBlock`."""
    commit = block.previous_commit
    if before.head.height == 0:
        if commit is not None:
            raise InvalidBlock("the first block has no commit before it")
        return
    if commit is None or commit.height != before.head.height or commit.block_id != before.head.block_id:
        raise InvalidBlock("the block does not carry the commit of the block before it")
    try:
        verify_commit(before.chain, commit, voters.previous)
    except InvalidCommit as error:
        raise InvalidBlock(f"the commit of the block before it: {error}") from error


def make_context(before: ChainState, voters: Voters, header: Header) -> Context:
    """Return the surroundings of the block's rules, with the beacon advanced; raises `InvalidBlock`."""
    proposer = voters.current.get(header.proposer)
    if proposer is None:
        raise InvalidBlock("the proposer is no replica")
    alpha = beacon_alpha(before.chain, header.height, voters.beacon)
    try:
        tag = vrf.verify(proposer.vrf_key, alpha=alpha, ad=b"", proof=header.beacon_proof)
    except InvalidProof as error:
        raise InvalidBlock(f"the beacon: {error}") from error
    return Context(
        params=before.params,
        chain=before.chain,
        height=header.height,
        time_ms=header.time_ms,
        previous_time_ms=before.head.time_ms,
        proposer=proposer.account,
        proposer_key=proposer.key,
        replicas=voters.current,
        beacon=next_beacon(voters.beacon, vrf.output(tag)),
    )


# --- transactions ----------------------------------------------------------------------------------------------------


def apply_transactions(state: Overlay, context: Context, transactions: tuple[bytes, ...]) -> tuple[Receipt, ...]:
    """Apply a block's transactions in order and return their receipts; raises `InvalidBlock`."""
    if sum(map(len, transactions)) > context.params.max_block_bytes:
        raise InvalidBlock(f"the transactions have more than {context.params.max_block_bytes} bytes")
    try:
        opened = [open_included(context, data) for data in transactions]
        proofs_us = 0
        for transaction in opened:
            proofs_us = add_proof_us(context.params, proofs_us, transaction.payload)
        return tuple(
            apply_transaction(state, context, data, transaction)
            for data, transaction in zip(transactions, opened, strict=True)
        )
    except ProtocolError as error:
        raise InvalidBlock(f"a transaction may not stand in this block: {error}") from error


def open_included(context: Context, data: bytes) -> Transaction:
    """Return a block's transaction, checked as far as that needs no state; raises `ProtocolError`."""
    if len(data) > context.params.max_transaction_bytes:
        raise TransactionRefused(f"more than {context.params.max_transaction_bytes} bytes", have=len(data))
    return open_transaction(context.chain, data)


def apply_transaction(state: Overlay, context: Context, data: bytes, transaction: Transaction) -> Receipt:
    """Apply one transaction and return its receipt; raises `ProtocolError` when it may not stand in a block.

    `data` is the encoding of `transaction`. An account's transaction may stand there once it pays; what its payload
    then breaks is undone and told in the receipt. An anonymous one pays nothing, so it may stand there only if it
    applies.
    """
    attempt, error = Overlay(state), None
    match transaction:
        case AnonymousTransaction(payload):
            apply_anonymous(attempt, context, payload)
            attempt.merge()
        case SignedTransaction(sender=sender, payload=payload):
            accounts.pay_fee(attempt, context, transaction)
            attempt.merge()
            error = try_payload(state, context, sender, payload)
    if error is None:
        return Receipt(transaction_id(data), 0, "")
    return Receipt(transaction_id(data), error.number, error.message)


def try_payload(state: Overlay, context: Context, sender: bytes, payload: Payload) -> ProtocolError | None:
    """Apply an account's payload, or undo it and return the reason it was refused for."""
    attempt = Overlay(state)
    try:
        apply_payload(attempt, context, sender, payload)
    except ProtocolError as error:
        return error
    attempt.merge()
    return None


def check_anonymous(before: ChainState, payload: AnonymousPayload) -> None:
    """Return if an anonymous payload could stand in the next block; raises a `ProtocolError` otherwise."""
    apply_anonymous(Overlay(before.view), look_ahead(before), payload)


def check_signed(before: ChainState, transaction: SignedTransaction) -> None:
    """Return if an account's payload would be applied in the next block; raises a `ProtocolError` otherwise.

    Not for those that draw from the block's beacon: what they do depends on whose block it is.
    """
    apply_payload(Overlay(before.view), look_ahead(before), transaction.sender, transaction.payload)


def look_ahead(before: ChainState) -> Context:
    """Return the surroundings of the next block as far as they are known: without its proposer, time and beacon."""
    return Context(
        params=before.params,
        chain=before.chain,
        height=before.head.height + 1,
        time_ms=before.head.time_ms,
        previous_time_ms=before.head.time_ms,
        proposer=b"",
        proposer_key=b"",
        replicas=get_voters(before.view).current,
        beacon=b"",
    )


# --- the block's end, and what makes the next block worth having -----------------------------------------------------


def finish_block(state: Overlay, context: Context) -> None:
    """Do what time and the block itself bring: emission, phases, unbonded stakes, the next turn to propose."""
    emission.end_block(state, context)
    task_phases.end_block(state, context)
    alliance_phases.end_block(state, context)
    purses.release_unbonded(state, context.time_ms)
    advance_voters(state, context.beacon)


def get_phases(state: StateView) -> tuple[tuple[int, int, IntEnum], ...]:
    """Return (id, epoch or round, phase) of every active task and alliance."""
    return (
        *((task.id, task.epoch, task.phase) for task in scan_active_tasks(state)),
        *((alliance.id, alliance.round, alliance.phase) for alliance in scan_active_alliances(state)),
    )


def is_block_due(view: StateView, now_ms: int) -> bool:
    """Return whether a block would do something without any transaction: a draw waits, or a deadline has passed."""
    return any(is_due(job, now_ms) for job in (*scan_active_tasks(view), *scan_active_alliances(view)))
