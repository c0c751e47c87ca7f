"""An alliance as its earlier rounds found it, from what was settled."""

from protocol.rules.alliance.past import get_result, rewind
from protocol.rules.alliance.results import Outcome
from tests.alliance_play import AlliancePlay


def test_each_round_is_found_as_it_was():
    """Accepted, accepted but worse, void, rejected: from every later one, number, latest and best are those of then."""
    play = AlliancePlay(rounds=6).begin()
    seen = [play.record]

    def note():
        play.draw()
        seen.append(play.record)

    for score in (800_000, 790_000):
        play.train().hold().commit().reveal()
        play.confirm(dict.fromkeys(play.voters(), play.confirmation(score=score)))
        note()
    play.train([])
    note()
    play.train().hold().commit(dict.fromkeys(play.voters(), play.ballot(good=[]))).reveal()
    note()
    outcomes = [get_result(play.ledger.state, 1, number).outcome for number in range(4)]
    assert outcomes == [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.VOID, Outcome.REJECTED]
    assert [None if one.latest is None else one.latest.round for one in seen] == [None, 0, 1, 1, 0]
    for number, then in enumerate(seen):
        found = rewind(play.ledger.state, play.record, number)
        assert (found.round, found.latest, found.best) == (number, then.latest, then.best)
