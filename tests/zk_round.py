"""A small round of zkFL, played with the real library: a few clients, short rows, everything derived from numbers."""

from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from protocol import crypto
from protocol.blobs import BlobId
from protocol.zk.aggregation import Aggregation, compute_product, make_statement
from protocol.zk.commitment import decode_commitment
from protocol.zk.group import Point
from protocol.zk.knowledge import CommittedUpdate
from protocol.zk.opening import Opening, blind, commit
from protocol.zk.parameters import ZkParameters, make_parameters
from protocol.zk.proving import prove_aggregation, prove_knowledge
from protocol.zk.statement import RoundContext, Statement, count_rows, sign_commitment, sign_product

# Eight bases fold once; an update of 20 values has three rows, the last with padding.
PARAMETERS = make_parameters(width=7)
VALUES = 20
AGGREGATOR = b"\xa9" * 32


def filled(text: str) -> bytes:
    """Return 32 bytes that a text stands for."""
    return crypto.hash_parts("test/zk", text.encode())


def client_seed(index: int) -> bytes:
    """Return the signing seed of a client."""
    return filled(f"client {index}")


def make_context(clients: int, *, values: int = VALUES, parameters: ZkParameters = PARAMETERS) -> RoundContext:
    """Return a round of so many clients."""
    keys = tuple(crypto.public_key(client_seed(index)) for index in range(clients))
    return RoundContext(
        filled("chain"), 3, 7, BlobId(filled("model"), 4 * values), values, filled("beacon"), keys, parameters
    )


def make_values(index: int, count: int = VALUES) -> "np.ndarray[tuple[int], np.dtype[np.int32]]":
    """Return an update that a client's number determines, both extremes in it."""
    values = np.random.default_rng(index).integers(-(2**31) + 1, 2**31, count, dtype=np.int32)
    values[:2] = (2**31 - 1, -(2**31) + 1)[: len(values)]
    return values


@dataclass(frozen=True)
class Played:
    """One round, done honestly."""

    context: RoundContext
    openings: tuple[Opening, ...]
    updates: tuple[CommittedUpdate, ...]
    weights: tuple[int, ...]
    statement: Statement
    aggregation: Aggregation

    @property
    def points(self) -> list[tuple[Point, ...]]:
        """Return the decoded commitments."""
        return [decode_commitment(update.commitment, count_rows(self.context)) for update in self.updates]


def commit_update(context: RoundContext, index: int, opening: Opening) -> CommittedUpdate:
    """Return what a client puts on the log."""
    seed, commitment = client_seed(index), commit(context.parameters, opening)
    key = crypto.public_key(seed)
    knowledge = prove_knowledge(context, key, commitment, opening, randomness=filled("knowledge"))
    return CommittedUpdate(commitment, sign_commitment(seed, context, commitment), knowledge)


def declare(context: RoundContext, updates: tuple[CommittedUpdate, ...], weights: tuple[int, ...]) -> Statement:
    """Return the statement about updates of the first so many clients; the others are absent."""
    committed = dict(zip(context.keys, updates, strict=False))
    return make_statement(context, committed, dict(zip(committed, weights, strict=False)))


def aggregate(statement: Statement, openings: tuple[Opening, ...]) -> Aggregation:
    """Return what the aggregator puts on the log."""
    product = compute_product(statement)
    proof = prove_aggregation(statement, product, openings, randomness=filled("aggregation"))
    key = crypto.public_key(AGGREGATOR)
    return Aggregation(key, product, sign_product(AGGREGATOR, statement.context, product), proof)


def play(clients: int = 3, *, values: int = VALUES, parameters: ZkParameters = PARAMETERS, round: int = 7) -> Played:
    """Return a whole round."""
    context = replace(make_context(clients, values=values, parameters=parameters), round=round)
    openings = tuple(
        blind(context, key, make_values(index, values), randomness=filled(f"blind {index}"))
        for index, key in enumerate(context.keys)
    )
    updates = tuple(commit_update(context, index, opening) for index, opening in enumerate(openings))
    weights = tuple(3 * index + 1 for index in range(clients))
    statement = declare(context, updates, weights)
    return Played(context, openings, updates, weights, statement, aggregate(statement, openings))
