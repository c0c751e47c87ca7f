"""Where a task's money comes from: its creator, whoever gives a bounty, the emission; and where it goes back to."""

from dataclasses import dataclass

from msgspec.structs import replace

from protocol.errors import AlreadyDone, NotEligible, OutOfBounds, WrongPhase
from protocol.formulas import arena as formulas
from protocol.formulas import emission as emission_formulas
from protocol.params import TaskSettings
from protocol.rules import gifts, purses
from protocol.rules.arena import sources
from protocol.rules.arena.records import CLOSED_PHASES, COUNTER, Task, get_counter, get_task, put_task
from protocol.rules.arena.results import RolePots
from protocol.rules.context import Context
from protocol.rules.emission import get_emission
from protocol.rules.gifts import Gift, GiftBook, Givers
from protocol.rules.jobs import Funding
from protocol.rules.standing import get_governance, require_governance
from protocol.state import Overlay, StateView, Table
from protocol.transactions import AddBounty, CreateTask, VerifyTask

GIFTS = Table(b"g", Gift)
GIVERS = Table(b"f", Givers)
BOOK = GiftBook(GIFTS, GIVERS)

# --- before the first submission, gifts can go back ------------------------------------------------------------------


def get_first_funding(state: StateView, context: Context, payload: CreateTask) -> Funding:
    """Return how a new task is funded: by its escrow, or, without one, once it is verified; raises `OutOfBounds`."""
    if payload.escrow:
        return Funding.ESCROW
    if get_governance(state) is None:
        raise OutOfBounds("a task needs an escrow for its rewards: nobody on this chain could verify it")
    check_verifiable(context, payload.spec.settings)
    return Funding.AWAITED


def add_bounty(state: Overlay, context: Context, sender: bytes, payload: AddBounty) -> None:
    """Give to a task's coming epochs. Until something is entered, the gift comes back if the task ends without work."""
    task = get_task(state, payload.task)
    if task.phase in CLOSED_PHASES:
        raise WrongPhase(f"task {task.id} is over")
    gifts.check_bounty(context.params, payload.units)
    if not task.has_submissions:
        gifts.check_giver(state, context.params, BOOK, task.id, sender)
    give(state, task, sender, payload.units)
    sources.note_gift(state, task.id, bounties=payload.units)


def give(state: Overlay, task: Task, giver: bytes, units: int) -> None:
    """Move a gift into the task's pot, and remember it as long as it can go back."""
    purses.move(state, purses.balance_of(giver), purses.pot_of(task.id), units)
    if not task.has_submissions:
        gifts.note_gift(state, BOOK, task.id, giver, units)


def close_funds(state: Overlay, task: Task) -> None:
    """Empty the pots of a task that ends: emitted money to the reserve, the rest to the givers or the treasury.

    Slashes in the pot are nobody's gift, and so the treasury's even if nothing was ever entered: else a creator could
    live on the seats of those that it lured.
    """
    if task.has_submissions:
        gifts.forget_gifts(state, BOOK, task.id)
    else:
        gifts.return_gifts(state, BOOK, task.id, purses.pot_of(task.id))
    purses.move_all(state, purses.pot_of(task.id), purses.TREASURY)
    sources.forget(state, task.id)
    purses.move_all(state, purses.emission_of(task.id), purses.RESERVE)
    is_verified = task.funding is Funding.VERIFIED
    purses.move_all(state, purses.reward_b_of(task.id), purses.RESERVE if is_verified else purses.TREASURY)
    if is_verified:
        counter = get_counter(state)
        COUNTER.put(state, replace(counter, verified=counter.verified - 1))


# --- verified tasks --------------------------------------------------------------------------------------------------


def check_verifiable(context: Context, settings: TaskSettings) -> None:
    """Return if a task has the settings of verified ones; raises `OutOfBounds`."""
    if settings != context.params.task:
        raise OutOfBounds("a verified task has the chain's own settings; others pay for themselves by an escrow")


