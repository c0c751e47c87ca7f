"""What votes come to: per update and on the aggregate, ties, quorums, wrong aggregates, and the best model so far."""

from itertools import combinations_with_replacement

import pytest

from protocol.alliance_settings import Attribution
from protocol.blobs import BlobId
from protocol.models import MetricSpec, mlp_model
from protocol.params import DEVNET
from protocol.rules.alliance.explaining import Kind, explain_round
from protocol.rules.alliance.judging import Poll, find_deviants, find_model
from protocol.rules.alliance.records import AlliancePhase, Ballot
from protocol.rules.alliance.results import Outcome
from tests.alliance_play import BAD, BEST, GOOD, AlliancePlay, aggregate_of, make_spec
from tests.ledger_driver import seed_of

OTHER = BlobId(seed_of("another aggregate"), 2_000)
MILLION = 1_000_000


# --- votes on each update --------------------------------------------------------------------------------------------


def test_each_update_has_its_own_verdict():
    """The voters agree that one of two is bad: it is slashed, the other is accepted and aggregated alone."""
    play = AlliancePlay().begin().train().hold()
    good, bad = play.proposers()
    play.commit(dict.fromkeys(play.voters(), play.ballot(good=[good]))).reveal()
    assert play.round_record.accepted == (good.address,)
    play.confirm()
    result = play.result(0)
    assert result.outcome is Outcome.ACCEPTED
    verdicts = {one.proposer: (one.in_favour, one.against, one.score, one.is_accepted) for one in result.updates}
    assert verdicts == {good.address: (3, 0, GOOD, True), bad.address: (0, 3, BAD, False)}
    assert (play.settled(0, good).merit, play.settled(0, bad).merit) == (MILLION, 0)
    assert play.record.latest.model == result.model == aggregate_of(0)


def test_a_voter_is_right_in_part():
    """One of three calls both updates bad, against the others: right in one of two outcomes."""
    play = AlliancePlay().begin().train().hold()
    good, _ = play.proposers()
    loner, *others = play.voters()
    play.commit({**dict.fromkeys(others, play.ballot(good=[good])), loner: play.ballot(good=[])})
    play.reveal().confirm()
    assert play.settled(0, loner).merit == MILLION // 2
    assert all(play.settled(0, other).merit == MILLION for other in others)


def test_with_no_update_accepted_the_round_is_rejected_without_an_aggregate():
    """Nobody is asked to confirm; proposers are slashed, voters are paid, the model stays."""
    play = AlliancePlay().begin().train().hold()
    play.commit(dict.fromkeys(play.voters(), play.ballot(good=[]))).reveal()
    result = play.result(0)
    assert (result.outcome, result.last_phase, result.model) == (Outcome.REJECTED, AlliancePhase.REVEAL, None)
    assert [one.merit for one in result.settled] == [0, 0, MILLION, MILLION, MILLION]
    assert play.record.latest is None


def test_an_aggregate_that_is_worse_is_rejected_though_its_parts_were_accepted():
    """The model stays; proposers and voters are paid for the votes on the updates."""
    play = AlliancePlay().begin().train().hold().commit().reveal()
    play.confirm(dict.fromkeys(play.voters(), play.confirmation(score=BAD)))
    result = play.result(0)
    assert (result.outcome, result.model, result.score) == (Outcome.REJECTED, aggregate_of(0), BAD)
    assert (result.in_favour, result.against) == (0, 3)
    assert all(one.merit == MILLION and one.earned for one in result.settled)
    assert play.record.latest is None


@pytest.mark.parametrize("score", [760_000, 759_999])
def test_a_vote_is_the_ledgers_own_reckoning(score):
    """5 % worse than the voter's own best still earns a vote in favour (L2), one millionth less does not."""
    play = AlliancePlay().begin().train().hold()
    ballot = Ballot(BEST, (score, score), None)
    play.commit(dict.fromkeys(play.voters(), ballot)).reveal()
    assert (play.phase is AlliancePhase.CONFIRM) == (score == 760_000)


