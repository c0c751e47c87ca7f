"""Consulting a proven sum (white paper VI.H, "Blockchain Consultation Phase").

Voters do so before they score the model that it gives, the next round's proposers before they train on that. The sum is
the one on the log, or there is no model: nobody's word stands for it.
"""

from collections.abc import Mapping
from pathlib import Path

import trio

from flocknode.alliance_log import find_commitments, find_publication
from flocknode.errors import FlocknodeError
from flocknode.participants.alliance import load_split
from flocknode.participants.alliance_models import (
    bring,
    bring_model,
    describe,
    list_updates,
    put_blob,
    score,
    scratch_files,
)
from flocknode.participants.diary import CastVote
from flocknode.participants.hidden_files import hidden_file
from flocknode.participants.kit import Kit
from flocknode.participants.validator import SALT_BYTES
from flocknode.private_jobs import CheckReveals, ConsultSum, Revealed
from flocknode.worker import JobFailed
from protocol.alliance_acts import PublishAggregate
from protocol.blobs import BlobId
from protocol.errors import InvalidProof
from protocol.rules.alliance.commitments import (
    Published,
    PublishedSum,
    get_committed,
    get_published,
    is_masked,
    make_round_context,
)
from protocol.rules.alliance.past import get_result, rewind
from protocol.rules.alliance.records import Alliance
from protocol.types import Address
from protocol.zk.aggregation import compute_product, make_statement
from protocol.zk.commitment import Commitment, aggregate_bytes
from protocol.zk.expansion import RANDOMNESS_BYTES

# The part of what is left of the voting phase after which a sum that nobody delivers counts as withheld.
FETCH_SHARE = 0.5


class SumUnproven(FlocknodeError):
    """A published sum is not what the log vouches for."""

    number = 152


async def bring_consulted(kit: Kit, alliance: Alliance) -> Path:
    """Return the file of the model that the round begins with, made here of the sum that the log vouches for.

    Waits until a peer delivers what it takes. Raises `SumUnproven` when the accepted model is not that of the sum.
    """
    latest = alliance.latest
    if latest is None:
        return await bring_model(kit, alliance, None)
    view = kit.chain.view
    then, result = rewind(view, alliance, latest.round), get_result(view, alliance.id, latest.round)
    assert result is not None, "a model of a round that is not over"
    made = await derive(kit, then, await bring(kit, require_sum(kit, then).blob), newest=result.settled_height)
    if made != latest.model:
        raise SumUnproven(f"the voters accepted another model in round {latest.round + 1} than the proven sum gives")
    return kit.blobs.path(made)


async def judge_sum(kit: Kit, alliance: Alliance) -> CastVote:
    """Return the own scores of the best accepted model and of that which the published sum gives (VI.E).

    A sum that cannot be had, is not the proven one, or leaves an honest proposer out has neither score nor name: its
    only score is None. Where there is no sum, true accusations have no score at all.
    """
    split = load_split(kit, alliance)
    accused = list_commitments(kit, alliance, require_published(kit, alliance).liars)
    made: BlobId | None = None
    unscored: tuple[None, ...] = ()
    try:
        made = await derive_checked(kit, alliance, accused)
    except SumUnproven as error:
        kit.report(alliance, f"refuses what was published: {error.message}")
        unscored = (None,)
    best = await bring_model(kit, alliance, alliance.best)
    own, *scores = await score(kit, alliance, split.test, [best] if made is None else [best, kit.blobs.path(made)])
    if own is None:
        raise JobFailed("the best accepted model does not run on the own test rows")
    return CastVote(kit.randomness(SALT_BYTES), own, tuple(scores) or unscored, made)


def require_published(kit: Kit, alliance: Alliance) -> Published:
    """Return what was published in the alliance's round, where something was."""
    published = get_published(kit.chain.view, alliance)
    assert published is not None, "a vote about nothing"
    return published


def require_sum(kit: Kit, alliance: Alliance) -> PublishedSum:
    """Return the proven sum of the alliance's round, which has one."""
    proven = require_published(kit, alliance).proven
    assert proven is not None, "a model without a sum"
    return proven


def list_commitments(kit: Kit, alliance: Alliance, clients: tuple[Address, ...]) -> dict[Address, Commitment]:
    """Return the commitments of some proposers of the current round."""
    found: dict[Address, Commitment] = {}
    for client in clients:
        committed = get_committed(kit.chain.view, alliance, client)
        assert committed is not None, "an accused that committed to nothing"
        assert committed.update is not None, "a round that is over"
        found[client] = committed.update.commitment
    return found


