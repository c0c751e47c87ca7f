"""Where a task's money comes from and goes back to: escrow, bounties, verification, cancellation."""

import pytest
from msgspec.structs import replace

from protocol.crypto import integer_bytes
from protocol.errors import AlreadyDone, InsufficientFunds, NotEligible, NotFound, OutOfBounds, WrongPhase
from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.arena.funding import GIFTS, GIVERS
from protocol.rules.arena.records import Phase, get_counter, get_task, scan_active_tasks, scan_tasks_of_creator
from protocol.rules.jobs import Funding
from protocol.transactions import AddBounty, Attest, CancelTask, CreateTask, Join, Role, VerifyTask
from tests.arena_play import Play
from tests.ledger_driver import FML, NEEDS

FEE = DEVNET.fee_floor_units
FEES = 20 * FEE
SELF_FUNDED = replace(DEVNET.task, rewarded_trainers=9)


def pot(play: Play) -> int:
    return play.units(purses.pot_of(play.task))


def expect_nothing_left(play: Play) -> None:
    """Assert that no purse of the task holds anything and no table remembers a gift."""
    for kind in (b"s", b"v", b"d", b"p", b"r", b"e"):
        assert not list(purses.scan_purses(play.ledger.state, kind + integer_bytes(play.task)))
    assert not list(GIFTS.scan(play.ledger.state))
    assert not list(GIVERS.scan(play.ledger.state))
    play.expect_conserved()


# --- without an escrow -----------------------------------------------------------------------------------------------


def test_a_task_without_an_escrow_opens_once_it_is_verified():
    """However many have joined, it waits for governance, and then begins at once and lives on the emission."""
    play = Play(is_governed=True, escrow=0)
    assert play.record.funding is Funding.AWAITED
    for role, people in ((Role.TRAINER, play.trainers), (Role.VALIDATOR, play.validators)):
        for person in people:
            play.ledger.join(person, play.task, role)
    play.ledger.block()
    for person in play.validators:
        play.ledger.send(person, Attest(play.task))
    for _ in range(3):
        play.ledger.block()
    assert play.phase is Phase.OPENING
    assert play.send(play.governor, VerifyTask(play.task)).error == 0
    assert play.record.funding is Funding.VERIFIED
    assert play.phase is Phase.SUBMIT
    play.ledger.block(after_ms=DEVNET.emission_period_ms)
    play.run_epoch()
    assert play.result(0).pot == play.result(0).emitted > 0


def test_a_task_that_nobody_verifies_expires():
    """With all members there and a bounty in its pot: everything goes back, to those who gave it."""
    play = Play(is_governed=True, escrow=0)
    assert play.send(play.stranger, AddBounty(play.task, 50 * FML)).error == 0
    play.begin()
    assert play.phase is Phase.EXPIRED
    assert play.balance(play.creator) >= 10_000 * FML - DEVNET.registration_fee_units - FEES
    assert play.balance(play.stranger) >= 10_000 * FML - FEES
    expect_nothing_left(play)


@pytest.mark.parametrize(
    ("is_governed", "settings"), [(False, DEVNET.task), (True, SELF_FUNDED)], ids=["nobody verifies", "own settings"]
)
def test_a_task_that_cannot_be_verified_needs_an_escrow(is_governed, settings):
    """On a chain without governance, or with settings of its own."""
    play = Play(is_governed=is_governed)
    payload = CreateTask(replace(play.record.spec, settings=settings), 100 * FML, 0)
    assert play.send(play.stranger, payload).error == OutOfBounds.number
    assert play.send(play.stranger, replace(payload, escrow=1)).error == 0


# --- verification ----------------------------------------------------------------------------------------------------


def test_only_governance_verifies_and_once():
    """Nobody else, no missing task, none twice, none with settings of its own, none that is over."""
    play = Play(is_governed=True)
    assert play.send(play.creator, VerifyTask(play.task)).error == NotEligible.number
    assert play.send(play.governor, VerifyTask(99)).error == NotFound.number
    assert play.send(play.governor, VerifyTask(play.task)).error == 0
    assert play.send(play.governor, VerifyTask(play.task)).error == AlreadyDone.number
    own = Play(is_governed=True, settings=SELF_FUNDED)
    assert own.send(own.governor, VerifyTask(own.task)).error == OutOfBounds.number
    assert own.record.funding is Funding.ESCROW
    own.wait(Phase.EXPIRED)
    assert own.send(own.governor, VerifyTask(own.task)).error == WrongPhase.number
    lawless = Play()
    assert lawless.send(lawless.creator, VerifyTask(lawless.task)).error == NotEligible.number


