"""Creating an alliance, its money and its verification, calling it off (white paper VI.A)."""

from msgspec.structs import replace

from protocol.alliance_acts import AllianceSpec, CancelAlliance, CreateAlliance, FundAlliance, VerifyAlliance
from protocol.alliance_settings import MIN_PARTICIPANTS, MIN_PRIVATE_PARTICIPANTS, Privacy
from protocol.crypto import integer_bytes
from protocol.errors import AlreadyDone, NotEligible, OutOfBounds, WrongPhase
from protocol.models import count_values
from protocol.params import check_phases
from protocol.rules import charges, gifts, purses
from protocol.rules.alliance import pool
from protocol.rules.alliance.records import (
    ACTIVE_ALLIANCES,
    ALLIANCE_COUNTER,
    CLOSED_PHASES,
    Alliance,
    AlliancePhase,
    get_alliance,
    get_counter,
    put_alliance,
    scan_participants,
)
from protocol.rules.arena.records import Phase, get_task
from protocol.rules.arena.results import RESULTS
from protocol.rules.context import Context
from protocol.rules.jobs import Funding, Mark
from protocol.rules.standing import check_creator, get_governance, require_governance
from protocol.state import Overlay, StateView
from protocol.zk.commitment import row_count


def create_alliance(state: Overlay, context: Context, sender: bytes, payload: CreateAlliance) -> None:
    """Open an alliance for joining. Its id is the next number."""
    check_creator(state, context, sender, payload.stake)
    check_bounds(context, payload.spec)
    counter = get_counter(state)
    alliance = Alliance(
        id=counter.created + 1,
        creator=sender,
        funding=get_first_funding(state, context, payload),
        phase_height=context.height,
        deadline_ms=context.time_ms + context.params.opening_phase_ms,
        block_proposers=(),
        spec=payload.spec,
        winner=find_winner(state, payload.spec),
        phase=AlliancePhase.OPENING,
        round=0,
        places=0,
        latest=None,
        best=None,
        periods=0,
    )
    charges.pay_registration(state, context.params, sender)
    purses.move(state, purses.balance_of(sender), purses.alliance_bond_of(alliance.id, sender), payload.stake)
    pool.give(state, alliance.id, sender, payload.escrow, can_go_back=True)
    pool.note_income(state, alliance.id, escrow=payload.escrow)
    ALLIANCE_COUNTER.put(state, replace(counter, created=alliance.id))
    ACTIVE_ALLIANCES.put(state, Mark(), integer_bytes(alliance.id))
    put_alliance(state, alliance)


def check_bounds(context: Context, spec: AllianceSpec) -> None:
    """Return if stake, test rows, participants and phases keep within the chain's bounds; raises `OutOfBounds`."""
    bounds = context.params.alliance
    check_phases(spec.settings, context.params)
    if spec.joining_stake < bounds.min_joining_stake_units:
        raise OutOfBounds(
            f"participants stake at least {bounds.min_joining_stake_units} units",
            have=spec.joining_stake,
            need=bounds.min_joining_stake_units,
        )
    if spec.min_test_rows < bounds.min_test_rows:
        raise OutOfBounds(
            f"a test split has at least {bounds.min_test_rows} rows", have=spec.min_test_rows, need=bounds.min_test_rows
        )
    least = MIN_PARTICIPANTS if spec.settings.privacy is Privacy.CLEAR else MIN_PRIVATE_PARTICIPANTS
    if not least <= spec.participants <= bounds.max_participants:
        raise OutOfBounds(
            f"an alliance like this begins with {least} to {bounds.max_participants} participants",
            have=spec.participants,
        )
    if spec.fresh_model is not None and not 0 < spec.fresh_model.length <= context.params.max_blob_bytes:
        raise OutOfBounds("the fresh model's length leaves the bounds", have=spec.fresh_model.length)
    if spec.settings.privacy is not Privacy.CLEAR:
        check_provable(context, spec)


def check_provable(context: Context, spec: AllianceSpec) -> None:
    """Return if commitments can hold the model's updates; raises `OutOfBounds` or `InvalidProof`."""
    values = count_values(spec.model)
    if values is None:
        raise OutOfBounds(f"the size of models of family {spec.model.family!r} is not known: updates cannot be hidden")
    row_count(context.params.alliance.zk, values)


def find_winner(state: StateView, spec: AllianceSpec) -> bytes | None:
    """Return the tag of the best submission of the base task's last epoch, if there is a base task.

    Raises a `TransactionRefused` when that task has no winner yet or is about another model or metric.
    """
    if spec.base_task is None:
        return None
    task = get_task(state, spec.base_task)
    if task.phase is not Phase.FINISHED:
        raise WrongPhase(f"task {task.id} is in phase {task.phase.name.lower()}: it has no winner", task=task.id)
    if (task.spec.model, task.spec.metric) != (spec.model, spec.metric):
        raise OutOfBounds(f"task {task.id} is about another model or metric", task=task.id)
    result = RESULTS.get(state, integer_bytes(task.id), integer_bytes(task.epoch))
    if result is None or not result.ranking or result.ranking[0].rank != 1:
        raise NotEligible(f"nobody won task {task.id}: no submission of its last epoch has a rank", task=task.id)
    return result.ranking[0].tag


