"""PROVE, VERIFY, LOG: what an aggregator can show to every replica, and everything that it must not get away with."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from protocol import crypto
from protocol.errors import InvalidProof
from protocol.zk.aggregation import Aggregation, aggregate_digest, verify_aggregation
from protocol.zk.commitment import multiply_commitments
from protocol.zk.group import decode_points, encode_points, hash_to_point
from protocol.zk.opening import Opening, add_openings, commit
from protocol.zk.parameters import WEIGHTS_LIMIT, make_parameters
from protocol.zk.proving import prove_aggregation
from protocol.zk.statement import Statement, sign_commitment, sign_product
from tests.zk_round import AGGREGATOR, PARAMETERS, Played, aggregate, client_seed, declare, filled, play

ROUND = play(4)
STATEMENT, AGGREGATION = ROUND.statement, ROUND.aggregation


def sign_again(aggregation: Aggregation, product: bytes) -> Aggregation:
    """Return the aggregation with another product, rightly signed."""
    signature = sign_product(AGGREGATOR, ROUND.context, product)
    return replace(aggregation, product=product, signature=signature)


def change_part(index: int, **fields: object) -> Statement:
    """Return the statement with one contribution changed."""
    parts = list(STATEMENT.contributions)
    parts[index] = replace(parts[index], **fields)
    return replace(STATEMENT, contributions=tuple(parts))


@settings(max_examples=12, deadline=None)
@given(clients=st.integers(1, 4), values=st.integers(1, 30), width=st.sampled_from([3, 7, 15]))
def test_an_honest_aggregation_verifies(clients: int, values: int, width: int) -> None:
    """Any number of clients and values, rows of any width."""
    played = play(clients, values=values, parameters=make_parameters(width=width))
    verify_aggregation(played.statement, played.aggregation)


def test_the_product_commits_to_the_weighted_sum() -> None:
    """Enc(w) is what one gets by committing to w itself: it opens to the sums of values and of blindings."""
    small = tuple(Opening(opening.values // 1_000, opening.blindings) for opening in ROUND.openings)
    points = [decode_points(commit(PARAMETERS, opening)) for opening in small]
    total = add_openings(small, ROUND.weights)
    fits = total._replace(values=total.values.astype("int32"))
    assert fits.values.tolist() == total.values.tolist()
    assert multiply_commitments(points, ROUND.weights) == commit(PARAMETERS, fits)


def test_absent_clients_are_left_out_with_the_logs_word() -> None:
    """Two of four did not open: the sum runs over the others, and the statement says so."""
    statement = declare(ROUND.context, ROUND.updates[:2], ROUND.weights)
    assert statement.absent == ROUND.context.keys[2:]
    verify_aggregation(statement, aggregate(statement, ROUND.openings[:2]))


# --- what must not verify --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dropped", range(4))
def test_a_dropped_client_is_noticed(dropped: int) -> None:
    """An aggregator that leaves a client out makes a proof that is good by itself, but not of the log's statement."""
    kept = [index for index in range(4) if index != dropped]
    parts = tuple(STATEMENT.contributions[index] for index in kept)
    without = replace(STATEMENT, contributions=parts, absent=(ROUND.context.keys[dropped],))
    proven = aggregate(without, tuple(ROUND.openings[index] for index in kept))
    verify_aggregation(without, proven)
    with pytest.raises(InvalidProof, match="Enc"):
        verify_aggregation(STATEMENT, proven)
    with pytest.raises(InvalidProof, match="left out of the sum") as caught:
        verify_aggregation(replace(without, absent=()), proven)
    assert caught.value.data == {"key": ROUND.context.keys[dropped].hex()}


def test_a_swapped_product_is_refused() -> None:
    """Another round's Enc(w), a single row of it, or one more point: whatever was signed, row and reason are named."""
    other = play(4, round=8).aggregation.product
    product = AGGREGATION.product
    for changed, reason in (
        (other, "row 0 of"),
        (product[:48] + other[48:96] + product[96:], "row 1 of"),
        (product[:-48] + encode_points([hash_to_point(b"x")]), "row 2 of"),
        (product + product[:48], "has 192 bytes, 144 are needed"),
        (product[:-48], "has 96 bytes"),
    ):
        with pytest.raises(InvalidProof, match=reason):
            verify_aggregation(STATEMENT, sign_again(AGGREGATION, changed))


