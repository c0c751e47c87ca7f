"""Masked updates: each act in its phase, once, from whom it is asked, and of the right form."""

import numpy as np
import pytest
from msgspec.structs import replace

from protocol.alliance_acts import (
    AccuseMasked,
    CommitUpdate,
    DisputeMasked,
    JudgeSum,
    OpenMask,
    PublishAggregate,
    PublishMasked,
    RevealUpdate,
    ShareMasked,
    check_alliance_payload,
    check_alliance_spec,
)
from protocol.alliance_settings import Attribution, Privacy
from protocol.crypto import seal_key
from protocol.errors import AlreadyDone, InvalidProof, Malformed, NotEligible, OutOfBounds, WrongPhase
from protocol.rules.alliance.commitments import get_committed, make_round_statement, weigh_clients
from protocol.rules.alliance.masks import get_mask, get_mask_keys, list_clients
from protocol.rules.alliance.records import AlliancePhase, get_update
from protocol.zk.aggregation import aggregate_digest, compute_product
from protocol.zk.consultation import consult
from protocol.zk.mask_keys import mask_public_key
from tests.alliance_play import make_spec
from tests.ledger_driver import Person, seed_of
from tests.masked_play import MaskedPlay, until_aggregation
from tests.private_play import PARAMS, PrivatePlay

OWN = PARAMS.alliance.settings


def sent_at_once(play: MaskedPlay, person: Person, *payloads: object) -> list[int]:
    """Put some transactions of a person into one block; return their errors."""
    for payload in payloads:
        play.ledger.send(person, payload)
    return [receipt.error for receipt in play.ledger.block()]


# --- committing ------------------------------------------------------------------------------------------------------


def test_masked_updates_are_summed_and_voted_on_together():
    """As sealed ones are."""
    with pytest.raises(OutOfBounds):
        check_alliance_spec(make_spec(replace(OWN, privacy=Privacy.MASKED, attribution=Attribution.PER_PROPOSAL)))


def test_a_mask_key_comes_with_a_commitment_where_updates_are_masked():
    """There it must, and share a secret; elsewhere there is nothing that it could be for."""
    play = MaskedPlay().begin()
    one = play.proposers()[0]
    commitment = play.commit_update(one)
    assert play.send(one, replace(commitment, mask_key=None)).error == OutOfBounds.number
    for weak in (bytes(32), b"\x01" + bytes(31)):
        assert play.send(one, replace(commitment, mask_key=weak)).error == InvalidProof.number
    assert get_mask(play.ledger.state, play.record, one.address) is None
    assert play.send(one, commitment).error == 0
    assert get_mask_keys(play.ledger.state, play.record) == {one.address: mask_public_key(play.secret(one))}
    assert play.send(one, commitment).error == AlreadyDone.number
    sealed = PrivatePlay().begin()
    other = sealed.proposers()[0]
    keyed = replace(sealed.commit_update(other), mask_key=commitment.mask_key)
    assert sealed.send(other, keyed).error == OutOfBounds.number
    assert get_committed(sealed.ledger.state, sealed.record, other.address) is None


def test_only_proposers_commit_with_what_they_know():
    """A stranger, and another's commitment, are refused as where updates are sealed."""
    play = MaskedPlay().begin()
    one, other, *_ = play.proposers()
    commitment = play.commit_update(one)
    assert play.send(play.stranger, commitment).error == NotEligible.number
    assert play.send(one, replace(commitment, update=play.committed(other))).error == InvalidProof.number


# --- sharing ---------------------------------------------------------------------------------------------------------


def test_who_committed_shares_one_vector_of_the_exact_length():
    """Not who did not commit, no other length, nothing sealed, and not twice."""
    play = MaskedPlay().begin()
    silent, one, other = play.proposers()
    assert play.send(one, ShareMasked(1, 0, play.store(b"early"))).error == WrongPhase.number
    play.train([one, other])
    share = play.shared(one)
    for person in (silent, play.stranger, play.voters()[0]):
        assert play.send(person, share).error == NotEligible.number
    for length in (0, share.blob.length - 1, share.blob.length + 1):
        assert play.send(one, replace(share, blob=replace(share.blob, length=length))).error == OutOfBounds.number
    aggregator = play.aggregator().address
    sealed = RevealUpdate(1, 0, aggregator, share.blob, seal_key(bytes(32), aggregator))
    assert play.send(one, sealed).error == NotEligible.number
    assert play.send(one, share).error == 0
    assert play.send(one, share).error == AlreadyDone.number
    assert get_update(play.ledger.state, 1, 0, one.address).blob == share.blob
    assert list_clients(play.ledger.state, play.record) == tuple(sorted((one.address, other.address)))


def test_where_updates_are_sealed_nobody_masks_them():
    """Neither vectors nor sums nor disputes of them."""
    play = PrivatePlay().begin().train()
    one, blob = play.proposers()[0], play.revealed(play.proposers()[0]).blob
    assert play.send(one, ShareMasked(1, 0, blob)).error == NotEligible.number
    play.seal().hold()
    for payload in (PublishMasked(1, 0, blob), DisputeMasked(1, 0)):
        assert play.send(play.aggregator(), payload).error == NotEligible.number


# --- the sum, or a dispute -------------------------------------------------------------------------------------------


