"""A whole Arena task on the real ledger: two epochs, the second on dataset B, to the payout."""

import pytest

from protocol.crypto import integer_bytes
from protocol.rules import purses
from protocol.rules.arena.records import Phase, get_member, get_task
from protocol.rules.arena.results import RESULTS
from protocol.transactions import Role
from tests.ledger_driver import FML, Ledger, Person

ALICE, BOB, CAROL, DAVE, ERIN, FRANK, GRACE = (
    Person(name) for name in ("alice", "bob", "carol", "dave", "erin", "frank", "grace")
)
TRAINERS, VALIDATORS = [BOB, CAROL, DAVE], [ERIN, FRANK, GRACE]
QUALITY = {BOB: 950_000, CAROL: 920_000, DAVE: 880_000}


@pytest.fixture
def ledger() -> Ledger:
    return Ledger(ALICE, *TRAINERS, *VALIDATORS)


def run_epoch(ledger: Ledger, task: int, epoch: int, *, trainers=TRAINERS, validators=VALIDATORS, key=True) -> None:
    """Let everybody named do its part; the others stay away, so deadlines end their phases."""

    def phase() -> Phase:
        return get_task(ledger.state, task).phase

    for person in trainers:
        ledger.submit(person, task, epoch)
    ledger.run_until(lambda: phase() is Phase.OPEN, after_ms=7_000)
    for person in trainers:
        ledger.open(person, task, epoch)
    ledger.run_until(lambda: get_task(ledger.state, task).deadline_ms is not None)
    if key:
        ledger.release_key(ALICE, task)
    ledger.run_until(lambda: phase() in (Phase.SCORE, Phase.CLAIM), after_ms=7_000)
    if phase() is Phase.SCORE:
        scores = {ledger.tag(person, task, epoch): QUALITY[person] for person in trainers}
        entries = ledger.entries(task, epoch, scores)
        for person in validators:
            ledger.commit_scores(person, task, epoch, entries)
        ledger.run_until(lambda: phase() is Phase.REVEAL, after_ms=7_000)
        for person in validators:
            ledger.reveal_scores(person, task, epoch, entries)
        ledger.run_until(lambda: phase() is Phase.CLAIM, after_ms=7_000)
    for person in trainers:
        ledger.claim(person, task, epoch)
    ledger.block()


def total(ledger: Ledger) -> int:
    return sum(units for _, units in purses.scan_purses(ledger.state))


