"""Known answers of a whole round, and a second verifier that was written from the description alone."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from protocol import crypto
from protocol.plain import from_plain, to_plain
from protocol.zk.aggregation import Aggregation, aggregate_digest, verify_aggregation
from protocol.zk.knowledge import CommittedUpdate, verify_committed_update
from protocol.zk.opening import add_openings, blind, commit, encode_opening
from protocol.zk.parameters import ZK_PARAMETERS
from protocol.zk.proving import prove_aggregation, prove_knowledge
from protocol.zk.statement import Contribution, RoundContext, Statement, context_digest, sign_commitment, sign_product
from tests import zk_reference
from tests.zk_round import PARAMETERS, Played, play

KNOWN: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors" / "zk.json").read_text())
CONTEXT = from_plain(RoundContext, KNOWN["context"])


def unhex(text: str) -> bytes:
    """Return the bytes of hexadecimal text."""
    return bytes.fromhex(text)


def contributions_of(known: dict[str, Any]) -> tuple[Contribution, ...]:
    """Return the contributions that the vectors list."""
    return tuple(
        Contribution(
            crypto.public_key(unhex(client["seed"])),
            unhex(client["commitment"]),
            unhex(client["signature"]),
            client["weight"],
        )
        for client in known["clients"]
    )


STATEMENT = Statement(CONTEXT, contributions_of(KNOWN), ())


def nested(value: Any) -> Any:
    """Return a record as the lists that its MessagePack encodes, with no help of the library's encoder."""
    if isinstance(value, tuple):
        return [nested(item) for item in value]
    if hasattr(value, "__struct_fields__"):
        return [nested(getattr(value, name)) for name in value.__struct_fields__]
    return value


def client_rows(statement: Statement) -> list[tuple[bytes, bytes, bytes, int]]:
    """Return what the second verifier is told of each client."""
    return [(part.key, part.commitment, part.signature, part.weight) for part in statement.contributions]


def test_the_bases_are_known() -> None:
    """The digests of both tables, and the name of the round."""
    assert PARAMETERS.generators == unhex(KNOWN["generators"]["7"]) == CONTEXT.parameters.generators
    assert ZK_PARAMETERS.generators == unhex(KNOWN["generators"]["1023"])
    assert context_digest(CONTEXT) == unhex(KNOWN["context_digest"])


@pytest.mark.parametrize("client", KNOWN["clients"], ids=lambda client: client["seed"][:4])
def test_a_client_commits_to_known_bytes(client: dict[str, Any]) -> None:
    """Reveal, commitment, signature and proof of knowledge, byte by byte."""
    seed, randomness = unhex(client["seed"]), unhex(client["randomness"])
    key = crypto.public_key(seed)
    opening = blind(CONTEXT, key, np.array(client["values"], np.int32), randomness=randomness)
    commitment = commit(PARAMETERS, opening)
    assert encode_opening(opening) == unhex(client["reveal"])
    assert commitment == unhex(client["commitment"])
    assert sign_commitment(seed, CONTEXT, commitment) == unhex(client["signature"])
    knowledge = prove_knowledge(CONTEXT, key, commitment, opening, randomness=randomness)
    assert knowledge == unhex(client["knowledge"])
    verify_committed_update(
        CONTEXT, key, CommittedUpdate(commitment, unhex(client["signature"]), unhex(client["knowledge"]))
    )


def test_an_aggregator_proves_with_known_bytes() -> None:
    """Product, sum, signature, proof and the digest on the log."""
    openings = [
        blind(CONTEXT, part.key, np.array(client["values"], np.int32), randomness=unhex(client["randomness"]))
        for part, client in zip(STATEMENT.contributions, KNOWN["clients"], strict=True)
    ]
    seed, randomness, product = (unhex(KNOWN["aggregator"][name]) for name in ("seed", "randomness", "product"))
    proof = prove_aggregation(STATEMENT, product, openings, randomness=randomness)
    assert proof == unhex(KNOWN["aggregator"]["proof"])
    assert sign_product(seed, CONTEXT, product) == unhex(KNOWN["aggregator"]["signature"])
    assert encode_opening(add_openings(openings, [part.weight for part in STATEMENT.contributions])) == unhex(
        KNOWN["aggregator"]["aggregate"]
    )
    assert aggregate_digest(CONTEXT, product) == unhex(KNOWN["aggregator"]["digest"])
    signature = unhex(KNOWN["aggregator"]["signature"])
    verify_aggregation(STATEMENT, Aggregation(crypto.public_key(seed), product, signature, proof))


def test_the_vectors_say_what_their_context_is() -> None:
    """Another implementation reads the context from plain JSON."""
    assert to_plain(CONTEXT) == KNOWN["context"]


# --- a second verifier -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("clients", "values"), [(1, 1), (2, 20), (3, 9)])
def test_a_verifier_from_the_description_accepts_honest_proofs(clients: int, values: int) -> None:
    """What `transcript.py` says is what the library does."""
    played: Played = play(clients, values=values)
    context = nested(played.context)
    assert zk_reference.context_digest(context) == context_digest(played.context)
    for key, update in zip(played.context.keys, played.updates, strict=True):
        assert zk_reference.is_knowledge(context, key, update.commitment, update.knowledge)
    found = played.aggregation
    assert zk_reference.is_aggregation(context, client_rows(played.statement), [], found.product, found.proof)


def test_a_verifier_from_the_description_refuses_what_the_library_refuses() -> None:
    """Another round, another product, another weight, somebody called absent."""
    played = play(2)
    context, rows, found = nested(played.context), client_rows(played.statement), played.aggregation
    later = nested(replace(played.context, round=8))
    heavier = [(*rows[0][:3], 2), rows[1]]
    assert not zk_reference.is_aggregation(later, rows, [], found.product, found.proof)
    assert not zk_reference.is_aggregation(context, rows, [], found.product[::-1], found.proof)
    assert not zk_reference.is_aggregation(context, heavier, [], found.product, found.proof)
    assert not zk_reference.is_aggregation(context, rows, [bytes(32)], found.product, found.proof)
