"""Creating a task, joining it, attesting its data, leaving it (white paper V.A, V.B)."""

from msgspec.structs import replace

from protocol import vrf
from protocol.blinding import join_alpha
from protocol.crypto import integer_bytes
from protocol.errors import AlreadyDone, NotEligible, OutOfBounds, WrongPhase
from protocol.models import SCORE_ONE
from protocol.params import check_phases
from protocol.rules import charges, purses
from protocol.rules.arena import funding, seats, sources, vaults
from protocol.rules.arena.records import (
    ACTIVE,
    CLOSED_PHASES,
    COUNTER,
    CREATED,
    MEMBERS,
    Member,
    Phase,
    Task,
    add_member,
    attest_member,
    delete_member,
    get_counter,
    get_member,
    get_places,
    get_task,
    is_key_taken,
    put_member,
    put_task,
)
from protocol.rules.context import Context
from protocol.rules.jobs import Mark
from protocol.rules.standing import check_creator
from protocol.state import Overlay
from protocol.transactions import Attest, CancelTask, CreateTask, Join, Leave, Role


def create_task(state: Overlay, context: Context, sender: bytes, payload: CreateTask) -> None:
    """Open a task for joining. Its id is the next number."""
    params, balance = context.params, purses.balance_of(sender)
    check_creator(state, context, sender, payload.stake)
    check_task_bounds(context, payload)
    counter = get_counter(state)
    task = Task(
        id=counter.created + 1,
        creator=sender,
        spec=payload.spec,
        funding=funding.get_first_funding(state, context, payload),
        has_submissions=False,
        phase=Phase.OPENING,
        epoch=0,
        phase_height=context.height,
        deadline_ms=context.time_ms + params.opening_phase_ms,
        block_proposers=(),
        published=(None, None),
    )
    charges.pay_registration(state, params, sender)
    purses.move(state, balance, purses.stake_of(task.id, sender), payload.stake)
    purses.move(state, balance, purses.deposit_of(task.id, sender), params.creator_deposit_units)
    funding.give(state, task, sender, payload.escrow)
    sources.note_gift(state, task.id, escrow=payload.escrow)
    COUNTER.put(state, replace(counter, created=task.id))
    ACTIVE.put(state, Mark(), integer_bytes(task.id))
    CREATED.put(state, Mark(), sender, integer_bytes(task.id))
    put_task(state, task)


def check_task_bounds(context: Context, payload: CreateTask) -> None:
    """Return if datasets, epochs and phases keep within the chain's bounds; raises `OutOfBounds`."""
    check_phases(payload.spec.settings, context.params)
    if not context.params.min_epochs <= payload.spec.epochs <= context.params.max_epochs:
        raise OutOfBounds(
            f"a task has {context.params.min_epochs} to {context.params.max_epochs} epochs; the last decides on B",
            have=payload.spec.epochs,
        )
    if payload.spec.needs.evaluation_ms > payload.spec.settings.score_phase_ms:
        raise OutOfBounds("an evaluation takes longer than scoring lasts", have=payload.spec.needs.evaluation_ms)
    for dataset in (payload.spec.dataset_a, payload.spec.dataset_b):
        if dataset.baseline + context.params.min_improvement_millionths > SCORE_ONE:
            raise OutOfBounds("no model could beat this baseline: is every target the same?", have=dataset.baseline)
        if not 0 < dataset.blob.length <= context.params.max_blob_bytes:
            raise OutOfBounds("a dataset blob's length leaves the bounds", have=dataset.blob.length)


def join(state: Overlay, context: Context, sender: bytes, payload: Join) -> None:
    """Take a role with a stake; a trainer also deposits for its seat."""
    task = get_task(state, payload.task)
    if task.phase in CLOSED_PHASES:
        raise WrongPhase(f"task {task.id} is over")
    if sender == task.creator:
        raise NotEligible("the creator holds no other role in its own task")
    if get_member(state, task.id, sender) is not None:
        raise AlreadyDone("the account has a role in this task")
    if vaults.count_operators(state, task.id, sender):
        raise NotEligible("an account that delegates in a task takes no role in it")
    check_stake(context, payload)
    check_room(state, context, payload)
    check_resources(task, payload)
    if is_key_taken(state, task.id, payload.vrf_key):
        raise AlreadyDone("the VRF key is taken in this task")
    vrf.verify(payload.vrf_key, alpha=join_alpha(context.chain, task.id, sender), ad=b"", proof=payload.vrf_proof)
    balance = purses.balance_of(sender)
    purses.move(state, balance, purses.stake_of(task.id, sender), payload.stake)
    if payload.role is Role.TRAINER:
        purses.move(state, balance, purses.deposit_of(task.id, sender), context.params.seat_deposit_units)
    add_member(state, task.id, sender, payload.role, payload.vrf_key)


