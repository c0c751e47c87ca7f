"""What proposers and the aggregator do where updates are hidden (white paper VI.H): commit, reveal to one, sum, prove.

Every replica verifies each proof when it judges the block that holds it, so none counts that does not verify.
"""

from protocol.alliance_acts import Accusation, CommitUpdate, ProvenSum, PublishAggregate, RevealUpdate
from protocol.alliance_settings import MIN_PRIVATE_PROPOSERS
from protocol.crypto import hash_parts, integer_bytes, seal_key
from protocol.errors import AlreadyDone, NotEligible, OutOfBounds
from protocol.rules.alliance.commitments import (
    BOXES,
    COMMITTED,
    PUBLISHED,
    Box,
    Committed,
    Published,
    PublishedSum,
    get_box,
    get_committed,
    get_published,
    make_round_context,
    make_round_statement,
    require_masking,
    require_privacy,
)
from protocol.rules.alliance.masks import note_mask_key
from protocol.rules.alliance.records import (
    Alliance,
    AlliancePhase,
    Update,
    get_round,
    get_update,
    put_update,
    require_phase,
)
from protocol.rules.context import Context
from protocol.state import Overlay, StateView
from protocol.zk.aggregation import aggregate_digest, verify_aggregation
from protocol.zk.knowledge import verify_committed_update


def commit_update(state: Overlay, context: Context, sender: bytes, payload: CommitUpdate) -> None:
    """Bind a proposer to its update, of which it proves that it knows it; raises `InvalidProof` if it does not.

    Where updates are masked, its mask key is kept along.
    """
    alliance = require_phase(state, payload.alliance, payload.round, AlliancePhase.TRAIN)
    require_privacy(alliance, is_hidden=True)
    if not get_round(state, alliance.id, alliance.round).is_proposer(sender):
        raise NotEligible("only the round's proposers commit to updates")
    if get_committed(state, alliance, sender) is not None:
        raise AlreadyDone("the account has committed to its update")
    verify_committed_update(make_round_context(state, context.chain, context.params, alliance), sender, payload.update)
    note_mask_key(state, alliance, sender, payload.mask_key)
    key = (integer_bytes(alliance.id), integer_bytes(alliance.round), sender)
    COMMITTED.put(state, Committed(payload.update), *key)


def reveal_update(state: Overlay, context: Context, sender: bytes, payload: RevealUpdate) -> None:
    """Name the sealed blob of a proposer's update, and hand its key to the aggregator whose turn it is."""
    alliance = require_phase(state, payload.alliance, payload.round, AlliancePhase.SEAL)
    require_masking(alliance, is_needed=False)
    if get_committed(state, alliance, sender) is None:
        raise NotEligible("only who committed to an update reveals it")
    if payload.aggregator != get_round(state, alliance.id, alliance.round).aggregator():
        raise NotEligible("it is another aggregator's turn")
    if get_update(state, alliance.id, alliance.round, sender) is not None:
        raise AlreadyDone("the account has revealed its update to this aggregator")
    if not 0 < payload.blob.length <= context.params.max_blob_bytes:
        raise OutOfBounds("the blob's length leaves the bounds", have=payload.blob.length)
    put_update(state, alliance.id, alliance.round, sender, Update(payload.blob))
    BOXES.put(state, Box(payload.box), integer_bytes(alliance.id), integer_bytes(alliance.round), sender)


def publish_aggregate(state: Overlay, context: Context, sender: bytes, payload: PublishAggregate) -> None:
    """Put the proven sum on the log; raises `InvalidProof` unless it is that of all frozen clients not accused.

    With too few of those there is no sum, for it would show an update to all; and only then may there be none.
    """
    alliance = require_phase(state, payload.alliance, payload.round, AlliancePhase.AGGREGATE)
    require_masking(alliance, is_needed=False)
    current = get_round(state, alliance.id, alliance.round)
    if sender != current.aggregator():
        raise NotEligible("only the aggregator whose turn it is publishes an aggregate")
    if get_published(state, alliance) is not None:
        raise AlreadyDone("the round has an aggregate")
    for accusation in payload.accused:
        check_accusation(state, alliance, current.frozen, sender, accusation)
    accused = {accusation.client for accusation in payload.accused}
    clients = tuple(client for client in current.frozen if client not in accused)
    if (payload.proven is not None) != (len(clients) >= MIN_PRIVATE_PROPOSERS):
        raise OutOfBounds(
            "updates are summed where at least so many are left that they hide each other, and nowhere else",
            have=len(clients),
            need=MIN_PRIVATE_PROPOSERS,
        )
    published = Published(
        aggregator=sender,
        proven=None if payload.proven is None else check_sum(state, context, alliance, clients, payload.proven, sender),
        liars=tuple(one.client for one in payload.accused if one.key is not None),
        unreadable=tuple(one.client for one in payload.accused if one.key is None),
    )
    PUBLISHED.put(state, published, integer_bytes(alliance.id), integer_bytes(alliance.round))


def check_sum(
    state: StateView,
    context: Context,
    alliance: Alliance,
    clients: tuple[bytes, ...],
    proven: ProvenSum,
    aggregator: bytes,
) -> PublishedSum:
    """Return what is kept of a sum, if it is the aggregator's own and that of these clients."""
    if proven.aggregation.key != aggregator:
        raise NotEligible("an aggregator publishes its own proof")
    if not 0 < proven.blob.length <= context.params.max_blob_bytes:
        raise OutOfBounds("the blob's length leaves the bounds", have=proven.blob.length)
    statement = make_round_statement(state, context.chain, context.params, alliance, clients)
    verify_aggregation(statement, proven.aggregation)
    return PublishedSum(
        blob=proven.blob,
        digest=aggregate_digest(statement.context, proven.aggregation.product),
        proof=hash_parts("flock/zk/proof", proven.aggregation.proof),
        clients=clients,
        weights=tuple(part.weight for part in statement.contributions),
    )


def check_accusation(
    state: StateView, alliance: Alliance, frozen: tuple[bytes, ...], aggregator: bytes, accusation: Accusation
) -> None:
    """Return if the key that is shown is the one that the client sealed; raises `OutOfBounds`.

    Then everybody who holds the blob can see for itself whether it opens the commitment.
    """
    box = get_box(state, alliance, accusation.client)
    if accusation.client not in frozen or box is None:
        raise OutOfBounds("an accused whose update is not in the sum", client=accusation.client.hex())
    if accusation.key is not None and seal_key(accusation.key, aggregator) != box.sealed:
        raise OutOfBounds("the key is not the one in the client's box", client=accusation.client.hex())
