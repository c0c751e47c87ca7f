"""One record per kind of transaction, and the checks that need no state.

A signed transaction is an account's: it carries a nonce, a fee and an expiry height. An anonymous one enters or opens a
submission: its proof or commitment stands in for a signature, so that the log names no author before the claim (IV.B).
"""

from enum import IntEnum
from functools import lru_cache
from typing import Annotated

from msgspec import Meta

from protocol import crypto
from protocol.alliance_acts import AlliancePayload, check_alliance_payload
from protocol.blobs import PIECE_BYTES, BlobId
from protocol.codec import decode, encode
from protocol.errors import InvalidSignature, Malformed, OutOfBounds
from protocol.models import MetricSpec, ModelSpec, check_metric, check_model
from protocol.params import TaskSettings, check_task_settings
from protocol.sealed_pieces import MAX_PATH_HASHES
from protocol.types import Address, Amount, Bytes32, Count, Digest, Height, Name, Ratio, Record, Score, Signature

# No preset of `Params.max_transaction_bytes` may exceed this; longer input is not even decoded.
MAX_TRANSACTION_BYTES = 1024 * 1024
# Opened transactions that are remembered, and the length of the longest of them.
MAX_REMEMBERED = 4_096
MAX_REMEMBERED_BYTES = 4 * 1024

Piece = Annotated[bytes, Meta(max_length=PIECE_BYTES)]
PiecePath = Annotated[tuple[Digest, ...], Meta(max_length=MAX_PATH_HASHES)]


class Role(IntEnum):
    """What an account does in one task; a creator holds no other role in its own task."""

    TRAINER = 1
    VALIDATOR = 2


class Verdict(IntEnum):
    """What a validator says of one submission."""

    SCORED = 1
    UNFETCHABLE = 2
    INVALID = 3


class DatasetName(IntEnum):
    """The two evaluation datasets of a task (white paper V.H): A for every epoch but the last, B for the last."""

    A = 1
    B = 2


class SealedDataset(Record):
    """An evaluation dataset as the task names it: encrypted blob, hash of its key, the score that needs no learning."""

    blob: BlobId
    key_hash: Digest
    baseline: Score


class Resources(Record):
    """What judging one epoch takes, or what a validator has for it: memory, and time within the scoring phase."""

    memory_mib: Count
    evaluation_ms: Count

    def suffice_for(self, needs: "Resources") -> bool:
        """Return whether both are at least what is needed."""
        return self.memory_mib >= needs.memory_mib and self.evaluation_ms >= needs.evaluation_ms


class TaskSpec(Record):
    """What a creator asks for (white paper V.A). Evaluation data stays encrypted until the ledger says otherwise."""

    name: Name
    model: ModelSpec
    metric: MetricSpec
    dataset_a: SealedDataset
    dataset_b: SealedDataset
    epochs: Count
    settings: TaskSettings
    needs: Resources


class Transfer(Record, tag=1):
    """Move units to another account."""

    to: Address
    units: Amount


class CreateTask(Record, tag=2):
    """Create an Arena task: bonds the creator's stake and deposit, pays the fee, escrows rewards.

    Without an escrow it waits for verification, and expires if that does not come before its opening ends.
    """

    spec: TaskSpec
    stake: Amount
    escrow: Amount


class Join(Record, tag=3):
    """Take a role in a task with a stake. The VRF key serves this task only; the proof shows that it is owned."""

    task: Count
    role: Role
    stake: Amount
    vrf_key: Bytes32
    vrf_proof: bytes
    resources: Resources


class Attest(Record, tag=4):
    """A validator holds both encrypted datasets of the task."""

    task: Count


class Leave(Record, tag=5):
    """Give up a role: at once while the task opens, else when the current epoch settles. The stake unbonds."""

    task: Count


class SealedKey(Record):
    """A dataset key sealed to one drawn validator (`crypto.seal_key`)."""

    recipient: Address
    box: bytes


