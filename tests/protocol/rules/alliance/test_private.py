"""Rounds with hidden updates: who is missing, whose turn it is, who lied, and what each of it pays and costs."""

import pytest

from protocol.rules.alliance.duties import AggregateUpdates, CommitOwnUpdate, FetchUpdates, RevealOwnUpdate
from protocol.rules.alliance.explaining import Kind, explain_closing, explain_round
from protocol.rules.alliance.records import AlliancePhase, Ballot
from protocol.rules.alliance.results import AllianceRole, Outcome
from protocol.rules.duties import get_duties
from tests.ledger_driver import FML, Person
from tests.ledger_invariants import expect_sound
from tests.private_play import PARAMS, PrivatePlay

# 5 % of 64 FML, and s_p of it.
ABSENCE, LOST = 64 * FML // 20, 8 * FML
REFUSAL, CONFIRMED = Ballot(800_000, (None,), None), Ballot(800_000, (), None)


def losses(play: PrivatePlay, round: int = 0) -> dict[str, int]:
    """Return what everybody lost in a round, by name; who lost nothing is left out."""
    names = {person.address: person.name for person in play.participants}
    return {names[one.address]: one.slashed for one in play.result(round).settled if one.slashed}


def until_aggregation() -> PrivatePlay:
    """Return a play in which the first aggregator may publish."""
    return PrivatePlay().begin().train().seal().hold()


def add_up(play: PrivatePlay, rounds: int = 1) -> set[Kind]:
    """Assert that the traces come to what everybody earned and lost; return their kinds."""
    traces = [trace for round in range(rounds) for trace in explain_round(play.ledger.state, PARAMS, 1, round)]
    if play.phase is AlliancePhase.FINISHED:
        traces += explain_closing(play.ledger.state, 1)
    for person in play.participants:
        own = [trace for trace in traces if trace.account == person.address]
        taken = sum(trace.burned + trace.kept for trace in own)
        member = play.member(person)
        assert sum(trace.origins.total() for trace in own) == member.earned
        assert taken == member.slashed
    expect_sound(play.ledger.state)
    return {trace.kind for trace in traces}


# --- all do their part -----------------------------------------------------------------------------------------------


