"""Hidden updates: each act in its phase, from whom it is asked, and no proof that does not verify counts."""

import numpy as np
import pytest
from msgspec.structs import replace

from protocol.alliance_acts import (
    Accusation,
    CommitUpdate,
    CreateAlliance,
    ProposeUpdate,
    check_alliance_payload,
    check_alliance_spec,
)
from protocol.alliance_settings import Aggregator, Attribution, Privacy
from protocol.crypto import integer_bytes
from protocol.errors import AlreadyDone, InvalidProof, Malformed, NotEligible, OutOfBounds, WrongPhase
from protocol.models import ModelSpec, mlp_model
from protocol.params import DEVNET
from protocol.rules.alliance.commitments import (
    COMMITTED,
    get_box,
    get_committed,
    get_latest_model,
    make_round_statement,
    weigh_clients,
)
from protocol.rules.alliance.records import AlliancePhase, Ballot
from protocol.zk.aggregation import aggregate_digest
from protocol.zk.consultation import consult
from protocol.zk.opening import add_openings
from protocol.zk.statement import sign_product
from tests.alliance_play import FRESH, AlliancePlay, aggregate_of, make_spec, update_of
from tests.arena_play import Play
from tests.ledger_driver import FML, Person, seed_of
from tests.private_play import PARAMS, PrivatePlay

OWN = DEVNET.alliance.settings


def published_play() -> PrivatePlay:
    """Return a play in which the first aggregator may publish."""
    return PrivatePlay().begin().train().seal().hold()


# --- what can be hidden ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"attribution": Attribution.PER_PROPOSAL},
        {"attribution": Attribution.AGGREGATE, "aggregator": Aggregator.MEDIAN},
    ],
)
def test_hidden_updates_are_summed_and_voted_on_together(changes):
    """Neither votes on each nor a rule that sorts them is possible without seeing them."""
    with pytest.raises(OutOfBounds):
        check_alliance_spec(make_spec(replace(OWN, privacy=Privacy.ZK, **changes)))


def test_a_model_whose_updates_no_commitment_holds_is_refused():
    """Too few participants, an unknown size, too many values: refused when the alliance is created."""
    play = AlliancePlay(params=PARAMS)
    settings = replace(OWN, privacy=Privacy.ZK, attribution=Attribution.AGGREGATE)
    spec = make_spec(settings, participants=6)
    for wrong, error in (
        (replace(spec, participants=5), OutOfBounds),
        (replace(spec, model=ModelSpec("acme.resnet", ())), OutOfBounds),
        (replace(spec, model=mlp_model(1_000, 1_000)), InvalidProof),
    ):
        assert play.send(play.stranger, CreateAlliance(wrong, 100 * FML, FML)).error == error.number
    assert play.send(play.stranger, CreateAlliance(spec, 100 * FML, FML)).error == 0


def test_with_five_a_private_alliance_expires():
    """Two to hide among, three voters and an aggregator are six."""
    play = PrivatePlay(participants=6)
    play.begin(play.participants[:5])
    assert play.phase is AlliancePhase.EXPIRED
    play = PrivatePlay(participants=6).begin()
    current = play.round_record
    assert (len(current.proposers), len(current.voters), len(current.aggregators)) == (2, 3, 1)


def test_a_round_has_no_more_clients_than_can_be_proven():
    """The others have no role in it."""
    params = replace(PARAMS, alliance=replace(PARAMS.alliance, zk=replace(PARAMS.alliance.zk, max_clients=2)))
    play = PrivatePlay(participants=10, params=params).begin()
    assert len(play.round_record.proposers) == 2
    assert len(play.round_record.aggregators) == 3


# --- committing ------------------------------------------------------------------------------------------------------