def check_resources(task: Task, payload: Join) -> None:
    """Return if a validator declares what judging the task takes, for no other is drawn; raises `NotEligible`."""
    needs = task.spec.needs
    if payload.role is Role.VALIDATOR and not payload.resources.suffice_for(needs):
        raise NotEligible(
            f"validators of task {task.id} need {needs.memory_mib} MiB of memory "
            f"and {needs.evaluation_ms} ms of time to judge an epoch",
            have=payload.resources.memory_mib,
            need=needs.memory_mib,
        )


def check_stake(context: Context, payload: Join) -> None:
    """Return if the stake reaches the role's minimum; raises `NotEligible`."""
    need = get_min_stake(context, payload.role)
    if payload.stake < need:
        raise NotEligible(f"a {payload.role.name.lower()} stakes at least {need} units", have=payload.stake, need=need)


def check_room(state: Overlay, context: Context, payload: Join) -> None:
    """Return if the role has a place left in the task; raises `NotEligible`."""
    places = get_places(state, payload.task)
    if payload.role is Role.TRAINER:
        taken, room = places.trainers, context.params.max_trainer_members
    else:
        taken, room = places.validators, context.params.max_validators
    if taken >= room:
        raise NotEligible(f"all {room} places for a {payload.role.name.lower()} are taken", have=room)


def get_min_stake(context: Context, role: Role) -> int:
    """Return the least stake, in units, that an account may hold a role with."""
    if role is Role.TRAINER:
        return context.params.min_stake_trainer_units
    return context.params.min_stake_validator_units


def attest(state: Overlay, context: Context, sender: bytes, payload: Attest) -> None:
    """Count a validator as holding both encrypted datasets."""
    member = get_member(state, get_task(state, payload.task).id, sender)
    if member is None or member.role is not Role.VALIDATOR:
        raise NotEligible("only validators of the task attest its datasets")
    if member.is_attested:
        raise AlreadyDone("the account has attested")
    attest_member(state, payload.task, sender, member)


def leave(state: Overlay, context: Context, sender: bytes, payload: Leave) -> None:
    """Give up a role: at once while the task opens, otherwise marked to act when the epoch settles."""
    task = get_task(state, payload.task)
    member = get_member(state, task.id, sender)
    if member is None:
        raise NotEligible("the account has no role in this task")
    if task.phase in CLOSED_PHASES:
        raise WrongPhase(f"task {task.id} is over and its stakes were returned")
    if task.phase is Phase.OPENING:
        remove_member(state, context, task, sender, member)
    elif member.is_leaving:
        raise AlreadyDone("the account is leaving")
    else:
        put_member(state, task.id, sender, replace(member, is_leaving=True))


def remove_member(state: Overlay, context: Context, task: Task, address: bytes, member: Member) -> None:
    """End a role before the task ends."""
    release_bonds(state, context, task, address)
    vaults.unbond_vault(state, context, task, address)
    delete_member(state, task.id, address, member)


def release_bonds(state: Overlay, context: Context, task: Task, address: bytes) -> None:
    """Free what an account bonded to a task: the stake unbonds, a deposit returns."""
    stake = purses.get_units(state, purses.stake_of(task.id, address))
    vaults.unbond(state, context, task, address, purses.stake_of(task.id, address), address, stake)
    purses.move_all(state, purses.deposit_of(task.id, address), purses.balance_of(address))


def cancel_task(state: Overlay, context: Context, sender: bytes, payload: CancelTask) -> None:
    """Call a task off before anything was entered."""
    task = get_task(state, payload.task)
    if sender != task.creator:
        raise NotEligible("only the creator cancels a task")
    if task.phase in CLOSED_PHASES:
        raise WrongPhase(f"task {task.id} is over")
    if task.has_submissions:
        raise WrongPhase("models were entered for this task: it cannot be cancelled any more")
    end_unworked(state, task, Phase.CANCELLED)


def end_unworked(state: Overlay, task: Task, phase: Phase) -> None:
    """End a task that expired or was cancelled: everything but the registration fee goes back at once."""
    members = [address for address, _ in MEMBERS.scan(state, integer_bytes(task.id))]
    for address in [*members, task.creator]:
        purses.move_all(state, purses.stake_of(task.id, address), purses.balance_of(address))
        purses.move_all(state, purses.deposit_of(task.id, address), purses.balance_of(address))
    vaults.return_vaults(state, task.id)
    funding.close_funds(state, task)
    ACTIVE.delete(state, integer_bytes(task.id))
    seats.drop_queue(state, task.id)
    CREATED.delete(state, task.creator, integer_bytes(task.id))
    put_task(state, replace(task, phase=phase, deadline_ms=None))
