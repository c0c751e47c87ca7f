"""Every reward and every slash of an alliance is traced to its parts, and the parts add up, whatever happened."""

import pytest
from msgspec.structs import replace

from protocol.alliance_acts import FundAlliance
from protocol.alliance_settings import Attribution, RewardRule
from protocol.errors import NotFound
from protocol.params import DEVNET
from protocol.rules.alliance import explaining, settlement
from protocol.rules.alliance.explaining import SLASHES, Kind, explain_closing, explain_round
from protocol.rules.alliance.records import AlliancePhase
from tests.alliance_play import AlliancePlay, verified
from tests.ledger_driver import FML


def explain(play: AlliancePlay, round: int):
    return explain_round(play.ledger.state, play.ledger.before.params, play.alliance, round)


def add_up(play: AlliancePlay):
    """Assert that the traces of a finished alliance are all that was paid and taken; return units by kind."""
    traces = [trace for round in range(play.round + 1) for trace in explain(play, round)]
    traces += explain_closing(play.ledger.state, play.alliance)
    earned, slashed = {}, {}
    for trace in traces:
        assert trace.origins.total() + trace.burned + trace.kept == trace.units > 0
        side = slashed if trace.kind in SLASHES else earned
        side[trace.account] = side.get(trace.account, 0) + trace.units
    for person in play.participants:
        member = play.member(person)
        assert earned.get(person.address, 0) == member.earned
        assert slashed.get(person.address, 0) == member.slashed
    return {kind: sum(trace.units for trace in traces if trace.kind is kind) for kind in Kind}


def test_an_honest_run_is_paid_from_the_escrow():
    """Two proposers and three voters in both rounds, all of the escrow, nothing taken, nothing left."""
    play = AlliancePlay().begin().run_round().run_round()
    kinds = add_up(play)
    assert kinds == {
        Kind.PROPOSING: 400 * FML,
        Kind.VOTING: 600 * FML,
        Kind.AGGREGATING: 0,
        Kind.REMAINDER: 0,
        Kind.LOST_VOTE: 0,
        Kind.ABSENCE: 0,
        Kind.FALSE_UPDATE: 0,
    }


def test_a_reward_names_its_formulas_and_votes():
    """Pool, L6, stake, merit; a proposer's votes are those about its update, a voter's its own."""
    play = AlliancePlay().begin()
    proposer, voter = play.proposers()[0], play.voters()[0]
    play.run_round()
    traces = {trace.account: trace for trace in explain(play, 0)}
    trace = traces[proposer.address]
    assert [step.tag for step in trace.steps] == ["VI.F", "L6", "L6", "L5", "L5", "L5"]
    assert [step.units for step in trace.steps] == [1_000 * FML, None, 500 * FML, 64 * FML, 320 * FML, None]
    assert [(vote.about, vote.vote) for vote in trace.votes] == [(proposer.address, 1)] * 3
    own = traces[voter.address].votes
    assert {vote.voter for vote in own} == {voter.address}
    assert [vote.about is None for vote in own] == [False, False, True]


def test_slashes_are_told_apart():
    """A rejected proposer lost a vote, an absent one was away; a tenth of each is burned."""
    play = AlliancePlay(participants=8, rounds=1).begin()
    gone, bad, good = play.proposers()
    play.train([bad, good]).hold()
    play.commit(dict.fromkeys(play.voters(), play.ballot(good=[good]))).reveal().confirm()
    traces = {trace.account: trace for trace in explain(play, 0) if trace.origins.total() == 0}
    lost, away = traces[bad.address], traces[gone.address]
    assert (lost.kind, lost.units, lost.burned) == (Kind.LOST_VOTE, 8 * FML, 8 * FML // 10)
    assert (away.kind, away.units, away.burned) == (Kind.ABSENCE, 32 * FML // 10, 32 * FML // 100)
    assert [(vote.about, vote.vote) for vote in lost.votes] == [(bad.address, -1)] * 3
    assert [step.what for step in away.steps][-1] == "slash rate in millionths"
    add_up(play)


def test_a_slash_for_silence_is_told_by_what_it_came_to():
    """Who did not reveal lost a vote where that costs more than absence."""
    play = AlliancePlay(rounds=1).begin().train().hold().commit()
    silent, *others = play.voters()
    play.reveal(others).confirm(dict.fromkeys(others, play.confirmation()))
    trace = next(trace for trace in explain(play, 0) if trace.account == silent.address)
    assert (trace.kind, trace.units, trace.votes) == (Kind.LOST_VOTE, 8 * FML, ())
    add_up(play)


@pytest.mark.parametrize("attribution", Attribution)
def test_origins_are_told_apart(attribution):
    """Escrow, a gift and a slash come out again under their own names, the remainder included."""
    play = AlliancePlay(attribution=attribution, rounds=3).begin()
    play.send(play.stranger, FundAlliance(1, 500 * FML))
    play.skip_round()
    play.run_round()
    play.draw().train().hold()
    play.commit(dict.fromkeys(play.voters(), play.ballot(good=[]))).reveal()
    assert play.phase is AlliancePhase.FINISHED
    add_up(play)
    traces = [*explain(play, 1), *explain_closing(play.ledger.state, 1)]
    assert all(min(t.origins.escrow, t.origins.bounties, t.origins.slashes) > 0 for t in traces if t.burned == 0)
    assert all(trace.origins.emission == 0 for trace in traces)


def test_emission_and_impact_are_told():
    """A verified alliance's rewards are emission; one by impact names the gain."""
    play = verified().begin()
    play.ledger.block(after_ms=DEVNET.emission_period_ms)
    play.run_round()
    assert all(trace.origins.emission == trace.units for trace in explain(play, 0))
    play = AlliancePlay(reward=RewardRule.IMPACT, rounds=1).begin().run_round()
    steps = [trace.steps[-1] for trace in explain(play, 0) if trace.kind is Kind.PROPOSING]
    assert [(step.tag, step.number) for step in steps] == [("II.B", "10000")] * 2
    add_up(play)


def test_void_rounds_have_only_slashes():
    """And what is not there cannot be explained."""
    play = AlliancePlay().begin().skip_round()
    assert [trace.kind for trace in explain(play, 0)] == [Kind.ABSENCE] * 2
    with pytest.raises(NotFound):
        explain(play, 1)
    with pytest.raises(NotFound):
        explain_closing(play.ledger.state, 1)


def test_a_round_settled_otherwise_is_noticed(monkeypatch):
    """A trace that does not come to what was settled stops, instead of telling something that was not."""
    play = AlliancePlay()
    reckon = settlement.reckon
    with monkeypatch.context() as patch:
        patch.setattr(settlement, "reckon", lambda *args: tuple(replace(one, merit=1) for one in reckon(*args)))
        play.begin().run_round()
    with pytest.raises(AssertionError, match="settled otherwise"):
        explaining.explain_round(play.ledger.state, DEVNET, 1, 0)