def test_only_whose_turn_it_is_says_once_what_the_vectors_come_to():
    """A sum or a dispute, not both, and no proof of a sum of what it cannot open."""
    play = until_aggregation()
    aggregator, following = play.aggregators()
    total, dispute = play.summed(), DisputeMasked(1, 0)
    for person in (following, play.stranger, play.voters()[0]):
        for payload in (total, dispute):
            assert play.send(person, payload).error == NotEligible.number
    wrong = replace(total, blob=replace(total.blob, length=total.blob.length + 8))
    assert play.send(aggregator, wrong).error == OutOfBounds.number
    assert play.send(aggregator, PublishAggregate(1, 0, None, ())).error == NotEligible.number
    assert play.send(aggregator, replace(total, round=1)).error == WrongPhase.number
    assert sent_at_once(play, aggregator, total, total, dispute) == [0, AlreadyDone.number, AlreadyDone.number]
    assert play.phase is AlliancePhase.VOTE
    play = until_aggregation()
    errors = sent_at_once(play, play.aggregator(), dispute, play.summed(), dispute)
    assert errors == [0, AlreadyDone.number, AlreadyDone.number]
    assert play.phase is AlliancePhase.DISPUTE


def test_the_ledger_works_out_what_the_sum_must_open():
    """The digest is that of the product of the commitments; the sum opens it, and an altered one does not."""
    play = until_aggregation()
    state, chain, clients = play.ledger.state, play.ledger.chain, play.round_record.frozen
    context, total = play.context, play.sum()
    product = compute_product(make_round_statement(state, chain, PARAMS, play.record, clients))
    weights = list(weigh_clients(state, play.record, clients).values())
    play.publish()
    proven = play.published.proven
    assert (proven.digest, proven.proof, proven.clients) == (aggregate_digest(context, product), None, clients)
    checked = {"digest": proven.digest, "weights": weights, "product": product, "randomness": seed_of("consult")}
    consult(context, aggregate=total, **checked)
    with pytest.raises(InvalidProof):
        consult(context, aggregate=total._replace(values=total.values + np.int64(1)), **checked)


# --- judging a dispute -----------------------------------------------------------------------------------------------


def test_only_voters_that_hold_vectors_judge_a_dispute_once():
    """Who missed the holding has no say, nor has anybody else."""
    play = MaskedPlay().begin().train().seal()
    silent, one, other = play.voters()
    play.hold(dict.fromkeys([one, other], play.proposers()))
    word = JudgeSum(1, 0, False)
    assert play.send(one, word).error == WrongPhase.number
    play.dispute()
    for person in (silent, play.stranger, play.proposers()[0], play.aggregator()):
        assert play.send(person, word).error == NotEligible.number
    assert play.send(one, word).error == 0
    assert play.send(one, replace(word, opens=True)).error == AlreadyDone.number
    assert play.send(other, replace(word, round=1)).error == WrongPhase.number


# --- opening masks ---------------------------------------------------------------------------------------------------


def test_a_client_opens_its_mask_with_its_own_secret_of_this_attempt():
    """Not with another's, not with that of an attempt before, and only once the voters confirmed the dispute."""
    play = MaskedPlay().begin().train()
    gone, one, other = play.proposers()
    earlier = play.opened(one)
    play.seal([one, other])
    play.train().seal(spoiled=[other]).hold()
    play.dispute()
    assert play.send(one, play.opened(one)).error == WrongPhase.number
    play.judge()
    right = play.opened(one)
    for wrong in (earlier, play.opened(other), OpenMask(1, 0, bytes(32))):
        assert play.send(one, wrong).error == OutOfBounds.number
    for person in (gone, play.stranger, play.voters()[0]):
        assert play.send(person, right).error == NotEligible.number
    assert play.send(one, right).error == 0
    assert get_mask(play.ledger.state, play.record, one.address).secret == right.secret
    assert play.send(one, right).error == AlreadyDone.number


def test_who_did_not_commit_has_no_mask_to_open():
    """And nobody waits for it."""
    play = MaskedPlay().begin()
    silent, one, other = play.proposers()
    play.train([one, other]).seal([one, other], spoiled=[one]).hold()
    play.dispute().judge()
    assert play.send(silent, play.opened(silent)).error == NotEligible.number
    play.unmask([one, other])
    assert play.phase is AlliancePhase.VERDICT


# --- the verdict -----------------------------------------------------------------------------------------------------


def test_only_voters_that_judged_name_liars_among_the_clients():
    """Sorted, once, nobody from outside."""
    play = until_aggregation(spoiled=1)
    silent, one, other = play.voters()
    play.dispute().judge(dict.fromkeys([one, other], False))
    assert play.send(one, AccuseMasked(1, 0, ())).error == WrongPhase.number
    play.unmask()
    right = play.accusing()
    for person in (silent, play.stranger, play.aggregator()):
        assert play.send(person, right).error == NotEligible.number
    assert play.send(one, replace(right, liars=(play.stranger.address,))).error == OutOfBounds.number
    with pytest.raises(Malformed):
        check_alliance_payload(replace(right, liars=right.liars * 2))
    clients = sorted(play.round_record.frozen, reverse=True)
    with pytest.raises(Malformed):
        check_alliance_payload(replace(right, liars=tuple(clients)))
    assert play.send(one, right).error == 0
    assert play.send(one, right).error == AlreadyDone.number


# --- what is left when a round is over -------------------------------------------------------------------------------


def test_what_a_masked_round_leaves_behind():
    """Commitments are pruned, for they are large; in the next round nothing of it counts any more."""
    play = until_aggregation(spoiled=1)
    before, clients = play.record, play.people_at(play.round_record.frozen)
    stale = [play.commit_update(clients[0]), play.shared(clients[0]), play.opened(clients[0])]
    play.dispute().judge().unmask().accuse()
    assert play.round == 1
    assert all(get_committed(play.ledger.state, before, one.address).update is None for one in clients)
    play.draw()
    assert isinstance(stale[0], CommitUpdate)
    for payload in (*stale, *(replace(payload, round=1) for payload in stale)):
        assert play.send(clients[0], payload).error != 0
    assert get_mask_keys(play.ledger.state, play.record) == {}