def test_an_update_that_is_no_model_has_votes_against_and_no_score():
    """Scores of None count against it, and make no median."""
    play = AlliancePlay().begin().train().hold()
    play.commit(dict.fromkeys(play.voters(), Ballot(BEST, (None, GOOD), None))).reveal().confirm()
    first, second = play.result(0).updates
    assert (first.is_accepted, first.score, first.against) == (False, None, 3)
    assert (second.is_accepted, second.score) == (True, GOOD)


def test_a_tie_accepts_and_everybody_was_right():
    """Two voters reveal, one in favour, one against: accepted, and neither is slashed."""
    play = AlliancePlay().begin().train().hold()
    one, other, gone = play.voters()
    ballots = {one: play.ballot(), other: play.ballot(good=[]), gone: play.ballot()}
    play.commit(ballots).reveal([one, other]).confirm(dict.fromkeys([one, other], play.confirmation()))
    result = play.result(0)
    assert result.outcome is Outcome.ACCEPTED
    assert [(one.in_favour, one.against) for one in result.updates] == [(1, 1), (1, 1)]
    assert play.settled(0, one).merit == play.settled(0, other).merit == MILLION
    assert play.settled(0, one).slashed == play.settled(0, other).slashed == 0


def test_who_confirms_another_aggregate_was_wrong_in_all():
    """Two of three name the same one: it counts; the third worked out something else, or nothing."""
    play = AlliancePlay().begin().train().hold().commit().reveal()
    liar, *honest = play.voters()
    right = dict.fromkeys(honest, play.confirmation(score=810_000))
    play.confirm({**right, liar: play.confirmation(model=OTHER, score=1)})
    result = play.result(0)
    assert (result.outcome, result.model, result.score) == (Outcome.ACCEPTED, aggregate_of(0), 810_000)
    assert (result.in_favour, result.against) == (2, 0)
    settled = play.settled(0, liar)
    assert (settled.merit, settled.earned, settled.is_absent) == (0, 0, False)
    assert settled.slashed == 8 * 10**9


def test_without_an_agreed_aggregate_the_round_is_void():
    """Three voters name three models: nobody knows who was right, so nobody is paid or slashed."""
    play = AlliancePlay().begin().train().hold().commit().reveal()
    models = (None, OTHER, BlobId(seed_of("third"), 1))
    play.confirm({v: play.confirmation(model=model) for v, model in zip(play.voters(), models, strict=True)})
    result = play.result(0)
    assert (result.outcome, result.model) == (Outcome.VOID, None)
    assert all((one.earned, one.slashed, one.is_absent) == (0, 0, False) for one in result.settled)
    assert play.pool() == 1_000 * 10**9


def test_who_keeps_two_thirds_from_agreeing_on_an_aggregate_is_slashed():
    """Two of five name another one than the rest: the round is void, nobody is paid, and it costs just those two."""
    play = AlliancePlay(participants=13).begin().train().hold().commit().reveal()
    *honest, one, other = play.voters()
    assert len(honest) == 3
    wrong = dict.fromkeys([one, other], play.confirmation(model=OTHER))
    play.confirm({**dict.fromkeys(honest, play.confirmation()), **wrong})
    result = play.result(0)
    assert (result.outcome, result.model) == (Outcome.VOID, None)
    assert [play.settled(0, person).slashed for person in (*honest, one, other)] == [0, 0, 0, 8 * 10**9, 8 * 10**9]
    assert not any(one.earned for one in result.settled)
    traces = explain_round(play.ledger.state, DEVNET, play.alliance, 0)
    assert [(trace.account, trace.kind) for trace in traces] == [(p.address, Kind.LOST_VOTE) for p in (one, other)]


def test_half_of_the_voters_prove_nobody_wrong():
    """Two of five name one, two another, the fifth is absent: void, and only absence costs."""
    play = AlliancePlay(participants=13).begin().train().hold().commit().reveal()
    voters = play.voters()
    named = [aggregate_of(0), aggregate_of(0), OTHER, OTHER]
    play.confirm({v: play.confirmation(model=model) for v, model in zip(voters, named, strict=False)})
    assert play.result(0).outcome is Outcome.VOID
    assert [play.settled(0, person).slashed > 0 for person in voters] == [False] * 4 + [True]


# --- one vote on the aggregate ---------------------------------------------------------------------------------------