def test_so_many_verified_tasks_at_once():
    """The next one waits until one has ended, by whatever way it ends."""
    play = Play(is_governed=True, params=replace(DEVNET, max_verified_tasks=1))
    second = CreateTask(play.record.spec, 100 * FML, FML)
    play.send(play.stranger, second)
    assert play.send(play.governor, VerifyTask(play.task)).error == 0
    assert play.send(play.governor, VerifyTask(2)).error == NotEligible.number
    assert play.send(play.creator, CancelTask(play.task)).error == 0
    assert play.send(play.governor, VerifyTask(2)).error == 0
    assert get_counter(play.ledger.state).verified == 1
    play.ledger.run_until(lambda: get_task(play.ledger.state, 2).phase is Phase.EXPIRED, after_ms=7_000)
    assert get_counter(play.ledger.state).verified == 0


def test_a_verified_task_that_finishes_makes_room():
    """The count follows the tasks to their end."""
    play = Play(is_governed=True)
    play.send(play.governor, VerifyTask(play.task))
    play.begin().run_epoch()
    assert get_counter(play.ledger.state).verified == 1
    play.run_epoch()
    assert get_counter(play.ledger.state).verified == 0


# --- bounties --------------------------------------------------------------------------------------------------------


def test_anybody_adds_a_bounty_to_the_epochs_left():
    """Before the first epoch it raises all pots; in the last it goes out whole."""
    play = Play()
    assert play.send(play.stranger, AddBounty(play.task, 100 * FML)).error == 0
    play.begin().run_epoch()
    assert play.result(0).pot == 550 * FML
    play.submit().open().commit().reveal()
    assert play.phase is Phase.CLAIM
    assert play.send(play.trainers[0], AddBounty(play.task, 7 * FML)).error == 0
    play.claim()
    assert play.result(1).pot == 557 * FML
    assert play.send(play.stranger, AddBounty(play.task, 7 * FML)).error == WrongPhase.number
    play.expect_conserved()


def test_a_refused_bounty_moves_nothing():
    """Too small, more than there is, for no task."""
    play = Play()
    least = DEVNET.min_bounty_units
    for error, payload in (
        (OutOfBounds, AddBounty(play.task, least - 1)),
        (InsufficientFunds, AddBounty(play.task, 10_000 * FML)),
        (NotFound, AddBounty(99, least)),
    ):
        assert play.send(play.stranger, payload).error == error.number
    assert pot(play) == 1_000 * FML
    assert GIVERS.get(play.ledger.state, integer_bytes(play.task)) is None
    assert play.send(play.stranger, AddBounty(play.task, least)).error == 0


def test_so_many_givers_can_be_paid_back():
    """One more is refused until something is entered; who gave before, the creator too, may again; later anybody."""
    play = Play(params=replace(DEVNET, max_bounty_givers=1))
    payload = AddBounty(play.task, FML)
    assert play.send(play.stranger, payload).error == 0
    assert play.send(play.stranger, payload).error == 0
    assert play.send(play.trainers[0], payload).error == NotEligible.number
    assert play.send(play.creator, payload).error == 0
    play.begin().submit()
    assert play.send(play.trainers[0], payload).error == 0
    assert pot(play) == 1_004 * FML
    play.open().commit().reveal().claim().run_epoch()
    assert not list(GIFTS.scan(play.ledger.state))
    assert not list(GIVERS.scan(play.ledger.state))