def get_first_funding(state: StateView, context: Context, payload: CreateAlliance) -> Funding:
    """Return how a new alliance is funded: by its escrow, or without one once it is verified; raises `OutOfBounds`."""
    if payload.escrow:
        return Funding.ESCROW
    if get_governance(state) is None:
        raise OutOfBounds("an alliance needs an escrow for its rewards: nobody on this chain could verify it")
    check_verifiable(context, payload.spec)
    return Funding.AWAITED


def check_verifiable(context: Context, spec: AllianceSpec) -> None:
    """Return if an alliance starts and pays as verified ones do; raises `OutOfBounds`."""
    bounds = context.params.alliance
    if spec.base_task is None:
        raise OutOfBounds("an alliance with a fresh model pays for itself by an escrow; emission takes a task's winner")
    if spec.settings != bounds.settings or spec.joining_stake != bounds.min_joining_stake_units:
        raise OutOfBounds(
            "a verified alliance has the chain's own settings and least joining stake; "
            "others pay for themselves by an escrow"
        )


def verify_alliance(state: Overlay, context: Context, sender: bytes, payload: VerifyAlliance) -> None:
    """Let an alliance take part in the emission: governance vouches for it and for its creator (VI.A)."""
    require_governance(state, sender)
    alliance, counter = require_running(state, payload.alliance), get_counter(state)
    if alliance.funding is Funding.VERIFIED:
        raise AlreadyDone("the alliance is verified")
    check_verifiable(context, alliance.spec)
    if counter.verified >= context.params.max_verified_tasks:
        raise NotEligible(f"{counter.verified} verified alliances run already", have=counter.verified)
    ALLIANCE_COUNTER.put(state, replace(counter, verified=counter.verified + 1))
    put_alliance(state, replace(alliance, funding=Funding.VERIFIED))


def fund_alliance(state: Overlay, context: Context, sender: bytes, payload: FundAlliance) -> None:
    """Give to the pool. Before the first round, the gift comes back if the alliance ends without one."""
    alliance = require_running(state, payload.alliance)
    gifts.check_bounty(context.params, payload.units)
    can_go_back = alliance.phase is AlliancePhase.OPENING
    if can_go_back:
        gifts.check_giver(state, context.params, pool.BOOK, alliance.id, sender)
    pool.give(state, alliance.id, sender, payload.units, can_go_back=can_go_back)
    pool.note_income(state, alliance.id, bounties=payload.units)


def cancel_alliance(state: Overlay, context: Context, sender: bytes, payload: CancelAlliance) -> None:
    """Call an alliance off before its first round."""
    alliance = require_running(state, payload.alliance)
    if sender != alliance.creator:
        raise NotEligible("only the creator cancels an alliance")
    if alliance.phase is not AlliancePhase.OPENING:
        raise WrongPhase("its rounds have begun: the alliance cannot be cancelled any more", alliance=alliance.id)
    end_unworked(state, alliance, AlliancePhase.CANCELLED)


def require_running(state: StateView, alliance: int) -> Alliance:
    """Return an alliance that has not ended; raises `NotFound` or `WrongPhase`."""
    record = get_alliance(state, alliance)
    if record.phase in CLOSED_PHASES:
        raise WrongPhase(f"alliance {alliance} is over", alliance=alliance)
    return record


def end_unworked(state: Overlay, alliance: Alliance, phase: AlliancePhase) -> None:
    """End an alliance without rounds: everything but the registration fee goes back at once."""
    for address, _ in scan_participants(state, alliance.id):
        purses.move_all(state, purses.alliance_stake_of(alliance.id, address), purses.balance_of(address))
    bond = purses.alliance_bond_of(alliance.id, alliance.creator)
    purses.move_all(state, bond, purses.balance_of(alliance.creator))
    pool.return_pool(state, alliance.id)
    forget_active(state, alliance)
    put_alliance(state, replace(alliance, phase=phase, deadline_ms=None))


def forget_active(state: Overlay, alliance: Alliance) -> None:
    """Take an alliance that ends off the lists of those at work."""
    ACTIVE_ALLIANCES.delete(state, integer_bytes(alliance.id))
    if alliance.funding is Funding.VERIFIED:
        counter = get_counter(state)
        ALLIANCE_COUNTER.put(state, replace(counter, verified=counter.verified - 1))