class ReleaseKey(Record, tag=6):
    """The creator hands out the epoch's key: A's sealed to each drawn validator, B's in clear."""

    task: Count
    epoch: Count
    sealed: tuple[SealedKey, ...]
    clear: Bytes32 | None


class PublishKey(Record, tag=7):
    """The creator publishes a key at the end of the task, so that anyone can evaluate again."""

    task: Count
    dataset: DatasetName
    key: Bytes32


class CommitScores(Record, tag=8):
    """A drawn validator binds itself to its scores (`blinding.score_commitment`)."""

    task: Count
    epoch: Count
    commitment: Digest


class ScoreEntry(Record):
    """A validator's word on one submission. `root` is that of the plaintext weights; both are None if unfetchable."""

    tag: Bytes32
    verdict: Verdict
    score: Score
    root: Digest | None
    duplicate_of: Bytes32 | None


class RevealScores(Record, tag=9):
    """What was committed to: one entry per opened submission, sorted by tag."""

    task: Count
    epoch: Count
    salt: Bytes32
    entries: tuple[ScoreEntry, ...]


class ClaimSubmission(Record, tag=10):
    """Own up to a submission: a plain proof (VRF) for the same tag, after the scores were revealed."""

    task: Count
    epoch: Count
    tag: Bytes32
    proof: bytes


class Submit(Record, tag=11):
    """Enter a model anonymously: an encrypted blob under a linking tag, with a ring proof over all of that."""

    task: Count
    epoch: Count
    ring: Digest
    tag: Bytes32
    blob: BlobId
    key_commitment: Digest
    proof: bytes


class Delegate(Record, tag=30):
    """Put units behind a trainer or validator of a task, from its next epoch on."""

    task: Count
    operator: Address
    units: Amount


class Undelegate(Record, tag=31):
    """Ask shares of an operator's vault back: they leave when the current epoch has settled, and then unbond."""

    task: Count
    operator: Address
    shares: Count


class SetRewardShare(Record, tag=32):
    """A trainer or validator says what part of its rewards its delegators' stake earns for them."""

    task: Count
    millionths: Ratio


class KeyComplaint(Record, tag=40):
    """A drawn validator's box does not hold the key of dataset A: the creator must publish that key."""

    task: Count
    epoch: Count


class ProveBadPiece(Record, tag=41):
    """A piece of an encrypted dataset, with its Merkle path: it does not authenticate under the public key."""

    task: Count
    dataset: DatasetName
    index: Count
    piece: Piece
    path: PiecePath


class ProveWrongVerdict(Record, tag=42):
    """A piece of a submission, with its Merkle path, that makes it invalid for everybody: who scored it lied."""

    task: Count
    epoch: Count
    tag: Bytes32
    index: Count
    piece: Piece
    path: PiecePath


class OpenSubmission(Record, tag=12):
    """Reveal the key of a submission's blob, once entering has closed. Needs no proof: the commitment matches."""

    task: Count
    epoch: Count
    tag: Bytes32
    key: Bytes32


class AddBounty(Record, tag=20):
    """Give to the pot of a task's coming epochs; anybody may."""

    task: Count
    units: Amount


class CancelTask(Record, tag=21):
    """The creator calls its task off before anything was entered: all but the registration fee goes back."""

    task: Count


class VerifyTask(Record, tag=22):
    """The governance account lets a task take part in the emission."""

    task: Count


class Recognise(Record, tag=23):
    """The governance account lets an account create tasks without a stake."""

    account: Address


Payload = (
    Transfer
    | CreateTask
    | Join
    | Attest
    | Leave
    | ReleaseKey
    | PublishKey
    | CommitScores
    | RevealScores
    | ClaimSubmission
    | Delegate
    | Undelegate
    | SetRewardShare
    | KeyComplaint
    | ProveBadPiece
    | ProveWrongVerdict
    | AddBounty
    | CancelTask
    | VerifyTask
    | Recognise
    | AlliancePayload
)
AnonymousPayload = Submit | OpenSubmission


