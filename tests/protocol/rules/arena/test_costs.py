"""What a transaction costs everybody else: its work does not grow with the task, for its fee does not either."""

import pytest

from protocol import ledger as rules
from protocol import vrf
from protocol.blinding import join_alpha
from protocol.state import Overlay
from protocol.transactions import (
    AddBounty,
    Attest,
    CancelTask,
    ClaimSubmission,
    CommitScores,
    CreateTask,
    DatasetName,
    Delegate,
    Join,
    Leave,
    PublishKey,
    Recognise,
    ReleaseKey,
    RevealScores,
    Role,
    SetRewardShare,
    Transfer,
    Undelegate,
    VerifyTask,
)
from tests.arena_play import Play
from tests.ledger_driver import FML, NEEDS


def make_join(play: Play) -> Join:
    secret, person = play.stranger.secret(play.task), play.stranger
    alpha = join_alpha(play.ledger.chain, play.task, person.address)
    proof = vrf.prove(secret, alpha=alpha, ad=b"", randomness=bytes(32))
    return Join(play.task, Role.TRAINER, 100 * FML, vrf.public(secret), proof, NEEDS)


PAYLOADS = [
    lambda play: Transfer(play.creator.address, 1),
    lambda play: CreateTask(play.record.spec, 100 * FML, FML),
    make_join,
    lambda play: Attest(play.task),
    lambda play: Leave(play.task),
    lambda play: ReleaseKey(play.task, 0, (), bytes(32)),
    lambda play: PublishKey(play.task, DatasetName.A, bytes(32)),
    lambda play: CommitScores(play.task, 0, bytes(32)),
    lambda play: RevealScores(play.task, 0, bytes(32), ()),
    lambda play: ClaimSubmission(play.task, 0, play.tag(play.trainers[0]), bytes(96)),
    lambda play: AddBounty(play.task, FML),
    lambda play: Delegate(play.task, play.validators[0].address, FML),
    lambda play: Undelegate(play.task, play.validators[0].address, 1),
    lambda play: SetRewardShare(play.task, 100_000),
    lambda play: CancelTask(play.task),
    lambda play: VerifyTask(play.task),
    lambda play: Recognise(play.stranger.address),
]


@pytest.mark.parametrize("stage", ["submit", "open", "score", "reveal", "claim"])
def test_a_strangers_transaction_walks_through_no_table(monkeypatch, stage):
    """Applied or refused, in any phase, it looks up single records; a block full of them stays cheap."""
    play = Play().begin()
    for step in (play.submit, play.open, play.commit, play.reveal):
        if play.phase.name.lower() != stage:
            step()
    payloads = [make(play) for make in PAYLOADS]
    context = rules.check_header(play.ledger.before, play.ledger.make_block())
    monkeypatch.setattr(Overlay, "scan", None)
    for payload in payloads:
        rules.try_payload(Overlay(play.ledger.state), context, play.stranger.address, payload)
