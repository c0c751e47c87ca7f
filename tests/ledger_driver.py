"""Drives the real ledger without network or storage: real keys, real blocks, real commits, a clock that tests move."""

import hashlib
from dataclasses import dataclass

from protocol import ledger, vrf
from protocol.blinding import (
    claim_binding,
    dataset_key_hash,
    join_alpha,
    key_commitment,
    score_commitment,
    submission_binding,
    submit_alpha,
)
from protocol.blobs import BlobId
from protocol.blocks import Block, Receipt, block_id
from protocol.codec import encode
from protocol.crypto import public_key, seal_key
from protocol.genesis import GenesisAccount, GenesisDocument, GenesisReplica, genesis_digest, make_genesis_state
from protocol.genesis import genesis_head as make_head
from protocol.models import MetricSpec, mlp_model
from protocol.params import DEVNET
from protocol.ring_proof import prove_ring, ring_digest
from protocol.rules.accounts import get_next_nonce
from protocol.rules.arena.records import get_epoch, get_submission, get_task, scan_opened
from protocol.rules.voters import get_voters
from protocol.state import Commitment, MemoryState
from protocol.tendermint.messages import Commit, CommitSignature, VoteKind, sign_vote
from protocol.tendermint.proposer import proposer_of
from protocol.transactions import (
    AnonymousTransaction,
    Attest,
    ClaimSubmission,
    CommitScores,
    CreateTask,
    DatasetName,
    Join,
    OpenSubmission,
    Payload,
    PublishKey,
    ReleaseKey,
    Resources,
    RevealScores,
    Role,
    ScoreEntry,
    SealedDataset,
    SealedKey,
    Submit,
    TaskSpec,
    Transfer,
    Verdict,
    sign_transaction,
)
from protocol.types import UNITS_PER_FML

FML = UNITS_PER_FML
START_MS = 1_700_000_000_000
NEEDS = Resources(256, 5_000)
ACCURACY = MetricSpec("accuracy", True, 0, 1_000_000)


def seed_of(*words: object) -> bytes:
    """Return 32 bytes that depend on the words only."""
    return hashlib.sha256("/".join(map(str, words)).encode()).digest()


@dataclass(frozen=True)
class Person:
    """An account with all its keys; everybody is a replica too."""

    name: str

    @property
    def seed(self) -> bytes:
        return seed_of("account", self.name)

    @property
    def address(self) -> bytes:
        return public_key(self.seed)

    @property
    def consensus_seed(self) -> bytes:
        return seed_of("consensus", self.name)

    @property
    def beacon_secret(self) -> bytes:
        return vrf.key_from_seed(seed_of("beacon", self.name))

    def secret(self, task: int) -> bytes:
        """Return the VRF secret of one task."""
        return vrf.key_from_seed(seed_of("vrf", self.name, task))


