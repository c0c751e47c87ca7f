"""One piece of a blob convicts: a creator of data that does not decrypt, validators of scores for what is no model."""

import copy
import json

import pytest
from msgspec.structs import replace

from protocol.blinding import dataset_key_hash
from protocol.blobs import PIECE_BYTES, compute_blob_id
from protocol.crypto import merkle_leaf, merkle_levels, merkle_path
from protocol.errors import AlreadyDone, InvalidProof, NotEligible, NotFound, OutOfBounds
from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.arena.records import Phase
from protocol.sealed_pieces import CLEAR_BYTES, seal_piece
from protocol.transactions import (
    CreateTask,
    DatasetName,
    Leave,
    ProveBadPiece,
    ProveWrongVerdict,
    PublishKey,
    SealedDataset,
    Verdict,
)
from tests.arena_play import Play
from tests.delegation_play import DelegationPlay, begin
from tests.ledger_driver import FML, Person, seed_of
from tests.ledger_invariants import expect_sound

KEYS = {DatasetName.A: seed_of("key a"), DatasetName.B: seed_of("key b")}


def seal(key: bytes, data: bytes) -> list[bytes]:
    """Return the pieces of an encrypted blob."""
    parts = [data[at : at + CLEAR_BYTES] for at in range(0, len(data), CLEAR_BYTES)]
    return [seal_piece(key, index, part) for index, part in enumerate(parts)]


def prove(pieces: list[bytes], index: int) -> tuple[bytes, tuple[bytes, ...]]:
    """Return a piece and its Merkle path."""
    return pieces[index], merkle_path(merkle_levels([merkle_leaf(piece) for piece in pieces]), index)


def spoiled(pieces: list[bytes], index: int) -> list[bytes]:
    return [bytes(len(piece)) if number == index else piece for number, piece in enumerate(pieces)]


# --- datasets --------------------------------------------------------------------------------------------------------


class DatasetPlay(Play):
    """A task whose datasets are real sealed blobs of three pieces, the middle one of both is garbage."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces = {name: spoiled(seal(key, bytes([name]) * (2 * CLEAR_BYTES + 9)), 1) for name, key in KEYS.items()}
        sealed = [
            SealedDataset(compute_blob_id(b"".join(self.pieces[name])), dataset_key_hash(key), 0)
            for name, key in KEYS.items()
        ]
        spec = replace(self.record.spec, dataset_a=sealed[0], dataset_b=sealed[1])
        self.send(self.creator, CreateTask(spec, 100 * FML, 1_000 * FML))
        self.task = 2
        assert self.record.spec == spec

    def proof(self, name: DatasetName, index: int = 1) -> ProveBadPiece:
        return ProveBadPiece(self.task, name, index, *prove(self.pieces[name], index))


def test_a_piece_that_does_not_decrypt_costs_the_creator_its_deposit():
    """Once both keys are public anybody shows it, while the deposit is bonded; and the money is nobody's gain."""
    play = DatasetPlay().begin().run_epoch().run_epoch()
    assert play.send(play.stranger, play.proof(DatasetName.A)).error == NotEligible.number
    for name, key in KEYS.items():
        assert play.send(play.creator, PublishKey(play.task, name, key)).error == 0
    right, wrong = play.proof(DatasetName.A), play.proof(DatasetName.A, 0)
    assert play.send(play.stranger, wrong).error == OutOfBounds.number
    for payload in (
        replace(right, index=2),
        replace(right, piece=right.piece[:-1]),
        replace(right, path=right.path[:-1]),
        replace(right, dataset=DatasetName.B),
        replace(right, index=3),
    ):
        assert play.send(play.stranger, payload).error == InvalidProof.number
    treasury = play.units(purses.TREASURY)
    assert play.send(play.stranger, right).error == 0
    assert play.deposit(play.creator) == 0
    assert play.units(purses.TREASURY) > treasury
    assert play.units(purses.pot_of(play.task)) == 0
    assert play.send(play.stranger, right).error == AlreadyDone.number
    play.expect_conserved()


def test_dataset_b_is_judged_by_the_key_of_the_last_release():
    """The proof needs no publishing: the key is in clear while the last epoch runs, and the slash goes to its pot."""
    play = DatasetPlay().begin().run_epoch().submit().open()
    pot = play.units(purses.pot_of(play.task))
    assert play.send(play.stranger, play.proof(DatasetName.A)).error == NotEligible.number
    assert play.send(play.validators[0], play.proof(DatasetName.B)).error == 0
    assert play.deposit(play.creator) == 0
    assert play.units(purses.pot_of(play.task)) > pot


