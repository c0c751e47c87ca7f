"""Handing out keys, committing and revealing: only who was drawn, only once, only what was committed to."""

import pytest
from msgspec.structs import replace

from protocol.blinding import score_commitment
from protocol.crypto import seal_key
from protocol.errors import AlreadyDone, Malformed, NotEligible, NotFound, OutOfBounds, WrongPhase
from protocol.params import DEVNET
from protocol.rules.arena.records import Phase, get_sheet
from protocol.transactions import (
    CommitScores,
    ReleaseKey,
    RevealScores,
    ScoreEntry,
    SealedKey,
    Verdict,
    open_transaction,
)
from tests.arena_play import Play
from tests.ledger_driver import Person, seed_of

SALT = seed_of("salt")


@pytest.fixture
def play() -> Play:
    return Play(validators=4, params=replace(DEVNET, validators_per_epoch=3)).begin()


def sealed_for(play: Play, people: list[Person]) -> tuple[SealedKey, ...]:
    return tuple(SealedKey(person.address, seal_key(seed_of("key a"), person.address)) for person in people)


def drawn_in_order(play: Play) -> list[Person]:
    by_address = {person.address: person for person in play.validators}
    return [by_address[juror.address] for juror in play.epoch_record.drawn]


# --- the key ---------------------------------------------------------------------------------------------------------


def test_key_a_is_sealed_to_exactly_the_drawn(play):
    """Each drawn validator gets a box, in the order of the draw; nobody else, nothing in clear, and only once."""
    play.submit()
    early = ReleaseKey(play.task, 0, (), None)
    assert play.send(play.creator, early).error == NotEligible.number
    play.draw()
    drawn = drawn_in_order(play)
    right = ReleaseKey(play.task, 0, sealed_for(play, drawn), None)
    outsider = next(person for person in play.validators if person not in drawn)
    wrong = [
        (OutOfBounds, replace(right, sealed=())),
        (OutOfBounds, replace(right, sealed=sealed_for(play, drawn[:-1]))),
        (OutOfBounds, replace(right, sealed=sealed_for(play, [*drawn, outsider]))),
        (OutOfBounds, replace(right, sealed=sealed_for(play, drawn[::-1]))),
        (OutOfBounds, replace(right, sealed=sealed_for(play, [outsider, *drawn[1:]]))),
        (OutOfBounds, replace(right, sealed=tuple(replace(entry, box=entry.box[:-1]) for entry in right.sealed))),
        (OutOfBounds, replace(right, clear=seed_of("key a"))),
        (OutOfBounds, replace(right, sealed=(), clear=seed_of("key a"))),
        (WrongPhase, replace(right, epoch=1)),
        (NotFound, replace(right, task=2)),
    ]
    for error, payload in wrong:
        assert play.send(play.creator, payload).error == error.number, payload
    assert play.send(play.stranger, right).error == NotEligible.number
    assert not play.epoch_record.is_key_released
    assert play.send(play.creator, right).error == 0
    assert play.epoch_record.sealed == right.sealed
    assert play.send(play.creator, right).error == AlreadyDone.number


def test_key_b_is_released_in_clear_and_must_match(play):
    """In the last epoch a sealed, missing or wrong key is refused."""
    play.run_epoch().submit().draw()
    right = ReleaseKey(play.task, 1, (), seed_of("key b"))
    drawn = drawn_in_order(play)
    for payload in (
        replace(right, clear=None),
        replace(right, clear=seed_of("key a")),
        replace(right, sealed=sealed_for(play, drawn)),
        replace(right, clear=None, sealed=sealed_for(play, drawn)),
    ):
        assert play.send(play.creator, payload).error == OutOfBounds.number
    assert play.send(play.creator, right).error == 0
    assert play.epoch_record.clear_key == seed_of("key b")


# --- committing ------------------------------------------------------------------------------------------------------


