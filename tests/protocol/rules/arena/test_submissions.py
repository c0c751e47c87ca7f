"""Entering blindly, opening and claiming: one pseudonym, one model, one author, and nobody else's."""

import pytest
from msgspec.structs import replace

from protocol import vrf
from protocol.blinding import claim_binding, key_commitment, submission_binding, submit_alpha
from protocol.blobs import BlobId
from protocol.codec import decode
from protocol.errors import AlreadyDone, InvalidBlock, InvalidProof, NotEligible, NotFound, OutOfBounds, WrongPhase
from protocol.ledger import check_anonymous, seal_block
from protocol.params import DEVNET
from protocol.ring_proof import prove_ring, ring_digest
from protocol.rules.arena.records import Phase
from protocol.transactions import AnonymousTransaction, ClaimSubmission, Leave, OpenSubmission, Submit
from tests.arena_play import Play
from tests.ledger_driver import Person, seed_of


@pytest.fixture
def play() -> Play:
    return Play().begin()


def refuse(play: Play, payload, error) -> None:
    """Assert that an anonymous payload is refused, and that a block with it is invalid."""
    with pytest.raises(error):
        check_anonymous(play.ledger.before, payload)
    play.ledger.send_anonymous(payload)
    data = tuple(play.ledger.pending)
    play.ledger.pending = []
    block = play.ledger.make_block()
    with pytest.raises(InvalidBlock, match="may not stand"):
        play.ledger.apply(seal_block(block.header, block.previous_commit, data))


def make_submit(play: Play, person: Person, *, epoch: int = 0, **changes) -> Submit:
    """Return a trainer's submission, proven as it stands after the changes."""
    ledger, task = play.ledger, play.task
    ring = tuple(seat.vrf_key for seat in play.epoch_record.seats)
    tag, key = ledger.tag(person, task, epoch), seed_of("key", person.name, epoch)
    fields = {
        "ring": ring_digest(ring),
        "tag": tag,
        "blob": BlobId(seed_of("weights", person.name), 5_000),
        "key_commitment": key_commitment(ledger.chain, task, epoch, tag, key),
        **changes,
    }
    proof = prove_ring(
        person.secret(task),
        ring=ring,
        alpha=submit_alpha(ledger.chain, task, epoch),
        ad=submission_binding(ledger.chain, task, epoch, **fields),
        randomness=bytes(32),
    )
    return Submit(task, epoch, **fields, proof=proof)


# --- entering --------------------------------------------------------------------------------------------------------


def test_a_submission_is_kept_under_its_pseudonym(play):
    """In the order they came, with blob and commitment, and no author."""
    for order, person in enumerate(play.trainers):
        play.ledger.submit(person, play.task, 0)
        play.ledger.block()
        found = play.ledger.submission_of(person, play.task, 0)
        assert (found.order, found.key, found.author) == (order, None, None)


@pytest.mark.parametrize(
    ("error", "change"),
    [
        (NotEligible, lambda s: replace(s, ring=bytes(32))),
        (InvalidProof, lambda s: replace(s, tag=vrf.public(vrf.key_from_seed(bytes(32))))),
        (InvalidProof, lambda s: replace(s, tag=bytes(32))),
        (InvalidProof, lambda s: replace(s, blob=BlobId(bytes(32), 5_000))),
        (InvalidProof, lambda s: replace(s, blob=BlobId(s.blob.root, 5_001))),
        (InvalidProof, lambda s: replace(s, key_commitment=bytes(32))),
        (InvalidProof, lambda s: replace(s, proof=s.proof[:-32])),
        (InvalidProof, lambda s: replace(s, proof=b"")),
        (InvalidProof, lambda s: replace(s, proof=s.proof[:-1] + bytes([s.proof[-1] ^ 1]))),
        (OutOfBounds, lambda s: replace(s, blob=BlobId(s.blob.root, 0))),
        (OutOfBounds, lambda s: replace(s, blob=BlobId(s.blob.root, DEVNET.max_blob_bytes + 1))),
        (NotFound, lambda s: replace(s, task=2**63 - 1)),
        (WrongPhase, lambda s: replace(s, epoch=1)),
        (WrongPhase, lambda s: replace(s, epoch=2**63 - 1)),
    ],
    ids=[
        "another ring", "another tag", "no tag", "another blob", "another length", "another commitment", "short proof",
        "no proof", "flipped proof", "empty blob", "long blob", "unknown task", "next epoch", "huge epoch",
    ],
)  # fmt: skip
def test_an_altered_submission_is_refused(play, error, change):
    """The proof binds everything that is entered; nothing of it can be exchanged on the way."""
    original = make_submit(play, play.trainers[0])
    refuse(play, change(original), error)
    check_anonymous(play.ledger.before, original)