# --- verdicts --------------------------------------------------------------------------------------------------------


def header_of(**shapes: tuple[int, ...]) -> bytes:
    entries, position = {}, 0
    for name, shape in shapes.items():
        size = 4
        for side in shape:
            size *= side
        entries[name.replace("__", ".")] = {"dtype": "F32", "shape": shape, "data_offsets": (position, position + size)}
        position += size
    header = json.dumps(entries).encode()
    return len(header).to_bytes(8, "little") + header + bytes(position)


RIGHT = {
    "layers__0__weight": (8, 64),
    "layers__0__bias": (8,),
    "layers__1__weight": (10, 8),
    "layers__1__bias": (10,),
}
MODEL = header_of(**RIGHT)
FILES = {
    "foreign": header_of(weight=(10, 64), bias=(10,)),
    "wide": header_of(**RIGHT | {"layers__0__bias": (9,)}),
    "short": MODEL[:-4],
    "bomb": (2**40).to_bytes(8, "little") + bytes(100),
    "text": b"pickle! " * 100,
}


def enter(play: Play, person: Person, data: bytes, *, spoil: int | None = None) -> list[bytes]:
    """Enter real bytes; returns the pieces of the blob."""
    key, ledger = seed_of("key", person.name, play.epoch), play.ledger
    pieces = seal(key, data) if spoil is None else spoiled(seal(key, data), spoil)
    blob = compute_blob_id(b"".join(pieces))
    ledger.submit(person, play.task, play.epoch, blob)
    ledger.block()
    return pieces


def judged(data: bytes, *, spoil: int | None = None, params=DEVNET) -> tuple[Play, list[bytes], Person]:
    """Return a play in which all but the last validator scored what the first trainer entered."""
    play = Play(params=params).begin()
    author = play.trainers[0]
    pieces = enter(play, author, data, spoil=spoil)
    play.submit(play.trainers[1:]).open()
    entries = play.entries()
    invalid = tuple(
        replace(entry, verdict=Verdict.INVALID, score=0) if entry.tag == play.tag(author) else entry
        for entry in entries
    )
    honest = play.validators[2]
    play.commit(dict.fromkeys(play.validators[:2], entries) | {honest: invalid}).reveal()
    return play, pieces, honest


class LyingPlay(DelegationPlay):
    """A play of three epochs in which two delegators stand behind the first validator, and one behind the last."""

    fee_burned = DEVNET.fee_floor_units // 2

    def __init__(self) -> None:
        super().__init__(epochs=3)
        liar, honest = self.validators[0], self.validators[2]
        loser, early, other = self.delegators
        begin(self, (loser, liar, 50 * FML), (early, liar, 50 * FML), (other, honest, 50 * FML))

    def lie(self) -> None:
        """Enter a text, which all but the last validator score, up to the claims of the epoch."""
        self.lied, author = self.epoch, self.trainers[0]
        self.pieces = enter(self, author, FILES["text"])
        self.submit(self.trainers[1:]).open()
        entries = self.entries()
        invalid = tuple(
            replace(entry, verdict=Verdict.INVALID, score=0) if entry.tag == self.tag(author) else entry
            for entry in entries
        )
        self.commit(dict.fromkeys(self.validators[:2], entries) | {self.validators[2]: invalid}).reveal()

    def proof(self) -> ProveWrongVerdict:
        tag = self.tag(self.trainers[0], self.lied)
        return ProveWrongVerdict(self.task, self.lied, tag, 0, *prove(self.pieces, 0))


def proof_of(play: Play, pieces: list[bytes], index: int = 0) -> ProveWrongVerdict:
    return ProveWrongVerdict(play.task, 0, play.tag(play.trainers[0], 0), index, *prove(pieces, index))


@pytest.mark.parametrize("name", sorted(FILES))
def test_who_scored_what_is_no_model_loses_its_stake(name):
    """The first piece shows another architecture, a bomb or no header: the honest verdict costs nothing."""
    play, pieces, _ = judged(FILES[name])
    assert play.send(play.stranger, proof_of(play, pieces)).error == 0
    assert [play.stake(person) for person in play.validators] == [0, 0, 100 * FML]
    assert play.send(play.stranger, proof_of(play, pieces)).error == AlreadyDone.number
    play.claim()
    # Without the liars' stake the honest verdict is the majority's.
    ranked = {entry.tag: entry for entry in play.result(0).ranking}
    assert ranked[play.tag(play.trainers[0], 0)].verdict is Verdict.INVALID
    play.expect_conserved()


