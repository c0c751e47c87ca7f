"""The log alone decides: replaying blocks gives the same bytes, in every process and however often one looks."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import get_args

from msgspec.structs import replace

from protocol.alliance_acts import CancelAlliance, FundAlliance, LeaveAlliance, TopUpStake, VerifyAlliance
from protocol.blinding import dataset_key_hash
from protocol.blobs import PIECE_BYTES, compute_blob_id
from protocol.blocks import Block, block_id
from protocol.codec import decode, encode
from protocol.crypto import merkle_leaf, merkle_levels, merkle_path
from protocol.ledger import apply_block
from protocol.params import DEVNET
from protocol.rules.alliance.records import AlliancePhase
from protocol.rules.arena.records import Phase
from protocol.sealed_pieces import seal_piece
from protocol.transactions import (
    AddBounty,
    AnonymousPayload,
    CancelTask,
    CreateTask,
    DatasetName,
    Delegate,
    KeyComplaint,
    Leave,
    Payload,
    ProveBadPiece,
    ProveWrongVerdict,
    PublishKey,
    Recognise,
    SealedDataset,
    SetRewardShare,
    Transfer,
    Undelegate,
    VerifyTask,
    open_transaction,
)
from tests.alliance_play import AlliancePlay, make_spec
from tests.arena_play import STEP_MS, Play
from tests.ledger_driver import FML, Ledger, Person, seed_of
from tests.ledger_invariants import expect_sound
from tests.masked_play import MaskedPlay
from tests.private_play import ZK, PrivatePlay


def play_two_epochs() -> Play:
    """Return a finished task with an absent trainer, an absent validator and a withheld key in it."""
    play = Play(trainers=4, validators=4)
    play.begin()
    play.submit(play.trainers[1:]).open(play.trainers[1:]).commit().reveal(play.drawn()[1:]).claim(play.trainers[2:])
    play.submit().open(key=False).claim()
    assert play.phase is Phase.FINISHED
    return play


def play_everything() -> Play:
    """Return a play in which every kind of transaction was applied, with delegators, an emission and a complaint."""
    people = [Person(f"participant {number}") for number in range(6)]
    params = replace(DEVNET, validators_per_epoch=3, alliance=replace(DEVNET.alliance, zk=ZK))
    play = Play(trainers=4, validators=5, epochs=3, is_governed=True, params=params, bystanders=people)
    ledger, text = play.ledger, b"This is no model."
    called_off = replace(play.record.spec, name="called off")
    play.send(play.creator, CreateTask(called_off, 100 * FML, 0))
    play.send(play.creator, CancelTask(2))
    pieces = [seal_piece(seed_of("key a"), 0, bytes(9)), bytes(50)]
    pieces[0] = pieces[0].ljust(PIECE_BYTES, b"x")
    spoiled = SealedDataset(compute_blob_id(b"".join(pieces)), dataset_key_hash(seed_of("key a")), 0)
    play.send(play.creator, CreateTask(replace(play.record.spec, dataset_a=spoiled), 100 * FML, 1_000 * FML))
    play.task = 3
    play.begin()
    play.send(play.governor, VerifyTask(3))
    play.send(play.governor, Recognise(play.stranger.address))
    play.send(play.stranger, AddBounty(3, 50 * FML))
    play.send(play.trainers[0], SetRewardShare(3, 250_000))
    play.send(play.stranger, Delegate(3, play.trainers[0].address, 50 * FML))
    author, key = play.trainers[0], seed_of("key", play.trainers[0].name, 0)
    sealed = seal_piece(key, 0, text)
    ledger.submit(author, 3, 0, compute_blob_id(sealed))
    play.submit(play.trainers[1:]).open()
    play.send(play.drawn()[0], KeyComplaint(3, 0))
    play.send(play.creator, PublishKey(3, DatasetName.A, seed_of("key a")))
    play.commit().reveal()
    play.send(play.stranger, ProveWrongVerdict(3, 0, play.tag(author), 0, sealed, ()))
    play.claim()
    ledger.run_until(lambda: play.epoch == 1, after_ms=STEP_MS)
    play.send(play.trainers[3], Leave(3))
    play.submit().open().commit().reveal().claim()
    play.send(play.stranger, Undelegate(3, author.address, 1_000))
    play.submit(play.trainers[:3]).open().commit().reveal().claim(play.trainers[:3])
    play.send(play.creator, PublishKey(3, DatasetName.B, seed_of("key b")))
    leaves = [merkle_leaf(piece) for piece in pieces]
    play.send(play.stranger, ProveBadPiece(3, DatasetName.A, 0, pieces[0], merkle_path(merkle_levels(leaves), 0)))
    play.send(play.stranger, Transfer(play.creator.address, 1))
    play_alliances(play)
    ledger.block(after_ms=DEVNET.unbonding_ms)
    return play


def play_alliances(play: Play) -> None:
    """Call one alliance off, let another lose, leave and fill up a stake, and others hide and mask their updates."""
    spec = make_spec(DEVNET.alliance.settings, base_task=3, fresh_model=None)
    called_off = AlliancePlay(ledger=play.ledger, spec=spec, escrow=0)
    called_off.send(called_off.creator, CancelAlliance(1))
    alliance = AlliancePlay(ledger=play.ledger, spec=spec, participants=6, escrow=0)
    alliance.send(alliance.governor, VerifyAlliance(2))
    alliance.send(alliance.stranger, FundAlliance(2, 50 * FML))
    alliance.begin()
    gone, *others = alliance.proposers()
    alliance.train(others).hold().commit().reveal().confirm()
    alliance.send(gone, TopUpStake(2, FML))
    alliance.send(alliance.participants[0], LeaveAlliance(2))
    alliance.run_round({})
    alliance.ledger.run_until(lambda: alliance.phase is AlliancePhase.FINISHED, after_ms=STEP_MS, limit=200)
    private = PrivatePlay(ledger=play.ledger, participants=6, rounds=1, params=play.ledger.before.params)
    private.begin().run_round()
    assert private.phase is AlliancePhase.FINISHED
    masked = MaskedPlay(ledger=play.ledger, participants=6, rounds=2, params=play.ledger.before.params)
    masked.begin().run_round()
    masked.draw().train()
    masked.seal(spoiled=masked.proposers()[:1]).hold()
    masked.dispute().judge().unmask().accuse()
    assert masked.phase is AlliancePhase.FINISHED


def digest_of_log(play: Play) -> str:
    """Return one hash of everything that a log leaves behind."""
    content = encode(tuple(play.ledger.blocks)) + encode(tuple(sorted(play.ledger.state.records.items())))
    return hashlib.sha256(content + play.ledger.before.head.state_root).hexdigest()


def test_every_kind_of_transaction_is_applied_and_money_is_kept():
    """The play that replays are made of leaves no kind out, and every unit where it belongs."""
    play = play_everything()
    again = Ledger(*play.ledger.people, governance=play.governor, params=play.ledger.before.params)
    applied = set()
    for block in play.ledger.blocks:
        receipts = again.apply(block)
        for data, receipt in zip(block.transactions, receipts, strict=True):
            if receipt.error == 0:
                applied.add(type(open_transaction(again.chain, data).payload))
        expect_sound(again.state)
    assert {*get_args(Payload), *get_args(AnonymousPayload)} - applied == set()


def test_replaying_the_blocks_gives_the_same_state():
    """From their bytes alone, on a fresh ledger: the same records, roots and receipts at every height."""
    play = play_two_epochs()
    again = Ledger(*play.ledger.people)
    assert again.chain == play.ledger.chain
    for block in play.ledger.blocks:
        read = decode(encode(block), Block)
        assert read.header.state_root == again.before.head.state_root
        again.apply(read)
    assert again.state.records == play.ledger.state.records
    assert again.before.head == play.ledger.before.head
    assert again.before.commitment.buckets == play.ledger.before.commitment.buckets


def test_the_order_of_sets_and_dictionaries_does_not_matter():
    """Other processes with other hash seeds come to the same bytes."""
    script = "from tests.protocol.test_ledger_replay import *; print(digest_of_log(play_everything()))"
    root = Path(__file__).parents[2]
    digests = {digest_of_log(play_everything())}
    for seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        run = subprocess.run(
            [sys.executable, "-c", script], cwd=root, env=environment, capture_output=True, text=True, check=True
        )
        digests.add(run.stdout.strip())
    assert len(digests) == 1


def test_looking_at_a_block_changes_nothing():
    """Applying returns changes; the state below stays, so that several proposals can be tried."""
    alice, bob = Person("alice"), Person("bob")
    ledger = Ledger(alice, bob)
    ledger.transfer(alice, bob, 1)
    before = dict(ledger.state.records)
    first, second = ledger.make_block(), ledger.make_block(after_ms=200)
    applied = apply_block(ledger.before, first)
    assert apply_block(ledger.before, second).head.block_id == block_id(second.header)
    assert ledger.state.records == before
    assert apply_block(ledger.before, first).head == applied.head
