"""Disputed sums of masked updates: false disputes, liars that are found, and what everybody's silence costs."""

import pytest

from protocol.rules.alliance.explaining import Kind
from protocol.rules.alliance.masks import derive_check, recover_seeds
from protocol.rules.alliance.records import AlliancePhase
from protocol.rules.alliance.results import Outcome
from tests.ledger_driver import FML
from tests.masked_play import ABSENCE, LOST, MaskedPlay, add_up, losses, until_aggregation


def until_verdict(*, spoiled: int = 1, silent: int = 0, **options) -> MaskedPlay:
    """Return a play whose voters are asked who lied; the last `silent` clients kept their masks closed."""
    play = until_aggregation(spoiled=spoiled, **options)
    clients = play.proposers()
    play.dispute().judge()
    return play.unmask(clients[: len(clients) - silent])


def expect_void(play: MaskedPlay, last_phase: AlliancePhase) -> None:
    """Assert that the round was void, paid nobody, and is explained."""
    assert (play.result(0).outcome, play.result(0).last_phase) == (Outcome.VOID, last_phase)
    assert all(one.earned == 0 for one in play.result(0).settled)
    add_up(play)


# --- false disputes --------------------------------------------------------------------------------------------------


def test_a_false_dispute_costs_the_aggregator_its_turn():
    """The voters add up the vectors themselves: the sum opens, nobody opens a mask, and the next one publishes it."""
    play = until_aggregation()
    first, second = play.aggregators()
    play.dispute().judge()
    current = play.round_record
    assert (play.phase, current.turn, current.is_disputed) == (AlliancePhase.AGGREGATE, 1, False)
    play.publish().commit().reveal()
    assert play.result(0).outcome is Outcome.ACCEPTED
    assert losses(play) == {first.name: ABSENCE}
    assert play.settled(0, second).earned == 5 * FML
    assert add_up(play) >= {Kind.ABSENCE, Kind.AGGREGATING}


def test_a_false_dispute_of_the_last_aggregator_voids_the_round():
    """Both had their turn, neither came to a sum."""
    play = until_aggregation()
    people = play.aggregators()
    play.fail().dispute().judge()
    expect_void(play, AlliancePhase.DISPUTE)
    assert losses(play) == {person.name: ABSENCE for person in people}


def test_what_voters_said_of_a_sum_stands_when_another_disputes_it():
    """The vectors are the same, so nobody is asked twice: the second dispute is over at once."""
    play = until_aggregation()
    play.dispute().judge()
    play.dispute()
    assert play.phase is AlliancePhase.DISPUTE
    play.ledger.block()
    expect_void(play, AlliancePhase.DISPUTE)


@pytest.mark.parametrize("denying", [1, 2])
def test_masks_are_opened_only_when_two_thirds_confirm(denying):
    """One of three voters does not suffice, whatever it says; two do."""
    play = until_aggregation()
    voters = play.voters()
    words = {voter: place >= denying for place, voter in enumerate(voters)}
    play.dispute().judge(words)
    assert play.phase is (AlliancePhase.UNMASK if denying == 2 else AlliancePhase.AGGREGATE)


def test_a_dispute_that_nobody_judges_is_false():
    """The time passes; voters that stay silent are absent if the round ends with it."""
    play = until_aggregation(spoiled=1)
    people, voters = play.aggregators(), play.voters()
    play.fail().dispute()
    deadline_ms = play.record.deadline_ms
    play.judge({voters[0]: False})
    assert play.ledger.before.head.time_ms >= deadline_ms
    expect_void(play, AlliancePhase.DISPUTE)
    assert losses(play) == {person.name: ABSENCE for person in (*people, *voters[1:])}