def test_a_private_round_ends_as_soon_as_all_have_acted():
    """Commit, seal, hold, aggregate, vote, reveal: a block for each; the aggregator earns 1 % of the round."""
    play = PrivatePlay().begin()
    aggregator = play.aggregator()
    height = play.ledger.before.head.height
    play.run_round()
    assert play.ledger.before.head.height == height + 6
    result = play.result(0)
    assert (result.outcome, result.last_phase) == (Outcome.ACCEPTED, AlliancePhase.REVEAL)
    fee = play.settled(0, aggregator)
    assert (fee.role, fee.earned, fee.slashed) == (AllianceRole.AGGREGATOR, 5 * FML, 0)
    shares = [one.earned for one in result.settled if one.role is not AllianceRole.AGGREGATOR]
    assert shares == [495 * FML // 6] * 6
    assert play.record.latest.model == result.model
    play.run_round()
    assert play.phase is AlliancePhase.FINISHED
    kinds = add_up(play, rounds=2)
    # What division leaves over is the remainder.
    assert kinds == {Kind.PROPOSING, Kind.VOTING, Kind.AGGREGATING, Kind.REMAINDER}
    assert play.closing().pool < 10


def test_everybodys_duties_through_a_private_round():
    """Proposers commit and seal, voters fetch, the aggregator sums; with its failure the next one has the duty."""
    play = PrivatePlay().begin()
    ledger = play.ledger

    def duties(person: Person):
        return get_duties(ledger.state, person.address, lambda task, epoch: ledger.tag(person, task, epoch))

    first, second = play.aggregators()
    assert all(duties(person) == [CommitOwnUpdate(1, 0, 0)] for person in play.proposers())
    silent, *others = play.proposers()
    play.train(others)
    assert duties(silent) == []
    assert all(duties(person) == [RevealOwnUpdate(1, 0, first.address)] for person in others)
    play.seal(others)
    assert all(duties(person) == [FetchUpdates(1, 0)] for person in play.voters())
    play.hold()
    assert [duties(person) for person in (first, second)] == [[AggregateUpdates(1, 0)], []]
    play.fail()
    assert all(duties(person) == [RevealOwnUpdate(1, 0, second.address)] for person in others)
    play.seal(others).hold()
    assert [duties(person) for person in (first, second)] == [[], [AggregateUpdates(1, 0)]]
    play.publish()
    assert duties(second) == []


# --- somebody is missing ---------------------------------------------------------------------------------------------


def test_who_does_not_commit_is_absent_and_the_sum_runs_without():
    """The deadline passes once; the others are summed."""
    play = PrivatePlay().begin()
    gone, *others = play.proposers()
    deadline_ms = play.record.deadline_ms
    play.train(others)
    assert play.ledger.before.head.time_ms >= deadline_ms
    play.seal(others).hold()
    play.publish().commit().reveal()
    assert play.result(0).outcome is Outcome.ACCEPTED
    assert losses(play) == {gone.name: ABSENCE}
    assert add_up(play) >= {Kind.ABSENCE}


def test_one_commitment_hides_among_nobody():
    """With less than two the round is void; who committed loses nothing."""
    play = PrivatePlay().begin()
    one, *others = play.proposers()
    play.train([one])
    assert (play.result(0).outcome, play.result(0).last_phase) == (Outcome.VOID, AlliancePhase.TRAIN)
    assert losses(play) == {person.name: ABSENCE for person in others}


@pytest.mark.parametrize("missing", [1, 2])
def test_who_does_not_seal_its_update_is_absent(missing):
    """The sum runs without it; with less than two left the round is void."""
    play = PrivatePlay().begin().train()
    people = play.proposers()
    deadline_ms = play.record.deadline_ms
    play.seal(people[missing:])
    assert play.ledger.before.head.time_ms >= deadline_ms
    if missing == 1:
        play.hold()
        play.publish().commit().reveal()
    assert play.result(0).outcome is (Outcome.ACCEPTED if missing == 1 else Outcome.VOID)
    assert losses(play) == {person.name: ABSENCE for person in people[:missing]}
    add_up(play)


def test_a_sealed_update_that_too_few_hold_is_out():
    """The aggregator could be the only one that it was served to; its proposer is absent, the sum runs without it."""
    play = PrivatePlay().begin().train().seal()
    hidden, *others = play.proposers()
    play.hold(dict.fromkeys(play.voters(), others))
    assert hidden.address not in play.round_record.frozen
    play.publish().commit().reveal()
    assert set(play.published_of(0).proven.clients) == {person.address for person in others}
    assert losses(play) == {hidden.name: ABSENCE}


def test_with_one_update_held_the_round_is_void():
    """Nobody is asked to aggregate."""
    play = PrivatePlay().begin().train().seal()
    one, *others = play.proposers()
    play.hold({voter: [one] for voter in play.voters()})
    assert (play.result(0).outcome, play.result(0).last_phase) == (Outcome.VOID, AlliancePhase.HOLD)
    assert losses(play) == {person.name: ABSENCE for person in others}


# --- the aggregator --------------------------------------------------------------------------------------------------


def test_the_next_in_the_draw_takes_over():
    """The first publishes nothing: it loses 5 %; updates are sealed and held anew, and the second earns the fee."""
    play = until_aggregation()
    first, second = play.aggregators()
    deadline_ms = play.record.deadline_ms
    play.fail()
    assert play.ledger.before.head.time_ms >= deadline_ms
    assert (play.phase, play.round_record.turn, play.round_record.frozen) == (AlliancePhase.SEAL, 1, ())
    assert play.aggregator() == second
    play.seal().hold()
    play.publish().commit().reveal()
    assert play.result(0).outcome is Outcome.ACCEPTED
    assert losses(play) == {first.name: ABSENCE}
    assert play.settled(0, first).is_absent
    assert play.settled(0, second).earned == 5 * FML
    assert add_up(play) >= {Kind.ABSENCE, Kind.AGGREGATING}


def test_after_the_last_aggregator_the_round_is_void():
    """All that had a turn are absent; proposers and voters did their part and lose nothing, nobody is paid."""
    play = until_aggregation()
    people = play.aggregators()
    play.fail().seal().hold()
    play.fail()
    assert (play.result(0).outcome, play.result(0).last_phase) == (Outcome.VOID, AlliancePhase.AGGREGATE)
    assert losses(play) == {person.name: ABSENCE for person in people}
    assert all(one.earned == 0 for one in play.result(0).settled)
    assert play.round == 1
    add_up(play)


def test_a_turn_that_ends_for_want_of_updates_blames_only_who_failed():
    """The second aggregator was never asked."""
    play = until_aggregation()
    first, _ = play.aggregators()
    people = play.proposers()
    play.fail().seal([])
    assert (play.result(0).outcome, play.result(0).last_phase) == (Outcome.VOID, AlliancePhase.SEAL)
    assert losses(play) == {first.name: ABSENCE, **{person.name: ABSENCE for person in people}}


def test_an_aggregate_that_cannot_be_had_costs_its_aggregator():
    """2/3 of the voters say so: the round is void, and the aggregator loses what a lost vote costs."""
    play = until_aggregation().publish()
    aggregator, voters = play.aggregator(), play.voters()
    play.commit({**dict.fromkeys(voters[1:], REFUSAL), voters[0]: play.ballot()}).reveal()
    assert play.result(0).outcome is Outcome.VOID
    assert losses(play) == {aggregator.name: LOST}
    assert play.settled(0, aggregator).is_absent
    assert add_up(play) == {Kind.LOST_VOTE}


def test_a_voter_that_alone_refuses_was_wrong():
    """The others have the aggregate, so it could be had."""
    play = until_aggregation().publish()
    loner, *others = play.voters()
    play.commit({**dict.fromkeys(others, play.ballot()), loner: REFUSAL}).reveal()
    assert play.result(0).outcome is Outcome.ACCEPTED
    assert losses(play) == {loner.name: LOST}


def test_a_rejected_aggregate_still_earns_the_fee():
    """The work was done; its updates were bad, which the aggregator cannot help."""
    play = until_aggregation().publish()
    aggregator = play.aggregator()
    play.commit(dict.fromkeys(play.voters(), play.ballot(good=[]))).reveal()
    assert play.result(0).outcome is Outcome.REJECTED
    assert play.settled(0, aggregator).earned == 5 * FML
    assert losses(play) == {person.name: LOST for person in play.people_at(play.published_of(0).proven.clients)}


def test_a_liar_is_left_out_and_slashed():
    """The key of its blob is shown, and the voters name the aggregate without it: they found it a liar."""
    play = until_aggregation()
    liar, *others = play.people_at(play.round_record.frozen)
    aggregator = play.aggregator()
    play.publish(play.aggregate(accused={liar: play.key(liar)})).commit().reveal()
    assert play.result(0).outcome is Outcome.ACCEPTED
    assert losses(play) == {liar.name: LOST}
    assert play.settled(0, aggregator).earned == 5 * FML
    assert all(play.settled(0, person).earned > 0 for person in others)
    assert add_up(play) == {Kind.PROPOSING, Kind.VOTING, Kind.AGGREGATING, Kind.FALSE_UPDATE}


def test_a_false_accusation_is_refused_by_the_voters():
    """They opened the blob, and it fits: the aggregator is slashed, the accused is not."""
    play = until_aggregation()
    honest = play.people_at(play.round_record.frozen)[0]
    aggregator = play.aggregator()
    play.publish(play.aggregate(accused={honest: play.key(honest)})).commit(dict.fromkeys(play.voters(), REFUSAL))
    play.reveal()
    assert losses(play) == {aggregator.name: LOST}


def test_a_box_that_does_not_open_costs_nobody_but_pays_nobody_either():
    """Nobody else can tell who is right: the client is left out, and the aggregator has no fee."""
    play = until_aggregation()
    unreadable, *others = play.people_at(play.round_record.frozen)
    aggregator = play.aggregator()
    play.publish(play.aggregate(accused={unreadable: None})).commit().reveal()
    assert play.result(0).outcome is Outcome.ACCEPTED
    assert losses(play) == {}
    assert play.settled(0, unreadable).earned == 0
    assert all(one.address != aggregator.address for one in play.result(0).settled)
    # Nobody's part but the one that was left out stays in the pool: there is no fee to take off.
    assert play.settled(0, others[0]).earned == 500 * FML // 6
    add_up(play)


# --- too few are left to be summed -----------------------------------------------------------------------------------


def accuse_all_but(play: PrivatePlay, kept: int, *, unreadable: int = 0) -> list[Person]:
    """Publish accusations of all but so many, some of them on the aggregator's word; return who was shown to lie."""
    accused = play.people_at(play.round_record.frozen)[kept:]
    keys = {person: None if place < unreadable else play.key(person) for place, person in enumerate(accused)}
    play.publish(play.aggregate(accused=keys))
    return accused[unreadable:]


@pytest.mark.parametrize("kept", [0, 1])
def test_liars_that_leave_too_few_void_the_round_and_are_slashed(kept):
    """2/3 of the voters confirm it: nobody is paid, nobody else loses anything, and the model stays."""
    play = until_aggregation()
    liars = accuse_all_but(play, kept)
    aggregator, loner, *others = play.aggregator(), *play.voters()
    play.commit({**dict.fromkeys(others, CONFIRMED), loner: REFUSAL}).reveal()
    result = play.result(0)
    assert (result.outcome, result.last_phase, result.model) == (Outcome.VOID, AlliancePhase.REVEAL, None)
    assert losses(play) == {person.name: LOST for person in liars}
    assert all(one.earned == 0 and one.address != aggregator.address for one in result.settled)
    assert (play.round, play.record.latest) == (1, None)
    assert add_up(play) == {Kind.FALSE_UPDATE}


def test_accusations_that_leave_too_few_and_are_false_cost_their_aggregator():
    """2/3 of the voters refuse them: who was accused loses nothing."""
    play = until_aggregation()
    accuse_all_but(play, 1)
    aggregator, loner, *others = play.aggregator(), *play.voters()
    play.commit({**dict.fromkeys(others, REFUSAL), loner: CONFIRMED}).reveal()
    assert play.result(0).outcome is Outcome.VOID
    assert losses(play) == {aggregator.name: LOST}
    assert play.settled(0, aggregator).is_absent
    add_up(play)


def test_accusations_on_which_the_voters_do_not_agree_cost_nobody():
    """Neither 2/3 confirm nor refuse: the one that showed nothing is absent, and that is all."""
    play = until_aggregation()
    accuse_all_but(play, 0)
    one, other, silent = play.voters()
    play.commit({one: CONFIRMED, other: REFUSAL, silent: CONFIRMED}).reveal([one, other])
    assert play.result(0).outcome is Outcome.VOID
    assert losses(play) == {silent.name: ABSENCE}


def test_boxes_that_do_not_open_besides_shown_liars_cost_nobody():
    """The vote is about those that were shown to lie."""
    play = until_aggregation()
    liars = accuse_all_but(play, 1, unreadable=1)
    play.commit(dict.fromkeys(play.voters(), CONFIRMED)).reveal()
    assert losses(play) == {person.name: LOST for person in liars}


def test_an_aggregator_that_can_open_too_few_boxes_hands_its_turn_on():
    """Nobody can see who is right: it is out of the draw without blame, and everything is sealed to the next one."""
    play = until_aggregation()
    first, second = play.aggregators()
    accuse_all_but(play, 0, unreadable=3)
    assert (play.phase, play.aggregators(), play.round_record.turn) == (AlliancePhase.SEAL, [second], 0)
    play.seal().hold()
    play.publish().commit().reveal()
    assert play.result(0).outcome is Outcome.ACCEPTED
    assert losses(play) == {}
    assert play.settled(0, second).earned == 5 * FML
    assert all(one.address != first.address for one in play.result(0).settled)
    add_up(play)


@pytest.mark.parametrize("is_first_silent", [False, True])
def test_when_no_aggregator_can_open_the_boxes_only_silent_ones_are_blamed(is_first_silent):
    """The round is void; who said that it can open none loses nothing."""
    play = until_aggregation()
    first = play.aggregator()
    if is_first_silent:
        play.fail()
    else:
        accuse_all_but(play, 0, unreadable=3)
    play.seal().hold()
    accuse_all_but(play, 1, unreadable=2)
    assert (play.result(0).outcome, play.result(0).last_phase) == (Outcome.VOID, AlliancePhase.AGGREGATE)
    assert losses(play) == ({first.name: ABSENCE} if is_first_silent else {})
    add_up(play)


def test_a_verdict_without_quorum_blames_no_aggregator():
    """Two of three voters do not commit: they are absent, the sum was proven."""
    play = until_aggregation().publish()
    voters = play.voters()
    play.commit({voters[0]: play.ballot()})
    assert (play.result(0).outcome, play.result(0).last_phase) == (Outcome.VOID, AlliancePhase.VOTE)
    assert losses(play) == {person.name: ABSENCE for person in voters[1:]}


def test_a_private_alliance_that_everybody_left_ends_by_itself():
    """No round waits for an aggregator that never had anything to sum."""
    play = PrivatePlay(rounds=2).begin()
    play.train([])
    play.draw()
    play.train([])
    assert play.phase is AlliancePhase.FINISHED
    expect_sound(play.ledger.state)
