"""Masked rounds of an alliance (zk.md "Masked mode"): nobody but its owner sees an update, only the sum of all of them.

A vector leaves this home behind the masks of all pairs. If somebody's is missing, the round is run again: what was
trained stays, all else is fresh, for a second vector behind the same masks would show what the first one hides. So
what an attempt draws at random is saved under its number. Vectors and sums are worked out alike each time.
"""

from collections.abc import Mapping
from pathlib import Path

import trio

from flocknode.masked_jobs import AddMasked, BaredVector, FindLiars, MaskedAdded, MaskUpdate, SharedSeed
from flocknode.participants import alliance as clear
from flocknode.participants.alliance import keep_up
from flocknode.participants.alliance_models import describe, list_updates, put_blob, scratch_files
from flocknode.participants.consulting import bring_consulted, judge_sum
from flocknode.participants.diary import MaskedUpdate
from flocknode.participants.hidden_files import hidden_file, note_updates
from flocknode.participants.kit import Kit
from flocknode.participants.private import (
    STEPS,
    UPDATE,
    OpeningMissing,
    commit_to,
    find_opening,
    list_committed,
    require_step,
)
from flocknode.worker import JobFailed
from protocol.alliance_acts import (
    AccuseMasked,
    CommitUpdate,
    DisputeMasked,
    JudgeSum,
    OpenMask,
    PublishMasked,
    ShareMasked,
)
from protocol.rules.alliance import commitments, duties
from protocol.rules.alliance.commitments import make_round_context, make_round_statement, weigh_clients
from protocol.rules.alliance.masks import (
    derive_check,
    find_unopened,
    get_mask_keys,
    list_clients,
    recover_seeds,
    vector_bytes,
)
from protocol.rules.alliance.records import Alliance, AlliancePhase, get_alliance, get_round
from protocol.types import Address
from protocol.zk.expansion import RANDOMNESS_BYTES
from protocol.zk.mask_keys import derive_seeds, mask_public_key
from protocol.zk.statement import context_digest

SECRET_BYTES = 32
MASKED_STEPS = STEPS | {
    duties.ShareOwnMasked: AlliancePhase.SEAL,
    duties.JudgeOwnSum: AlliancePhase.DISPUTE,
    duties.OpenOwnMask: AlliancePhase.UNMASK,
    duties.AccuseOwnLiars: AlliancePhase.VERDICT,
}


def is_masked(kit: Kit, duty: duties.AllianceDuty) -> bool:
    """Return whether a duty is about an alliance that masks its updates."""
    return commitments.is_masked(get_alliance(kit.chain.view, duty.alliance))


async def perform(kit: Kit, duty: duties.AllianceDuty) -> None:
    """Do one duty; returns when its transaction is on the log. Raises what kept it from getting there."""
    alliance = get_alliance(kit.chain.view, duty.alliance)
    require_step(alliance, duty, MASKED_STEPS)
    match duty:
        case duties.CommitOwnUpdate():
            await commit_update(kit, alliance)
        case duties.ShareOwnMasked():
            await share_update(kit, alliance)
        case duties.FetchUpdates():
            await clear.hold_updates(kit, alliance, longest=vector_bytes(kit.chain.params, alliance))
        case duties.AggregateUpdates():
            await publish_sum(kit, alliance)
        case duties.VoteOnUpdates():
            await clear.commit_vote(kit, alliance, judge_sum)
        case duties.JudgeOwnSum():
            await judge_dispute(kit, alliance)
        case duties.OpenOwnMask():
            await open_mask(kit, alliance)
        case duties.AccuseOwnLiars():
            await accuse_liars(kit, alliance)
        case _:
            await clear.perform(kit, duty)


def get_attempt(kit: Kit, alliance: Alliance) -> int:
    """Return the number of the current attempt at the alliance's round."""
    return get_round(kit.chain.view, alliance.id, alliance.round).attempt()


# --- clients ---------------------------------------------------------------------------------------------------------