class Ledger:
    """A chain in memory, one block at a time."""

    def __init__(
        self, *people: Person, balance: int = 10_000 * FML, params=DEVNET, governance: Person | None = None
    ) -> None:
        self.people = people
        self.document = GenesisDocument(
            "test",
            START_MS,
            params,
            tuple(GenesisAccount(p.name, p.address, balance) for p in people),
            tuple(
                GenesisReplica(p.address, public_key(p.consensus_seed), vrf.public(p.beacon_secret), 1_000 * FML)
                for p in people
            ),
            None if governance is None else governance.address,
        )
        self.chain = genesis_digest(self.document)
        self.state = make_genesis_state(self.document)
        commitment = Commitment().update(MemoryState(), self.state.records)
        self.before = ledger.ChainState(
            chain=self.chain,
            params=params,
            head=make_head(self.document, commitment),
            view=self.state,
            commitment=commitment,
        )
        self.commit: Commit | None = None
        self.blocks: list[Block] = []
        self.receipts: list[tuple[Receipt, ...]] = []
        self.pending: list[bytes] = []
        self.nonces: dict[bytes, int] = {}

    # --- transactions

    def send(self, person: Person, payload: Payload, *, fee: int = FML // 1_000) -> None:
        """Queue a signed transaction."""
        nonce = self.nonces.get(person.address, get_next_nonce(self.state, person.address))
        self.nonces[person.address] = nonce + 1
        transaction = sign_transaction(
            self.chain, person.seed, payload, nonce=nonce, expires=self.before.head.height + 100, fee=fee
        )
        self.pending.append(encode(transaction))

    def send_anonymous(self, payload) -> None:
        """Queue an anonymous transaction."""
        self.pending.append(encode(AnonymousTransaction(payload)))

    # --- blocks

    def make_block(self, *, after_ms: int = 100, round: int = 0, transactions: list[bytes] | None = None) -> Block:
        """Return the next block with what is queued, by whoever's turn it is."""
        voters = get_voters(self.state)
        key = proposer_of(voters.current, voters.priorities, round).key
        proposer = next(p for p in self.people if public_key(p.consensus_seed) == key)
        return ledger.build_block(
            self.before,
            transactions=self.pending if transactions is None else transactions,
            commit=self.commit,
            time_ms=self.before.head.time_ms + after_ms,
            round=round,
            proposer=key,
            beacon_proof=ledger.prove_beacon(
                self.before, proposer.beacon_secret, seed_of("nonce", self.before.head.height)
            ),
        )

    def block(self, *, after_ms: int = 100, round: int = 0) -> tuple[Receipt, ...]:
        """Make, apply and commit the next block; returns its receipts."""
        return self.apply(self.make_block(after_ms=after_ms, round=round))

    def apply(self, block: Block) -> tuple[Receipt, ...]:
        """Apply and commit a block."""
        applied = ledger.apply_block(self.before, block)
        self.is_phase_changed = applied.is_phase_changed
        self.state.apply(applied.changes)
        self.before = ledger.ChainState(
            chain=self.chain,
            params=self.before.params,
            head=applied.head,
            view=self.state,
            commitment=applied.commitment,
        )
        self.commit = self.sign_commit(block)
        self.blocks.append(block)
        self.receipts.append(applied.receipts)
        self.pending, self.nonces = [], {}
        return applied.receipts

    def sign_commit(self, block: Block) -> Commit:
        """Return the commit that all replicas sign."""
        identity, height = block_id(block.header), block.header.height
        votes = [
            sign_vote(
                self.chain,
                p.consensus_seed,
                kind=VoteKind.PRECOMMIT,
                height=height,
                round=block.header.round,
                block_id=identity,
            )
            for p in self.people
        ]
        signatures = sorted((CommitSignature(v.replica, v.signature) for v in votes), key=lambda entry: entry.replica)
        return Commit(height, block.header.round, identity, tuple(signatures))

    def run_until(self, condition, *, limit: int = 50, after_ms: int = 100) -> None:
        """Make blocks until the condition holds."""
        for _ in range(limit):
            if condition():
                return
            self.block(after_ms=after_ms)
        raise AssertionError(f"not reached within {limit} blocks")

    # --- the Arena, step by step

    def create_task(
        self, creator: Person, *, epochs: int = 2, escrow: int = 1_000 * FML, settings=None, baseline: int = 0
    ) -> int:
        """Create a task and return its id."""
        spec = TaskSpec(
            "digits",
            mlp_model(64, 8, 10),
            ACCURACY,
            SealedDataset(BlobId(seed_of("blob a"), 1_000), dataset_key_hash(seed_of("key a")), baseline),
            SealedDataset(BlobId(seed_of("blob b"), 1_000), dataset_key_hash(seed_of("key b")), baseline),
            epochs,
            settings or self.before.params.task,
            NEEDS,
        )
        self.send(creator, CreateTask(spec, 100 * FML, escrow))
        (receipt,) = self.block()
        assert receipt.error == 0, receipt
        return 1

    def join(self, person: Person, task: int, role: Role, stake: int = 100 * FML) -> None:
        """Queue a join."""
        secret = person.secret(task)
        proof = vrf.prove(
            secret, alpha=join_alpha(self.chain, task, person.address), ad=b"", randomness=seed_of("join", person.name)
        )
        self.send(person, Join(task, role, stake, vrf.public(secret), proof, NEEDS))

    def open_task(self, task: int, trainers: list[Person], validators: list[Person]) -> None:
        """Let everybody join and attest, and run until the first epoch takes submissions."""
        for person in trainers:
            self.join(person, task, Role.TRAINER)
        for person in validators:
            self.join(person, task, Role.VALIDATOR)
        self.block()
        for person in validators:
            self.send(person, Attest(task))
        self.block()

    def tag(self, person: Person, task: int, epoch: int) -> bytes:
        """Return a trainer's pseudonym."""
        return vrf.tag(person.secret(task), submit_alpha(self.chain, task, epoch))

    def submit(self, person: Person, task: int, epoch: int, blob: BlobId | None = None) -> None:
        """Queue an anonymous submission, of a blob of its own where none is given."""
        ring = tuple(seat.vrf_key for seat in get_epoch(self.state, task, epoch).seats)
        tag, digest = self.tag(person, task, epoch), ring_digest(ring)
        blob = blob or BlobId(seed_of("weights", person.name, epoch), 5_000)
        commitment = key_commitment(self.chain, task, epoch, tag, seed_of("key", person.name, epoch))
        binding = submission_binding(
            self.chain, task, epoch, ring=digest, tag=tag, blob=blob, key_commitment=commitment
        )
        proof = prove_ring(
            person.secret(task),
            ring=ring,
            alpha=submit_alpha(self.chain, task, epoch),
            ad=binding,
            randomness=seed_of("ring", person.name, epoch),
        )
        self.send_anonymous(Submit(task, epoch, digest, tag, blob, commitment, proof))

    def open(self, person: Person, task: int, epoch: int) -> None:
        """Queue the key of a submission."""
        tag = self.tag(person, task, epoch)
        self.send_anonymous(OpenSubmission(task, epoch, tag, seed_of("key", person.name, epoch)))

    def release_key(self, creator: Person, task: int) -> None:
        """Queue the key that the epoch needs."""
        record = get_task(self.state, task)
        if record.is_last_epoch():
            self.send(creator, ReleaseKey(task, record.epoch, (), seed_of("key b")))
            return
        drawn = get_epoch(self.state, task, record.epoch).panel()
        sealed = tuple(SealedKey(j.address, seal_key(seed_of("key a"), j.address)) for j in drawn)
        self.send(creator, ReleaseKey(task, record.epoch, sealed, None))

    def entries(self, task: int, epoch: int, scores: dict[bytes, int]) -> tuple[ScoreEntry, ...]:
        """Return an honest validator's entries: every opened submission scored, roots after the blob."""
        return tuple(
            ScoreEntry(tag, Verdict.SCORED, scores[tag], submission.blob.root, None)
            for tag, submission in scan_opened(self.state, task, epoch)
        )

    def commit_scores(self, person: Person, task: int, epoch: int, entries: tuple[ScoreEntry, ...]) -> None:
        """Queue a validator's commitment."""
        salt = seed_of("salt", person.name, epoch)
        commitment = score_commitment(self.chain, task, epoch, person.address, salt, entries)
        self.send(person, CommitScores(task, epoch, commitment))

    def reveal_scores(self, person: Person, task: int, epoch: int, entries: tuple[ScoreEntry, ...]) -> None:
        """Queue a validator's scores."""
        self.send(person, RevealScores(task, epoch, seed_of("salt", person.name, epoch), entries))

    def claim(self, person: Person, task: int, epoch: int) -> None:
        """Queue the claim of a submission."""
        tag = self.tag(person, task, epoch)
        proof = vrf.prove(
            person.secret(task),
            alpha=submit_alpha(self.chain, task, epoch),
            ad=claim_binding(person.address, tag),
            randomness=seed_of("claim", person.name, epoch),
        )
        self.send(person, ClaimSubmission(task, epoch, tag, proof))

    def publish_keys(self, creator: Person, task: int) -> None:
        """Queue both keys."""
        self.send(creator, PublishKey(task, DatasetName.A, seed_of("key a")))
        self.send(creator, PublishKey(task, DatasetName.B, seed_of("key b")))

    def transfer(self, person: Person, to: Person, units: int) -> None:
        """Queue a transfer."""
        self.send(person, Transfer(to.address, units))

    def submission_of(self, person: Person, task: int, epoch: int):
        """Return what a trainer entered, if it did."""
        return get_submission(self.state, task, epoch, self.tag(person, task, epoch))
