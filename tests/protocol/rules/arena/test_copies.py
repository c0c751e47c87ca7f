"""Copies across the epochs of a task: a model belongs to who opened it first, and only that account may repeat it."""

import pytest
from msgspec.structs import replace

from protocol.errors import OutOfBounds
from protocol.params import DEVNET
from protocol.rules.arena.copies import get_gallery, get_origin
from protocol.rules.arena.records import Phase
from protocol.rules.arena.results import Ranked
from protocol.transactions import ScoreEntry
from tests.arena_play import Play
from tests.ledger_driver import Person


@pytest.fixture
def play() -> Play:
    """A play whose first epoch is settled, with the models of all three trainers known; four epochs in all."""
    return Play(epochs=4).begin().run_epoch().submit().open()


def vary(entries: tuple[ScoreEntry, ...], tag: bytes, **changes) -> tuple[ScoreEntry, ...]:
    return tuple(replace(entry, **changes) if entry.tag == tag else entry for entry in entries)


def root_of(play: Play, person: Person, epoch: int = 0) -> bytes:
    """Return the plaintext root that validators reveal for an entered model."""
    return play.ledger.submission_of(person, play.task, epoch).blob.root


def outcome(play: Play, epoch: int) -> dict[Person, Ranked]:
    tags = {play.tag(person, epoch): person for person in play.trainers}
    return {tags[ranked.tag]: ranked for ranked in play.result(epoch).ranking}


def settle(play: Play, entries: tuple[ScoreEntry, ...], **others) -> dict[Person, Ranked]:
    epoch = play.epoch
    play.commit(dict.fromkeys(play.validators, entries)).reveal().claim()
    play.expect_conserved()
    return outcome(play, epoch)


def test_another_epochs_plaintext_earns_its_thief_nothing(play):
    """However good its score, and though nobody else entered it in this epoch."""
    owner, thief = play.trainers[:2]
    entries = vary(play.entries({thief: 999_999}), play.tag(thief), root=root_of(play, owner))
    found = settle(play, entries)[thief]
    assert (found.rank, found.reward_a, found.duplicate_of) == (0, 0, play.tag(owner, 0))


def test_its_author_may_enter_it_again(play):
    """One paid rank for the model in each epoch; also when a thief entered it first."""
    owner, thief = sorted(play.trainers[:2], key=lambda person: -play.ledger.submission_of(person, play.task, 1).order)
    entries = play.entries()
    for person in (owner, thief):
        entries = vary(entries, play.tag(person), root=root_of(play, owner), duplicate_of=play.tag(owner, 0))
    found = settle(play, entries)
    assert found[owner].rank > 0
    assert found[owner].duplicate_of is None
    assert found[owner].reward_a > 0
    assert (found[thief].rank, found[thief].duplicate_of) == (0, play.tag(owner, 0))


def test_a_near_duplicate_of_the_gallery_is_not_ranked_either(play):
    """Another plaintext with nearly the same outputs: what the majority of the stake says, decides."""
    owner, thief = play.trainers[:2]
    entries = vary(play.entries({thief: 999_999}), play.tag(thief), duplicate_of=play.tag(owner, 0))
    found = settle(play, entries)
    assert (found[thief].rank, found[thief].duplicate_of) == (0, play.tag(owner, 0))
    assert sorted(found[person].rank for person in play.trainers) == [0, 1, 2]


def test_a_minority_of_validators_takes_no_model_from_its_author(play):
    """Neither by naming another epoch's model nor by another epoch's root."""
    owner, victim = play.trainers[:2]
    lies = vary(play.entries(), play.tag(victim), root=root_of(play, owner), duplicate_of=play.tag(owner, 0))
    sheets = {play.validators[0]: lies} | dict.fromkeys(play.validators[1:], play.entries())
    play.commit(sheets).reveal().claim()
    assert outcome(play, 1)[victim].rank > 0


def test_a_copy_of_a_copy_is_known_too(play):
    """The thief's own variant, entered once more by another, still belongs to the first author."""
    owner, thief, third = play.trainers
    settle(play, vary(play.entries(), play.tag(thief), duplicate_of=play.tag(owner, 0)))
    variant = root_of(play, thief, 1)
    assert get_origin(play.ledger.state, play.task, variant).author == owner.address
    play.submit().open()
    entries = vary(play.entries(), play.tag(third), root=variant)
    entries = vary(entries, play.tag(thief), root=root_of(play, owner))
    found = settle(play, entries)
    assert [found[person].duplicate_of for person in (thief, third)] == [play.tag(owner, 0)] * 2


def test_who_did_not_claim_owns_nothing():
    """An unclaimed model is nobody's: entered again it is a copy, whoever does it."""
    play = Play(epochs=3).begin().submit().open().commit().reveal()
    careless = play.trainers[0]
    play.claim(play.trainers[1:])
    play.submit().open()
    entries = vary(play.entries(), play.tag(careless), root=root_of(play, careless))
    assert settle(play, entries)[careless].rank == 0


def test_the_last_epoch_knows_them_too():
    """On dataset B copies of what was judged on A earn no reward B."""
    play = Play(epochs=2).begin().run_epoch().submit().open()
    owner, thief = play.trainers[:2]
    entries = vary(play.entries({thief: 999_999}), play.tag(thief), root=root_of(play, owner))
    found = settle(play, entries)
    assert play.phase is Phase.FINISHED
    assert (found[thief].rank, found[thief].reward_a, found[thief].reward_b) == (0, 0, 0)


def test_only_models_of_the_gallery_or_the_epoch_can_be_named(play):
    """A reveal that names any other model is refused."""
    entries = vary(play.entries(), play.tag(play.trainers[0]), duplicate_of=b"\xff" * 32)
    play.commit(dict.fromkeys(play.validators, entries))
    play.ledger.reveal_scores(play.validators[0], play.task, 1, entries)
    (receipt,) = play.ledger.block()
    assert receipt.error == OutOfBounds.number


def test_the_gallery_keeps_the_best():
    """Two of three, best first, and later a better one in place of the worse; copies do not get in."""
    play = Play(epochs=4, params=replace(DEVNET, max_originals=2)).begin().run_epoch()
    first, second, third = play.trainers
    tags = [original.origin.tag for original in get_gallery(play.ledger.state, play.task)]
    assert tags == [play.tag(first, 0), play.tag(second, 0)]
    play.submit().open()
    entries = vary(play.entries({third: 895_000, second: 999_999}), play.tag(second), duplicate_of=tags[0])
    settle(play, entries)
    gallery = get_gallery(play.ledger.state, play.task)
    assert [(original.origin.author, original.score) for original in gallery] == [
        (first.address, 900_000),
        (first.address, 900_000),
    ]
    # The root of what left the gallery is still known.
    assert get_origin(play.ledger.state, play.task, root_of(play, third)).author == third.address


def test_a_model_entered_again_stands_once_in_the_gallery(play):
    """With where it was first; so nobody crowds others out by repeating a model."""
    owner = play.trainers[0]
    root = root_of(play, owner)
    settle(play, vary(play.entries(), play.tag(owner), root=root))
    known = get_gallery(play.ledger.state, play.task)
    assert [original.origin.author for original in known].count(owner.address) == 1
    assert get_origin(play.ledger.state, play.task, root) == known[0].origin
    assert known[0].origin.epoch == 0