async def commit_update(kit: Kit, alliance: Alliance) -> None:
    """Commit to the update of the round, trained once, with a mask key of this attempt alone; as begun before."""
    attempt = get_attempt(kit, alliance)
    made = kit.diary.load_masked(alliance.id, alliance.round, attempt)
    if made is None:
        made = await keep_up(kit, alliance, lambda: hide(kit, alliance, attempt))
        kit.diary.save_masked(alliance.id, alliance.round, attempt, made)
        clear.checkpoint_file(kit, alliance).unlink(missing_ok=True)
    key = mask_public_key(made.secret)
    await kit.sender.apply(CommitUpdate(alliance.id, alliance.round, made.update, key))
    again = f", attempt {attempt + 1}" if attempt else ""
    kit.report(alliance, f"committed to its update in {len(made.update.commitment)} bytes, which nobody sees{again}")


async def hide(kit: Kit, alliance: Alliance, attempt: int) -> MaskedUpdate:
    """Return a commitment to the round's update, whose opening lies in this home alone, and the secret of its masks."""
    # Before anything is awaited: these are of one attempt.
    context = make_round_context(kit.chain.view, kit.chain.id, kit.chain.params, alliance)
    trained = hidden_file(kit, alliance, UPDATE)
    if not trained.is_file():
        await clear.train_into(kit, alliance, await bring_consulted(kit, alliance), trained)
    try:
        update = await commit_to(kit, alliance, context, trained, opening_file(kit, alliance, attempt))
    except JobFailed:
        # It may be what a power cut left; the next try trains anew.
        trained.unlink(missing_ok=True)
        raise
    return MaskedUpdate(update, kit.randomness(SECRET_BYTES))


def opening_file(kit: Kit, alliance: Alliance, attempt: int) -> Path:
    """Return where the opening of an attempt's commitment lies."""
    return hidden_file(kit, alliance, f"{attempt}-opening")


def load_own(kit: Kit, alliance: Alliance, attempt: int) -> MaskedUpdate:
    """Return what this node committed to in an attempt. Raises `OpeningMissing`."""
    made = kit.diary.load_masked(alliance.id, alliance.round, attempt)
    if made is None:
        raise OpeningMissing(f"the mask of round {alliance.round + 1} of alliance {alliance.id} is not in this home")
    return made


async def share_update(kit: Kit, alliance: Alliance) -> None:
    """Mask the update with what this client shares with every other one, and name the blob."""
    view, attempt = kit.chain.view, get_attempt(kit, alliance)
    own, opening = load_own(kit, alliance, attempt), find_opening(alliance, opening_file(kit, alliance, attempt))
    keys, parameters = get_mask_keys(view, alliance), kit.chain.params.alliance.zk
    context = make_round_context(view, kit.chain.id, kit.chain.params, alliance)
    peers = {client: key for client, key in keys.items() if client != kit.address}
    seeds = derive_seeds(own.secret, client=kit.address, peers=peers, context=context_digest(context))
    weight = weigh_clients(view, alliance, tuple(keys))[kit.address]
    with scratch_files(kit, alliance, "masked") as (output,):
        where = (str(opening), list_seeds(seeds), str(output))
        await kit.worker.run(MaskUpdate(parameters, context.values, kit.address, weight, *where))
        blob = await put_blob(kit, output)
    note_updates(kit, alliance, [blob])
    await kit.sender.apply(ShareMasked(alliance.id, alliance.round, blob))
    kit.report(alliance, f"shared its update {blob.root.hex()[:8]} behind {len(seeds)} masks")


async def open_mask(kit: Kit, alliance: Alliance) -> None:
    """Show the secret of the attempt, and of no other: 2/3 of the voters found that somebody lied."""
    own = load_own(kit, alliance, get_attempt(kit, alliance))
    await kit.sender.apply(OpenMask(alliance.id, alliance.round, own.secret))
    kit.report(alliance, "opened its mask, so that all see who lied")


# --- the aggregator, and voters of a disputed sum --------------------------------------------------------------------


async def publish_sum(kit: Kit, alliance: Alliance) -> None:
    """Add up all vectors, and publish the sum; or dispute it if it does not open Enc(w)."""
    payload = await keep_up(kit, alliance, lambda: make_sum(kit, alliance))
    await kit.sender.apply(payload)
    if isinstance(payload, PublishMasked):
        kit.report(alliance, f"published the sum {payload.blob.root.hex()[:8]}, which opens Enc(w)")


