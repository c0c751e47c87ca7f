"""Each kind of transaction and the rule that it follows."""

from protocol.alliance_acts import (
    AccuseMasked,
    AlliancePayload,
    CancelAlliance,
    CommitUpdate,
    CommitVote,
    ConfirmAggregate,
    CreateAlliance,
    DisputeMasked,
    FundAlliance,
    HoldUpdates,
    JoinAlliance,
    JudgeSum,
    LeaveAlliance,
    MaskedPayload,
    OpenMask,
    ProposeUpdate,
    PublishAggregate,
    PublishMasked,
    RevealUpdate,
    RevealVote,
    ShareMasked,
    TopUpStake,
    VerifyAlliance,
)
from protocol.rules import accounts, standing
from protocol.rules.alliance import acts, founding, masked_acts, membership, private_acts
from protocol.rules.arena import delegation, funding, keys, proofs, scoring, submissions, tasks
from protocol.rules.context import Context
from protocol.state import Overlay
from protocol.transactions import (
    AddBounty,
    AnonymousPayload,
    Attest,
    CancelTask,
    ClaimSubmission,
    CommitScores,
    CreateTask,
    Delegate,
    Join,
    KeyComplaint,
    Leave,
    OpenSubmission,
    Payload,
    ProveBadPiece,
    ProveWrongVerdict,
    PublishKey,
    Recognise,
    ReleaseKey,
    RevealScores,
    SetRewardShare,
    Submit,
    Transfer,
    Undelegate,
    VerifyTask,
)


def apply_payload(state: Overlay, context: Context, sender: bytes, payload: Payload) -> None:
    """Hand an account's payload to its rule; raises a `ProtocolError` when it breaks it."""
    match payload:
        case Transfer():
            accounts.transfer(state, context, sender, payload)
        case CreateTask():
            tasks.create_task(state, context, sender, payload)
        case Join():
            tasks.join(state, context, sender, payload)
        case Attest():
            tasks.attest(state, context, sender, payload)
        case Leave():
            tasks.leave(state, context, sender, payload)
        case PublishKey():
            keys.publish_key(state, context, sender, payload)
        case KeyComplaint():
            keys.complain(state, context, sender, payload)
        case ProveBadPiece():
            proofs.prove_bad_piece(state, context, sender, payload)
        case ProveWrongVerdict():
            proofs.prove_wrong_verdict(state, context, sender, payload)
        case ReleaseKey():
            scoring.release_key(state, context, sender, payload)
        case CommitScores():
            scoring.commit_scores(state, context, sender, payload)
        case RevealScores():
            scoring.reveal_scores(state, context, sender, payload)
        case ClaimSubmission():
            submissions.claim_submission(state, context, sender, payload)
        case AddBounty():
            funding.add_bounty(state, context, sender, payload)
        case CancelTask():
            tasks.cancel_task(state, context, sender, payload)
        case VerifyTask():
            funding.verify_task(state, context, sender, payload)
        case Recognise():
            standing.recognise(state, context, sender, payload)
        case Delegate():
            delegation.delegate(state, context, sender, payload)
        case Undelegate():
            delegation.undelegate(state, context, sender, payload)
        case SetRewardShare():
            delegation.set_reward_share(state, context, sender, payload)
        case _:
            apply_alliance_payload(state, context, sender, payload)


def apply_alliance_payload(state: Overlay, context: Context, sender: bytes, payload: AlliancePayload) -> None:
    """Hand a payload of FL Alliance to its rule; raises a `ProtocolError` when it breaks it."""
    match payload:
        case CreateAlliance():
            founding.create_alliance(state, context, sender, payload)
        case JoinAlliance():
            membership.join_alliance(state, context, sender, payload)
        case LeaveAlliance():
            membership.leave_alliance(state, context, sender, payload)
        case TopUpStake():
            membership.top_up_stake(state, context, sender, payload)
        case FundAlliance():
            founding.fund_alliance(state, context, sender, payload)
        case CancelAlliance():
            founding.cancel_alliance(state, context, sender, payload)
        case VerifyAlliance():
            founding.verify_alliance(state, context, sender, payload)
        case ProposeUpdate():
            acts.propose_update(state, context, sender, payload)
        case HoldUpdates():
            acts.hold_updates(state, context, sender, payload)
        case CommitVote():
            acts.commit_vote(state, context, sender, payload)
        case RevealVote():
            acts.reveal_vote(state, context, sender, payload)
        case ConfirmAggregate():
            acts.confirm_aggregate(state, context, sender, payload)
        case CommitUpdate():
            private_acts.commit_update(state, context, sender, payload)
        case RevealUpdate():
            private_acts.reveal_update(state, context, sender, payload)
        case PublishAggregate():
            private_acts.publish_aggregate(state, context, sender, payload)
        case _:
            apply_masked_payload(state, context, sender, payload)


def apply_masked_payload(state: Overlay, context: Context, sender: bytes, payload: MaskedPayload) -> None:
    """Hand a payload about masked updates to its rule; raises a `ProtocolError` when it breaks it."""
    match payload:
        case ShareMasked():
            masked_acts.share_masked(state, context, sender, payload)
        case PublishMasked():
            masked_acts.publish_masked(state, context, sender, payload)
        case DisputeMasked():
            masked_acts.dispute_masked(state, context, sender, payload)
        case JudgeSum():
            masked_acts.judge_sum(state, context, sender, payload)
        case OpenMask():
            masked_acts.open_mask(state, context, sender, payload)
        case AccuseMasked():
            masked_acts.accuse_masked(state, context, sender, payload)


def apply_anonymous(state: Overlay, context: Context, payload: AnonymousPayload) -> None:
    """Hand an anonymous payload to its rule; raises a `ProtocolError` when it breaks it."""
    match payload:
        case Submit():
            submissions.submit(state, context, payload)
        case OpenSubmission():
            submissions.open_submission(state, context, payload)
