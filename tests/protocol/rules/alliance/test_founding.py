"""Creating alliances: who may, from what, within which bounds, with whose money, and how they are called off."""

import pytest
from msgspec.structs import replace

from protocol.alliance_acts import (
    CancelAlliance,
    CreateAlliance,
    FundAlliance,
    JoinAlliance,
    VerifyAlliance,
    check_alliance_spec,
)
from protocol.alliance_settings import Attribution, RewardRule
from protocol.blobs import BlobId
from protocol.errors import AlreadyDone, InsufficientFunds, NotEligible, NotFound, OutOfBounds, WrongPhase
from protocol.models import MetricSpec, mlp_model
from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.alliance import pool
from protocol.rules.alliance.records import AlliancePhase, get_alliance, get_counter, scan_active_alliances
from protocol.rules.jobs import Funding
from protocol.transactions import Recognise
from tests.alliance_play import FRESH, STEP_MS, AlliancePlay, make_spec
from tests.arena_play import Play
from tests.ledger_driver import FML
from tests.ledger_invariants import expect_sound

FEE = DEVNET.fee_floor_units
OWN = DEVNET.alliance.settings
SPEC = make_spec(OWN)


def create(play, payload: CreateAlliance, person=None):
    """Send a creation by somebody; return the receipt and the newest alliance."""
    receipt = play.send(person or play.creator, payload)
    counter = get_counter(play.ledger.state)
    return receipt, get_alliance(play.ledger.state, counter.created) if counter.created else None


def finished_task(**options) -> Play:
    """Return a chain whose task 1 has run to its end."""
    play = Play(**options).begin().run_epoch().run_epoch()
    assert play.phase.name == "FINISHED"
    return play


def test_a_creator_pays_stake_escrow_and_fee():
    """The stake is bonded, the escrow is the pool, and the fee is half burned and half the treasury's."""
    play = AlliancePlay(escrow=1_000 * FML)
    assert play.balance(play.creator) <= 10_000 * FML - 1_101 * FML
    assert play.units(purses.alliance_bond_of(1, play.creator.address)) == 100 * FML
    assert play.pool() == 1_000 * FML
    assert play.units(purses.TREASURY) == FML // 2
    record = play.record
    assert (record.phase, record.round, record.places, record.winner) == (AlliancePhase.OPENING, 0, 0, None)
    assert record.funding is Funding.ESCROW
    assert [one.id for one in scan_active_alliances(play.ledger.state)] == [1]
    expect_sound(play.ledger.state)


def test_who_may_create_one():
    """Too little stake takes a record or recognition; a stake beyond the balance changes nothing."""
    play = AlliancePlay(is_governed=True)
    receipt, _ = create(play, CreateAlliance(SPEC, 100 * FML - 1, FML), play.stranger)
    assert receipt.error == NotEligible.number
    receipt, _ = create(play, CreateAlliance(SPEC, 100_000 * FML, FML), play.stranger)
    assert receipt.error == InsufficientFunds.number
    assert get_counter(play.ledger.state).created == 1
    play.send(play.governor, Recognise(play.stranger.address))
    receipt, alliance = create(play, CreateAlliance(SPEC, 0, FML), play.stranger)
    assert receipt.error == 0
    assert alliance.id == 2