def test_only_proposers_commit_once_and_to_what_they_know():
    """A stranger, another's signature, a foreign proof, a second commitment; and no update in clear."""
    play = PrivatePlay().begin()
    one, other = play.proposers()[:2]
    update = play.committed(one)
    assert play.send(play.stranger, CommitUpdate(1, 0, update, None)).error == NotEligible.number
    assert play.send(one, ProposeUpdate(1, 0, update_of(one, 0))).error == NotEligible.number
    rogue = play.committed(other)
    for wrong in (
        rogue,
        replace(update, signature=rogue.signature),
        replace(update, knowledge=rogue.knowledge),
        replace(update, commitment=rogue.commitment),
        replace(update, commitment=update.commitment * 2),
        replace(update, commitment=bytes(48)),
    ):
        assert play.send(one, CommitUpdate(1, 0, wrong, None)).error == InvalidProof.number
    assert play.send(one, CommitUpdate(1, 0, update, None)).error == 0
    assert play.send(one, CommitUpdate(1, 0, update, None)).error == AlreadyDone.number
    assert play.send(one, CommitUpdate(1, 1, update, None)).error == WrongPhase.number


def test_a_commitment_serves_its_round_only():
    """Made in the first round, it is none in the second: context, beacon and model are others."""
    play = PrivatePlay(participants=6, rounds=6).begin()
    kept = {person: play.committed(person) for person in play.proposers()}
    play.run_round()
    for _ in range(4):
        play.draw()
        again = [person for person in play.proposers() if person in kept]
        if again:
            break
        play.train([])
    assert play.send(again[0], CommitUpdate(1, play.round, kept[again[0]], None)).error == InvalidProof.number


def test_where_updates_are_shown_nobody_commits():
    """The other way round as well."""
    private, clear = PrivatePlay().begin(), AlliancePlay().begin()
    update = private.committed(private.proposers()[0])
    assert clear.send(clear.proposers()[0], CommitUpdate(1, 0, update, None)).error == NotEligible.number


# --- revealing to the aggregator -------------------------------------------------------------------------------------


def test_only_who_committed_reveals_to_whose_turn_it_is():
    """Not to another aggregator, not twice, and a blob has a length."""
    play = PrivatePlay().begin()
    silent, *others = play.proposers()
    play.train(others)
    assert play.phase is AlliancePhase.SEAL
    assert play.send(silent, play.revealed(silent)).error == NotEligible.number
    reveal = play.revealed(others[0])
    later = replace(reveal, aggregator=play.aggregators()[1].address)
    assert play.send(others[0], later).error == NotEligible.number
    empty = replace(reveal, blob=replace(reveal.blob, length=0))
    assert play.send(others[0], empty).error == OutOfBounds.number
    assert play.send(others[0], reveal).error == 0
    assert play.send(others[0], reveal).error == AlreadyDone.number
    assert get_box(play.ledger.state, play.record, others[0].address).sealed == reveal.box


# --- publishing the sum ----------------------------------------------------------------------------------------------


def test_only_the_aggregator_publishes_and_only_what_is_proven():
    """Another account, another's key, an altered product or proof, another signature: refused; the right one counts."""
    play = published_play()
    right = play.aggregate()
    aggregator, next_one = play.aggregators()[:2]
    assert play.send(next_one, right).error == NotEligible.number
    part = right.proven.aggregation

    def with_part(other):
        return replace(right, proven=replace(right.proven, aggregation=other))

    foreign = replace(part, key=next_one.address, signature=sign_product(next_one.seed, play.context, part.product))
    assert play.send(aggregator, with_part(foreign)).error == NotEligible.number
    empty = replace(right.proven, blob=replace(right.proven.blob, length=0))
    assert play.send(aggregator, replace(right, proven=empty)).error == OutOfBounds.number
    swapped = play.committed(play.proposers()[0]).commitment
    for wrong in (
        replace(part, product=swapped),
        replace(part, proof=part.proof[:-1] + bytes([part.proof[-1] ^ 1])),
        replace(part, proof=part.proof[:-1]),
        replace(part, signature=bytes(64)),
    ):
        assert play.send(aggregator, with_part(wrong)).error == InvalidProof.number
    assert play.phase is AlliancePhase.AGGREGATE
    assert play.send(aggregator, right).error == 0
    assert play.phase is AlliancePhase.VOTE
    assert play.send(aggregator, right).error == WrongPhase.number