def test_a_proof_shows_its_own_pseudonym_only(play):
    """Nobody enters under another's pseudonym, or under one of no key, with a proof that is valid for its own."""
    first, second = play.trainers[:2]
    refuse(play, make_submit(play, first, tag=play.tag(second)), NotEligible)
    refuse(play, make_submit(play, first, tag=bytes(32)), NotEligible)


def test_a_stranger_to_the_ring_enters_nothing(play):
    """A proof over a ring with oneself in it is a proof over another ring."""
    ring = [*(seat.vrf_key for seat in play.epoch_record.seats[:2]), vrf.public(play.stranger.secret(play.task))]
    original = make_submit(play, play.trainers[0])
    alpha = submit_alpha(play.ledger.chain, play.task, 0)
    tag, digest = vrf.tag(play.stranger.secret(play.task), alpha), ring_digest(ring)
    binding = submission_binding(
        play.ledger.chain,
        play.task,
        0,
        ring=digest,
        tag=tag,
        blob=original.blob,
        key_commitment=original.key_commitment,
    )
    proof = prove_ring(play.stranger.secret(play.task), ring=ring, alpha=alpha, ad=binding, randomness=bytes(32))
    forged = replace(original, ring=digest, tag=tag, proof=proof)
    refuse(play, forged, NotEligible)
    refuse(play, replace(forged, ring=original.ring), InvalidProof)


def test_a_pseudonym_enters_one_model(play):
    """A second submission under a tag is refused, whether it is the same or another."""
    first = make_submit(play, play.trainers[0])
    play.ledger.send_anonymous(first)
    play.ledger.block()
    refuse(play, first, AlreadyDone)
    refuse(play, make_submit(play, play.trainers[0], blob=BlobId(bytes(32), 7)), AlreadyDone)


def test_a_submission_of_another_epoch_is_a_replay(play):
    """What was proven for one epoch is refused in the next."""
    replayed = make_submit(play, play.trainers[0])
    play.run_epoch()
    refuse(play, replayed, WrongPhase)
    refuse(play, replace(replayed, epoch=1), InvalidProof)


def test_a_late_submission_is_refused(play):
    """Entering ends with its phase."""
    late = make_submit(play, play.trainers[2])
    play.submit(play.trainers[:2])
    refuse(play, late, WrongPhase)


def test_a_strangers_ciphertext_is_worthless(play):
    """Who enters another's blob and commitment under its own tag can never open it: the commitment names the tag."""
    author, thief = play.trainers[:2]
    original = make_submit(play, author)
    theft = make_submit(play, thief, blob=original.blob, key_commitment=original.key_commitment)
    for payload in (original, theft):
        play.ledger.send_anonymous(payload)
    play.ledger.block()
    play.wait(Phase.OPEN)
    play.ledger.open(author, play.task, 0)
    (data,) = play.ledger.pending
    key = decode(data, AnonymousTransaction).payload.key
    refuse(play, OpenSubmission(play.task, 0, theft.tag, key), OutOfBounds)


def test_an_epoch_without_trainers_takes_no_submission():
    """The ring of an epoch may be empty; then no proof fits, and nothing crashes."""
    play = Play().begin()
    submit = make_submit(play, play.trainers[0])
    for person in play.trainers:
        play.ledger.send(person, Leave(play.task))
    play.ledger.block()
    play.run_epoch()
    assert play.epoch_record.seats == ()
    refuse(play, replace(submit, epoch=1), InvalidProof)


