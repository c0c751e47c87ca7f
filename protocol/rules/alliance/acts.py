"""What proposers and voters do in a round (white paper VI.C to VI.E; alliance.md "A round").

Each act counts once, in its phase, from whom it is asked. Who missed a step has no say in the later ones: else a voter
could skip the cheap steps at the price of absence and still vote.
"""

from msgspec.structs import replace

from protocol.alliance_acts import CommitVote, ConfirmAggregate, HoldUpdates, ProposeUpdate, RevealVote
from protocol.alliance_settings import RewardRule
from protocol.blinding import vote_commitment
from protocol.errors import AlreadyDone, NotEligible, OutOfBounds
from protocol.rules.alliance.commitments import get_published, is_private, require_privacy
from protocol.rules.alliance.duties import votes_on_aggregate
from protocol.rules.alliance.records import (
    Alliance,
    AlliancePhase,
    AllianceRound,
    Ballot,
    Confirmation,
    Update,
    VoterSheet,
    get_round,
    get_sheet,
    get_update,
    put_sheet,
    put_update,
    require_phase,
)
from protocol.rules.context import Context
from protocol.state import Overlay, StateView


def propose_update(state: Overlay, context: Context, sender: bytes, payload: ProposeUpdate) -> None:
    """Name the blob of a proposer's locally trained model."""
    alliance = require_phase(state, payload.alliance, payload.round, AlliancePhase.TRAIN)
    require_privacy(alliance, is_hidden=False)
    if not get_round(state, alliance.id, alliance.round).is_proposer(sender):
        raise NotEligible("only the round's proposers propose updates")
    if get_update(state, alliance.id, alliance.round, sender) is not None:
        raise AlreadyDone("the account has proposed its update")
    if not 0 < payload.blob.length <= context.params.max_blob_bytes:
        raise OutOfBounds("the blob's length leaves the bounds", have=payload.blob.length)
    put_update(state, alliance.id, alliance.round, sender, Update(payload.blob))


def hold_updates(state: Overlay, context: Context, sender: bytes, payload: HoldUpdates) -> None:
    """Count a voter as holding some of the round's updates."""
    alliance = require_phase(state, payload.alliance, payload.round, AlliancePhase.HOLD)
    sheet = require_voter(state, alliance, sender)
    if sheet.held is not None:
        raise AlreadyDone("the account has said what it holds")
    for proposer in payload.proposers:
        if get_update(state, alliance.id, alliance.round, proposer) is None:
            raise OutOfBounds("an update of somebody who proposed none", proposer=proposer.hex())
    put_sheet(state, alliance.id, alliance.round, sender, replace(sheet, held=payload.proposers))


def commit_vote(state: Overlay, context: Context, sender: bytes, payload: CommitVote) -> None:
    """Bind a voter to its scores."""
    alliance = require_phase(state, payload.alliance, payload.round, AlliancePhase.VOTE)
    sheet = require_voter(state, alliance, sender)
    if sheet.held is None:
        raise NotEligible("the account did not say which updates it holds, so it has no vote in this round")
    if sheet.commitment is not None:
        raise AlreadyDone("the account has committed to its vote")
    put_sheet(state, alliance.id, alliance.round, sender, replace(sheet, commitment=payload.commitment))


def reveal_vote(state: Overlay, context: Context, sender: bytes, payload: RevealVote) -> None:
    """Show what a voter committed to; what that means is decided when the phase closes."""
    alliance = require_phase(state, payload.alliance, payload.round, AlliancePhase.REVEAL)
    sheet = require_voter(state, alliance, sender)
    if sheet.commitment is None:
        raise NotEligible("the account committed to no vote")
    if sheet.ballot is not None:
        raise AlreadyDone("the account has revealed its vote")
    commitment = vote_commitment(
        context.chain,
        alliance.id,
        alliance.round,
        sender,
        payload.salt,
        best=payload.best,
        scores=payload.scores,
        aggregate=payload.aggregate,
    )
    if commitment != sheet.commitment:
        raise OutOfBounds("the scores are not those that were committed to")
    ballot = Ballot(payload.best, payload.scores, payload.aggregate)
    check_ballot(state, alliance, get_round(state, alliance.id, alliance.round), ballot)
    put_sheet(state, alliance.id, alliance.round, sender, replace(sheet, ballot=ballot))


def check_ballot(state: StateView, alliance: Alliance, current: AllianceRound, ballot: Ballot) -> None:
    """Return if there is a score for all that is voted on, and no more; raises `OutOfBounds`."""
    if is_private(alliance) and ballot.is_refusal():
        return
    published = get_published(state, alliance)
    has_nothing = published is not None and published.proven is None
    is_one = votes_on_aggregate(alliance) and not has_nothing
    need = 0 if has_nothing else 1 if is_one else len(current.frozen)
    if len(ballot.scores) != need:
        raise OutOfBounds(f"{need} scores are asked for", have=len(ballot.scores), need=need)
    if is_one != (ballot.aggregate is not None):
        raise OutOfBounds("the aggregate is named where it is voted on" if is_one else "nobody asks for an aggregate")


def confirm_aggregate(state: Overlay, context: Context, sender: bytes, payload: ConfirmAggregate) -> None:
    """Name the aggregate of the accepted updates, with its score."""
    alliance = require_phase(state, payload.alliance, payload.round, AlliancePhase.CONFIRM)
    sheet = require_voter(state, alliance, sender)
    if sheet.ballot is None:
        raise NotEligible("the account revealed no vote, so nothing says what its score compares with")
    if sheet.confirmation is not None:
        raise AlreadyDone("the account has confirmed the aggregate")
    accepted = get_round(state, alliance.id, alliance.round).accepted
    need = len(accepted) if alliance.spec.settings.reward is RewardRule.IMPACT else 0
    if len(payload.gains) != need:
        raise OutOfBounds(f"{need} gains are asked for", have=len(payload.gains), need=need)
    confirmation = Confirmation(payload.model, payload.score, payload.gains)
    put_sheet(state, alliance.id, alliance.round, sender, replace(sheet, confirmation=confirmation))


def require_voter(state: StateView, alliance: Alliance, address: bytes) -> VoterSheet:
    """Return what a voter of the current round has done; raises `NotEligible`."""
    if not get_round(state, alliance.id, alliance.round).is_voter(address):
        raise NotEligible("the account is no voter of this round")
    return get_sheet(state, alliance.id, alliance.round, address)
