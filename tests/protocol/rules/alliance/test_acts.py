"""Each act of a round: in its phase, from whom it is asked, once, and only if it says what it must."""

import pytest
from msgspec.structs import replace

from protocol.alliance_acts import CommitVote, HoldUpdates, ProposeUpdate, check_alliance_payload
from protocol.alliance_settings import Attribution, RewardRule
from protocol.blobs import BlobId
from protocol.errors import AlreadyDone, Malformed, NotEligible, NotFound, OutOfBounds, WrongPhase
from protocol.params import DEVNET
from protocol.rules.alliance.records import AlliancePhase, Ballot, get_sheet, get_update
from tests.alliance_play import AlliancePlay, aggregate_of, update_of


def one_of_each(play: AlliancePlay) -> list:
    """Return an act of every kind for the current round."""
    return [
        ProposeUpdate(1, play.round, update_of(play.stranger, 0)),
        HoldUpdates(1, play.round, ()),
        CommitVote(1, play.round, bytes(32)),
        play.reveal_of(play.stranger, Ballot(1, (1,), None)),
        play.confirmation(),
    ]


@pytest.mark.parametrize("place", range(5))
def test_each_act_belongs_to_its_phase(place):
    """In every phase the other acts are refused, and those of another round; the right one is no stranger's."""
    play = AlliancePlay().begin()
    steps = (play.train, play.hold, play.commit, play.reveal)
    for step in steps[:place]:
        step()
    acts = one_of_each(play)
    for other, act in enumerate(acts):
        expected = NotEligible.number if other == place else WrongPhase.number
        assert play.send(play.stranger, act).error == expected
    assert play.send(play.stranger, replace(acts[place], round=1)).error == WrongPhase.number
    assert play.send(play.stranger, replace(acts[place], alliance=2)).error == NotFound.number


def test_before_a_draw_nobody_acts():
    """During the opening and the draw there is no role."""
    play = AlliancePlay()
    for act in (ProposeUpdate(1, 0, update_of(play.stranger, 0)), HoldUpdates(1, 0, ())):
        assert play.send(play.participants[0], act).error == WrongPhase.number


def test_only_proposers_propose_and_only_once():
    """A voter's update is none; a second one is refused; the blob has a length."""
    play = AlliancePlay().begin()
    proposer, voter = play.proposers()[0], play.voters()[0]
    blob = update_of(proposer, 0)
    assert play.send(voter, ProposeUpdate(1, 0, blob)).error == NotEligible.number
    for length in (0, DEVNET.max_blob_bytes + 1):
        assert play.send(proposer, ProposeUpdate(1, 0, BlobId(bytes(32), length))).error == OutOfBounds.number
    assert play.send(proposer, ProposeUpdate(1, 0, blob)).error == 0
    assert play.send(proposer, ProposeUpdate(1, 0, update_of(voter, 0))).error == AlreadyDone.number
    assert get_update(play.ledger.state, 1, 0, proposer.address).blob == blob


def test_only_voters_hold_what_there_is_and_only_once():
    """A proposer says nothing about holdings; an update of somebody that proposed none cannot be held."""
    play = AlliancePlay().begin()
    first, second = play.by_address(play.proposers())
    play.train([first])
    voter = play.voters()[0]
    assert play.send(first, HoldUpdates(1, 0, (first.address,))).error == NotEligible.number
    assert play.send(voter, HoldUpdates(1, 0, (first.address, second.address))).error == OutOfBounds.number
    assert play.send(voter, HoldUpdates(1, 0, ())).error == 0
    assert play.send(voter, HoldUpdates(1, 0, (first.address,))).error == AlreadyDone.number
    assert get_sheet(play.ledger.state, 1, 0, voter.address).held == ()


@pytest.mark.parametrize("proposers", [(b"b" * 32, b"a" * 32), (b"a" * 32, b"a" * 32)])
def test_what_is_held_is_sorted(proposers):
    """One record, one spelling."""
    with pytest.raises(Malformed):
        check_alliance_payload(HoldUpdates(1, 0, proposers))


