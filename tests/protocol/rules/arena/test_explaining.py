"""Every unit that a task paid is traced to where it came from, and the parts add up, whatever happened in the run."""

import pytest
from msgspec.structs import replace

from protocol.crypto import integer_bytes
from protocol.params import DEVNET, Aggregation
from protocol.rules.arena import explaining, settlement
from protocol.rules.arena.explaining import Kind, explain_epoch
from protocol.rules.arena.records import MEMBERS, Phase, get_member
from protocol.rules.arena.sources import count_sources
from protocol.transactions import AddBounty, Delegate, Leave, SetRewardShare, Verdict
from tests.arena_play import Play
from tests.delegation_play import DelegationPlay, begin
from tests.ledger_driver import FML


def explain(play):
    """Return the traces of all epochs of a play."""
    state, params = play.ledger.state, play.ledger.before.params
    return [trace for epoch in range(play.record.epoch + 1) for trace in explain_epoch(state, params, play.task, epoch)]


def add_up(traces, play):
    """Assert that traces are all that was paid, account by account and origin by origin; return units by origin."""
    paid = {}
    for address, member in MEMBERS.scan(play.ledger.state, integer_bytes(play.task)):
        paid[address] = member.earned_a + member.earned_b + member.earned_validating + member.passed_on
    found = dict.fromkeys(paid, 0)
    for trace in traces:
        assert trace.own + trace.passed_on == trace.units == trace.origins.total()
        if trace.kind is not Kind.CREATING:
            found[trace.account] += trace.units
    assert found == paid
    names = ("emission", "escrow", "bounties", "slashes")
    return {name: sum(getattr(trace.origins, name) for trace in traces) for name in names}


def test_an_honest_run_is_paid_from_the_escrow():
    """Three trainers, three validators, two epochs: all of the escrow, and nothing else."""
    play = Play().begin().run_epoch().run_epoch()
    origins = add_up(explain(play), play)
    assert origins == {"emission": 0, "escrow": 1_000 * FML, "bounties": 0, "slashes": 0}


def test_a_reward_names_its_formulas_and_votes():
    """The best trainer's reward A: pot, A14, rank 1, its weight, its stake, and three votes that counted."""
    play = Play().begin().run_epoch()
    best = play.result(0).ranking[0]
    traces = explain_epoch(play.ledger.state, DEVNET, play.task, 0)
    trace = next(trace for trace in traces if trace.account == best.author)
    assert trace.kind is Kind.REWARD_A
    assert trace.units == best.reward_a
    tags = [step.tag for step in trace.steps]
    assert tags == ["IV.A", "IV.A", "IV.A.1", "A14", "A4", "A5", "A5", "A6", "A6"]
    assert next(step.number for step in trace.steps if step.what == "rank") == "1"
    assert [(vote.score, vote.stake, vote.is_counted) for vote in trace.votes] == [(best.score, 100 * FML, True)] * 3


def test_slashes_and_bounties_are_told_apart_from_the_escrow():
    """What an absent validator lost, and what a stranger gave, comes out again under its own name."""
    play = Play().begin()
    play.send(play.stranger, AddBounty(play.task, 100 * FML))
    play.submit().open().commit({person: play.entries() for person in play.drawn()[1:]})
    play.reveal().claim().run_epoch()
    slashed = sum(payout.slashed for payout in play.result(0).validators)
    origins = add_up(explain(play), play)
    assert origins["escrow"] == 1_000 * FML
    assert origins["bounties"] == 100 * FML
    assert origins["slashes"] == slashed - slashed * DEVNET.slash_burn_millionths // 1_000_000 > 0


def test_delegators_parts_are_told():
    """What an operator's delegators got is in its trace."""
    play = Play().begin()
    operator = play.validators[0]
    play.send(operator, SetRewardShare(play.task, 500_000))
    play.send(play.stranger, Delegate(play.task, operator.address, 100 * FML))
    play.run_epoch().run_epoch()
    traces = explain(play)
    add_up(traces, play)
    passed = sum(trace.passed_on for trace in traces if trace.account == operator.address)
    assert passed == get_member(play.ledger.state, play.task, operator.address).passed_on > 0
    told = [step.units for trace in traces for step in trace.steps if step.tag == "A13"]
    assert sum(told) == passed, "and in its reckoning"