# --- liars -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("liars", [1, 2, 3])
def test_liars_are_found_and_slashed_and_nobody_is_paid(liars):
    """The aggregator disputes, the voters confirm, all open their masks, and those that lied are named; no others."""
    play = until_verdict(spoiled=liars)
    found = play.proposers()[:liars]
    assert play.liars() == tuple(sorted(person.address for person in found))
    play.accuse()
    expect_void(play, AlliancePhase.VERDICT)
    assert losses(play) == {person.name: LOST for person in found}
    assert not any(one.is_absent for one in play.result(0).settled)
    assert all(play.member(person).slashed == LOST for person in found)
    assert play.round == 1
    assert add_up(play) == {Kind.FALSE_UPDATE}


def test_a_verdict_after_the_round_ran_again_counts_the_dropped_too():
    """Who dropped out is absent, who lied in the second attempt is slashed."""
    play = MaskedPlay().begin().train()
    gone, liar, other = play.proposers()
    play.seal([liar, other]).hold()
    play.train().seal(spoiled=[liar]).hold()
    play.dispute().judge().unmask().accuse()
    expect_void(play, AlliancePhase.VERDICT)
    assert losses(play) == {gone.name: ABSENCE, liar.name: LOST}


def test_a_verdict_of_the_second_turn_blames_the_first_aggregator_as_well():
    """The second disputed rightly, and fails in nothing."""
    play = until_aggregation(spoiled=1)
    first, _ = play.aggregators()
    liar = play.proposers()[0]
    play.fail().dispute().judge().unmask()
    play.accuse()
    expect_void(play, AlliancePhase.VERDICT)
    assert losses(play) == {first.name: ABSENCE, liar.name: LOST}


# --- masks that stay closed ------------------------------------------------------------------------------------------


def test_who_alone_keeps_its_mask_closed_is_absent_and_can_be_checked():
    """The others' secrets give its seeds; it did not lie."""
    play = until_verdict(silent=1)
    liar, *_, silent = play.proposers()
    assert play.liars() == (liar.address,)
    play.accuse()
    expect_void(play, AlliancePhase.VERDICT)
    assert losses(play) == {liar.name: LOST, silent.name: ABSENCE}
    assert play.settled(0, silent).is_absent


def test_a_liar_that_keeps_its_mask_closed_is_found_all_the_same():
    """It saves nothing by silence: it loses what costs more."""
    play = until_aggregation(spoiled=1)
    liar, *others = play.proposers()
    play.dispute().judge()
    deadline_ms = play.record.deadline_ms
    play.unmask(others)
    assert play.ledger.before.head.time_ms >= deadline_ms
    assert play.liars() == (liar.address,)
    play.accuse()
    assert losses(play) == {liar.name: LOST}
    assert play.settled(0, liar).is_absent
    assert add_up(play) == {Kind.FALSE_UPDATE}


def test_two_that_keep_their_masks_closed_count_as_liars_both():
    """Nobody can check them, for the seed that they share stays unknown; the one that lied openly is found as well."""
    play = until_verdict(participants=12, silent=2)
    liar, honest, *silent = play.proposers()
    assert play.liars() == tuple(sorted(person.address for person in (liar, *silent)))
    play.accuse()
    expect_void(play, AlliancePhase.VERDICT)
    assert losses(play) == {person.name: LOST for person in (liar, *silent)}
    assert play.settled(0, honest).slashed == 0


def test_clients_that_all_keep_silent_lied_all():
    """Whoever did: honest ones open, so that the liar is found."""
    play = until_aggregation(spoiled=1)
    clients = play.proposers()
    play.dispute().judge().unmask([]).accuse()
    expect_void(play, AlliancePhase.VERDICT)
    assert losses(play) == {person.name: LOST for person in clients}


def test_seeds_come_from_either_side_and_not_from_two_closed_ones():
    """Each of a pair of which one opened; for two that did not there is none."""
    play = until_verdict(silent=2)
    opened, first, second = play.proposers()
    state, chain, params = play.ledger.state, play.ledger.chain, play.ledger.before.params
    seeds = recover_seeds(state, chain, params, play.record, opened.address)
    assert set(seeds) == {first.address, second.address}
    with pytest.raises(AssertionError, match="no secret"):
        recover_seeds(state, chain, params, play.record, first.address)