def test_who_missed_a_step_has_no_say_in_the_later_ones():
    """Without holdings no vote, without a commitment no reveal, without a reveal no aggregate."""
    play = AlliancePlay(participants=20).begin().train()
    silent, *others = play.voters()
    proposed = play.proposers()
    play.hold(dict.fromkeys(others, proposed))
    assert play.send(silent, CommitVote(1, 0, bytes(32))).error == NotEligible.number
    uncommitted, *rest = others
    play.commit(dict.fromkeys(rest, play.ballot()))
    assert play.send(uncommitted, play.reveal_of(uncommitted, play.ballot())).error == NotEligible.number
    assert len(rest) == 5


def test_without_a_reveal_no_aggregate():
    """Nothing says what its score would be compared with."""
    play = AlliancePlay().begin().train().hold().commit()
    silent = play.voters()[0]
    play.reveal(play.voters()[1:])
    assert play.phase is AlliancePhase.CONFIRM
    assert play.send(silent, play.confirmation()).error == NotEligible.number


def test_a_vote_is_bound_by_its_commitment():
    """Another score, another salt, a copied commitment: refused; the right one counts once."""
    play = AlliancePlay().begin().train().hold()
    honest, copier, third = play.voters()
    ballots = dict.fromkeys((honest, copier, third), play.ballot())
    play.ballots = ballots
    play.send_commitment(honest, play.ballot())
    play.ledger.block()
    assert play.send(honest, CommitVote(1, 0, bytes(32))).error == AlreadyDone.number
    copied = get_sheet(play.ledger.state, 1, 0, honest.address).commitment
    assert play.send(copier, CommitVote(1, 0, copied)).error == 0
    play.send_commitment(third, play.ballot())
    play.ledger.block()
    assert play.phase is AlliancePhase.REVEAL
    reveal = play.reveal_of(honest, play.ballot())
    assert play.send(honest, replace(reveal, best=reveal.best + 1)).error == OutOfBounds.number
    assert play.send(honest, replace(reveal, salt=bytes(32))).error == OutOfBounds.number
    assert play.send(copier, reveal).error == OutOfBounds.number
    assert play.send(honest, reveal).error == 0
    assert play.send(honest, reveal).error == AlreadyDone.number


@pytest.mark.parametrize(
    ("attribution", "ballot"),
    [
        (Attribution.PER_PROPOSAL, Ballot(1, (1,), None)),
        (Attribution.PER_PROPOSAL, Ballot(1, (1, 1, 1), None)),
        (Attribution.PER_PROPOSAL, Ballot(1, (1, 1), aggregate_of(0))),
        (Attribution.AGGREGATE, Ballot(1, (1, 1), aggregate_of(0))),
        (Attribution.AGGREGATE, Ballot(1, (1,), None)),
    ],
)
def test_a_ballot_has_a_score_for_all_that_is_voted_on(attribution, ballot):
    """Two updates take two scores and no aggregate; the aggregate takes one score and its name."""
    play = AlliancePlay(attribution=attribution).begin().train().hold()
    voter = play.voters()[0]
    play.commit({**dict.fromkeys(play.voters(), play.ballot()), voter: ballot})
    assert play.phase is AlliancePhase.REVEAL
    assert play.send(voter, play.reveal_of(voter, ballot)).error == OutOfBounds.number


def test_gains_are_given_where_rewards_go_by_impact():
    """One for each accepted update there, none elsewhere; and an aggregate is confirmed once."""
    for rule, right, wrong in ((RewardRule.STAKE, (), (1,)), (RewardRule.IMPACT, (1, 2), (1,))):
        play = AlliancePlay(reward=rule).begin().train().hold().commit().reveal()
        voter = play.voters()[0]
        assert play.send(voter, play.confirmation(gains=wrong)).error == OutOfBounds.number
        assert play.send(voter, play.confirmation(gains=right)).error == 0
        assert play.send(voter, play.confirmation(gains=right)).error == AlreadyDone.number
