"""Rounds with masked updates: who is missing, whose turn it is, and what each of it pays and costs."""

import numpy as np
import pytest

from protocol.crypto import integer_bytes
from protocol.errors import InvalidProof, NotEligible
from protocol.rules.alliance.commitments import get_committed
from protocol.rules.alliance.duties import (
    AccuseOwnLiars,
    AggregateUpdates,
    CommitOwnUpdate,
    FetchUpdates,
    JudgeOwnSum,
    OpenOwnMask,
    RevealOwnVote,
    ShareOwnMasked,
    VoteOnUpdates,
)
from protocol.rules.alliance.explaining import Kind
from protocol.rules.alliance.masks import MASKS
from protocol.rules.alliance.records import AlliancePhase, Ballot, get_sheets, get_update
from protocol.rules.alliance.results import AllianceRole, Outcome
from protocol.zk.masking import add_masked
from tests.ledger_driver import FML
from tests.masked_play import ABSENCE, LOST, MaskedPlay, add_up, losses, until_aggregation

REFUSAL = Ballot(800_000, (None,), None)


def until_vote(play: MaskedPlay) -> MaskedPlay:
    """Return the play with its round led to its end, from the sum on."""
    play.publish().commit().reveal()
    return play


# --- all do their part -----------------------------------------------------------------------------------------------