def test_a_task_settles_as_the_white_paper_says(ledger):
    """Two epochs, everybody present: A, B and validators get what V.E to V.H give, and both keys end up public."""
    task = ledger.create_task(ALICE)
    before = {p: purses.get_units(ledger.state, purses.balance_of(p.address)) for p in TRAINERS + VALIDATORS}
    ledger.open_task(task, TRAINERS, VALIDATORS)
    run_epoch(ledger, task, 0)
    assert get_task(ledger.state, task).epoch == 1
    run_epoch(ledger, task, 1)
    assert get_task(ledger.state, task).phase is Phase.FINISHED
    # q = 0.85, three trainers with equal stakes: 0.38872692, 0.33041788, 0.28085520 of A = 25 and B = 225 an epoch.
    members = [get_member(ledger.state, task, p.address) for p in TRAINERS]
    assert [member.earned_a // 1_000 for member in members] == [19_436_345, 16_520_894, 14_042_759]
    assert [member.earned_b // 1_000 for member in members] == [174_927_113, 148_688_046, 126_384_839]
    assert sum(member.earned_a + member.earned_b for member in members) == 500 * FML
    judges = [get_member(ledger.state, task, p.address) for p in VALIDATORS]
    assert sum(judge.earned_validating for judge in judges) == 500 * FML
    ledger.publish_keys(ALICE, task)
    assert [receipt.error for receipt in ledger.block()] == [0, 0]
    ledger.block(after_ms=40_000)
    for person, member in zip(TRAINERS, members, strict=True):
        gained = purses.get_units(ledger.state, purses.balance_of(person.address)) - before[person]
        fees_paid_and_earned = abs(gained - member.earned_a - member.earned_b)
        assert fees_paid_and_earned < FML
    supply = purses.get_supply(ledger.state)
    assert total(ledger) == supply.minted - supply.burned
    assert not list(purses.scan_purses(ledger.state, b"p"))
    assert not list(purses.scan_purses(ledger.state, b"r"))


def test_results_name_nobody_before_the_claim(ledger):
    """Until the claims, no record of a submission names its author."""
    task = ledger.create_task(ALICE)
    ledger.open_task(task, TRAINERS, VALIDATORS)
    for person in TRAINERS:
        ledger.submit(person, task, 0)
    ledger.block()
    for person in TRAINERS:
        assert ledger.submission_of(person, task, 0).author is None


def test_an_absent_validator_is_slashed_and_the_others_settle(ledger):
    """One of three validators never commits: it loses 5 % of its stake, the scores of the two others count."""
    task = ledger.create_task(ALICE)
    ledger.open_task(task, TRAINERS, VALIDATORS)
    run_epoch(ledger, task, 0, validators=[ERIN, FRANK])
    result = RESULTS.get(ledger.state, integer_bytes(task), integer_bytes(0))
    slashed = {payout.address: payout.slashed for payout in result.validators}
    assert slashed == {ERIN.address: 0, FRANK.address: 0, GRACE.address: 5 * FML}
    assert [ranked.rank for ranked in result.ranking] == [1, 2, 3]


def test_an_absent_trainer_loses_its_deposit_and_reward(ledger):
    """A trainer that enters nothing loses the seat deposit; the others share the pot."""
    task = ledger.create_task(ALICE)
    ledger.open_task(task, TRAINERS, VALIDATORS)
    run_epoch(ledger, task, 0, trainers=[BOB, CAROL])
    assert get_member(ledger.state, task, DAVE.address).earned_a == 0
    assert get_member(ledger.state, task, BOB.address).earned_a > get_member(ledger.state, task, CAROL.address).earned_a
    run_epoch(ledger, task, 1)
    assert get_task(ledger.state, task).phase is Phase.FINISHED


def test_a_creator_without_key_is_slashed_and_claims_are_paid(ledger):
    """No key: the creator loses its deposit, claimed submissions share reward A by stake, validators lose nothing."""
    task = ledger.create_task(ALICE)
    ledger.open_task(task, TRAINERS, VALIDATORS)
    run_epoch(ledger, task, 0, key=False)
    assert purses.get_units(ledger.state, purses.deposit_of(task, ALICE.address)) == 0
    earned = [get_member(ledger.state, task, p.address).earned_a for p in TRAINERS]
    assert max(earned) - min(earned) <= 1
    assert min(earned) > 0
    run_epoch(ledger, task, 1, key=False)
    assert get_task(ledger.state, task).phase is Phase.FINISHED


def test_nobody_scoring_pays_trainers_by_stake(ledger):
    """All validators absent: claims share by stake, the validators' part stays, and goes to the treasury at last."""
    task = ledger.create_task(ALICE)
    ledger.open_task(task, TRAINERS, VALIDATORS)
    run_epoch(ledger, task, 0, validators=[])
    run_epoch(ledger, task, 1, validators=[])
    assert get_task(ledger.state, task).phase is Phase.FINISHED
    assert purses.get_units(ledger.state, purses.TREASURY) > 0


def test_a_task_without_members_expires_and_returns_everything(ledger):
    """Too few joined by the deadline: stake, deposit and escrow are back, only fees are gone."""
    before = purses.get_units(ledger.state, purses.balance_of(ALICE.address))
    task = ledger.create_task(ALICE)
    ledger.join(BOB, task, Role.TRAINER)
    ledger.run_until(lambda: get_task(ledger.state, task).phase is Phase.EXPIRED, after_ms=7_000)
    lost = before - purses.get_units(ledger.state, purses.balance_of(ALICE.address))
    assert lost <= 1 * FML + FML // 1_000
    assert not list(purses.scan_purses(ledger.state, b"s"))
    assert not list(purses.scan_purses(ledger.state, b"d"))