def aggregate_play(**options) -> AlliancePlay:
    """Return a play that stands before the vote on the aggregate."""
    return AlliancePlay(attribution=Attribution.AGGREGATE, **options).begin().train().hold()


def test_all_proposers_share_the_aggregates_verdict():
    """Two of three call it bad: both proposers are slashed, the third voter as well, and the model stays."""
    play = aggregate_play()
    loner, *others = play.voters()
    play.commit({loner: play.ballot(), **dict.fromkeys(others, play.ballot(good=[]))}).reveal()
    result = play.result(0)
    assert (result.outcome, result.in_favour, result.against) == (Outcome.REJECTED, 1, 2)
    assert (result.model, result.score, result.updates) == (aggregate_of(0), BAD, ())
    assert [play.settled(0, one).merit for one in (*play.by_address(play.participants),)].count(0) == 3
    assert play.settled(0, loner).merit == 0
    assert play.record.latest is None


def test_an_accepted_aggregate_is_the_new_model():
    """Its median score is on record, and it is the best so far."""
    play = aggregate_play()
    voters = play.voters()
    scores = dict(zip(voters, (790_000, 830_000, 810_000), strict=True))
    play.commit({voter: Ballot(BEST, (score,), aggregate_of(0)) for voter, score in scores.items()}).reveal()
    assert play.result(0).outcome is Outcome.ACCEPTED
    assert (play.record.latest.score, play.record.latest.round) == (810_000, 0)
    assert play.record.best == play.record.latest


def test_another_aggregates_score_counts_for_nothing():
    """Who names another one than 2/3 of the voters has no vote on the model, and is slashed as wrong."""
    play = aggregate_play()
    liar, *honest = play.voters()
    play.commit({liar: play.ballot(good=[], aggregate=OTHER), **dict.fromkeys(honest, play.ballot())}).reveal()
    result = play.result(0)
    assert (result.outcome, result.in_favour, result.against) == (Outcome.ACCEPTED, 2, 0)
    assert (play.settled(0, liar).merit, play.settled(0, liar).slashed) == (0, 8 * 10**9)
    lucky = aggregate_play()
    guesser, *honest = lucky.voters()
    lucky.commit({guesser: lucky.ballot(aggregate=OTHER), **dict.fromkeys(honest, lucky.ballot())}).reveal()
    assert lucky.settled(0, guesser).earned == 0, "a right guess about another model earns nothing"


def test_a_root_without_two_thirds_makes_the_round_void():
    """One of two that revealed names another root: one of three is no quorum."""
    play = aggregate_play()
    one, other, gone = play.voters()
    play.commit({one: play.ballot(), other: play.ballot(aggregate=OTHER), gone: play.ballot()}).reveal([one, other])
    result = play.result(0)
    assert (result.outcome, result.model, result.score) == (Outcome.VOID, None, None)
    assert play.settled(0, gone).slashed == 64 * 10**9 // 20


def test_a_root_that_keeps_two_thirds_from_agreeing_costs_who_named_it():
    """As where it is confirmed: three of five named the right one, so the other two were wrong in all."""
    play = aggregate_play(participants=13)
    *honest, one, other = play.voters()
    wrong = dict.fromkeys([one, other], play.ballot(aggregate=OTHER))
    play.commit({**dict.fromkeys(honest, play.ballot()), **wrong}).reveal()
    assert play.result(0).outcome is Outcome.VOID
    assert [play.settled(0, person).slashed for person in (*honest, one, other)] == [0, 0, 0, 8 * 10**9, 8 * 10**9]
    assert not any(one.earned for one in play.result(0).settled)


def test_an_aggregate_that_does_not_load_is_rejected():
    """All say None: votes against, and no score."""
    play = aggregate_play()
    play.commit(dict.fromkeys(play.voters(), Ballot(BEST, (None,), aggregate_of(0)))).reveal()
    assert (play.result(0).outcome, play.result(0).score) == (Outcome.REJECTED, None)


# --- the best model --------------------------------------------------------------------------------------------------