class SignedTransaction(Record, tag=1):
    """An act of an account. `expires` is the last height that may include it; `fee` goes half to the proposer."""

    sender: Address
    nonce: Count
    expires: Height
    fee: Amount
    payload: Payload
    signature: Signature


class AnonymousTransaction(Record, tag=2):
    """An act under a pseudonym: no account, no nonce, no fee; it expires with its phase."""

    payload: AnonymousPayload


Transaction = SignedTransaction | AnonymousTransaction


def sign_transaction(
    chain: bytes, seed: bytes, payload: Payload, *, nonce: int, expires: int, fee: int
) -> SignedTransaction:
    """Return the transaction signed with an account's 32-byte seed."""
    sender = crypto.public_key(seed)
    signature = crypto.sign(seed, "flock/transaction", chain, encode((sender, nonce, expires, fee, payload)))
    return SignedTransaction(sender, nonce, expires, fee, payload, signature)


def open_transaction(chain: bytes, data: bytes) -> Transaction:
    """Return the transaction that these bytes are, with everything checked that needs no state.

    Remembered, since mempool, proposal check and block see the same bytes; but only if it is short, for anybody can
    sign long ones. Raises `Malformed`, `InvalidSignature` or `OutOfBounds`.
    """
    return _open_short(chain, data) if len(data) <= MAX_REMEMBERED_BYTES else _open(chain, data)


@lru_cache(maxsize=MAX_REMEMBERED)
def _open_short(chain: bytes, data: bytes) -> Transaction:
    return _open(chain, data)


def _open(chain: bytes, data: bytes) -> Transaction:
    transaction: Transaction = decode(data, Transaction, max_bytes=MAX_TRANSACTION_BYTES)  # type: ignore[arg-type]
    match transaction:
        case SignedTransaction(sender, nonce, expires, fee, payload, signature):
            crypto.verify(sender, signature, "flock/transaction", chain, encode((sender, nonce, expires, fee, payload)))
            if not crypto.is_account_key(sender):
                raise InvalidSignature("the sender is not an Ed25519 public key")
    check_payload(transaction.payload)
    return transaction


def check_payload(payload: Payload | AnonymousPayload) -> None:
    """Return if the payload is possible in some state; raise `OutOfBounds` or `Malformed` otherwise."""
    match payload:
        case Transfer(_, units) if units == 0:
            raise OutOfBounds("a transfer moves at least one unit")
        case CreateTask(spec):
            check_spec(spec)
        case AddBounty(units=0):
            raise OutOfBounds("a bounty is at least one unit")
        case Undelegate(shares=0):
            raise OutOfBounds("at least one share leaves")
        case RevealScores(entries=entries):
            check_entries(entries)
        case _ if isinstance(payload, AlliancePayload):
            check_alliance_payload(payload)


def check_spec(spec: TaskSpec) -> None:
    """Return if a task like this can be run; raise `OutOfBounds` otherwise."""
    if spec.dataset_a.key_hash == spec.dataset_b.key_hash or spec.dataset_a.blob.root == spec.dataset_b.blob.root:
        raise OutOfBounds("datasets A and B must differ, in their keys too")
    check_model(spec.model)
    check_metric(spec.metric)
    check_task_settings(spec.settings)


def check_entries(entries: tuple[ScoreEntry, ...]) -> None:
    """Return if the entries are sorted, distinct, and each says what its verdict needs; raise `Malformed` otherwise."""
    tags = [entry.tag for entry in entries]
    if tags != sorted(set(tags)):
        raise Malformed("the entries are not sorted by tag and distinct")
    for entry in entries:
        if entry.verdict is not Verdict.SCORED and (entry.score or entry.duplicate_of is not None):
            raise Malformed("only a scored submission has a score or an original")
        if (entry.root is None) != (entry.verdict is Verdict.UNFETCHABLE):
            raise Malformed("exactly an unfetchable submission has no plaintext root")