def test_vectors_are_checked_with_what_depends_on_all_of_them():
    """Another vector of whoever, another check: nobody can aim a false vector at it."""
    checks = set()
    for spoiled in range(4):
        play = until_aggregation(spoiled=spoiled)
        checks.add(derive_check(play.ledger.state, play.ledger.chain, play.ledger.before.params, play.record))
    assert len(checks) == 4


# --- voters that disagree or say nothing -----------------------------------------------------------------------------


def test_what_two_thirds_of_the_voters_say_alike_holds():
    """The third voter names somebody else: nobody is slashed for that, and nobody paid."""
    play = until_verdict()
    liar, honest, _ = play.proposers()
    one, *others = play.voters()
    play.accuse({one: [honest.address], **dict.fromkeys(others)})
    expect_void(play, AlliancePhase.VERDICT)
    assert losses(play) == {liar.name: LOST}


def test_voters_without_a_common_verdict_slash_nobody():
    """Three voters, three verdicts: the round is void."""
    play = until_verdict()
    clients = play.proposers()
    play.accuse({voter: [client.address] for voter, client in zip(play.voters(), clients, strict=True)})
    expect_void(play, AlliancePhase.VERDICT)
    assert losses(play) == {}


def test_voters_may_find_that_nobody_lied():
    """Then nobody is slashed: a dispute that 2/3 confirmed against the truth ends so."""
    play = until_aggregation()
    play.dispute().judge(dict.fromkeys(play.voters(), False))
    play.unmask()
    assert play.liars() == ()
    play.accuse()
    expect_void(play, AlliancePhase.VERDICT)
    assert losses(play) == {}


def test_voters_that_name_nobody_in_time_are_absent():
    """One of three is left, which is no 2/3: the liar goes free, the silent ones pay."""
    play = until_verdict()
    one, *others = play.voters()
    deadline_ms = play.record.deadline_ms
    play.accuse({one: None})
    assert play.ledger.before.head.time_ms >= deadline_ms
    expect_void(play, AlliancePhase.VERDICT)
    assert losses(play) == {person.name: ABSENCE for person in others}


def test_who_did_not_judge_the_sum_is_not_waited_for():
    """The verdict ends when all that judged have spoken; the other is absent, whatever the verdict."""
    play = until_aggregation(spoiled=1)
    liar = play.proposers()[0]
    silent, *voters = play.voters()
    play.dispute().judge(dict.fromkeys(voters, False))
    play.unmask()
    assert play.duties(silent) == []
    deadline_ms = play.record.deadline_ms
    play.accuse(dict.fromkeys(voters))
    assert play.ledger.before.head.time_ms < deadline_ms
    expect_void(play, AlliancePhase.VERDICT)
    assert losses(play) == {liar.name: LOST, silent.name: ABSENCE}


def test_a_voter_that_holds_nothing_has_no_say_in_a_dispute():
    """It missed a cheap step; nobody asks it, or waits for it, and the others decide."""
    play = MaskedPlay().begin().train()
    play.seal(spoiled=play.proposers()[:1])
    silent, *voters = play.voters()
    play.hold(dict.fromkeys(voters, play.proposers()))
    liar = play.proposers()[0]
    play.dispute()
    assert play.duties(silent) == []
    deadline_ms = play.record.deadline_ms
    play.judge(dict.fromkeys(voters, False))
    assert (play.phase, play.ledger.before.head.time_ms < deadline_ms) == (AlliancePhase.UNMASK, True)
    play.unmask()
    assert play.duties(silent) == []
    play.accuse(dict.fromkeys(voters))
    expect_void(play, AlliancePhase.VERDICT)
    assert losses(play) == {liar.name: LOST, silent.name: ABSENCE}
