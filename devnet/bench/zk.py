"""What zkFL costs, on one core: commitments, the aggregator's proof, its verification, by size of the model."""

import hashlib
import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple, TypeVar

from devnet.bench.figures import Figure, Report
from protocol.blobs import BlobId
from protocol.crypto import hash_parts, public_key
from protocol.zk.aggregation import (
    Aggregation,
    aggregate_digest,
    compute_product,
    make_statement,
    verify_aggregation,
)
from protocol.zk.commitment import decode_remembered
from protocol.zk.consultation import consult
from protocol.zk.group import SCALAR_BYTES
from protocol.zk.knowledge import CommittedUpdate, verify_committed_update
from protocol.zk.opening import Opening, add_openings, blind, commit, decode_reveal, find_false_openings
from protocol.zk.parameters import ZK_PARAMETERS, get_generators, make_generators
from protocol.zk.proving import prove_aggregation, prove_knowledge
from protocol.zk.statement import (
    RoundContext,
    Statement,
    check_statement,
    count_rows,
    sign_commitment,
    sign_product,
)

CLIENTS = 8
SIZES = (1_000, 10_000, 100_000)
WEIGHTS = tuple(range(1, CLIENTS + 1))
REPEATS = 3
GOALS = {(100_000, "prove"): "at most 1,000", (100_000, "verify"): "at most 300", (100_000, "proof"): "at most 2,000"}

T = TypeVar("T")


class Timed(NamedTuple):
    """One measured step: its name, and the shortest processor time that it took."""

    step: str
    ms: float


async def bench_zk() -> Report:
    """Measure a round of each size in this process, without ledger or network."""
    figures = [Figure(name="generators, once a process", value=_time(lambda: make_generators(1_023))[1], unit="ms")]
    get_generators(ZK_PARAMETERS)
    for values in SIZES:
        figures += measure_round(values)
    return Report(
        bench="zk",
        conditions=f"{CLIENTS} clients, values of full range, one core; processor time, best of {REPEATS}",
        figures=tuple(figures),
    )


def measure_round(values: int) -> list[Figure]:
    """Return what each step of a round costs with a model of so many values."""
    seeds = [_filled(f"client {index}") for index in range(CLIENTS)]
    context = _make_context(values, tuple(map(public_key, seeds)))
    openings = [_make_opening(context, index) for index in range(CLIENTS)]
    commitments, times = [], []
    for opening in openings:
        commitment, ms = _time(partial(commit, ZK_PARAMETERS, opening), repeats=1)
        commitments.append(commitment)
        times.append(ms)
    steps = [Timed("commit, a client", min(times)), *_measure_knowledge(context, seeds[0], commitments[0], openings[0])]
    updates = {
        key: CommittedUpdate(commitment, sign_commitment(seed, context, commitment), b"")
        for key, seed, commitment in zip(context.keys, seeds, commitments, strict=True)
    }
    statement = make_statement(context, updates, dict(zip(context.keys, WEIGHTS, strict=True)))
    aggregation, more = _measure_aggregation(statement, openings)
    sizes = [("commitment, a client", len(commitments[0])), ("proof", len(aggregation.proof))]
    return [
        *(_figure(values, timed.step, timed.ms, "ms") for timed in (*steps, *more)),
        *(_figure(values, name, count, "bytes") for name, count in sizes),
    ]


def _measure_knowledge(context: RoundContext, seed: bytes, commitment: bytes, opening: Opening) -> list[Timed]:
    key, secret = public_key(seed), _filled("knowledge")
    knowledge, proven = _time(lambda: prove_knowledge(context, key, commitment, opening, randomness=secret))
    update = CommittedUpdate(commitment, sign_commitment(seed, context, commitment), knowledge)
    _, verified = _time(lambda: verify_committed_update(context, key, update), before=_forget)
    return [Timed("prove knowledge, a client", proven), Timed("verify knowledge, a client", verified)]


def _measure_aggregation(statement: Statement, openings: list[Opening]) -> tuple[Aggregation, list[Timed]]:
    context, secret, seed = statement.context, _filled("aggregator"), _filled("key")
    points = check_statement(statement)
    _, checked = _time(lambda: find_false_openings(ZK_PARAMETERS, points, openings, randomness=secret))
    total, added = _time(lambda: add_openings(openings, WEIGHTS))
    product, multiplied = _time(lambda: compute_product(statement))
    proof, proven = _time(lambda: prove_aggregation(statement, product, openings, randomness=secret))
    aggregation = Aggregation(public_key(seed), product, sign_product(seed, context, product), proof)
    _, verified = _time(lambda: verify_aggregation(statement, aggregation), before=verify_aggregation.cache_clear)
    _, afresh = _time(lambda: verify_aggregation(statement, aggregation), before=_forget)
    digest = aggregate_digest(context, product)
    _, consulted = _time(
        lambda: consult(context, digest=digest, weights=WEIGHTS, product=product, aggregate=total, randomness=secret)
    )
    return aggregation, [
        Timed("check openings", checked),
        Timed("aggregate", added + multiplied),
        Timed("prove", proven),
        Timed("verify", verified),
        Timed("verify, points not seen before", afresh),
        Timed("consult", consulted),
    ]


def _time(
    act: Callable[[], T], *, before: Callable[[], None] = lambda: None, repeats: int = REPEATS
) -> tuple[T, float]:
    """Return what an act gives, and the shortest processor time that it took, in ms."""
    times = []
    for _ in range(repeats):
        before()
        began = time.process_time()
        result = act()
        times.append(1000 * (time.process_time() - began))
    return result, min(times)


def _forget() -> None:
    """Let what was decoded and verified be decoded and verified again."""
    decode_remembered.cache_clear()
    verify_committed_update.cache_clear()
    verify_aggregation.cache_clear()


def _figure(values: int, name: str, value: float, unit: str) -> Figure:
    return Figure(name=f"{values:,} values: {name}", value=value, unit=unit, goal=GOALS.get((values, name), ""))


def _filled(text: str) -> bytes:
    return hash_parts("bench/zk", text.encode())


def _make_context(values: int, keys: tuple[bytes, ...]) -> RoundContext:
    model = BlobId(_filled("model"), 4 * values)
    return RoundContext(_filled("chain"), 1, 0, model, values, _filled("beacon"), keys, ZK_PARAMETERS)


def _make_opening(context: RoundContext, index: int) -> Opening:
    """Return an update whose values fill their range."""
    drawn = hashlib.shake_256(_filled(f"values {index}")).digest(4 * context.values)
    unblinded = decode_reveal(context.parameters, context.values, drawn + bytes(SCALAR_BYTES * count_rows(context)))
    return blind(context, context.keys[index], unblinded.values, randomness=_filled(f"blind {index}"))
