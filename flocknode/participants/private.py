"""Private rounds of an alliance (white paper VI.H): commit to the update, seal it to the aggregator, sum under a proof.

An update leaves this home as a commitment and as a sealed blob, whose key only the aggregator can open. What a step
draws at random is saved before it is sent, so that a step repeated after a crash sends the same bytes; all of it is
deleted once the round is over. Votes on the sum are in `consulting`.
"""

from collections.abc import Mapping
from pathlib import Path

from flocknode.errors import FlocknodeError
from flocknode.participants import alliance as clear
from flocknode.participants.alliance import StepClosed, checkpoint_file, keep_up, train_into
from flocknode.participants.alliance_models import bring, describe, list_updates, put_blob, scratch_files
from flocknode.participants.consulting import bring_consulted, judge_sum
from flocknode.participants.diary import Sealed
from flocknode.participants.hidden_files import hidden_file, note_updates
from flocknode.participants.kit import Kit
from flocknode.private_jobs import CheckReveals, HideUpdate, ProveSum, Revealed
from protocol.alliance_acts import Accusation, CommitUpdate, ProvenSum, PublishAggregate, RevealUpdate
from protocol.alliance_settings import MIN_PRIVATE_PROPOSERS
from protocol.blobs import BlobId
from protocol.crypto import open_sealed_key, seal_key
from protocol.errors import InvalidProof
from protocol.models import count_values
from protocol.rules.alliance import duties
from protocol.rules.alliance.commitments import (
    get_box,
    get_committed,
    is_private,
    make_round_context,
    weigh_clients,
)
from protocol.rules.alliance.records import Alliance, AlliancePhase, get_alliance, get_round
from protocol.sealed_pieces import KEY_BYTES, sealed_length
from protocol.types import Address
from protocol.zk.aggregation import Aggregation, make_statement
from protocol.zk.commitment import reveal_bytes
from protocol.zk.expansion import RANDOMNESS_BYTES
from protocol.zk.knowledge import CommittedUpdate
from protocol.zk.statement import RoundContext, sign_commitment, sign_product

OWN, UPDATE = "opening", "update"
STEPS: dict[type[duties.AllianceDuty], AlliancePhase] = {
    duties.CommitOwnUpdate: AlliancePhase.TRAIN,
    duties.RevealOwnUpdate: AlliancePhase.SEAL,
    duties.FetchUpdates: AlliancePhase.HOLD,
    duties.AggregateUpdates: AlliancePhase.AGGREGATE,
    duties.VoteOnUpdates: AlliancePhase.VOTE,
    duties.RevealOwnVote: AlliancePhase.REVEAL,
}


class OpeningMissing(FlocknodeError):
    """This node's account committed to an update that the home does not hold."""

    number = 150
    help = "Start the node on the home that committed."


def is_hidden(kit: Kit, duty: duties.AllianceDuty) -> bool:
    """Return whether a duty is about an alliance that hides its updates."""
    return is_private(get_alliance(kit.chain.view, duty.alliance))


async def perform(kit: Kit, duty: duties.AllianceDuty) -> None:
    """Do one duty; returns when its transaction is on the log. Raises what kept it from getting there."""
    alliance = get_alliance(kit.chain.view, duty.alliance)
    require_step(alliance, duty, STEPS)
    match duty:
        case duties.CommitOwnUpdate():
            await commit_update(kit, alliance)
        case duties.RevealOwnUpdate(aggregator=aggregator):
            await reveal_update(kit, alliance, aggregator)
        case duties.FetchUpdates():
            await clear.hold_updates(kit, alliance, longest=sealed_bytes(kit, alliance))
        case duties.AggregateUpdates():
            await publish_sum(kit, alliance)
        case duties.VoteOnUpdates():
            await clear.commit_vote(kit, alliance, judge_sum)
        case _:
            await clear.perform(kit, duty)


def require_step(
    alliance: Alliance, duty: duties.AllianceDuty, steps: Mapping[type[duties.AllianceDuty], AlliancePhase]
) -> None:
    """Return if the alliance is in the step that a duty is about; raises `StepClosed`."""
    if (alliance.round, alliance.phase) != (duty.round, steps[type(duty)]):
        raise StepClosed(f"round {duty.round + 1} of alliance {duty.alliance} has gone on")


def sealed_bytes(kit: Kit, alliance: Alliance) -> int:
    """Return how long the sealed blob of an update is."""
    values = count_values(alliance.spec.model)
    assert values is not None, "hidden updates of a model of unknown size"
    return sealed_length(reveal_bytes(kit.chain.params.alliance.zk, values))


# --- proposers -------------------------------------------------------------------------------------------------------