def verify_task(state: Overlay, context: Context, sender: bytes, payload: VerifyTask) -> None:
    """Let a task take part in the emission: governance vouches for it and for its creator (IV.A)."""
    require_governance(state, sender)
    task, counter = get_task(state, payload.task), get_counter(state)
    if task.phase in CLOSED_PHASES:
        raise WrongPhase(f"task {task.id} is over")
    if task.funding is Funding.VERIFIED:
        raise AlreadyDone("the task is verified")
    check_verifiable(context, task.spec.settings)
    if counter.verified >= context.params.max_verified_tasks:
        raise NotEligible(f"{counter.verified} verified tasks run already", have=counter.verified)
    COUNTER.put(state, replace(counter, verified=counter.verified + 1))
    put_task(state, replace(task, funding=Funding.VERIFIED))


# --- what an epoch is paid from --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class EpochPots:
    """What an epoch pays from: the part of escrow, bounties and slashes that is its own, and all that was emitted."""

    own: RolePots
    emitted: RolePots

    @property
    def creator(self) -> int:
        """What the creator gets if anybody judged the epoch."""
        return self.own.creator + self.emitted.creator

    @property
    def trainers(self) -> int:
        """What the trainers share, as reward A now and reward B at the end."""
        return self.own.trainers + self.emitted.trainers

    @property
    def validators(self) -> int:
        """What the validators share."""
        return self.own.validators + self.emitted.validators

    @property
    def total(self) -> int:
        """All of it."""
        return self.creator + self.trainers + self.validators

    @property
    def total_emitted(self) -> int:
        """The part of it that the emission brought."""
        return self.emitted.creator + self.emitted.trainers + self.emitted.validators


def open_epoch_pots(state: Overlay, context: Context, task: Task) -> EpochPots:
    """Bring what was emitted since the last settlement into the pot, and return what the epoch may pay.

    Own money has to last for all epochs left; emitted money is the day's (white paper IV.A.1) and goes out whole.
    """
    epochs_left = task.spec.epochs - task.epoch
    own = formulas.epoch_pots(purses.get_units(state, purses.pot_of(task.id)), epochs=epochs_left)[0]
    emitted = purses.get_units(state, purses.emission_of(task.id))
    purses.move_all(state, purses.emission_of(task.id), purses.pot_of(task.id))
    return EpochPots(
        own=divide_among_roles(state, context, task, own), emitted=divide_among_roles(state, context, task, emitted)
    )


def divide_among_roles(state: StateView, context: Context, task: Task, units: int) -> RolePots:
    """Return the parts of creator, trainers and validators: by the settings, a verified task's creator by E4."""
    settings, params = task.spec.settings, context.params
    if task.funding is Funding.VERIFIED:
        creator, trainers, validators = emission_formulas.verified_pots(
            units,
            creator_share_millionths=emission_formulas.creator_share(
                get_emission(state).period,
                initial_millionths=params.creator_slice_millionths,
                fade_periods=params.creator_slice_periods,
            ),
            trainer_share_millionths=settings.trainer_share_millionths,
            validator_share_millionths=settings.validator_share_millionths,
        )
    else:
        creator, trainers, validators = formulas.role_pots(
            units,
            creator_share_millionths=settings.creator_share_millionths,
            trainer_share_millionths=settings.trainer_share_millionths,
            validator_share_millionths=settings.validator_share_millionths,
        )
    return RolePots(creator=creator, trainers=trainers, validators=validators)


def pay_creator(state: Overlay, task: Task, pots: EpochPots, *, is_judged: bool) -> int:
    """Pay the creator its part and return it, in units: only if anybody judged the epoch, so not for a sham."""
    if not is_judged:
        return 0
    purses.move(state, purses.pot_of(task.id), purses.balance_of(task.creator), pots.creator)
    return pots.creator


def return_emission(
    state: Overlay,
    task: Task,
    pots: EpochPots,
    *,
    is_judged: bool,
    are_trainers_paid: bool,
    are_validators_paid: bool,
) -> None:
    """Take back to the reserve what was emitted for a role in which nobody could be paid; own money stays."""
    unpaid = (
        (pots.emitted.creator, is_judged),
        (pots.emitted.trainers, are_trainers_paid),
        (pots.emitted.validators, are_validators_paid),
    )
    units = sum(part for part, is_paid in unpaid if not is_paid)
    purses.move(state, purses.pot_of(task.id), purses.RESERVE, units)
