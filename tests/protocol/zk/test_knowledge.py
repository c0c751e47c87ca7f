"""COMMIT: a client's commitment is its own, for this round, and known to it."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from protocol import crypto
from protocol.errors import InvalidProof
from protocol.zk.group import decode_points, encode_points
from protocol.zk.knowledge import CommittedUpdate, verify_committed_update
from protocol.zk.opening import blind, commit
from protocol.zk.proving import prove_knowledge
from protocol.zk.statement import RoundContext, sign_commitment
from tests.zk_round import PARAMETERS, client_seed, filled, make_context, make_values, play

ROUND = play(3)
CONTEXT = ROUND.context
OTHER_CONTEXTS: dict[str, Callable[[RoundContext], RoundContext]] = {
    "chain": lambda context: replace(context, chain=filled("other")),
    "alliance": lambda context: replace(context, alliance=4),
    "round": lambda context: replace(context, round=8),
    "model": lambda context: replace(context, model=replace(context.model, root=filled("other"))),
    "values": lambda context: replace(context, values=19),
    "beacon": lambda context: replace(context, beacon=filled("other")),
    "order of the keys": lambda context: replace(context, keys=context.keys[::-1]),
    "keys": lambda context: replace(context, keys=(*context.keys, filled("other"))),
    "fraction bits": lambda context: replace(context, parameters=replace(PARAMETERS, fraction_bits=15)),
    "most clients": lambda context: replace(context, parameters=replace(PARAMETERS, max_clients=63)),
}


def test_honest_updates_verify() -> None:
    """Each client's, under its own key."""
    for key, update in zip(CONTEXT.keys, ROUND.updates, strict=True):
        verify_committed_update(CONTEXT, key, update)


def test_what_verified_is_not_verified_again() -> None:
    """A replica asks three times about one transaction; what failed is not taken for verified."""
    update, key = ROUND.updates[0], CONTEXT.keys[0]
    false = replace(update, knowledge=ROUND.updates[1].knowledge)
    verify_committed_update.cache_clear()
    for _ in range(3):
        verify_committed_update(CONTEXT, key, update)
        with pytest.raises(InvalidProof):
            verify_committed_update(CONTEXT, key, false)
    assert verify_committed_update.cache_info().hits == 2


@pytest.mark.parametrize("other", OTHER_CONTEXTS)
def test_an_update_is_bound_to_every_part_of_its_context(other: str) -> None:
    """Signature and proof each: a commitment of another round serves nobody."""
    context, update, seed = OTHER_CONTEXTS[other](CONTEXT), ROUND.updates[0], client_seed(0)
    with pytest.raises(InvalidProof, match="did not sign"):
        verify_committed_update(context, CONTEXT.keys[0], update)
    signed = replace(update, signature=sign_commitment(seed, context, update.commitment))
    with pytest.raises(InvalidProof, match="does not belong"):
        verify_committed_update(context, CONTEXT.keys[0], signed)


def test_an_update_is_bound_to_its_client() -> None:
    """A copied commitment is refused though its proof is good, whoever signs it."""
    copied = ROUND.updates[0]
    with pytest.raises(InvalidProof, match="did not sign"):
        verify_committed_update(CONTEXT, CONTEXT.keys[1], copied)
    signed = replace(copied, signature=sign_commitment(client_seed(1), CONTEXT, copied.commitment))
    with pytest.raises(InvalidProof, match="does not belong"):
        verify_committed_update(CONTEXT, CONTEXT.keys[1], signed)


def test_a_rogue_commitment_is_refused() -> None:
    """C_2 = Com(x) - C_0 would cancel client 0's update in the product; who made it cannot open it."""
    context = make_context(3)
    key = crypto.public_key(client_seed(2))
    wanted = blind(context, key, make_values(9), randomness=filled("rogue"))
    minuend, subtrahend = decode_points(commit(PARAMETERS, wanted)), decode_points(ROUND.updates[0].commitment)
    rogue = encode_points([a - b for a, b in zip(minuend, subtrahend, strict=True)])
    proof = prove_knowledge(context, key, rogue, wanted, randomness=filled("rogue"))
    update = CommittedUpdate(rogue, sign_commitment(client_seed(2), context, rogue), proof)
    with pytest.raises(InvalidProof, match="does not belong"):
        verify_committed_update(context, key, update)


def test_a_commitment_of_another_size_is_refused() -> None:
    """A row less and a row more, rightly signed."""
    commitment = ROUND.updates[0].commitment
    for data in (commitment[:-48], commitment + commitment[:48]):
        signed = replace(ROUND.updates[0], commitment=data, signature=sign_commitment(client_seed(0), CONTEXT, data))
        with pytest.raises(InvalidProof, match="3 points of 48 are needed"):
            verify_committed_update(CONTEXT, CONTEXT.keys[0], signed)


@pytest.mark.parametrize(
    "odd", [b"\x80" + bytes(47), b"\xe0" + bytes(47), b"\xff" * 48], ids=["order 3", "infinity", "ones"]
)
def test_a_row_that_is_no_point_is_refused(odd: bytes) -> None:
    """A point outside the subgroup, and odd infinities, rightly signed."""
    data = odd + ROUND.updates[0].commitment[48:]
    signed = replace(ROUND.updates[0], commitment=data, signature=sign_commitment(client_seed(0), CONTEXT, data))
    with pytest.raises(InvalidProof, match="point 0"):
        verify_committed_update(CONTEXT, CONTEXT.keys[0], signed)


@pytest.mark.parametrize(
    ("context", "reason"),
    [
        (replace(CONTEXT, keys=()), "0 clients"),
        (replace(CONTEXT, keys=CONTEXT.keys[:1] * 2), "selected twice"),
        (replace(CONTEXT, parameters=replace(PARAMETERS, max_clients=2)), "3 clients; 1 to 2"),
        (replace(CONTEXT, values=0), "updates of 0 values"),
        (replace(CONTEXT, parameters=replace(PARAMETERS, max_values=19)), "1 to 19"),
    ],
    ids=["nobody", "twice", "too many clients", "no values", "too many values"],
)
def test_a_round_that_cannot_be_proven_is_refused(context: RoundContext, reason: str) -> None:
    """Nobody selected, somebody twice, and more than the parameters allow."""
    with pytest.raises(InvalidProof, match=reason):
        verify_committed_update(context, CONTEXT.keys[0], ROUND.updates[0])