# --- cancelling ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["opening", "submit", "open"])
def test_a_cancelled_task_returns_everything_but_the_registration_fee(stage):
    """Escrow to the creator, bounties to their givers, stakes and deposits to the members; at once."""
    play = Play()
    play.send(play.stranger, AddBounty(play.task, 50 * FML))
    play.send(play.creator, AddBounty(play.task, 5 * FML))
    if stage == "opening":
        play.ledger.join(play.trainers[0], play.task, Role.TRAINER)
        play.ledger.block()
    else:
        play.begin()
    if stage == "open":
        play.submit([])
    assert play.send(play.creator, CancelTask(play.task)).error == 0
    assert play.phase is Phase.CANCELLED
    for person in (*play.trainers, *play.validators, play.stranger):
        assert play.balance(person) >= 10_000 * FML - FEES
    assert play.balance(play.creator) >= 10_000 * FML - DEVNET.registration_fee_units - FEES
    assert play.balance(play.creator) < 10_000 * FML - DEVNET.registration_fee_units + FEES
    assert not scan_active_tasks(play.ledger.state)
    assert not scan_tasks_of_creator(play.ledger.state, play.creator.address)
    expect_nothing_left(play)
    for _ in range(3):
        play.ledger.block(after_ms=100_000)
    assert play.phase is Phase.CANCELLED


def test_only_the_creator_cancels_and_only_before_a_model_is_there():
    """A single submission binds it to the end, also in later epochs without any."""
    play = Play(epochs=3).begin()
    for person in (play.stranger, play.trainers[0]):
        assert play.send(person, CancelTask(play.task)).error == NotEligible.number
    assert play.send(play.creator, CancelTask(99)).error == NotFound.number
    play.submit(play.trainers[:1])
    assert play.send(play.creator, CancelTask(play.task)).error == WrongPhase.number
    play.open(play.trainers[:1]).commit().reveal().claim()
    assert play.epoch == 1
    assert play.send(play.creator, CancelTask(play.task)).error == WrongPhase.number


def test_what_is_over_is_not_cancelled():
    """Neither finished, expired nor cancelled."""
    finished = Play().begin().run_epoch().run_epoch()
    expired = Play()
    expired.wait(Phase.EXPIRED)
    cancelled = Play()
    assert cancelled.send(cancelled.creator, CancelTask(cancelled.task)).error == 0
    for play in (finished, expired, cancelled):
        assert play.send(play.creator, CancelTask(play.task)).error == WrongPhase.number
        assert play.send(play.stranger, AddBounty(play.task, FML)).error == WrongPhase.number
        join = Join(play.task, Role.TRAINER, FML, bytes(32), b"", NEEDS)
        assert play.send(play.stranger, join).error == WrongPhase.number


def test_a_creator_does_not_live_on_the_seats_of_those_it_lured():
    """Seats lost in a void epoch go to the treasury when it then cancels, not to its own account."""
    play = Play(epochs=3).begin()
    play.submit([]).open(key=False).claim()
    lost = pot(play) - 1_000 * FML
    assert lost > 0
    treasury = play.units(purses.TREASURY)
    assert play.send(play.creator, CancelTask(play.task)).error == 0
    assert play.units(purses.TREASURY) == treasury + lost
    assert play.balance(play.creator) < 10_000 * FML
    expect_nothing_left(play)


def test_a_task_for_which_nothing_was_ever_entered_returns_its_gifts():
    """It ends by itself, and each giver has its own again."""
    play = Play()
    play.send(play.stranger, AddBounty(play.task, 50 * FML))
    play.begin()
    for _ in range(2):
        play.submit([]).open(key=False).claim()
    assert play.phase is Phase.FINISHED
    assert play.balance(play.stranger) >= 10_000 * FML - FEES
    assert pot(play) == 0
    assert not list(GIFTS.scan(play.ledger.state))
    play.expect_conserved()


def test_what_was_emitted_for_a_cancelled_task_returns_to_the_reserve():
    """A creator cannot carry the emission away."""
    play = Play(is_governed=True)
    play.send(play.governor, VerifyTask(play.task))
    play.begin()
    play.ledger.block(after_ms=DEVNET.emission_period_ms)
    assert play.units(purses.emission_of(play.task)) == 900 * FML
    assert play.send(play.creator, CancelTask(play.task)).error == 0
    assert play.units(purses.RESERVE) == 900 * FML
    assert play.balance(play.creator) < 10_000 * FML
    expect_nothing_left(play)