def test_only_the_drawn_commit_and_once(play):
    """Whoever was not drawn is refused: the draw is the rate limit of V.B."""
    play.submit().open()
    drawn = play.drawn()
    outsider = next(person for person in play.validators if person not in drawn)
    commit = CommitScores(play.task, 0, bytes(32))
    for person in (outsider, play.stranger, play.creator, play.trainers[0]):
        assert play.send(person, commit).error == NotEligible.number
    assert play.send(drawn[0], replace(commit, epoch=1)).error == WrongPhase.number
    assert play.send(drawn[0], commit).error == 0
    assert play.send(drawn[0], commit).error == AlreadyDone.number
    assert play.phase is Phase.SCORE


# --- revealing -------------------------------------------------------------------------------------------------------


def commitment(play: Play, person: Person, entries: tuple[ScoreEntry, ...]) -> CommitScores:
    found = score_commitment(play.ledger.chain, play.task, 0, person.address, SALT, entries)
    return CommitScores(play.task, 0, found)


def test_a_reveal_is_what_was_committed_to(play):
    """Other scores, another salt, another's commitment or none at all: refused; the right ones count once."""
    play.submit().open()
    entries = play.entries()
    first, second, third = play.drawn()
    play.send(first, commitment(play, first, entries))
    # The second copies the first's commitment, and then its revealed scores.
    play.send(second, commitment(play, first, entries))
    early = RevealScores(play.task, 0, SALT, entries)
    assert play.send(first, early).error == WrongPhase.number
    play.wait(Phase.REVEAL)
    changed = (replace(entries[0], score=entries[0].score + 1), *entries[1:])
    assert play.send(first, replace(early, entries=changed)).error == OutOfBounds.number
    assert play.send(first, replace(early, salt=bytes(32))).error == OutOfBounds.number
    assert play.send(third, early).error == NotEligible.number
    assert play.send(play.stranger, early).error == NotEligible.number
    assert play.send(first, early).error == 0
    assert play.send(first, early).error == AlreadyDone.number
    assert play.send(second, early).error == OutOfBounds.number
    assert get_sheet(play.ledger.state, play.task, 0, first.address).entries == entries
    assert get_sheet(play.ledger.state, play.task, 0, second.address).entries is None


def missing(entries):
    return entries[1:]


def stranger_tag(entries):
    return tuple(sorted((replace(entries[0], tag=b"\xff" * 32), *entries[1:]), key=lambda entry: entry.tag))


def extra(entries):
    return (*entries, ScoreEntry(b"\xff" * 32, Verdict.UNFETCHABLE, 0, None, None))


def copy_of_nothing(entries):
    return (replace(entries[0], duplicate_of=b"\xff" * 32), *entries[1:])


@pytest.mark.parametrize("change", [missing, stranger_tag, extra, copy_of_nothing, lambda entries: ()])
def test_a_reveal_names_every_opened_submission_and_no_other(play, change):
    """Also who committed to another set cannot reveal it."""
    play.submit().open()
    entries, person = change(play.entries()), play.drawn()[0]
    play.send(person, commitment(play, person, entries))
    play.wait(Phase.REVEAL)
    assert play.send(person, RevealScores(play.task, 0, SALT, entries)).error == OutOfBounds.number


def test_an_unopened_submission_is_not_scored(play):
    """The set is that of the opened ones; one more entry, for a submission that stayed closed, is refused."""
    play.submit().open(play.trainers[:2])
    entries = play.entries()
    assert {entry.tag for entry in entries} == {play.tag(person) for person in play.trainers[:2]}
    person = play.drawn()[0]
    whole = tuple(
        sorted(
            (*entries, ScoreEntry(play.tag(play.trainers[2]), Verdict.UNFETCHABLE, 0, None, None)),
            key=lambda entry: entry.tag,
        )
    )
    play.send(person, commitment(play, person, whole))
    play.wait(Phase.REVEAL)
    assert play.send(person, RevealScores(play.task, 0, SALT, whole)).error == OutOfBounds.number


def test_a_contradictory_reveal_is_not_even_a_transaction(play):
    """Entries that no state allows keep a transaction out of every block."""
    play.submit().open()
    entries = play.entries()
    play.ledger.send(play.drawn()[0], RevealScores(play.task, 0, SALT, entries[::-1]))
    (data,) = play.ledger.pending
    with pytest.raises(Malformed):
        open_transaction(play.ledger.chain, data)