def test_another_sum_cannot_be_proven() -> None:
    """Who publishes a product of his own making finds no proof that fits it, not even his own."""
    changed = encode_points([hash_to_point(b"x")] * 3)
    proof = prove_aggregation(STATEMENT, changed, ROUND.openings, randomness=filled("forged"))
    forged = replace(sign_again(AGGREGATION, changed), proof=proof)
    with pytest.raises(InvalidProof, match="row 0 of"):
        verify_aggregation(STATEMENT, forged)


def test_an_altered_answer_is_refused() -> None:
    """Each scalar of z, off by one."""
    proof = AGGREGATION.proof
    for start in range(len(proof) - 128, len(proof), 32):
        value = int.from_bytes(proof[start : start + 32], "big") - 1
        altered = proof[:start] + value.to_bytes(32, "big") + proof[start + 32 :]
        with pytest.raises(InvalidProof, match="does not belong"):
            verify_aggregation(STATEMENT, replace(AGGREGATION, proof=altered))


def test_a_proof_of_another_round_is_refused() -> None:
    """Same clients, same commitments, one round later: signatures and proof each fail there."""
    context = replace(ROUND.context, round=8)
    replayed = replace(STATEMENT, context=context)
    with pytest.raises(InvalidProof, match="did not sign this commitment for this round"):
        verify_aggregation(replayed, AGGREGATION)
    parts = tuple(
        replace(part, signature=sign_commitment(client_seed(index), context, part.commitment))
        for index, part in enumerate(STATEMENT.contributions)
    )
    signed = replace(replayed, contributions=parts)
    with pytest.raises(InvalidProof, match="did not sign this product for this round"):
        verify_aggregation(signed, AGGREGATION)
    signature = sign_product(AGGREGATOR, context, AGGREGATION.product)
    with pytest.raises(InvalidProof, match="does not belong"):
        verify_aggregation(signed, replace(AGGREGATION, signature=signature))


def test_another_keys_signature_is_refused() -> None:
    """Under a commitment, whoever signed in the client's place; and under the product."""
    for signer in (client_seed(1), AGGREGATOR):
        signature = sign_commitment(signer, ROUND.context, STATEMENT.contributions[0].commitment)
        with pytest.raises(InvalidProof, match="did not sign this commitment") as caught:
            verify_aggregation(change_part(0, signature=signature), AGGREGATION)
        assert caught.value.data == {"key": ROUND.context.keys[0].hex()}
    stranger = sign_product(client_seed(1), ROUND.context, AGGREGATION.product)
    with pytest.raises(InvalidProof, match="did not sign this product"):
        verify_aggregation(STATEMENT, replace(AGGREGATION, signature=stranger))
    with pytest.raises(InvalidProof, match="did not sign this product"):
        verify_aggregation(STATEMENT, replace(AGGREGATION, key=crypto.public_key(client_seed(1))))


def test_a_signature_that_says_nothing_else_is_still_part_of_the_proof() -> None:
    """Signatures are absorbed: an aggregation proven over one set of them does not verify over another."""
    forged = change_part(0, signature=bytes(64))
    proof = prove_aggregation(forged, AGGREGATION.product, ROUND.openings, randomness=filled("aggregation"))
    with pytest.raises(InvalidProof, match="does not belong"):
        verify_aggregation(STATEMENT, replace(AGGREGATION, proof=proof))


def test_another_weight_is_refused() -> None:
    """The product is another one under the log's weights."""
    with pytest.raises(InvalidProof, match="row 0 of"):
        verify_aggregation(change_part(2, weight=ROUND.weights[2] + 1), AGGREGATION)


def test_weights_that_do_not_fit_are_refused() -> None:
    """Their sum must stay below 2^32, or the sum of updates would not fit 64 bits."""
    with pytest.raises(InvalidProof, match="weights that add up"):
        verify_aggregation(change_part(0, weight=WEIGHTS_LIMIT - 1), AGGREGATION)


