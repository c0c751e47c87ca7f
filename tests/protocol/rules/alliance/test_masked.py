"""Rounds with masked updates: who is missing, whose turn it is, who lied, and what each of it pays and costs."""

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
from protocol.rules.alliance.explaining import Kind, explain_closing, explain_round
from protocol.rules.alliance.records import AlliancePhase, Ballot
from protocol.rules.alliance.results import AllianceRole, Outcome
from protocol.rules.duties import get_duties
from tests.ledger_driver import FML, Person
from tests.ledger_invariants import expect_sound
from tests.masked_play import MaskedPlay
from tests.private_play import PARAMS

# 5 % of 64 FML, and s_p of it.
ABSENCE, LOST = 64 * FML // 20, 8 * FML
REFUSAL = Ballot(800_000, (None,), None)


def losses(play: MaskedPlay, round: int = 0) -> dict[str, int]:
    """Return what everybody lost in a round, by name; who lost nothing is left out."""
    names = {person.address: person.name for person in play.participants}
    return {names[one.address]: one.slashed for one in play.result(round).settled if one.slashed}


def add_up(play: MaskedPlay, rounds: int = 1) -> set[Kind]:
    """Assert that the traces come to what everybody earned and lost; return their kinds."""
    traces = [trace for round in range(rounds) for trace in explain_round(play.ledger.state, PARAMS, 1, round)]
    if play.phase is AlliancePhase.FINISHED:
        traces += explain_closing(play.ledger.state, 1)
    for person in play.participants:
        own = [trace for trace in traces if trace.account == person.address]
        member = play.member(person)
        assert sum(trace.origins.total() for trace in own) == member.earned
        assert sum(trace.burned + trace.kept for trace in own) == member.slashed
    expect_sound(play.ledger.state)
    return {trace.kind for trace in traces}


def duties(play: MaskedPlay, person: Person) -> list[object]:
    """Return what a person should do now."""
    return get_duties(play.ledger.state, person.address, lambda task, epoch: play.ledger.tag(person, task, epoch))


def until_aggregation(*, spoiled: int = 0, **options) -> MaskedPlay:
    """Return a play in which the first aggregator may sum, and so many clients shared what they did not commit to."""
    play = MaskedPlay(**options).begin().train()
    return play.seal(spoiled=play.proposers()[:spoiled]).hold()


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
        assert all(duties(play, person) == [CommitOwnUpdate(1, 0, attempt)] for person in play.proposers())
        play.train()
        assert all(duties(play, person) == [ShareOwnMasked(1, 0, attempt)] for person in play.proposers())
        play.seal(others)
        assert all(duties(play, person) == [FetchUpdates(1, 0)] for person in play.voters())
        play.hold()
    assert duties(play, play.aggregator()) == [AggregateUpdates(1, 0)]
    play.publish()
    assert all(duties(play, person) == [VoteOnUpdates(1, 0)] for person in play.voters())
    play.commit()
    assert all(duties(play, person) == [RevealOwnVote(1, 0)] for person in play.voters())


def test_everybodys_duties_after_a_dispute():
    """Voters judge, clients open, voters accuse; who did its part has no duty any more."""
    play = until_aggregation(spoiled=1)
    first, second = play.aggregators()
    play.dispute()
    assert [duties(play, person) for person in (first, second)] == [[], []]
    assert all(duties(play, person) == [JudgeOwnSum(1, 0, 0)] for person in play.voters())
    play.judge()
    one, *_ = clients = play.people_at(play.round_record.frozen)
    assert all(duties(play, person) == [OpenOwnMask(1, 0, 0)] for person in clients)
    play.send(one, play.opened(one))
    assert duties(play, one) == []
    play.unmask(clients[1:])
    assert all(duties(play, person) == [AccuseOwnLiars(1, 0, 0)] for person in play.voters())
    voter = play.voters()[0]
    play.send(voter, play.accusing())
    assert duties(play, voter) == []


def test_a_liar_is_found_and_slashed_and_nobody_is_paid():
    """The aggregator disputes, 2/3 confirm, all open their masks, and the voters name the one that lied."""
    play = until_aggregation(spoiled=1)
    liar = play.proposers()[0]
    play.dispute().judge().unmask()
    assert play.liars() == (liar.address,)
    play.accuse()
    assert (play.result(0).outcome, play.result(0).last_phase) == (Outcome.VOID, AlliancePhase.VERDICT)
    assert losses(play) == {liar.name: LOST}
    assert all(one.earned == 0 and not one.is_absent for one in play.result(0).settled)
    assert add_up(play) == {Kind.LOST_VOTE}