@pytest.mark.parametrize("spoil", [0, 1])
def test_any_piece_that_does_not_authenticate_is_enough(spoil):
    """Wherever it stands in the blob, and whatever the header says."""
    play, pieces, _ = judged(MODEL + bytes(PIECE_BYTES), spoil=spoil)
    assert play.send(play.stranger, proof_of(play, pieces, spoil)).error == 0
    assert [play.stake(person) for person in play.validators] == [0, 0, 100 * FML]


def test_a_stake_that_left_its_role_is_taken_as_long_as_it_unbonds():
    """Liar and delegator leave with the epoch; a proof comes after and takes all that stood for the lie, no more."""
    play = LyingPlay()
    operator, (loser, early, other) = play.validators[0], play.delegators
    honest = play.validators[2]
    play.undelegate(early, operator, 50 * FML)
    play.run_epoch()
    assert play.unbonding(early) >= 50 * FML
    kept = play.unbonding(early)
    play.lie()
    for person in (operator, honest):
        assert play.send(person, Leave(play.task)).error == 0
    play.claim()
    lost = play.unbonding(operator) + play.unbonding(loser) + play.stake(play.validators[1])
    assert play.unbonding(operator) == 100 * FML
    assert play.unbonding(loser) >= 50 * FML
    assert play.unbonding(other) >= 50 * FML
    pot, burned = play.units(purses.pot_of(play.task)), purses.get_supply(play.ledger.state).burned
    assert play.send(play.stranger, play.proof()).error == 0
    assert (play.unbonding(operator), play.unbonding(loser), play.stake(play.validators[1])) == (0, 0, 0)
    assert (play.unbonding(early), play.unbonding(honest)) == (kept, 100 * FML)
    gained = play.units(purses.pot_of(play.task)) - pot + purses.get_supply(play.ledger.state).burned - burned
    assert gained - play.fee_burned == lost
    expect_sound(play.ledger.state)
    play.ledger.block(after_ms=DEVNET.unbonding_ms)
    assert play.unbonding(early) == play.unbonding(honest) == 0


def test_after_the_task_its_stakes_are_taken_for_the_treasury():
    """No epoch follows that the money could go to; and once everything was returned there is nothing to prove."""
    play = LyingPlay()
    play.lie()
    play.claim().run_epoch().run_epoch()
    assert play.phase is Phase.FINISHED
    assert play.unbonding(play.validators[0]) == 100 * FML
    fork = copy.deepcopy(play)
    treasury = play.units(purses.TREASURY)
    assert play.send(play.stranger, play.proof()).error == 0
    # The honest one was overruled by 2/3 of the stake when the epoch settled: its proof came too late to prevent that.
    assert [play.unbonding(person) for person in play.validators] == [0, 0, 95 * FML]
    assert play.units(purses.TREASURY) > treasury
    expect_sound(play.ledger.state)
    fork.ledger.block(after_ms=DEVNET.unbonding_ms)
    assert fork.send(fork.stranger, fork.proof()).error == NotEligible.number


def test_nobody_is_convicted_of_scoring_a_model():
    """Right bytes prove nothing; a wrong `invalid` is no ledger's business."""
    play, pieces, _ = judged(MODEL)
    good = proof_of(play, pieces)
    assert play.send(play.stranger, good).error == OutOfBounds.number
    for payload in (replace(good, piece=bytes(len(good.piece))), replace(good, index=1)):
        assert play.send(play.stranger, payload).error == InvalidProof.number
    assert play.send(play.stranger, replace(good, tag=bytes(32))).error == NotFound.number
    assert play.send(play.stranger, replace(good, epoch=1)).error == NotFound.number
    assert [play.stake(person) for person in play.validators] == [100 * FML] * 3


def test_later_pieces_of_a_wrong_model_prove_nothing_by_themselves():
    """Only the first holds the header."""
    play, pieces, _ = judged(FILES["foreign"] + bytes(PIECE_BYTES))
    assert play.send(play.stranger, proof_of(play, pieces, 1)).error == OutOfBounds.number
    assert play.send(play.stranger, proof_of(play, pieces, 0)).error == 0


def test_without_scorers_there_is_nothing_to_prove():
    """Before the reveals, and when everybody said invalid."""
    play = Play().begin()
    pieces = enter(play, play.trainers[0], FILES["text"])
    play.submit(play.trainers[1:])
    assert play.send(play.stranger, proof_of(play, pieces)).error == NotFound.number
    play.open()
    assert play.send(play.stranger, proof_of(play, pieces)).error == NotEligible.number
    assert play.phase is Phase.SCORE