CLIENT_LISTS: dict[str, Callable[[Statement], Statement]] = {
    "two swapped": lambda s: replace(s, contributions=(s.contributions[1], s.contributions[0], *s.contributions[2:])),
    "one twice": lambda s: replace(s, contributions=(*s.contributions, s.contributions[0])),
    "one of them absent as well": lambda s: replace(s, absent=s.context.keys[:1]),
    "a stranger absent": lambda s: replace(s, absent=(filled("stranger"),)),
    "absent twice": lambda s: replace(s, contributions=s.contributions[1:], absent=s.context.keys[:1] * 2),
    "a stranger summed": lambda s: replace(
        s, contributions=(*s.contributions, replace(s.contributions[0], key=filled("stranger")))
    ),
}


@pytest.mark.parametrize("change", CLIENT_LISTS.values(), ids=CLIENT_LISTS.keys())
def test_summed_and_absent_are_exactly_the_selected(change: Callable[[Statement], Statement]) -> None:
    """In their order, once each, nobody else."""
    with pytest.raises(InvalidProof, match="client"):
        verify_aggregation(change(STATEMENT), AGGREGATION)


@pytest.mark.parametrize(
    "odd",
    [b"\x80" + bytes(47), b"\xe0" + bytes(47), b"\xc0" + b"\xff" * 47],
    ids=["order 3", "infinity with a sign", "infinity with an x"],
)
def test_odd_points_are_refused(odd: bytes) -> None:
    """As a row of a commitment, rightly signed, and as a row of the product, and nowhere reduced to something else."""
    commitment = odd + STATEMENT.contributions[3].commitment[48:]
    signature = sign_commitment(client_seed(3), ROUND.context, commitment)
    with pytest.raises(InvalidProof, match="cannot be read: point 0"):
        verify_aggregation(change_part(3, commitment=commitment, signature=signature), AGGREGATION)
    with pytest.raises(InvalidProof, match="row 0"):
        verify_aggregation(STATEMENT, sign_again(AGGREGATION, odd + AGGREGATION.product[48:]))


@pytest.mark.parametrize("length", [0, 48, 271, 273, 944])
def test_a_proof_of_another_length_is_refused(length: int) -> None:
    """Rows of 7 are proven by 272 bytes."""
    proof = (AGGREGATION.proof * 4)[:length]
    with pytest.raises(InvalidProof, match="272 are needed"):
        verify_aggregation(STATEMENT, replace(AGGREGATION, proof=proof))


def test_an_aggregator_who_was_given_a_false_opening_cannot_prove() -> None:
    """One value of one client off by one."""
    values = ROUND.openings[2].values.copy()
    values[19] -= 1
    openings = (*ROUND.openings[:2], ROUND.openings[2]._replace(values=values), ROUND.openings[3])
    with pytest.raises(InvalidProof, match="does not belong"):
        verify_aggregation(STATEMENT, aggregate(STATEMENT, openings))


def test_a_proof_of_knowledge_is_none_of_aggregation() -> None:
    """A round of one client has proofs of both kinds that are equally long; neither passes for the other."""
    alone: Played = play(1)
    knowledge = alone.updates[0].knowledge
    assert len(knowledge) == len(alone.aggregation.proof)
    with pytest.raises(InvalidProof, match="does not belong"):
        verify_aggregation(alone.statement, replace(alone.aggregation, proof=knowledge))


# --- LOG -------------------------------------------------------------------------------------------------------------


def test_the_digest_on_the_log_names_round_and_product() -> None:
    """Enc(w) is behind its own tag, with its context and the number of its rows."""
    product = AGGREGATION.product
    digests = {
        aggregate_digest(ROUND.context, product),
        aggregate_digest(replace(ROUND.context, round=8), product),
        aggregate_digest(ROUND.context, product[48:]),
        aggregate_digest(ROUND.context, product[48:] + product[:48]),
    }
    assert len(digests) == 4
