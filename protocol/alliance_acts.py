"""The transactions of FL Alliance (white paper VI; alliance.md "A round"): one record per kind, and stateless checks.

Where updates, votes or scores stand in a list, they stand in the order of their proposers' addresses.
"""

from typing import Annotated

from msgspec import Meta

from protocol.alliance_settings import MAX_PARTICIPANTS, AllianceSettings, check_alliance_settings
from protocol.blobs import BlobId
from protocol.errors import Malformed, OutOfBounds
from protocol.models import MetricSpec, MetricValue, ModelSpec, check_metric, check_model
from protocol.types import Address, Amount, Bytes32, Count, Digest, Name, Record
from protocol.zk.aggregation import Aggregation
from protocol.zk.knowledge import CommittedUpdate
from protocol.zk.parameters import MAX_CLIENTS

# What `crypto.seal_key` gives.
SealedBox = Annotated[bytes, Meta(min_length=80, max_length=80)]


class LocalTraining(Record):
    """What every proposer does with its own data: E passes (Algorithm 1), the step size, rows per step."""

    passes: Annotated[int, Meta(ge=1, le=100_000)]
    learning_rate_millionths: Annotated[int, Meta(ge=1, le=10**9)]
    batch_size: Annotated[int, Meta(ge=1, le=2**24)]


class AllianceSpec(Record):
    """What a creator asks for (VI.A). It starts from the winner of a finished task, or from a fresh model's blob.

    Models are files of fixed-point numbers: int32, in units of 2^-16. Rounds begin once `participants` have joined, or
    fewer at the end of the opening. Scores are the metric's own values in millionths, not mapped to [0, 1].
    """

    name: Name
    model: ModelSpec
    metric: MetricSpec
    base_task: Count | None
    fresh_model: BlobId | None
    training: LocalTraining
    joining_stake: Amount
    min_test_rows: Count
    participants: Count
    settings: AllianceSettings


class CreateAlliance(Record, tag=50):
    """Create an alliance: bonds the creator's stake, pays the fee, fills the pool.

    Without an escrow it waits for verification, and expires if that does not come before its opening ends.
    """

    spec: AllianceSpec
    stake: Amount
    escrow: Amount


class JoinAlliance(Record, tag=51):
    """Take part with exactly the joining stake, and declare the sizes of the own training and test split."""

    alliance: Count
    train_rows: Annotated[int, Meta(ge=1, le=2**40)]
    test_rows: Annotated[int, Meta(ge=1, le=2**40)]


class LeaveAlliance(Record, tag=52):
    """Stop taking part: at once while it opens, else when the current round closes. The stake unbonds."""

    alliance: Count


class TopUpStake(Record, tag=53):
    """Add to the own stake in an alliance, so that it reaches the threshold again."""

    alliance: Count
    units: Amount


class FundAlliance(Record, tag=54):
    """Give to an alliance's pool; anybody may."""

    alliance: Count
    units: Amount


class CancelAlliance(Record, tag=55):
    """The creator calls its alliance off before its first round: all but the registration fee goes back."""

    alliance: Count


class VerifyAlliance(Record, tag=56):
    """The governance account lets an alliance take part in the emission (VI.A)."""

    alliance: Count


class ProposeUpdate(Record, tag=60):
    """A proposer's locally trained model, as a blob of fixed-point numbers (VI.C)."""

    alliance: Count
    round: Count
    blob: BlobId


class HoldUpdates(Record, tag=61):
    """A voter has the updates of these proposers; sorted."""

    alliance: Count
    round: Count
    proposers: Annotated[tuple[Address, ...], Meta(max_length=MAX_PARTICIPANTS)]


class CommitVote(Record, tag=62):
    """A voter binds itself to what it will reveal (`blinding.vote_commitment`)."""

    alliance: Count
    round: Count
    commitment: Digest


class RevealVote(Record, tag=63):
    """A voter's scores on its own test split (VI.E): of the best accepted model, and of what is voted on.

    That is each update of the frozen set, None for one that is no model; or only the aggregate, which is then named.
    Where updates are hidden, an aggregate that cannot be had or is not the proven one has neither score nor name: one
    score, None, refuses it, and in the same way accusations that are false. True accusations without a sum give
    nothing to score: then there is no score at all.
    """

    alliance: Count
    round: Count
    salt: Bytes32
    best: MetricValue
    scores: Annotated[tuple[MetricValue | None, ...], Meta(max_length=MAX_PARTICIPANTS)]
    aggregate: BlobId | None


class ConfirmAggregate(Record, tag=64):
    """A voter's aggregate of the accepted updates, and its score on the own test split.

    `gains` has what each accepted update adds to the score (leave one out), where rewards go by impact; else nothing.
    """

    alliance: Count
    round: Count
    model: BlobId
    score: MetricValue
    gains: Annotated[tuple[MetricValue, ...], Meta(max_length=MAX_PARTICIPANTS)]