def test_what_delegators_that_left_would_have_got_is_no_payout():
    """Of the reward B of a trainer whose delegator left, its own part is traced; the rest is paid to nobody."""
    play = DelegationPlay()
    who, trainer = play.delegators[0], play.trainers[0]
    begin(play, (who, trainer, 30 * FML))
    play.undelegate(who, trainer, 30 * FML)
    play.run_epoch().run_epoch()
    traces = explain(play)
    add_up(traces, play)
    (trace,) = [one for one in traces if one.account == trainer.address and one.kind is Kind.REWARD_B]
    member = get_member(play.ledger.state, play.task, trainer.address)
    assert (trace.own, trace.passed_on) == (member.earned_b, 0)
    assert trace.units == next(ranked.reward_b for ranked in play.result(1).ranking if ranked.author == trainer.address)
    (unpaid,) = [step.units for step in trace.steps if step.what == "for delegators that left: unpaid"]
    assert unpaid > 0


@pytest.mark.parametrize("aggregation", Aggregation)
def test_outliers_votes_do_not_count(aggregation):
    """A vote that O1 dropped is shown as one that did not count."""
    settings = replace(DEVNET.task, aggregation=aggregation)
    play = Play(validators=4, settings=settings).begin().submit().open()
    liar, *others = play.drawn()
    lies = tuple(replace(entry, score=100_000) for entry in play.entries())
    play.commit({liar: lies, **dict.fromkeys(others, play.entries())}).reveal().claim().run_epoch()
    traces = explain(play)
    add_up(traces, play)
    votes = [vote for trace in traces if trace.epoch == 0 and trace.kind is Kind.REWARD_A for vote in trace.votes]
    assert {vote.validator for vote in votes if not vote.is_counted} == {liar.address}


RUNS = {
    "no key in the first epoch": lambda play: play.submit().open(key=False).claim().run_epoch(),
    "no key in the last epoch": lambda play: play.run_epoch().submit().open(key=False).claim(),
    "no key at all": lambda play: play.submit().open(key=False).claim().submit().open(key=False).claim(),
    "nobody reveals": lambda play: play.submit().open().commit().reveal([]).claim().run_epoch(),
    "nobody claims": lambda play: play.submit().open().commit().reveal().claim([]).run_epoch(),
    "two of three claim": lambda play: play.submit().open().commit().reveal().claim(play.trainers[1:]).run_epoch(),
    "one trainer comes": lambda play: (
        play.submit(play.trainers[:1]).open(play.trainers[:1]).commit().reveal().claim().run_epoch()
    ),
    "a trainer leaves in the last epoch": lambda play: leave(play.run_epoch(), play.trainers[0]).run_epoch(),
    "a validator leaves in the last epoch": lambda play: leave(play.run_epoch(), play.validators[0]).run_epoch(),
    "nobody comes to the last epoch": lambda play: play.run_epoch().submit([]).open([]),
    "all is invalid": lambda play: play.submit().open().commit(all_invalid(play)).reveal().claim().run_epoch(),
}


def leave(play, person):
    play.send(person, Leave(play.task))
    return play


def all_invalid(play):
    entries = tuple(replace(entry, verdict=Verdict.INVALID, score=0) for entry in play.entries())
    return dict.fromkeys(play.drawn(), entries)


@pytest.mark.parametrize("name", RUNS)
def test_every_payout_of_a_troubled_run_adds_up(name):
    """Keys withheld, nobody judging, nobody claiming: whatever was paid is traced to its last unit."""
    play = Play().begin()
    RUNS[name](play)
    play.wait(Phase.FINISHED)
    add_up(explain(play), play)


def test_what_stays_in_the_pot_keeps_its_name():
    """Between settlements, what the pot holds is divided into what was given and what was slashed, to the unit."""
    play = Play(epochs=3).begin()
    play.send(play.stranger, AddBounty(play.task, 100 * FML))
    play.run_epoch()
    sources = count_sources(play.ledger.state, play.task)
    assert sources.slashes == 0
    assert abs(sources.escrow - 10 * sources.bounties) <= 10
    assert 0 < sources.escrow < 1_000 * FML


def test_a_trace_that_does_not_come_to_what_was_paid_is_noticed(monkeypatch):
    """If the replay and the settlement differ, there is no trace that pretends otherwise."""
    play = Play().begin().run_epoch()
    monkeypatch.setattr(explaining.formulas, "reward_a_and_b", lambda pot, **_: (pot // 2, pot - pot // 2))
    with pytest.raises(AssertionError):
        explain_epoch(play.ledger.state, DEVNET, play.task, 0)
    assert settlement.formulas is explaining.formulas
