"""Creating a task, joining it, attesting its data, leaving it (white paper V.A, V.B)."""

from msgspec.structs import replace

from protocol import vrf
from protocol.blinding import dataset_key_hash, join_alpha
from protocol.crypto import integer_bytes
from protocol.errors import AlreadyDone, NotEligible, OutOfBounds, WrongPhase
from protocol.formulas import fees
from protocol.params import check_phases
from protocol.rules import purses
from protocol.rules.arena.records import (
    ACTIVE,
    COUNTER,
    CREATED,
    MEMBERS,
    Counter,
    Mark,
    Member,
    Phase,
    Task,
    add_member,
    attest_member,
    delete_member,
    get_member,
    get_places,
    get_task,
    is_key_taken,
    put_member,
    put_task,
)
from protocol.rules.context import Context
from protocol.state import Overlay
from protocol.transactions import Attest, CreateTask, DatasetName, Join, Leave, PublishKey, Role

CLOSED_PHASES = (Phase.FINISHED, Phase.EXPIRED)


def create_task(state: Overlay, context: Context, sender: bytes, payload: CreateTask) -> None:
    """Open a task for joining. Its id is the next number."""
    params, balance = context.params, purses.balance_of(sender)
    if payload.stake < params.min_stake_creator_units:
        raise NotEligible(
            "a creator stakes at least the minimum", have=payload.stake, need=params.min_stake_creator_units
        )
    check_task_bounds(context, payload)
    counter = COUNTER.get(state) or Counter(tasks=0)
    task = Task(
        id=counter.tasks + 1,
        creator=sender,
        spec=payload.spec,
        phase=Phase.OPENING,
        epoch=0,
        phase_height=context.height,
        deadline_ms=context.time_ms + params.opening_phase_ms,
        proposers=(),
        published=(None, None),
    )
    burned, kept = fees.split_fee(params.registration_fee_units, burn_millionths=params.registration_burn_millionths)
    purses.burn(state, balance, burned)
    purses.move(state, balance, purses.TREASURY, kept)
    purses.move(state, balance, purses.stake_of(task.id, sender), payload.stake)
    purses.move(state, balance, purses.deposit_of(task.id, sender), params.creator_deposit_units)
    purses.move(state, balance, purses.pot_of(task.id), payload.escrow)
    COUNTER.put(state, Counter(tasks=task.id))
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
    for dataset in (payload.spec.dataset_a, payload.spec.dataset_b):
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
    check_stake(context, payload)
    check_room(state, context, payload)
    if is_key_taken(state, task.id, payload.vrf_key):
        raise AlreadyDone("the VRF key is taken in this task")
    vrf.verify(payload.vrf_key, alpha=join_alpha(context.chain, task.id, sender), ad=b"", proof=payload.vrf_proof)
    balance = purses.balance_of(sender)
    purses.move(state, balance, purses.stake_of(task.id, sender), payload.stake)
    if payload.role is Role.TRAINER:
        purses.move(state, balance, purses.deposit_of(task.id, sender), context.params.seat_deposit_units)
    add_member(state, task.id, sender, payload.role, payload.vrf_key)


def check_stake(context: Context, payload: Join) -> None:
    """Return if the stake reaches the role's minimum; raises `NotEligible`."""
    need = get_min_stake(context, payload.role)
    if payload.stake < need:
        raise NotEligible(f"a {payload.role.name.lower()} stakes at least {need} units", have=payload.stake, need=need)


def check_room(state: Overlay, context: Context, payload: Join) -> None:
    """Return if the role has a place left in the task; raises `NotEligible`."""
    places = get_places(state, payload.task)
    if payload.role is Role.TRAINER:
        taken, room = places.trainers, context.params.max_trainers
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
        remove_member(state, context, task.id, sender, member)
    elif member.is_leaving:
        raise AlreadyDone("the account is leaving")
    else:
        put_member(state, task.id, sender, replace(member, is_leaving=True))


def remove_member(state: Overlay, context: Context, task: int, address: bytes, member: Member) -> None:
    """End a role before the task ends."""
    release_bonds(state, context, task, address)
    delete_member(state, task, address, member)


def release_bonds(state: Overlay, context: Context, task: int, address: bytes) -> None:
    """Free what an account bonded to a task: the stake unbonds, a deposit returns."""
    unbond_stake(state, context, task, address)
    purses.move_all(state, purses.deposit_of(task, address), purses.balance_of(address))


def unbond_stake(state: Overlay, context: Context, task: int, address: bytes) -> None:
    """Start the unbonding period of an account's stake in a task."""
    release_ms = context.time_ms + context.params.unbonding_ms
    purses.move_all(state, purses.stake_of(task, address), purses.unbonding_of(release_ms, address))


def expire_task(state: Overlay, context: Context, task: Task) -> None:
    """End a task that nobody came to: everything but the registration fee goes back at once."""
    members = [address for address, _ in MEMBERS.scan(state, integer_bytes(task.id))]
    for address in [*members, task.creator]:
        purses.move_all(state, purses.stake_of(task.id, address), purses.balance_of(address))
        purses.move_all(state, purses.deposit_of(task.id, address), purses.balance_of(address))
    purses.move_all(state, purses.pot_of(task.id), purses.balance_of(task.creator))
    ACTIVE.delete(state, integer_bytes(task.id))
    CREATED.delete(state, task.creator, integer_bytes(task.id))
    put_task(state, replace(task, phase=Phase.EXPIRED, deadline_ms=None))


def publish_key(state: Overlay, context: Context, sender: bytes, payload: PublishKey) -> None:
    """Publish a dataset's key after the task. With both out, the creator's deposit and stake are free."""
    task = get_task(state, payload.task)
    if sender != task.creator:
        raise NotEligible("only the creator publishes a task's keys")
    if task.phase is not Phase.FINISHED:
        raise WrongPhase("the keys are published after the last epoch")
    index = 0 if payload.dataset is DatasetName.A else 1
    dataset = (task.spec.dataset_a, task.spec.dataset_b)[index]
    if task.published[index] is not None:
        raise AlreadyDone("this key is published")
    if dataset_key_hash(payload.key) != dataset.key_hash:
        raise OutOfBounds("the key does not match the hash in the task")
    published = (payload.key, task.published[1]) if index == 0 else (task.published[0], payload.key)
    put_task(state, replace(task, published=published))
    if None not in published:
        release_bonds(state, context, task.id, sender)
        CREATED.delete(state, sender, integer_bytes(task.id))