async def commit_update(kit: Kit, alliance: Alliance) -> None:
    """Train from the latest model on the own data, and commit to the result; as before, if it was begun before."""
    update = kit.diary.load_hidden(alliance.id, alliance.round)
    if update is None:
        update = await keep_up(kit, alliance, lambda: hide(kit, alliance))
        kit.diary.save_hidden(alliance.id, alliance.round, update)
        checkpoint_file(kit, alliance).unlink(missing_ok=True)
    await kit.sender.apply(CommitUpdate(alliance.id, alliance.round, update, None))
    kit.report(alliance, f"committed to its update in {len(update.commitment)} bytes, which nobody sees")


async def hide(kit: Kit, alliance: Alliance) -> CommittedUpdate:
    """Return a commitment to a trained update, whose opening lies in this home alone."""
    context = make_round_context(kit.chain.view, kit.chain.id, kit.chain.params, alliance)
    start = await bring_consulted(kit, alliance)
    trained = hidden_file(kit, alliance, UPDATE)
    try:
        await train_into(kit, alliance, start, trained)
        return await commit_to(kit, alliance, context, trained, hidden_file(kit, alliance, OWN))
    finally:
        trained.unlink(missing_ok=True)


async def commit_to(
    kit: Kit, alliance: Alliance, context: RoundContext, trained: Path, opening: Path
) -> CommittedUpdate:
    """Return a commitment to the update in a file, and write what opens it; both are others each time."""
    job = HideUpdate(
        context,
        kit.address,
        alliance.spec.model,
        str(trained),
        kit.randomness(RANDOMNESS_BYTES),
        kit.randomness(RANDOMNESS_BYTES),
        str(opening),
    )
    with kit.works.track("committing", describe(alliance), "updates") as advance:
        hidden = await kit.worker.run(job, lambda progress: advance(progress.done, progress.total))
    signature = sign_commitment(kit.account.seed, context, hidden.commitment)
    return CommittedUpdate(hidden.commitment, signature, hidden.knowledge)


async def reveal_update(kit: Kit, alliance: Alliance, aggregator: Address) -> None:
    """Seal the opening to the aggregator whose turn it is, and name the blob; the same blob each time."""
    opening = find_opening(alliance, hidden_file(kit, alliance, OWN))
    sealed = kit.diary.load_sealed(alliance.id, alliance.round, aggregator)
    if sealed is None:
        # One key for one file: an earlier aggregator's would open it as well. Saved first: after a crash the same key
        # makes the same blob again, so that none is left which nobody knows of.
        sealed = Sealed(None, kit.randomness(KEY_BYTES))
        kit.diary.save_sealed(alliance.id, alliance.round, aggregator, sealed)
    blob = sealed.blob
    if blob is None or not kit.blobs.has(blob):
        blob = await kit.seal_into_blob(opening, sealed.key)
        kit.diary.save_sealed(alliance.id, alliance.round, aggregator, Sealed(blob, sealed.key))
        note_updates(kit, alliance, [blob])
    box = seal_key(sealed.key, aggregator)
    await kit.sender.apply(RevealUpdate(alliance.id, alliance.round, aggregator, blob, box))
    kit.report(alliance, f"sealed its update {blob.root.hex()[:8]} to {kit.chain.name_of(aggregator)}")


def find_opening(alliance: Alliance, path: Path) -> Path:
    """Return the file that opens what this node committed to. Raises `OpeningMissing`."""
    if not path.is_file():
        raise OpeningMissing(f"the update of round {alliance.round + 1} of alliance {alliance.id} is not in this home")
    return path


# --- the aggregator --------------------------------------------------------------------------------------------------


async def publish_sum(kit: Kit, alliance: Alliance) -> None:
    """Open the frozen updates, add them up, and publish the sum with its proof; an earlier attempt's, if there is."""
    payload = kit.diary.load_sum(alliance.id, alliance.round)
    if payload is None or (payload.proven is not None and not kit.blobs.has(payload.proven.blob)):
        payload = await keep_up(kit, alliance, lambda: make_sum(kit, alliance))
        kit.diary.save_sum(alliance.id, alliance.round, payload)
    await kit.sender.apply(payload)
    made = "no sum" if payload.proven is None else f"the proven sum {payload.proven.blob.root.hex()[:8]}"
    kit.report(alliance, f"published {made}, {len(payload.accused)} accused")