def test_nobody_that_committed_is_left_out():
    """A proof about fewer clients is one of another statement, unless they are accused."""
    play = published_play()
    dropped = play.people_at(play.round_record.frozen)[0]
    fewer = play.aggregate(accused={dropped: None})
    assert play.send(play.aggregator(), replace(fewer, accused=())).error == InvalidProof.number
    assert play.send(play.aggregator(), fewer).error == 0


def test_an_accusation_shows_the_key_of_the_clients_box():
    """Another key convicts nobody; neither is an outsider accused, nor everybody, nor anybody twice."""
    play = published_play()
    liar, *others = play.people_at(play.round_record.frozen)
    wrong = play.aggregate(accused={liar: bytes(32)})
    assert play.send(play.aggregator(), wrong).error == OutOfBounds.number
    right = play.aggregate(accused={liar: play.key(liar)})
    outsider = replace(right, accused=(Accusation(play.stranger.address, None),))
    assert play.send(play.aggregator(), outsider).error == OutOfBounds.number
    everybody = tuple(Accusation(address, None) for address in play.round_record.frozen)
    assert play.send(play.aggregator(), replace(right, accused=everybody)).error == OutOfBounds.number
    with pytest.raises(Malformed):
        check_alliance_payload(replace(right, accused=right.accused * 2))
    assert play.send(play.aggregator(), right).error == 0
    assert play.published.liars == (liar.address,)
    assert set(play.published.proven.clients) == {person.address for person in others}


def test_a_sum_of_too_few_to_hide_each_other_is_no_sum():
    """Even if it is proven: it would show an update to all. With enough left there must be one, accused or not."""
    play = published_play()
    people = play.people_at(play.round_record.frozen)
    kept, *liars = people
    shown = play.prove((kept.address,))
    accusations = play.aggregate(accused={liar: play.key(liar) for liar in liars})
    assert accusations.proven is None
    for wrong in (
        replace(accusations, proven=shown),
        replace(accusations, accused=()),
        replace(accusations, accused=accusations.accused[:1]),
    ):
        assert play.send(play.aggregator(), wrong).error == OutOfBounds.number
    assert play.send(play.aggregators()[1], accusations).error == NotEligible.number
    assert play.send(play.aggregator(), accusations).error == 0
    assert (play.phase, play.published.proven) == (AlliancePhase.VOTE, None)


def test_accusations_without_a_sum_are_confirmed_without_a_score():
    """No score for a model that is not there, nor a name; one score, None, refuses; with a sum no score is too few."""
    play = published_play()
    people = play.people_at(play.round_record.frozen)
    voters, confirmed = play.voters(), Ballot(1, (), None)
    play.publish(play.aggregate(accused={liar: play.key(liar) for liar in people}))
    wrong = (Ballot(1, (1,), aggregate_of(0)), Ballot(1, (), aggregate_of(0)))
    play.commit({**dict(zip(voters, wrong, strict=False)), voters[2]: confirmed})
    for voter, ballot in zip(voters, (*wrong, confirmed), strict=True):
        error = 0 if ballot == confirmed else OutOfBounds.number
        assert play.send(voter, play.reveal_of(voter, ballot)).error == error
    summed = published_play().publish()
    voter = summed.voters()[0]
    summed.commit({**dict.fromkeys(summed.voters(), summed.ballot()), voter: confirmed})
    assert summed.send(voter, summed.reveal_of(voter, confirmed)).error == OutOfBounds.number


