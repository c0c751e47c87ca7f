"""What proofs cost, and how many a block may carry, whoever proposes it."""

import pytest
from msgspec.structs import replace

from protocol.alliance_acts import CommitUpdate
from protocol.codec import decode
from protocol.errors import InvalidBlock, NotEligible, TooCostly
from protocol.formulas.proofs import aggregation_proof_us, commitment_proof_us, product_us, ring_proof_us
from protocol.ledger import seal_block
from protocol.params import DEVNET, PRESETS
from protocol.ring_proof import ring_proof_bytes
from protocol.rules.costs import add_proof_us, get_proof_us
from protocol.transactions import AnonymousTransaction, Transfer
from tests.arena_play import Play
from tests.ledger_driver import Person
from tests.masked_play import until_aggregation
from tests.private_play import PARAMS, PrivatePlay

# A commitment of a tiny model: one row of seven values.
COMMIT_US = commitment_proof_us(1, width=7)


def commit_of(play: PrivatePlay, person: Person) -> CommitUpdate:
    """Return somebody's commitment, drawn or not."""
    return CommitUpdate(play.alliance, play.round, play.committed(person), mask_key=None)


def test_costs_are_those_of_the_work():
    """Members of a ring, rows and generators of a commitment, rows of all clients of a sum."""
    assert ring_proof_us(3) == 570
    assert commitment_proof_us(98, width=1_023) == 18_620 + 37_888
    assert aggregation_proof_us(98, clients=8, width=1_023) == 39_200 + 37_888
    assert product_us(98, clients=8) == 19_600


def test_every_costly_payload_is_counted_and_no_other():
    """Submissions by their ring, commitments and sums by their rows; the rest costs nothing worth counting."""
    play = Play().begin()
    play.ledger.submit(play.trainers[0], play.task, 0)
    submit = decode(play.ledger.pending[0], AnonymousTransaction).payload
    assert len(submit.proof) == ring_proof_bytes(3)
    # How many keys there are shows in a proof only as a number of bits.
    assert get_proof_us(DEVNET, submit) == ring_proof_us(4)
    private = PrivatePlay().begin()
    assert get_proof_us(PARAMS, commit_of(private, private.proposers()[0])) == COMMIT_US
    private.train().seal().hold()
    # Who is in a sum does not stand in it, so as many clients count as may take part.
    assert get_proof_us(PARAMS, private.aggregate()) == aggregation_proof_us(1, clients=64, width=7)
    masked = until_aggregation().summed()
    assert get_proof_us(PARAMS, masked) == product_us(1, clients=64)
    assert get_proof_us(PARAMS, Transfer(play.creator.address, 1)) == 0


@pytest.mark.parametrize("params", PRESETS.values(), ids=PRESETS.keys())
def test_a_block_of_proofs_leaves_half_of_the_time_of_a_proposal(params):
    """However many commitments of 100,000 values wait: 64 of them would take three times the devnet's timeout."""
    one = commitment_proof_us(98, width=1_023)
    assert 64 * one > 3 * 1_000 * DEVNET.propose_timeout_ms
    assert 1_000 * params.propose_timeout_ms // 2 > params.max_block_proof_us > 5 * one


def test_the_first_proof_of_a_block_always_fits():
    """One that costs more than a block may is still shown, alone: else an alliance of that size could never go on."""
    play = PrivatePlay(params=replace(PARAMS, max_block_proof_us=1_000)).begin().train().seal().hold()
    payload = play.aggregate()
    assert get_proof_us(PARAMS, payload) > 1_000
    assert add_proof_us(play.ledger.before.params, 0, payload) > 1_000
    with pytest.raises(TooCostly, match="1000 at most"):
        add_proof_us(play.ledger.before.params, 1, payload)
    play.publish(payload)
    assert play.published.aggregator == payload.proven.aggregation.key


def test_proofs_of_all_kinds_share_the_limit_and_false_ones_count():
    """A block with one commitment too many is invalid, whoever made it and whether they hold or not."""
    play = PrivatePlay(params=replace(PARAMS, max_block_proof_us=3 * COMMIT_US)).begin()
    for person in play.participants[:4]:
        play.ledger.send(person, commit_of(play, person))
    waiting = list(play.ledger.pending)
    assert len(play.ledger.make_block().transactions) == 3
    header = play.ledger.make_block(transactions=[]).header
    with pytest.raises(InvalidBlock, match=rf"would cost {4 * COMMIT_US} us to verify"):
        play.ledger.apply(seal_block(header, play.ledger.commit, tuple(waiting)))
    receipts = play.ledger.apply(seal_block(header, play.ledger.commit, tuple(waiting[:3])))
    drawn = [person in play.proposers() for person in play.participants[:3]]
    assert [receipt.error for receipt in receipts] == [0 if is_drawn else NotEligible.number for is_drawn in drawn]