async def make_sum(kit: Kit, alliance: Alliance) -> PublishMasked | DisputeMasked:
    """Return what all vectors come to."""
    with scratch_files(kit, alliance, "sum") as (output,):
        added = await add_vectors(kit, alliance, output)
        if added.refusal is not None:
            kit.report(alliance, f"disputes the sum: {added.refusal}")
            return DisputeMasked(alliance.id, alliance.round)
        return PublishMasked(alliance.id, alliance.round, await put_blob(kit, output))


async def judge_dispute(kit: Kit, alliance: Alliance) -> None:
    """Add up all vectors, and say whether the sum opens Enc(w): nobody's word stands for it."""
    with scratch_files(kit, alliance, "disputed") as (output,):
        added = await keep_up(kit, alliance, lambda: add_vectors(kit, alliance, output))
    await kit.sender.apply(JudgeSum(alliance.id, alliance.round, added.refusal is None))
    found = "finds that the sum opens Enc(w)" if added.refusal is None else f"finds no sum either: {added.refusal}"
    kit.report(alliance, found)


async def add_vectors(kit: Kit, alliance: Alliance, output: Path) -> MaskedAdded:
    """Write the sum of all vectors, or return why it is none. Waits for vectors that are not here."""
    view, frozen = kit.chain.view, get_round(kit.chain.view, alliance.id, alliance.round).frozen
    statement = make_round_statement(view, kit.chain.id, kit.chain.params, alliance, frozen)
    note_updates(kit, alliance, list_updates(kit, alliance, frozen).values())
    paths = await clear.bring_updates(kit, alliance, tuple(part.key for part in statement.contributions))
    job = AddMasked(statement, tuple(map(str, paths)), kit.randomness(RANDOMNESS_BYTES), str(output))
    with kit.works.track("adding", describe(alliance), "vectors") as advance:
        return await kit.worker.run(job, lambda progress: advance(progress.done, progress.total))


async def accuse_liars(kit: Kit, alliance: Alliance) -> None:
    """Take the masks off all vectors, and name those that contradict their commitments."""
    liars = await keep_up(kit, alliance, lambda: find_liars(kit, alliance))
    for liar, reason in liars.items():
        kit.report(alliance, f"accuses {kit.chain.name_of(liar)}: {reason}")
    await kit.sender.apply(AccuseMasked(alliance.id, alliance.round, tuple(sorted(liars))))


async def find_liars(kit: Kit, alliance: Alliance) -> dict[Address, str]:
    """Return who lied, and how. Of several whose masks stayed closed nobody can be checked, so all of them lied."""
    view, clients = kit.chain.view, list_clients(kit.chain.view, alliance)
    unopened = find_unopened(view, alliance)
    silent = unopened if len(unopened) > 1 else ()
    opened = tuple(client for client in clients if client not in silent)
    # Read now, for the state lets go of it when the round closes.
    committed, weights = list_committed(kit, alliance, opened), weigh_clients(view, alliance, clients)
    context = make_round_context(view, kit.chain.id, kit.chain.params, alliance)
    randomness = derive_check(view, kit.chain.id, kit.chain.params, alliance)
    seeds = await trio.to_thread.run_sync(lambda: recover_all(kit, alliance, opened))
    paths = await clear.bring_updates(kit, alliance, opened)
    vectors = tuple(
        BaredVector(client, committed[client].commitment, weights[client], str(path), seeds[client])
        for client, path in zip(opened, paths, strict=True)
    )
    job = FindLiars(context.parameters, context.values, vectors, randomness)
    with kit.works.track("unmasking", describe(alliance), "vectors") as advance:
        found = await kit.worker.run(job, lambda progress: advance(progress.done, progress.total))
    return dict.fromkeys(silent, "its mask stayed closed") | {opened[one.index]: one.reason for one in found.refused}


def recover_all(kit: Kit, alliance: Alliance, clients: tuple[Address, ...]) -> dict[Address, tuple[SharedSeed, ...]]:
    """Return the seeds that some clients shared with all others, from the secrets on the log."""
    view, chain, params = kit.chain.view, kit.chain.id, kit.chain.params
    return {client: list_seeds(recover_seeds(view, chain, params, alliance, client)) for client in clients}


def list_seeds(seeds: Mapping[bytes, bytes]) -> tuple[SharedSeed, ...]:
    """Return seeds as a job takes them."""
    return tuple(SharedSeed(peer, seed) for peer, seed in seeds.items())