def test_a_masked_round_ends_as_soon_as_all_have_acted():
    """Commit, share, hold, sum, vote, reveal: a block for each; the aggregator earns 1 % of the round."""
    play = MaskedPlay().begin()
    aggregator, height = play.aggregator(), play.ledger.before.head.height
    play.run_round()
    assert play.ledger.before.head.height == height + 6
    result = play.result(0)
    assert (result.outcome, result.last_phase) == (Outcome.ACCEPTED, AlliancePhase.REVEAL)
    fee = play.settled(0, aggregator)
    assert (fee.role, fee.earned, fee.slashed) == (AllianceRole.AGGREGATOR, 5 * FML, 0)
    shares = [one.earned for one in result.settled if one.role is not AllianceRole.AGGREGATOR]
    assert shares == [495 * FML // 6] * 6
    play.run_round()
    assert play.phase is AlliancePhase.FINISHED
    assert add_up(play, rounds=2) == {Kind.PROPOSING, Kind.VOTING, Kind.AGGREGATING, Kind.REMAINDER}


def test_the_sum_of_masked_updates_opens_what_they_were_committed_to():
    """Though each vector alone is noise; without a liar the ledger's product fits."""
    assert until_aggregation().does_open()
    assert not until_aggregation(spoiled=1).does_open()


def test_everybodys_duties_through_masked_rounds():
    """Of a round that runs again each duty says which attempt it is for."""
    play = MaskedPlay().begin()
    for attempt in range(2):
        gone, *others = play.proposers()
        others = others if not attempt else [gone, *others]
        assert all(play.duties(person) == [CommitOwnUpdate(1, 0, attempt)] for person in play.proposers())
        play.train()
        assert all(play.duties(person) == [ShareOwnMasked(1, 0, attempt)] for person in play.proposers())
        play.seal(others)
    assert all(play.duties(person) == [FetchUpdates(1, 0)] for person in play.voters())
    play.hold()
    assert play.duties(play.aggregator()) == [AggregateUpdates(1, 0)]
    play.publish()
    assert all(play.duties(person) == [VoteOnUpdates(1, 0)] for person in play.voters())
    play.commit()
    assert all(play.duties(person) == [RevealOwnVote(1, 0)] for person in play.voters())


def test_everybodys_duties_after_a_dispute():
    """Voters judge, clients open, voters accuse; who did its part has no duty any more."""
    play = until_aggregation(spoiled=1)
    first, second = play.aggregators()
    play.dispute()
    assert [play.duties(person) for person in (first, second)] == [[], []]
    assert all(play.duties(person) == [JudgeOwnSum(1, 0, 0)] for person in play.voters())
    play.judge()
    one, *_ = clients = play.people_at(play.round_record.frozen)
    assert all(play.duties(person) == [OpenOwnMask(1, 0, 0)] for person in clients)
    play.send(one, play.opened(one))
    assert play.duties(one) == []
    play.unmask(clients[1:])
    assert all(play.duties(person) == [AccuseOwnLiars(1, 0, 0)] for person in play.voters())
    voter = play.voters()[0]
    play.send(voter, play.accusing())
    assert play.duties(voter) == []


# --- somebody is missing ---------------------------------------------------------------------------------------------


def test_who_does_not_commit_leaves_no_masks_behind():
    """Masks are between those that committed, so the round need not run again; who did not is absent."""
    play = MaskedPlay().begin()
    gone, *others = play.proposers()
    play.train(others).seal(others).hold()
    assert (play.phase, play.round_record.attempt()) == (AlliancePhase.AGGREGATE, 0)
    assert play.does_open()
    until_vote(play)
    assert play.result(0).outcome is Outcome.ACCEPTED
    assert losses(play) == {gone.name: ABSENCE}
    assert add_up(play) >= {Kind.ABSENCE}


def test_without_a_vector_the_round_runs_again_from_fresh_commitments():
    """The others commit anew, for keys and context are others; who dropped out has no part in it any more."""
    play = MaskedPlay().begin()
    gone, *others = play.proposers()
    first = {person: play.commit_update(person) for person in play.proposers()}
    play.train().seal(others)
    current, state = play.round_record, play.ledger.state
    assert (play.round, play.phase, current.attempt(), current.frozen) == (0, AlliancePhase.TRAIN, 1, ())
    assert [one.address for one in current.proposers] == [person.address for person in play.by_address(others)]
    assert [one.address for one in current.dropped] == [gone.address]
    for person in (gone, *others):
        assert get_committed(state, play.record, person.address) is None
        assert get_update(state, 1, 0, person.address) is None
    assert list(MASKS.scan(state, integer_bytes(1))) == []
    assert all(sheet.held is None for sheet in get_sheets(state, play.record, current).values())
    assert play.send(others[0], first[others[0]]).error == InvalidProof.number
    assert play.send(gone, first[gone]).error == NotEligible.number


def test_who_dropped_out_is_penalised_and_the_others_are_paid():
    """As one that is absent; the sum of the second attempt is voted on."""
    play = MaskedPlay().begin()
    gone, *others = play.proposers()
    play.train().seal(others)
    play.train().seal().hold()
    assert play.does_open()
    until_vote(play)
    assert play.result(0).outcome is Outcome.ACCEPTED
    assert set(play.published_of(0).proven.clients) == {person.address for person in others}
    assert losses(play) == {gone.name: ABSENCE}
    assert play.settled(0, gone).is_absent
    assert all(play.settled(0, person).earned == 495 * FML // 6 for person in others)
    assert add_up(play) == {Kind.PROPOSING, Kind.VOTING, Kind.AGGREGATING, Kind.ABSENCE}


def test_who_drops_out_learns_no_more_than_the_sum_without_it():
    """All weights stay as the first draw gave them: with its own vector, which it kept, it knows the first sum as well.

    Were the weights those of who is left, two sums of the same two updates would give both away.
    """
    play = MaskedPlay()
    for rows, person in enumerate(play.participants, start=1):
        play.join(person, train_rows=7**rows)
    play.ledger.block()
    play.draw().train()
    curious, *others = play.proposers()
    before, vectors = play.weights(), [play.vector(person) for person in play.proposers()]
    own = play.opening(curious).values.astype(np.int64) * before[curious.address]
    play.seal(others)
    first = add_masked(vectors)
    play.train().seal().hold()
    assert play.weights() == {person.address: before[person.address] for person in others}
    assert (first.values - own).tolist() == play.sum().values.tolist()
    play.publish()
    assert play.published.proven.weighed() == play.weights()


@pytest.mark.parametrize("missing", ["commitment", "vector"])
def test_a_round_is_run_again_once_and_with_all_or_not_at_all(missing):
    """Who dropped out first knows the sum of all the others: without one of those, a second sum would bare that one."""
    play = MaskedPlay(participants=12).begin()
    first, second, *others = play.proposers()
    play.train().seal([second, *others])
    assert (play.phase, play.round_record.attempt()) == (AlliancePhase.TRAIN, 1)
    if missing == "commitment":
        play.train(others)
    else:
        play.train().seal(others)
    last = AlliancePhase.TRAIN if missing == "commitment" else AlliancePhase.SEAL
    assert (play.result(0).outcome, play.result(0).last_phase) == (Outcome.VOID, last)
    assert losses(play) == {first.name: ABSENCE, second.name: ABSENCE}
    add_up(play)


def test_with_too_few_left_to_hide_each_other_the_round_is_void():
    """All that dropped out are penalised."""
    play = MaskedPlay().begin().train()
    one, *others = play.proposers()
    play.seal([one])
    assert (play.result(0).outcome, play.result(0).last_phase) == (Outcome.VOID, AlliancePhase.SEAL)
    assert losses(play) == {person.name: ABSENCE for person in others}
    add_up(play)


def test_a_vector_that_two_thirds_hold_cannot_be_called_missing():
    """Else the sums with it and without it would show its update."""
    play = MaskedPlay().begin().train().seal()
    hidden, *others = everybody = play.proposers()
    liar, *voters = play.voters()
    play.hold({**dict.fromkeys(voters, everybody), liar: others})
    assert (play.phase, play.round_record.attempt()) == (AlliancePhase.AGGREGATE, 0)
    assert hidden.address in play.round_record.frozen


def test_a_vector_that_too_few_hold_makes_the_round_void():
    """On the log it is left out of no sum, whatever voters say; it was withheld from two of three, so it is absent."""
    play = MaskedPlay().begin().train().seal()
    hidden, *others = play.proposers()
    one, *voters = play.voters()
    play.hold({**dict.fromkeys(voters, others), one: [hidden, *others]})
    assert (play.result(0).outcome, play.result(0).last_phase) == (Outcome.VOID, AlliancePhase.HOLD)
    assert losses(play) == {hidden.name: ABSENCE}
    add_up(play)


def test_a_vector_that_voters_are_silent_about_costs_its_client_nothing():
    """One voter says nothing, one lacks the vector, one has it: that is not its client's fault."""
    play = MaskedPlay().begin().train().seal()
    hidden, *others = play.proposers()
    one, two, silent = play.voters()
    play.hold({one: [hidden, *others], two: others})
    assert play.result(0).outcome is Outcome.VOID
    settled = play.settled(0, hidden)
    assert (settled.earned, settled.slashed, settled.is_absent) == (0, 0, False)
    assert losses(play) == {silent.name: ABSENCE}
    add_up(play)


# --- the aggregator --------------------------------------------------------------------------------------------------


def test_the_next_aggregator_adds_the_same_vectors():
    """Nothing was sealed to the first, which loses 5 %: its time passes, and the second may sum at once."""
    play = until_aggregation()
    (first, second), frozen, deadline_ms = play.aggregators(), play.round_record.frozen, play.record.deadline_ms
    play.fail()
    assert play.ledger.before.head.time_ms >= deadline_ms
    assert (play.phase, play.round_record.turn) == (AlliancePhase.AGGREGATE, 1)
    assert play.round_record.frozen == frozen
    assert play.aggregator() == second
    until_vote(play)
    assert play.result(0).outcome is Outcome.ACCEPTED
    assert losses(play) == {first.name: ABSENCE}
    assert play.settled(0, second).earned == 5 * FML
    assert add_up(play) >= {Kind.ABSENCE, Kind.AGGREGATING}


def test_after_the_last_aggregator_a_masked_round_is_void():
    """All that had a turn are absent; nobody is paid."""
    play = until_aggregation()
    people = play.aggregators()
    play.fail().fail()
    assert (play.result(0).outcome, play.result(0).last_phase) == (Outcome.VOID, AlliancePhase.AGGREGATE)
    assert losses(play) == {person.name: ABSENCE for person in people}
    assert all(one.earned == 0 for one in play.result(0).settled)
    add_up(play)


def test_a_sum_that_does_not_open_is_refused_and_costs_its_aggregator():
    """It should have disputed it, and may have altered it: the voters see that it is wrong, not why."""
    play = until_aggregation(spoiled=1)
    aggregator = play.aggregator()
    play.publish().commit(dict.fromkeys(play.voters(), REFUSAL)).reveal()
    assert play.result(0).outcome is Outcome.VOID
    assert losses(play) == {aggregator.name: LOST}
    assert add_up(play) == {Kind.LOST_VOTE}