@pytest.mark.parametrize(
    "change",
    [
        {"joining_stake": 64 * FML - 1},
        {"min_test_rows": 19},
        {"participants": 3},
        {"participants": 257},
        {"settings": replace(OWN, reveal_phase_ms=DEVNET.max_block_gap_ms - 1)},
        {"fresh_model": BlobId(bytes(32), 0)},
        {"fresh_model": BlobId(bytes(32), DEVNET.max_blob_bytes + 1)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_spec_out_of_bounds_is_refused(change):
    """Stake, rows, participants, phases and the model's length have bounds, and a refusal costs the fee only."""
    play = AlliancePlay()
    before = play.balance(play.stranger)
    receipt, _ = create(play, CreateAlliance(replace(SPEC, **change), 100 * FML, FML), play.stranger)
    assert receipt.error == OutOfBounds.number
    assert before - play.balance(play.stranger) <= FEE


@pytest.mark.parametrize(
    "spec",
    [
        replace(SPEC, base_task=1),
        replace(SPEC, fresh_model=None),
        replace(SPEC, settings=replace(OWN, proposer_share_millionths=600_001)),
        replace(SPEC, settings=replace(OWN, attribution=Attribution.AGGREGATE, reward=RewardRule.IMPACT)),
        replace(SPEC, metric=MetricSpec("accuracy", False, 0, 1)),
    ],
)
def test_a_spec_that_contradicts_itself_is_refused(spec):
    """One start, roles that fit into a round, and no reward by what nobody measures."""
    with pytest.raises(OutOfBounds):
        check_alliance_spec(spec)


# --- from a finished task --------------------------------------------------------------------------------------------


def test_an_alliance_starts_from_a_tasks_winner():
    """The best submission of the last epoch is what it trains on first."""
    play = finished_task()
    spec = replace(SPEC, base_task=1, fresh_model=None, model=play.record.spec.model)
    receipt, alliance = create(play, CreateAlliance(spec, 100 * FML, FML))
    assert receipt.error == 0
    assert alliance.winner == play.result(1).ranking[0].tag


def test_a_task_without_a_winner_starts_nothing():
    """One that does not exist, still runs, is about something else, or ended without a ranked model."""
    play = Play().begin()
    spec = replace(SPEC, base_task=1, fresh_model=None, model=play.record.spec.model)
    asked = CreateAlliance(spec, 100 * FML, FML)
    assert create(play, replace(asked, spec=replace(spec, base_task=2)))[0].error == NotFound.number
    assert create(play, asked)[0].error == WrongPhase.number
    play.run_epoch().submit([]).open(key=False).claim([])
    assert play.phase.name == "FINISHED"
    assert create(play, asked)[0].error == NotEligible.number
    play = finished_task()
    for other in (replace(spec, model=mlp_model(64, 9, 10)), replace(spec, metric=MetricSpec("r2", True, 0, 1))):
        assert create(play, replace(asked, spec=other))[0].error == OutOfBounds.number


# --- verification ----------------------------------------------------------------------------------------------------


def governed_task() -> tuple[Play, CreateAlliance]:
    """Return a chain with governance and a finished task, and an alliance that could be verified."""
    play = finished_task(is_governed=True)
    spec = replace(SPEC, base_task=1, fresh_model=None, model=play.record.spec.model)
    return play, CreateAlliance(spec, 100 * FML, 0)


def test_without_an_escrow_it_waits_for_verification():
    """From a task's winner and with the chain's settings; governance lets it in, once."""
    play, asked = governed_task()
    receipt, alliance = create(play, asked)
    assert receipt.error == 0
    assert alliance.funding is Funding.AWAITED
    assert play.send(play.creator, VerifyAlliance(1)).error == NotEligible.number
    assert play.send(play.governor, VerifyAlliance(1)).error == 0
    assert get_alliance(play.ledger.state, 1).funding is Funding.VERIFIED
    assert get_counter(play.ledger.state).verified == 1
    assert play.send(play.governor, VerifyAlliance(1)).error == AlreadyDone.number
    assert play.send(play.governor, VerifyAlliance(2)).error == NotFound.number
    assert play.send(play.creator, CancelAlliance(1)).error == 0
    assert get_counter(play.ledger.state).verified == 0
    assert play.send(play.governor, VerifyAlliance(1)).error == WrongPhase.number


@pytest.mark.parametrize(
    "change",
    [
        {"base_task": None, "fresh_model": FRESH},
        {"settings": replace(OWN, rounds=11)},
        {"joining_stake": 65 * FML},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_is_not_verified_pays_for_itself(change):
    """A fresh model, own settings or another stake take an escrow, and then governance does not verify them either."""
    play, asked = governed_task()
    asked = replace(asked, spec=replace(asked.spec, **change))
    assert create(play, asked)[0].error == OutOfBounds.number
    receipt, alliance = create(play, replace(asked, escrow=FML))
    assert receipt.error == 0
    assert play.send(play.governor, VerifyAlliance(alliance.id)).error == OutOfBounds.number


def test_where_nobody_verifies_an_escrow_is_needed():
    """A chain without governance has no emission for alliances."""
    play = finished_task()
    spec = replace(SPEC, base_task=1, fresh_model=None, model=play.record.spec.model)
    assert create(play, CreateAlliance(spec, 100 * FML, 0))[0].error == OutOfBounds.number


def test_verified_alliances_are_limited():
    """As verified tasks are."""
    play = finished_task(is_governed=True, params=replace(DEVNET, max_verified_tasks=1))
    spec = replace(SPEC, base_task=1, fresh_model=None, model=play.record.spec.model)
    for _ in range(2):
        create(play, CreateAlliance(spec, 100 * FML, 0))
    assert play.send(play.governor, VerifyAlliance(1)).error == 0
    assert play.send(play.governor, VerifyAlliance(2)).error == NotEligible.number


# --- gifts, and the end before the beginning -------------------------------------------------------------------------


def test_gifts_go_back_until_rounds_begin():
    """The creator calls it off: escrow, gift, stakes and the creator's stake are back at once, all but the fees."""
    play = AlliancePlay()
    for person in play.participants[1:]:
        play.send(person, JoinAlliance(1, 100, 20))
    play.send(play.stranger, FundAlliance(1, 50 * FML))
    play.send(play.stranger, FundAlliance(1, 5 * FML))
    assert play.pool() == 1_055 * FML
    assert pool.get_parts(play.ledger.state, 1).bounties == 55 * FML
    assert play.send(play.stranger, CancelAlliance(1)).error == NotEligible.number
    assert play.send(play.creator, CancelAlliance(1)).error == 0
    assert play.phase is AlliancePhase.CANCELLED
    for person in (*play.participants, play.stranger):
        assert play.balance(person) >= 10_000 * FML - 10 * FEE
    assert play.balance(play.creator) >= 9_999 * FML - 10 * FEE
    assert not scan_active_alliances(play.ledger.state)
    expect_sound(play.ledger.state)
    for act in (CancelAlliance(1), FundAlliance(1, FML), JoinAlliance(1, 100, 20)):
        assert play.send(play.creator, act).error == WrongPhase.number


def test_gifts_are_worth_their_record():
    """A gift below the minimum is refused, and only so many accounts may give what goes back."""
    play = AlliancePlay(params=replace(DEVNET, max_bounty_givers=1))
    assert play.send(play.stranger, FundAlliance(1, FML - 1)).error == OutOfBounds.number
    assert play.send(play.stranger, FundAlliance(1, FML)).error == 0
    assert play.send(play.participants[0], FundAlliance(1, FML)).error == NotEligible.number
    assert play.send(play.stranger, FundAlliance(1, FML)).error == 0
    play.begin()
    assert play.send(play.participants[0], FundAlliance(1, FML)).error == 0
    assert play.send(play.creator, CancelAlliance(1)).error == WrongPhase.number
    assert play.pool() == 1_003 * FML


def test_with_too_few_it_expires():
    """Three participants are no alliance: at the end of the opening everything goes back."""
    play = AlliancePlay().begin([])
    assert play.phase is AlliancePhase.EXPIRED
    play = AlliancePlay()
    play.begin(play.participants[:3])
    assert play.phase is AlliancePhase.EXPIRED
    assert play.stake(play.participants[0]) == 0
    assert play.balance(play.participants[0]) >= 10_000 * FML - 10 * FEE
    expect_sound(play.ledger.state)


def test_four_begin_when_the_opening_ends_and_all_at_once_before():
    """With as many as were asked for the first draw waits for nothing; with fewer, for the end of the opening."""
    play = AlliancePlay()
    opened_ms = play.ledger.before.head.time_ms
    play.begin(play.participants[:4])
    assert play.record.phase is AlliancePhase.TRAIN
    assert play.ledger.before.head.time_ms >= opened_ms + DEVNET.opening_phase_ms
    assert len(play.round_record.proposers) == 1
    play = AlliancePlay()
    for person in play.participants:
        play.join(person)
    play.ledger.block()
    assert play.phase is AlliancePhase.DRAW


def test_an_unverified_alliance_expires_however_many_joined():
    """It has no money, so nobody could be paid."""
    play, asked = governed_task()
    create(play, replace(asked, spec=replace(asked.spec, participants=4)))
    for person in (*play.trainers, *play.validators):
        assert play.send(person, JoinAlliance(1, 100, 20)).error == 0
    play.ledger.run_until(
        lambda: get_alliance(play.ledger.state, 1).phase is not AlliancePhase.OPENING, after_ms=STEP_MS
    )
    assert get_alliance(play.ledger.state, 1).phase is AlliancePhase.EXPIRED
    expect_sound(play.ledger.state)
