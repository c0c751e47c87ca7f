"""What every participant should do now, in each phase and after each act: read from the state alone."""

from protocol.alliance_acts import HoldUpdates, ProposeUpdate
from protocol.rules.alliance.duties import (
    ConfirmOwnAggregate,
    FetchUpdates,
    RevealOwnVote,
    TrainUpdate,
    VoteOnUpdates,
)
from protocol.rules.duties import Duty, get_duties
from tests.alliance_play import AlliancePlay, update_of
from tests.ledger_driver import Person


def duties(play: AlliancePlay) -> dict[str, list[Duty]]:
    """Return everybody's duties by name; who has none is left out."""
    found = {person.name: duties_of(play, person) for person in play.ledger.people}
    return {name: due for name, due in found.items() if due}


def duties_of(play: AlliancePlay, person: Person) -> list[Duty]:
    return get_duties(play.ledger.state, person.address, lambda task, epoch: play.ledger.tag(person, task, epoch))


def names(people) -> list[str]:
    return sorted(person.name for person in people)


def test_everybodys_duties_through_a_round():
    """Proposers train; voters fetch, vote, reveal and confirm; each act takes one duty off the list."""
    play = AlliancePlay(participants=6)
    assert duties(play) == {}
    play.begin()
    proposers, voters = play.proposers(), play.voters()
    assert duties(play) == {person.name: [TrainUpdate(1, 0)] for person in proposers}
    play.send(proposers[0], ProposeUpdate(1, 0, update_of(proposers[0], 0)))
    assert names(proposers[1:]) == sorted(duties(play))
    play.train(proposers[1:])
    assert duties(play) == {person.name: [FetchUpdates(1, 0)] for person in voters}
    play.send(voters[0], HoldUpdates(1, 0, ()))
    assert sorted(duties(play)) == names(voters[1:])
    play.hold(dict.fromkeys(voters[1:], proposers))
    assert duties(play) == {person.name: [VoteOnUpdates(1, 0)] for person in voters}
    play.commit()
    assert duties(play) == {person.name: [RevealOwnVote(1, 0)] for person in voters}
    play.reveal()
    assert duties(play) == {person.name: [ConfirmOwnAggregate(1, 0)] for person in voters}
    play.confirm()
    assert duties(play) == {}


def test_who_missed_a_step_has_no_duty_left():
    """Holdings, commitment or reveal: without one, nothing more is asked in the round."""
    play = AlliancePlay(participants=20).begin().train()
    voters = play.voters()
    play.hold(dict.fromkeys(voters[1:], play.proposers()))
    assert sorted(duties(play)) == names(voters[1:])
    play.commit(dict.fromkeys(voters[1:], play.ballot()))
    play.reveal(voters[2:])
    assert sorted(duties(play)) == names(voters[2:])
