"""What nodes tell of an alliance, on a real log: steps once, rounds with their outcome; only members log it."""

import pytest
import structlog
from msgspec.structs import replace

from flocknode.chain import Chain
from flocknode.logs import format_round
from flocknode.rounds import Rounds
from flocknode.rpc.events import EventHub
from flocknode.rpc.records import AllianceEvent
from flocknode.task_events import TaskHistory, get_position
from storage.database import Database
from storage.log import ChainStore
from tests.alliance_play import BAD, AlliancePlay, update_of
from tests.masked_play import MaskedPlay
from tests.private_play import PrivatePlay

STEPS = ["draw", "train", "hold", "vote", "reveal", "confirm"]


@pytest.fixture(scope="module")
def play():
    """Three rounds: one accepted, one in which a voter votes nobody up, one in which nobody trains."""
    play = AlliancePlay(rounds=3).begin().run_round()
    play.draw()
    ballots = dict.fromkeys(play.voters(), play.ballot(good=[]))
    play.train().hold()
    play.commit({person: play.ballot(good=[]) for person in ballots}).reveal().confirm()
    return play.skip_round()


@pytest.fixture
def chain(play, tmp_path):
    database = Database(tmp_path)
    yield Chain(play.ledger.document, ChainStore(database))
    database.close()


def follow(play, chain, address):
    """Append all blocks; return the lines that an account's node logs, and all events of alliances."""
    hub, told, lines = EventHub(), [], []
    hub.publish = lambda topic, event: told.append(event)
    rounds = Rounds(chain, hub=hub, address=address)
    for block in play.ledger.blocks:
        commit = play.ledger.sign_commit(block)
        chain.commit_block(block, commit, chain.check_block(block))
        with structlog.testing.capture_logs() as captured:
            rounds.observe(block, commit, duration_ms=5)
        lines += [format_round(line) for line in captured if line["event"] == "round"]
    return rounds, lines, [event for event in told if isinstance(event, AllianceEvent)]


def test_every_step_and_every_outcome_is_told_once(play, chain):
    """A round that ends early skips steps; what became of it is told with it."""
    _, _, told = follow(play, chain, play.stranger.address)
    assert [event.phase for event in told if event.round == 0] == ["opening", *STEPS, "accepted"]
    assert [event.phase for event in told if event.round == 1] == [*STEPS[:-1], "rejected"]
    assert [event.phase for event in told if event.round == 2] == [*STEPS[:2], "void", "finished"]
    (accepted,) = [event.text for event in told if event.phase == "accepted"]
    assert accepted == "2 of 2 updates, 3 voters  best 0.8000"
    (void,) = [event.text for event in told if event.phase == "void"]
    assert "absent: participant" in void
    drawn = next(event.text for event in told if event.phase == "train")
    assert drawn.count("participant") == 5


def test_members_log_it_and_strangers_do_not(play, chain):
    """A line of the log names the alliance and its round, counted from 1."""
    _, lines, _ = follow(play, chain, play.participants[0].address)
    assert any(line.startswith("  round hospitals t1  accepted: 2 of 2 updates") for line in lines)
    assert len(lines) >= len(STEPS)


def test_strangers_log_nothing(play, chain):
    """Who has no part in it is not bothered."""
    _, lines, _ = follow(play, chain, play.stranger.address)
    assert lines == []


def test_the_past_is_told_again_with_own_work_in_it(play, chain):
    """From the disk come the same events, and what this node did stands between them."""
    rounds, _, told = follow(play, chain, play.creator.address)
    rounds.report(play.record, "proposed update 0a51f727")
    past = [event for _, event in TaskHistory(chain.store).load(get_position((0, 0)))]
    assert past[:-1] == told
    assert (past[-1].phase, past[-1].text, past[-1].name) == ("work", "proposed update 0a51f727", "hospitals")


def test_a_better_score_is_told_with_what_it_gained(tmp_path):
    """The second accepted model beats the first by 0.05; one that is worse names the best as well."""
    play = AlliancePlay(rounds=3).begin().run_round()
    for score in (850_000, 820_000):
        play.draw().train().hold().commit().reveal()
        play.confirm(dict.fromkeys(play.voters(), play.confirmation(score=score)))
    database = Database(tmp_path)
    _, _, told = follow(play, Chain(play.ledger.document, ChainStore(database)), play.creator.address)
    database.close()
    texts = [event.text.partition("  ")[2] for event in told if event.phase == "accepted"]
    assert texts == ["best 0.8000", "best 0.8500 (+0.0500)", "score 0.8200  best 0.8500"]
    assert BAD < 800_000