def test_the_best_model_is_the_one_with_the_better_median():
    """Within the tolerance a worse one is accepted and trained on, but votes still compare with the best."""
    play = AlliancePlay(rounds=4).begin()
    for round, score in enumerate((800_000, 790_000, 810_000)):
        play.draw().train().hold().commit().reveal()
        play.confirm(dict.fromkeys(play.voters(), play.confirmation(score=score)))
        assert play.record.latest.score == score
        assert play.record.best.round == (0, 0, 2)[round]


def test_a_rejected_round_returns_to_the_best_model():
    """A worse model was accepted within the tolerance; after a rejection the next round trains on the best again."""
    play = AlliancePlay(rounds=4).begin()
    for score in (800_000, 790_000):
        play.draw().train().hold().commit().reveal()
        play.confirm(dict.fromkeys(play.voters(), play.confirmation(score=score)))
    assert (play.record.latest.round, play.record.best.round) == (1, 0)
    play.draw().train().hold()
    play.commit(dict.fromkeys(play.voters(), play.ballot(good=[]))).reveal()
    assert play.result(2).outcome is Outcome.REJECTED
    assert play.record.latest == play.record.best
    assert play.record.latest.round == 0


def test_a_void_round_leaves_the_latest_model():
    """Nothing was judged, so nothing is taken back."""
    play = AlliancePlay(rounds=4).begin()
    for score in (800_000, 790_000):
        play.draw().train().hold().commit().reveal()
        play.confirm(dict.fromkeys(play.voters(), play.confirmation(score=score)))
    play.draw().train().hold().commit({}).reveal({})
    assert play.result(2).outcome is Outcome.VOID
    assert (play.record.latest.round, play.record.best.round) == (1, 0)


def test_lower_is_better_for_a_loss():
    """The direction of the metric turns votes and the choice of the best."""
    metric = MetricSpec("loss", False, 0, 10_000_000)
    spec = make_spec(DEVNET.alliance.settings, metric=metric, model=mlp_model(64, 8, 10))
    play = AlliancePlay(spec=spec).begin()
    for round, score in enumerate((1_900_000, 2_000_000)):
        play.draw().train().hold()
        play.commit(dict.fromkeys(play.voters(), Ballot(2_000_000, (1_950_000, 2_100_001), None))).reveal()
        assert len(play.round_record.accepted) == 1
        play.confirm(dict.fromkeys(play.voters(), play.confirmation(score=score)))
        assert (play.record.latest.round, play.record.best.round) == (round, 0)


# --- parts -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "voters", "is_found"), [(2, 3, True), (3, 5, False), (4, 5, True), (0, 3, False)])
def test_two_thirds_of_all_voters_name_a_model(count, voters, is_found):
    """Of all that were drawn, not only of those that spoke."""
    named = {bytes([number]): OTHER for number in range(count)}
    assert (find_model(named, voters=voters) == OTHER) == is_found


@pytest.mark.parametrize("voters", [3, 5, 7])
def test_no_honest_voter_is_slashed_for_a_model_unless_half_of_the_voters_are_not(voters):
    """Honest ones all name the right model; whatever up to half of all name, alone or together, or nothing."""
    lies = [OTHER, BlobId(seed_of("third"), 1), None]
    for malicious in range(voters // 2 + 1):
        for told in combinations_with_replacement(lies, malicious):
            names = [*told, *[aggregate_of(0)] * (voters - malicious)]
            named = {bytes([voter]): name for voter, name in enumerate(names) if name is not None}
            liars = {bytes([voter]) for voter, name in enumerate(told) if name is not None}
            assert set(find_deviants(named, voters=voters)) == liars
    majority = {bytes([voter]): OTHER for voter in range(voters // 2 + 1)}
    assert set(find_deviants({**majority, b"honest": aggregate_of(0)}, voters=voters)) == {b"honest"}


def test_a_poll_counts_and_takes_the_lower_median():
    """Votes add up, scores of None are left out, and nobody's score is none."""
    poll = Poll({b"a": 1, b"b": -1, b"c": -1}, {b"a": 5, b"b": None, b"c": 3})
    assert (poll.aggregate, poll.is_accepted, poll.score) == (-1, False, 3)
    assert (poll.count(1), poll.count(-1)) == (1, 2)
    assert Poll({b"a": -1}, {b"a": None}).score is None