class CommitUpdate(Record, tag=65):
    """A proposer's commitment to its update, where updates are hidden (VI.H): it comes before anything is revealed.

    Where they are masked, with the X25519 public key of this attempt (`zk.mask_keys`), from which all masks come.
    """

    alliance: Count
    round: Count
    update: CommittedUpdate
    mask_key: Bytes32 | None


class RevealUpdate(Record, tag=66):
    """A proposer's update with its blindings, as a sealed blob, and the blob's key sealed to one aggregator.

    The box is `crypto.seal_key`'s, so that who learns the key can see whether the box was right.
    """

    alliance: Count
    round: Count
    aggregator: Address
    blob: BlobId
    box: SealedBox


class Accusation(Record):
    """A client whose blob does not open its commitment, and the blob's key for all to see so; None is a bad box."""

    client: Address
    key: Bytes32 | None


class ProvenSum(Record):
    """A weighted sum of updates with its proof; `blob` holds it and its blindings (`zk.opening.encode_opening`)."""

    blob: BlobId
    aggregation: Aggregation


class PublishAggregate(Record, tag=67):
    """The weighted sum of all frozen updates but those of the accused, which are sorted by client.

    There is none where the accused leave fewer than hide each other (`MIN_PRIVATE_PROPOSERS`): it would show an update.
    """

    alliance: Count
    round: Count
    proven: ProvenSum | None
    accused: Annotated[tuple[Accusation, ...], Meta(max_length=MAX_CLIENTS)]


class ShareMasked(Record, tag=68):
    """A proposer's masked update as a blob, which may be seen by all, for it is noise (`zk.masking.encode_masked`)."""

    alliance: Count
    round: Count
    blob: BlobId


class PublishMasked(Record, tag=69):
    """The sum of all masked updates: a blob with it and its blindings in clear, which open Enc(w): the whole proof."""

    alliance: Count
    round: Count
    blob: BlobId


class DisputeMasked(Record, tag=70):
    """The aggregator says that the sum of the masked updates does not open Enc(w), so somebody lied."""

    alliance: Count
    round: Count


class JudgeSum(Record, tag=71):
    """A voter says of a dispute whether the sum of the masked updates opens Enc(w)."""

    alliance: Count
    round: Count
    opens: bool


class OpenMask(Record, tag=72):
    """A client shows the secret behind its public key of this attempt, so that all can see whether it lied."""

    alliance: Count
    round: Count
    secret: Bytes32


class AccuseMasked(Record, tag=73):
    """A voter names all whose opened vector contradicts its commitment, or who cannot be checked; sorted."""

    alliance: Count
    round: Count
    liars: Annotated[tuple[Address, ...], Meta(max_length=MAX_CLIENTS)]


MaskedPayload = ShareMasked | PublishMasked | DisputeMasked | JudgeSum | OpenMask | AccuseMasked
AlliancePayload = (
    CreateAlliance
    | JoinAlliance
    | LeaveAlliance
    | TopUpStake
    | FundAlliance
    | CancelAlliance
    | VerifyAlliance
    | ProposeUpdate
    | HoldUpdates
    | CommitVote
    | RevealVote
    | ConfirmAggregate
    | CommitUpdate
    | RevealUpdate
    | PublishAggregate
    | MaskedPayload
)


def check_alliance_payload(payload: AlliancePayload) -> None:
    """Return if the payload is possible in some state; raise `OutOfBounds` or `Malformed` otherwise."""
    match payload:
        case CreateAlliance(spec):
            check_alliance_spec(spec)
        case TopUpStake(units=0) | FundAlliance(units=0):
            raise OutOfBounds("at least one unit is given")
        case HoldUpdates(proposers=proposers) if list(proposers) != sorted(set(proposers)):
            raise Malformed("the proposers are not sorted and distinct")
        case PublishAggregate(accused=accused):
            clients = [accusation.client for accusation in accused]
            if clients != sorted(set(clients)):
                raise Malformed("the accused are not sorted and distinct")
        case AccuseMasked(liars=liars) if list(liars) != sorted(set(liars)):
            raise Malformed("the liars are not sorted and distinct")


def check_alliance_spec(spec: AllianceSpec) -> None:
    """Return if an alliance like this can be run; raise `OutOfBounds` otherwise."""
    if (spec.base_task is None) == (spec.fresh_model is None):
        raise OutOfBounds("an alliance starts either from a task's winner or from a fresh model")
    check_model(spec.model)
    check_metric(spec.metric)
    check_alliance_settings(spec.settings)