async def derive_checked(kit: Kit, alliance: Alliance, accused: Mapping[Address, Commitment]) -> BlobId | None:
    """Return the model of the round's published sum, None where there is no sum.

    Raises `SumUnproven` when that or an accusation is false, also when the sum does not come in time.
    """
    published, newest = require_published(kit, alliance), kit.chain.head.height
    sealed = list_updates(kit, alliance, published.liars)
    assert alliance.deadline_ms is not None, "a phase in which voters act has a deadline"
    limit_s = max(0.0, (alliance.deadline_ms - kit.chain.head.time_ms) / 1_000 * FETCH_SHARE)
    sum_file: Path | None = None
    with trio.move_on_after(limit_s):
        if published.proven is not None:
            sum_file = await bring_sum(kit, alliance, published.proven.blob)
        for blob in sealed.values():
            await bring(kit, blob)
    if published.proven is not None and sum_file is None:
        raise SumUnproven("nobody delivers it")
    accusations = (await find(kit, alliance, newest)).accused if published.liars else ()
    for accusation in accusations:
        # Who holds the blob judges; 2/3 of the voters do.
        if accusation.key is not None and kit.blobs.has(sealed[accusation.client]):
            blob, commitment = sealed[accusation.client], accused[accusation.client]
            if not await is_false(kit, alliance, blob, accusation.key, commitment):
                name = kit.chain.name_of(accusation.client)
                raise SumUnproven(f"it leaves out {name}, whose update opens the commitment")
    return None if sum_file is None else await derive(kit, alliance, sum_file, newest=newest)


async def bring_sum(kit: Kit, alliance: Alliance, blob: BlobId) -> Path:
    """Return the file of a published sum; waits for it. Raises `SumUnproven` if it cannot be one by its length."""
    expected = aggregate_bytes(kit.chain.params.alliance.zk, context_values(kit, alliance))
    if blob.length != expected:
        raise SumUnproven(f"it has {blob.length} bytes, {expected} are needed")
    return await bring(kit, blob)


def context_values(kit: Kit, alliance: Alliance) -> int:
    """Return how many numbers an update has."""
    return make_round_context(kit.chain.view, kit.chain.id, kit.chain.params, alliance).values


async def find(kit: Kit, alliance: Alliance, newest: int) -> PublishAggregate:
    """Return the published sum of the alliance's round, as it stands in the blocks."""
    round = alliance.round
    return await trio.to_thread.run_sync(lambda: find_publication(kit.chain, alliance, round, newest=newest))


async def find_product(kit: Kit, alliance: Alliance, summed: PublishedSum, newest: int) -> Commitment:
    """Return Enc(w) of the round's sum: what was proven about, or where no proof is needed what commitments come to."""
    if not is_masked(alliance):
        proven = (await find(kit, alliance, newest)).proven
        assert proven is not None, "a sum in the state that is not on the log"
        return proven.aggregation.product
    view, chain = kit.chain.view, kit.chain
    context = make_round_context(view, chain.id, chain.params, alliance)
    weights = summed.weighed()

    def multiply() -> Commitment:
        updates = find_commitments(chain, alliance, alliance.round, weights, newest=newest)
        return compute_product(make_statement(context, updates, weights))

    return await trio.to_thread.run_sync(multiply)


async def is_false(kit: Kit, alliance: Alliance, blob: BlobId, key: bytes, commitment: Commitment) -> bool:
    """Return whether a sealed blob, opened with a key, does not open a commitment."""
    target = hidden_file(kit, alliance, "accused")
    try:
        await kit.open_blob(blob, target, key)
        job = CheckReveals(
            kit.chain.params.alliance.zk,
            context_values(kit, alliance),
            (Revealed(commitment, str(target)),),
            kit.randomness(RANDOMNESS_BYTES),
        )
        return bool((await kit.worker.run(job)).refused)
    except InvalidProof:
        return True
    finally:
        target.unlink(missing_ok=True)


async def derive(kit: Kit, alliance: Alliance, sum_file: Path, *, newest: int) -> BlobId:
    """Return the model, in the store, of the published sum of the alliance's round. Raises `SumUnproven`."""
    view, proven = kit.chain.view, require_sum(kit, alliance)
    product = await find_product(kit, alliance, proven, newest)
    with scratch_files(kit, alliance, "derived") as (output,):
        job = ConsultSum(
            make_round_context(view, kit.chain.id, kit.chain.params, alliance),
            alliance.spec.model,
            proven.digest,
            proven.weights,
            product,
            str(sum_file),
            kit.randomness(RANDOMNESS_BYTES),
            str(output),
        )
        with kit.works.track("consulting", describe(alliance), "sums") as advance:
            consulted = await kit.worker.run(job, lambda progress: advance(progress.done, progress.total))
        if consulted.refusal is not None:
            raise SumUnproven(consulted.refusal)
        return await put_blob(kit, output)
