"""What the network must know of the log: whose nodes are bonded, and which blobs matter. Read from the state alone."""

from collections.abc import Collection
from pathlib import Path
from typing import NamedTuple

from msgspec.structs import replace

from flocknode.chain import Chain
from flocknode.network import Surroundings
from protocol.blobs import BlobId
from protocol.crypto import public_key
from protocol.rules.alliance.commitments import get_published
from protocol.rules.alliance.records import Alliance, AlliancePhase, get_round, get_update, scan_active_alliances
from protocol.rules.arena.copies import get_gallery
from protocol.rules.arena.records import (
    Phase,
    get_epoch,
    get_submission,
    get_task,
    scan_active_tasks,
    scan_submissions,
)
from protocol.rules.duties import has_seat
from protocol.state import StateView

# Submissions of so many epochs are needed: of the current one, and of the one before by those who check it.
EPOCHS_NEEDED = 2
# The phases of an alliance in which nobody has a role yet.
BEFORE_ROLES = (AlliancePhase.OPENING, AlliancePhase.DRAW)


class TaskBlobs(NamedTuple):
    """The blobs of tasks and alliances in progress. `offered`: those whose holder tells nobody what it must not say."""

    named: frozenset[BlobId]
    offered: frozenset[BlobId]


class ChainSurroundings(Surroundings):
    """The surroundings of one node: its own consensus seed and account, and the log it follows."""

    def __init__(self, chain: Chain, *, consensus_seed: bytes, account: bytes, memory_file: Path) -> None:
        self.consensus_seed = consensus_seed
        self.memory_file = memory_file
        self.chain = chain
        self._account = account
        self._own_key = public_key(consensus_seed)
        self._blobs: tuple[int, TaskBlobs] = (-1, TaskBlobs(frozenset(), frozenset()))

    def bonded_keys(self) -> Collection[bytes]:
        """Return the consensus keys of the replica set."""
        return frozenset(replica.key for replica in self.chain.replicas.replicas)

    def pinned_keys(self) -> Collection[bytes]:
        """Return the other replicas' keys, for a replica; other nodes need no links of their own to them."""
        keys = frozenset(self.bonded_keys())
        return keys - {self._own_key} if self._own_key in keys else ()

    def known_blobs(self) -> Collection[BlobId]:
        """Return the blobs that tasks and alliances in progress name; they are also what may not be removed."""
        return self._task_blobs().named

    def offered_blobs(self) -> Collection[BlobId]:
        """Return the blobs that this node offers when it holds them."""
        return self._task_blobs().offered

    def _task_blobs(self) -> TaskBlobs:
        height, found = self._blobs
        if height != self.chain.head.height:
            found = scan_task_blobs(self.chain.view, self._account)
            self._blobs = self.chain.head.height, found
        return found


def scan_alliance_blobs(view: StateView) -> set[BlobId]:
    """Return the blobs of alliances in progress: where they start, their latest and best models, the round's.

    The start is let go of once two models were accepted, or one that is both; of a task's winner it is encrypted.
    """
    named: set[BlobId] = set()
    for alliance in scan_active_alliances(view):
        if alliance.latest is None or alliance.best is None:
            named |= find_start(view, alliance)
        named |= {accepted.model for accepted in (alliance.latest, alliance.best) if accepted is not None}
        proposers = () if alliance.phase in BEFORE_ROLES else get_round(view, alliance.id, alliance.round).proposers
        updates = (get_update(view, alliance.id, alliance.round, one.address) for one in proposers)
        named |= {update.blob for update in updates if update is not None}
        named |= find_sums(view, alliance)
    return named


def find_sums(view: StateView, alliance: Alliance) -> set[BlobId]:
    """Return the proven sums that somebody checks: the round's, and those behind the latest and the best model.

    One of those is trained on next. There are none where updates are not hidden.
    """
    models = (accepted for accepted in (alliance.latest, alliance.best) if accepted is not None)
    rounds = (alliance.round, *(accepted.round for accepted in models))
    sums = (get_published(view, replace(alliance, round=round)) for round in rounds)
    return {one.proven.blob for one in sums if one is not None and one.proven is not None}


def find_start(view: StateView, alliance: Alliance) -> set[BlobId]:
    """Return the blob that an alliance starts from."""
    if alliance.spec.fresh_model is not None:
        return {alliance.spec.fresh_model}
    assert alliance.spec.base_task is not None, "an alliance starts from a task's winner or a fresh model"
    assert alliance.winner is not None, "who starts from a task has its winner"
    task = get_task(view, alliance.spec.base_task)
    winner = get_submission(view, task.id, task.spec.epochs - 1, alliance.winner)
    return set() if winner is None else {winner.blob}


def scan_task_blobs(view: StateView, account: bytes) -> TaskBlobs:
    """Return the blobs of tasks and alliances in progress, as the node of an account sees them.

    Who has a seat in an epoch holds none of its submissions but its own, so it offers none: that would name the author.
    """
    named: set[BlobId] = set()
    own: set[BlobId] = set()
    for task in scan_active_tasks(view):
        named.update(dataset.blob for dataset in (task.spec.dataset_a, task.spec.dataset_b))
        if task.phase is Phase.OPENING:
            continue
        for origin in (original.origin for original in get_gallery(view, task.id)):
            submission = get_submission(view, task.id, origin.epoch, origin.tag)
            assert submission is not None, "a model of the gallery was entered"
            named.add(submission.blob)
        for epoch in range(max(0, task.epoch - EPOCHS_NEEDED + 1), task.epoch + 1):
            blobs = {submission.blob for _, submission in scan_submissions(view, task.id, epoch)}
            named |= blobs
            if has_seat(get_epoch(view, task.id, epoch), account):
                own |= blobs
    alliances = scan_alliance_blobs(view)
    return TaskBlobs(frozenset(named | alliances), frozenset((named - own) | alliances))