async def make_sum(kit: Kit, alliance: Alliance) -> PublishAggregate:
    """Return the proven sum of all frozen updates that open their commitments, and who is accused.

    With too few to hide each other nothing is summed: no file of it is written either.
    """
    frozen = get_round(kit.chain.view, alliance.id, alliance.round).frozen
    opened = {client: hidden_file(kit, alliance, client.hex()) for client in frozen}
    # Read now, for the state lets go of it when the round closes.
    committed = list_committed(kit, alliance, frozen)
    keys = {client: open_box(kit, alliance, client) for client in frozen}
    try:
        accused: dict[Address, bytes | None] = {}
        updates = list_updates(kit, alliance, frozen)
        note_updates(kit, alliance, updates.values())
        for client, blob in updates.items():
            await bring(kit, blob)
            reason = await open_reveal(kit, blob, keys[client], opened[client])
            if reason:
                accuse(kit, alliance, accused, client, keys[client], reason)
        readable = [client for client in frozen if client not in accused]
        for client, reason in (await find_false(kit, alliance, committed, readable, opened)).items():
            accuse(kit, alliance, accused, client, keys[client], reason)
        clients = tuple(client for client in frozen if client not in accused)
        proven: ProvenSum | None = None
        if len(clients) >= MIN_PRIVATE_PROPOSERS:
            proven = await prove_sum(kit, alliance, {client: committed[client] for client in clients}, opened)
        accusations = tuple(Accusation(client, accused[client]) for client in sorted(accused))
        return PublishAggregate(alliance.id, alliance.round, proven, accusations)
    finally:
        for path in opened.values():
            path.unlink(missing_ok=True)


def list_committed(kit: Kit, alliance: Alliance, clients: tuple[Address, ...]) -> dict[Address, CommittedUpdate]:
    """Return what some proposers of the current round committed to."""
    found: dict[Address, CommittedUpdate] = {}
    for client in clients:
        committed = get_committed(kit.chain.view, alliance, client)
        assert committed is not None, "a frozen update without a commitment"
        assert committed.update is not None, "a round that is over"
        found[client] = committed.update
    return found


def open_box(kit: Kit, alliance: Alliance, client: Address) -> bytes | None:
    """Return the key of a proposer's sealed blob; None if the box does not open to one of which that can be shown."""
    box = get_box(kit.chain.view, alliance, client)
    assert box is not None, "a frozen update without a box"
    try:
        key = open_sealed_key(box.sealed, kit.account.seed)
    except InvalidProof:
        return None
    return key if len(key) == KEY_BYTES and seal_key(key, kit.address) == box.sealed else None


async def open_reveal(kit: Kit, blob: BlobId, key: bytes | None, target: Path) -> str:
    """Write a sealed blob in clear, for this account alone; returns why not, if it does not open."""
    if key is None:
        return "its box does not open"
    try:
        await kit.open_blob(blob, target, key)
    except InvalidProof as error:
        return error.message
    return ""


def accuse(
    kit: Kit, alliance: Alliance, accused: dict[Address, bytes | None], client: Address, key: bytes | None, reason: str
) -> None:
    """Leave a proposer out of the sum, with the key that shows why, and tell people."""
    accused[client] = key
    kit.report(alliance, f"accuses {kit.chain.name_of(client)}: {reason}")


async def find_false(
    kit: Kit,
    alliance: Alliance,
    committed: Mapping[Address, CommittedUpdate],
    clients: list[Address],
    opened: Mapping[Address, Path],
) -> dict[Address, str]:
    """Return those whose blob in clear does not open their commitment, and why."""
    values = count_values(alliance.spec.model)
    assert values is not None, "hidden updates of a model of unknown size"
    if not clients:
        return {}
    reveals = tuple(Revealed(committed[client].commitment, str(opened[client])) for client in clients)
    job = CheckReveals(kit.chain.params.alliance.zk, values, reveals, kit.randomness(RANDOMNESS_BYTES))
    return {clients[one.index]: one.reason for one in (await kit.worker.run(job)).refused}


async def prove_sum(
    kit: Kit,
    alliance: Alliance,
    committed: Mapping[Address, CommittedUpdate],
    opened: Mapping[Address, Path],
) -> ProvenSum:
    """Put the sum of the opened updates into the store, and return it with its proof."""
    view = kit.chain.view
    context = make_round_context(view, kit.chain.id, kit.chain.params, alliance)
    statement = make_statement(context, committed, weigh_clients(view, alliance, tuple(committed)))
    openings = tuple(str(opened[part.key]) for part in statement.contributions)
    with scratch_files(kit, alliance, "sum") as (output,):
        job = ProveSum(statement, openings, kit.randomness(RANDOMNESS_BYTES), str(output))
        with kit.works.track("proving", describe(alliance), "sums") as advance:
            proven = await kit.worker.run(job, lambda progress: advance(progress.done, progress.total))
        blob = await put_blob(kit, output)
    signature = sign_product(kit.account.seed, context, proven.product)
    return ProvenSum(blob, Aggregation(kit.address, proven.product, signature, proven.proof))
