"""Executes the stored blocks again, from the genesis document on, and compares what is stored beside each of them.

Nothing stored is believed: the state comes from the genesis document, who may sign from the state, and what a block
does from the ledger's rules, in memory.
"""

from collections.abc import Callable, Iterator
from typing import Literal, TypeVar

from flocknode.verification.report import Report
from protocol import ledger
from protocol.blocks import Block, Receipt, block_id, transaction_id
from protocol.errors import InvalidBlock, InvalidCommit
from protocol.genesis import GenesisDocument, genesis_digest, genesis_head, make_genesis_state
from protocol.ledger import Applied, ChainState
from protocol.rules.voters import get_voters
from protocol.state import Commitment, MemoryState
from protocol.tendermint.messages import Commit
from protocol.tendermint.replicas import verify_commit
from storage.errors import Corrupted
from storage.log import LogReader

T = TypeVar("T")


class Replay:
    """One pass over a log. `state` is what follows from the blocks so far; its records are in `memory`."""

    def __init__(self, document: GenesisDocument, log: LogReader, report: Report) -> None:
        self._log = log
        self._report = report
        self.memory = make_genesis_state(document)
        commitment = Commitment().update(MemoryState(), self.memory.records)
        self.state = ChainState(
            chain=genesis_digest(document),
            params=document.params,
            head=genesis_head(document, commitment),
            view=self.memory,
            commitment=commitment,
        )

    def run(self, last_height: int) -> Iterator[tuple[Block, Commit, Applied]]:
        """Check the heights up to the last one, and yield each block with its commit and what it does.

        Ends early at a block that cannot be executed, which is then among the findings.
        """
        for height in range(1, last_height + 1):
            block = self._load("block", height, self._log.load_block)
            commit = None if block is None else self._find_commit(height, block)
            if block is None or commit is None:
                return
            try:
                applied = ledger.apply_block(self.state, block)
            except InvalidBlock as error:
                self._report.add("block", f"block {height}", error.message, height=height)
                return
            self._check_receipts(height, applied.receipts)
            self._check_index(height, block)
            yield block, commit, applied
            self._advance(block, commit, applied)

    def _advance(self, block: Block, commit: Commit, applied: Applied) -> None:
        self.memory.apply(applied.changes)
        self.state = ChainState(
            chain=self.state.chain,
            params=self.state.params,
            head=applied.head,
            view=self.memory,
            commitment=applied.commitment,
        )
        report, previous = self._report, block.previous_commit
        report.height = applied.head.height
        report.transactions += len(block.transactions)
        report.signatures += len(commit.signatures) + (len(previous.signatures) if previous is not None else 0)

    def _load(
        self, part: Literal["block", "commit", "receipts"], height: int, load: Callable[[int], T | None]
    ) -> T | None:
        """Return an entry of the log; one that is missing or damaged is a finding."""
        try:
            entry = load(height)
        except Corrupted as error:
            self._report.add_damage(part, error, height=height)
            return None
        if entry is None:
            self._report.add(part, f"{part} {height}", "missing", height=height)
        return entry

    # --- what made the block final -----------------------------------------------------------------------------------

    def _find_commit(self, height: int, block: Block) -> Commit | None:
        """Return a commit that makes the block final: the stored one, or at need the one in the next block."""
        stored, identity = self._load("commit", height, self._log.load_commit), block_id(block.header)
        reason = None if stored is None else self._refuse_commit(height, stored)
        if reason is not None:
            self._report.add("commit", f"commit {height}", reason, height=height)
        elif stored is not None and stored.block_id != identity:
            # A quorum's signatures cannot be made up, so it is the block that is another.
            reason = f"its header hashes to {identity.hex()}, but a quorum signed {stored.block_id.hex()}"
            self._report.add("block", f"block {height}", reason, height=height)
            return None
        elif stored is not None:
            return stored
        return self._find_next_commit(height, identity)

    def _refuse_commit(self, height: int, commit: Commit) -> str | None:
        """Return why a commit makes no block of the height final, or None if it does."""
        if commit.height != height:
            return f"it is of height {commit.height}"
        try:
            verify_commit(self.state.chain, commit, get_voters(self.memory).current)
        except InvalidCommit as error:
            return error.message
        return None

    def _find_next_commit(self, height: int, identity: bytes) -> Commit | None:
        try:
            following = self._log.load_block(height + 1)
        except Corrupted:
            return None  # a finding of its own, if it comes to that
        commit = following.previous_commit if following is not None else None
        if commit is None or commit.block_id != identity or self._refuse_commit(height, commit) is not None:
            return None
        return commit

    # --- what is stored beside the block -----------------------------------------------------------------------------

    def _check_receipts(self, height: int, expected: tuple[Receipt, ...]) -> None:
        stored = self._load("receipts", height, self._log.load_receipts)
        if stored is None or stored == expected:
            return
        place = f"receipts {height}"
        if len(stored) != len(expected):
            reason = f"{len(stored)} receipts of {len(expected)} transactions"
        else:
            index = next(index for index, receipt in enumerate(expected) if receipt != stored[index])
            reason = f"receipt {index} is not what its transaction gives"
        self._report.add("receipts", place, reason, height=height)

    def _check_index(self, height: int, block: Block) -> None:
        for index, transaction in enumerate(block.transactions):
            identity = transaction_id(transaction)
            place = f"index entry of transaction {identity.hex()}"
            try:
                found = self._log.find_transaction(identity)
            except Corrupted as error:
                self._report.add_damage("index", error, height=height)
                continue
            if found is None:
                self._report.add("index", place, f"missing; it is transaction {index} of block {height}", height=height)
            elif found != (height, index):
                reason = f"names transaction {found[1]} of block {found[0]}, it is {index} of {height}"
                self._report.add("index", place, reason, height=height)