# --- opening ---------------------------------------------------------------------------------------------------------


def test_a_submission_opens_once_with_its_key(play):
    """Another key, another tag, another epoch and a second time are refused."""
    play.submit(play.trainers[:2])
    tag = play.tag(play.trainers[0])
    opening = OpenSubmission(play.task, 0, tag, seed_of("key", play.trainers[0].name, 0))
    refuse(play, replace(opening, key=bytes(32)), OutOfBounds)
    refuse(play, replace(opening, tag=play.tag(play.trainers[1])), OutOfBounds)
    refuse(play, replace(opening, tag=play.tag(play.trainers[2])), NotFound)
    refuse(play, replace(opening, epoch=1), WrongPhase)
    play.ledger.send_anonymous(opening)
    play.ledger.block()
    assert play.ledger.submission_of(play.trainers[0], play.task, 0).key == opening.key
    refuse(play, opening, AlreadyDone)


def test_nothing_opens_while_others_still_enter(play):
    """Until entering has closed nobody can copy a model, so an early opening is refused."""
    play.ledger.submit(play.trainers[0], play.task, 0)
    play.ledger.block()
    opening = OpenSubmission(play.task, 0, play.tag(play.trainers[0]), seed_of("key", play.trainers[0].name, 0))
    refuse(play, opening, WrongPhase)


# --- claiming --------------------------------------------------------------------------------------------------------


def make_claim(
    play: Play, person: Person, *, tag_of: Person | None = None, account: Person | None = None, epoch: int = 0
):
    """Return the claim that `person` can prove, of a tag and for an account that may be another's."""
    tag = play.tag(tag_of or person, epoch)
    proof = vrf.prove(
        person.secret(play.task),
        alpha=submit_alpha(play.ledger.chain, play.task, epoch),
        ad=claim_binding((account or person).address, tag),
        randomness=bytes(32),
    )
    return ClaimSubmission(play.task, epoch, tag, proof)


def test_only_the_author_claims_and_once(play):
    """Strangers, other trainers, stolen proofs and repetitions are refused."""
    author, other, stranger = play.trainers[0], play.trainers[1], play.stranger
    early = make_claim(play, author)
    play.submit().open()
    assert play.send(author, early).error == WrongPhase.number
    play.commit().reveal()
    cases = [
        (NotEligible, stranger, make_claim(play, stranger, tag_of=author)),
        (NotEligible, stranger, make_claim(play, author)),
        (NotEligible, play.validators[0], make_claim(play, author)),
        (InvalidProof, other, make_claim(play, author)),
        (InvalidProof, other, make_claim(play, author, account=other)),
        (NotEligible, other, make_claim(play, other, tag_of=author)),
        (InvalidProof, author, make_claim(play, author, account=other)),
        (InvalidProof, author, replace(make_claim(play, author), proof=b"")),
        (NotFound, author, replace(make_claim(play, author), tag=bytes(32))),
        (WrongPhase, author, replace(make_claim(play, author), epoch=1)),
        (0, author, make_claim(play, author)),
        (AlreadyDone, author, make_claim(play, author)),
    ]
    for error, sender, payload in cases:
        assert play.send(sender, payload).error == (error and error.number), (error, sender)
    assert play.ledger.submission_of(author, play.task, 0).author == author.address
    assert play.ledger.submission_of(other, play.task, 0).author is None


def test_what_was_not_opened_cannot_be_claimed(play):
    """An unopened submission is void: it is not judged, and its author loses the deposit."""
    silent = play.trainers[2]
    play.submit().open(play.trainers[:2]).commit().reveal()
    assert play.send(silent, make_claim(play, silent)).error == NotEligible.number
    before = play.balance(silent)
    play.claim()
    assert len(play.result(0).ranking) == 2
    assert play.member(silent).epochs_claimed == 0
    # The deposit for the next epoch was taken anew.
    assert play.balance(silent) <= before - DEVNET.seat_deposit_units + DEVNET.fee_floor_units * 9
