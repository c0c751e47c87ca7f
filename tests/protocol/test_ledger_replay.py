"""The log alone decides: replaying blocks gives the same bytes, in every process and however often one looks."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

from protocol.blocks import Block, block_id
from protocol.codec import decode, encode
from protocol.ledger import apply_block
from protocol.rules.arena.records import Phase
from tests.arena_play import Play
from tests.ledger_driver import Ledger, Person


def play_two_epochs() -> Play:
    """Return a finished task with an absent trainer, an absent validator and a withheld key in it."""
    play = Play(trainers=4, validators=4)
    play.begin()
    play.submit(play.trainers[1:]).open(play.trainers[1:]).commit().reveal(play.drawn()[1:]).claim(play.trainers[2:])
    play.submit().open(key=False).claim()
    assert play.phase is Phase.FINISHED
    return play


def digest_of_log(play: Play) -> str:
    """Return one hash of everything that a log leaves behind."""
    content = encode(tuple(play.ledger.blocks)) + encode(tuple(sorted(play.ledger.state.records.items())))
    return hashlib.sha256(content + play.ledger.before.head.state_root).hexdigest()


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
    script = "from tests.protocol.test_ledger_replay import *; print(digest_of_log(play_two_epochs()))"
    root = Path(__file__).parents[2]
    digests = {digest_of_log(play_two_epochs())}
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
