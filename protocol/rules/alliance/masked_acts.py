"""What everybody does where updates are masked (zk.md "Masked mode"): share, sum, dispute, judge, open, accuse.

A client's vector may be seen by all. The sum of all vectors opens Enc(w), which the ledger works out from the
commitments; so the sum is its own proof, and a sum that does not open it shows that somebody lied.
"""

from msgspec.structs import replace

from protocol.alliance_acts import AccuseMasked, DisputeMasked, JudgeSum, OpenMask, PublishMasked, ShareMasked
from protocol.blobs import BlobId
from protocol.crypto import integer_bytes
from protocol.errors import AlreadyDone, NotEligible, OutOfBounds
from protocol.rules.alliance.acts import require_voter
from protocol.rules.alliance.commitments import (
    PUBLISHED,
    Published,
    PublishedSum,
    get_committed,
    get_published,
    make_round_statement,
    require_masking,
)
from protocol.rules.alliance.masks import get_mask, put_mask, vector_bytes
from protocol.rules.alliance.records import (
    Alliance,
    AlliancePhase,
    AllianceRound,
    Update,
    get_round,
    get_update,
    put_round,
    put_sheet,
    put_update,
    require_phase,
)
from protocol.rules.context import Context
from protocol.state import Overlay, StateView
from protocol.zk.aggregation import aggregate_digest, compute_product
from protocol.zk.mask_keys import mask_public_key


def share_masked(state: Overlay, context: Context, sender: bytes, payload: ShareMasked) -> None:
    """Name the blob of a client's masked update."""
    alliance = require_phase(state, payload.alliance, payload.round, AlliancePhase.SEAL)
    require_masking(alliance, is_needed=True)
    if get_committed(state, alliance, sender) is None:
        raise NotEligible("only who committed to an update shares it")
    if get_update(state, alliance.id, alliance.round, sender) is not None:
        raise AlreadyDone("the account has shared its masked update")
    check_length(context, alliance, payload.blob)
    put_update(state, alliance.id, alliance.round, sender, Update(payload.blob))


def publish_masked(state: Overlay, context: Context, sender: bytes, payload: PublishMasked) -> None:
    """Put the sum on the log, with the digest of what it must open; the voters see whether it does."""
    alliance, current = require_turn(state, payload.alliance, payload.round, sender)
    check_length(context, alliance, payload.blob)
    statement = make_round_statement(state, context.chain, context.params, alliance, current.frozen)
    digest = aggregate_digest(statement.context, compute_product(statement))
    weights = tuple(part.weight for part in statement.contributions)
    proven = PublishedSum(payload.blob, digest, None, current.frozen, weights)
    PUBLISHED.put(state, Published(sender, proven, (), ()), integer_bytes(alliance.id), integer_bytes(alliance.round))


def dispute_masked(state: Overlay, context: Context, sender: bytes, payload: DisputeMasked) -> None:
    """Say that the sum does not open what it must, which the voters then judge."""
    alliance, current = require_turn(state, payload.alliance, payload.round, sender)
    put_round(state, alliance, replace(current, is_disputed=True))


def judge_sum(state: Overlay, context: Context, sender: bytes, payload: JudgeSum) -> None:
    """Count a voter's word on a disputed sum. It is about the vectors, so it stands when another one disputes them."""
    alliance = require_phase(state, payload.alliance, payload.round, AlliancePhase.DISPUTE)
    sheet = require_voter(state, alliance, sender)
    if sheet.held is None:
        raise NotEligible("the account did not say which updates it holds, so it has no say in this round")
    if sheet.opens is not None:
        raise AlreadyDone("the account has said whether the sum opens Enc(w)")
    put_sheet(state, alliance.id, alliance.round, sender, replace(sheet, opens=payload.opens))


def open_mask(state: Overlay, context: Context, sender: bytes, payload: OpenMask) -> None:
    """Keep the secret of a client, if its public key is the one on the log."""
    alliance = require_phase(state, payload.alliance, payload.round, AlliancePhase.UNMASK)
    mask = get_mask(state, alliance, sender)
    if mask is None:
        raise NotEligible("only clients of the disputed sum open their masks")
    if mask.secret is not None:
        raise AlreadyDone("the account has opened its mask")
    if mask_public_key(payload.secret) != mask.key:
        raise OutOfBounds("the secret is not that of the account's mask key")
    put_mask(state, alliance, sender, replace(mask, secret=payload.secret))


def accuse_masked(state: Overlay, context: Context, sender: bytes, payload: AccuseMasked) -> None:
    """Count a voter's verdict on who lied."""
    alliance = require_phase(state, payload.alliance, payload.round, AlliancePhase.VERDICT)
    sheet = require_voter(state, alliance, sender)
    if sheet.opens is None:
        raise NotEligible("the account did not judge the sum, so it has no say in the verdict")
    if sheet.liars is not None:
        raise AlreadyDone("the account has said who lied")
    frozen = get_round(state, alliance.id, alliance.round).frozen
    for liar in payload.liars:
        if liar not in frozen:
            raise OutOfBounds("an accused whose update is not in the sum", client=liar.hex())
    put_sheet(state, alliance.id, alliance.round, sender, replace(sheet, liars=payload.liars))


def require_turn(state: StateView, alliance: int, round: int, sender: bytes) -> tuple[Alliance, AllianceRound]:
    """Return the alliance and its round if the sender may say now what the masked updates come to.

    Raises `WrongPhase`, `NotEligible` or `AlreadyDone`.
    """
    record = require_phase(state, alliance, round, AlliancePhase.AGGREGATE)
    require_masking(record, is_needed=True)
    current = get_round(state, record.id, record.round)
    if sender != current.aggregator():
        raise NotEligible("only the aggregator whose turn it is sums masked updates")
    if current.is_disputed or get_published(state, record) is not None:
        raise AlreadyDone("the account has said what the masked updates come to")
    return record, current


def check_length(context: Context, alliance: Alliance, blob: BlobId) -> None:
    """Return if a blob is as long as a masked update, or the sum of them, must be; raises `OutOfBounds`."""
    need = vector_bytes(context.params, alliance)
    if blob.length != need:
        raise OutOfBounds(f"a masked update, and the sum of them, has {need} bytes here", have=blob.length, need=need)