def test_what_is_published_can_be_consulted():
    """The digest on the log is that of the product that the sum of the weighted updates opens."""
    play = published_play()
    payload = play.aggregate()
    openings = [play.opening(play.people_at([client])[0]) for client in play.round_record.frozen]
    context, clients = play.context, play.round_record.frozen
    weights = weigh_clients(play.ledger.state, play.record, clients)
    play.publish(payload)
    product = payload.proven.aggregation.product
    assert play.published.proven.digest == aggregate_digest(context, product)
    sums = add_openings(openings, [weights[client] for client in clients])
    chosen = [weights[client] for client in clients]
    consult(
        context,
        digest=play.published.proven.digest,
        weights=chosen,
        product=product,
        aggregate=sums,
        randomness=seed_of("consult"),
    )
    altered = sums._replace(values=sums.values + np.int64(1))
    with pytest.raises(InvalidProof):
        consult(
            context,
            digest=play.published.proven.digest,
            weights=chosen,
            product=product,
            aggregate=altered,
            randomness=seed_of("consult"),
        )


def test_a_refusal_has_neither_score_nor_name_and_only_where_updates_are_hidden():
    """An aggregate that cannot be had is told by a ballot without both; not in a clear alliance."""
    play = published_play().publish()
    refusal = Ballot(1, (None,), None)
    play.commit({**dict.fromkeys(play.voters(), play.ballot()), play.voters()[0]: refusal})
    assert play.send(play.voters()[0], play.reveal_of(play.voters()[0], refusal)).error == 0
    clear = AlliancePlay(attribution=Attribution.AGGREGATE).begin().train().hold()
    voter = clear.voters()[0]
    clear.commit({**dict.fromkeys(clear.voters(), clear.ballot()), voter: refusal})
    assert clear.send(voter, clear.reveal_of(voter, refusal)).error == OutOfBounds.number


# --- the state that proofs are about ---------------------------------------------------------------------------------


def test_commitments_are_pruned_when_their_round_is_over():
    """They are large: that somebody committed stays, what to goes; and so do the boxes."""
    play = published_play()
    before = play.record
    committed = [one.address for one in play.round_record.proposers]
    assert all(get_committed(play.ledger.state, before, address).update is not None for address in committed)
    play.publish().commit().reveal()
    assert play.round == 1
    for address in committed:
        assert get_committed(play.ledger.state, before, address).update is None
        assert get_box(play.ledger.state, before, address) is None
    with pytest.raises(AssertionError, match="over"):
        make_round_statement(play.ledger.state, play.ledger.chain, PARAMS, before, tuple(committed))
    assert len(list(COMMITTED.scan(play.ledger.state, integer_bytes(1)))) == len(committed)


def test_weights_are_capped_so_that_sums_stay_exact():
    """However many rows somebody declares."""
    play = PrivatePlay(participants=6)
    for person in play.participants:
        play.join(person, train_rows=2**40)
    play.ledger.block()
    play.draw()
    clients = tuple(one.address for one in play.round_record.proposers)
    weights = weigh_clients(play.ledger.state, play.record, clients)
    assert sum(weights.values()) < 2**32
    assert len(set(weights.values())) == 1


def test_the_model_of_the_context_is_what_is_trained_on():
    """The fresh model, then the last accepted; with a base task its winner's blob."""
    play = PrivatePlay().begin()
    assert get_latest_model(play.ledger.state, play.record) == FRESH
    play.run_round()
    assert get_latest_model(play.ledger.state, play.record) == aggregate_of(0)
    task = Play(bystanders=[Person(f"participant {number}") for number in range(5)]).begin().run_epoch().run_epoch()
    spec = make_spec(OWN, base_task=1, fresh_model=None)
    based = AlliancePlay(ledger=task.ledger, spec=spec)
    winner = task.result(1).ranking[0]
    (person,) = (one for one in task.trainers if one.address == winner.author)
    assert get_latest_model(based.ledger.state, based.record) == task.ledger.submission_of(person, 1, 1).blob