def test_a_round_with_hidden_updates_tells_whose_turn_it_is(tmp_path):
    """Commitments, sealed updates, an aggregator that fails, and the sum that the next one proves."""
    play = PrivatePlay(rounds=1).begin().train().seal().hold()
    first, second = (person.name for person in play.aggregators())
    play.fail().seal().hold()
    play.publish().commit().reveal()
    database = Database(tmp_path)
    _, _, told = follow(play, Chain(play.ledger.document, ChainStore(database)), play.stranger.address)
    database.close()
    turns = ["seal", "hold", "aggregate"]
    phases = [event.phase for event in told]
    assert phases == ["opening", "draw", "train", *turns, *turns, "vote", "reveal", "accepted", "finished"]
    sealing = [event.text for event in told if event.phase == "seal"]
    assert [text.partition("updates to ")[2] for text in sealing] == [first, second]
    assert sealing[0].startswith("3 of 3 committed")
    summing = [event.text for event in told if event.phase == "aggregate"]
    assert summing[1] == f"3 sealed updates count; {second} sums them under a proof"
    (accepted,) = [event.text for event in told if event.phase == "accepted"]
    assert accepted.startswith(f"3 proposers, aggregate 3 to 0, 3 voters, absent: {first}")


def test_a_round_of_liars_tells_that_there_is_no_sum_and_who_lied(tmp_path):
    """Nothing is said to be proven, and the outcome names those that were slashed for it."""
    play = PrivatePlay(rounds=1).begin().train().seal().hold()
    liars = play.by_address(play.proposers())
    play.publish(play.aggregate(accused={liar: play.key(liar) for liar in liars}))
    play.commit(dict.fromkeys(play.voters(), replace(play.ballot(), scores=(), aggregate=None))).reveal()
    database = Database(tmp_path)
    _, _, told = follow(play, Chain(play.ledger.document, ChainStore(database)), play.stranger.address)
    database.close()
    (vote,) = [event.text for event in told if event.phase == "vote"]
    assert vote == "too few are left to hide each other, so there is no sum; the voters check who is accused"
    (void,) = [event.text for event in told if event.phase == "void"]
    assert void == f"0 of 3 updates, 3 voters, shown to lie: {', '.join(liar.name for liar in liars)}"


def test_who_is_outvoted_in_a_void_round_is_called_no_liar(tmp_path):
    """It named another model than most, and was slashed for that: only updates can be shown to be false."""
    play = AlliancePlay(participants=13, rounds=1).begin().train().hold().commit().reveal()
    other = play.confirmation(model=update_of(play.creator, 0))
    play.confirm({**dict.fromkeys(play.voters(), play.confirmation()), **dict.fromkeys(play.voters()[:2], other)})
    assert any(one.slashed for one in play.result(0).settled)
    database = Database(tmp_path)
    _, _, told = follow(play, Chain(play.ledger.document, ChainStore(database)), play.stranger.address)
    database.close()
    (void,) = [event.text for event in told if event.phase == "void"]
    assert "lie" not in void


def test_a_masked_round_tells_who_is_missing_and_who_lied(tmp_path):
    """Run again without a dropper; one aggregator is silent, the next disputes; all masks but one are opened."""
    play = MaskedPlay(rounds=1).begin().train()
    gone, liar, other = play.proposers()
    first, second = play.aggregators()
    play.seal([liar, other]).train().seal(spoiled=[liar]).hold()
    play.fail().dispute().judge().unmask([other])
    play.accuse()
    database = Database(tmp_path)
    _, _, told = follow(play, Chain(play.ledger.document, ChainStore(database)), play.stranger.address)
    database.close()
    attempt, dispute = ["train", "seal"], ["hold", "aggregate", "aggregate", "dispute", "unmask", "verdict"]
    assert [event.phase for event in told] == ["opening", "draw", *attempt, *attempt, *dispute, "void", "finished"]
    texts = {event.phase: event.text for event in told}
    assert texts["train"].startswith(f"again without {gone.name}: ")
    assert texts["seal"] == "2 of 2 committed; they mask their updates with one another's keys"
    assert texts["aggregate"] == f"2 masked updates are there; {second.name} adds them"
    assert texts["dispute"].startswith(f"{second.name} says")
    assert liar.name in texts["unmask"]
    assert gone.name not in texts["unmask"]
    assert texts["verdict"].startswith("1 masks stayed closed")
    assert {name for name in (gone.name, first.name, liar.name) if name in texts["void"]} == {
        gone.name,
        first.name,
        liar.name,
    }


def test_a_masked_sum_is_told_as_its_own_proof(tmp_path):
    """Nobody proves anything else."""
    play = MaskedPlay(rounds=1).begin().run_round()
    database = Database(tmp_path)
    _, _, told = follow(play, Chain(play.ledger.document, ChainStore(database)), play.stranger.address)
    database.close()
    (voting,) = [event.text for event in told if event.phase == "vote"]
    assert voting.startswith("the sum is published, Enc(w) hashed on the log")
