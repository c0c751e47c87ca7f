"""Creating, joining, attesting, leaving and ending a task: who may, what it costs, and what comes back."""

import pytest
from msgspec.structs import replace

from protocol import vrf
from protocol.blinding import join_alpha, submit_alpha
from protocol.blobs import BlobId
from protocol.errors import (
    AlreadyDone,
    InsufficientFunds,
    InvalidProof,
    NotEligible,
    NotFound,
    OutOfBounds,
    WrongPhase,
)
from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.arena.records import Phase, get_places, get_task, scan_active_tasks, scan_tasks_of_creator
from protocol.transactions import Attest, CreateTask, DatasetName, Join, Leave, PublishKey, Resources, Role
from tests.arena_play import STEP_MS, Play
from tests.ledger_driver import FML, NEEDS, Person, seed_of

FEE = DEVNET.fee_floor_units


@pytest.fixture
def play() -> Play:
    return Play()


def make_join(
    play: Play,
    person: Person,
    *,
    role: Role = Role.TRAINER,
    stake: int = 100 * FML,
    key: Person | None = None,
    resources: Resources = NEEDS,
):
    """Return a join; `key` names whose VRF key it takes."""
    secret = (key or person).secret(play.task)
    alpha = join_alpha(play.ledger.chain, play.task, person.address)
    proof = vrf.prove(secret, alpha=alpha, ad=b"", randomness=bytes(32))
    return Join(play.task, role, stake, vrf.public(secret), proof, resources)


@pytest.mark.parametrize(
    ("memory_mib", "evaluation_ms", "is_enough"), [(256, 5_000, True), (255, 9_999, False), (999, 4_999, False)]
)
def test_only_validators_that_have_what_judging_takes_join(play, memory_mib, evaluation_ms, is_enough):
    """Both memory and time, exactly what the task needs; of a trainer that is not asked."""
    resources = Resources(memory_mib, evaluation_ms)
    receipt = play.send(
        play.validators[0], make_join(play, play.validators[0], role=Role.VALIDATOR, resources=resources)
    )
    assert receipt.error == (0 if is_enough else NotEligible.number)
    assert play.send(play.trainers[0], make_join(play, play.trainers[0], resources=Resources(0, 0))).error == 0


def test_an_evaluation_fits_into_the_scoring_phase(play):
    """A task in which honest validators are late cannot be created."""
    spec, longest = play.record.spec, play.record.spec.settings.score_phase_ms
    for length, error in ((longest, 0), (longest + 1, OutOfBounds.number)):
        payload = CreateTask(replace(spec, needs=Resources(1, length)), 100 * FML, FML)
        assert play.send(play.creator, payload).error == error


# --- creating --------------------------------------------------------------------------------------------------------


def test_a_task_bonds_its_creators_money(play):
    """Stake, deposit, escrow and fee leave the balance; half of the fee burns, the rest is the treasury's."""
    assert play.record.phase is Phase.OPENING
    assert play.stake(play.creator) == 100 * FML
    assert play.deposit(play.creator) == DEVNET.creator_deposit_units
    assert play.units(purses.pot_of(play.task)) == 1_000 * FML
    assert play.units(purses.TREASURY) == DEVNET.registration_fee_units // 2
    play.expect_conserved()


def create(play: Play, person: Person, *, stake: int = 100 * FML, escrow: int = FML, **changes):
    spec = replace(play.record.spec, **changes)
    return play.send(person, CreateTask(spec, stake, escrow))


def test_task_ids_are_counted_from_one(play):
    """The next task, whoever creates it, has the next number."""
    assert create(play, play.stranger).error == 0
    assert [task.id for task in scan_active_tasks(play.ledger.state)] == [1, 2]
    assert get_task(play.ledger.state, 2).creator == play.stranger.address
    assert [task.id for task in scan_tasks_of_creator(play.ledger.state, play.stranger.address)] == [2]


@pytest.mark.parametrize(
    ("error", "changes"),
    [
        (NotEligible, {"stake": DEVNET.min_stake_creator_units - 1}),
        (InsufficientFunds, {"stake": 9_950 * FML}),
        (InsufficientFunds, {"escrow": 9_900 * FML}),
        (InsufficientFunds, {"stake": 2**63 - 1, "escrow": 2**63 - 1}),
        (OutOfBounds, {"epochs": DEVNET.min_epochs - 1}),
        (OutOfBounds, {"epochs": DEVNET.max_epochs + 1}),
        (OutOfBounds, {"epochs": 2**63 - 1}),
    ],
    ids=["stake", "deposit", "escrow", "huge", "few epochs", "many epochs", "huge epochs"],
)
def test_a_task_that_is_refused_costs_its_fee_only(play, error, changes):
    """Nothing of a refused task stays: no number, no money moved."""
    before = play.balance(play.stranger)
    assert create(play, play.stranger, **changes).error == error.number
    assert before - play.balance(play.stranger) <= FEE
    assert len(scan_active_tasks(play.ledger.state)) == 1
    assert play.units(purses.TREASURY) == DEVNET.registration_fee_units // 2


@pytest.mark.parametrize("length", [0, DEVNET.max_blob_bytes + 1])
@pytest.mark.parametrize("dataset", ["dataset_a", "dataset_b"])
def test_datasets_have_a_length_within_bounds(play, dataset, length):
    """Neither empty nor larger than nodes may be asked to fetch."""
    sealed = getattr(play.record.spec, dataset)
    receipt = create(play, play.stranger, **{dataset: replace(sealed, blob=BlobId(sealed.blob.root, length))})
    assert receipt.error == OutOfBounds.number


@pytest.mark.parametrize("dataset", ["dataset_a", "dataset_b"])
def test_a_baseline_can_be_beaten(play, dataset):
    """A full score must be enough, with the improvement that counts; else nobody would be paid whatever it brings."""
    sealed, most = getattr(play.record.spec, dataset), 1_000_000 - DEVNET.min_improvement_millionths
    for baseline, error in ((most + 1, OutOfBounds.number), (most, 0)):
        assert create(play, play.stranger, **{dataset: replace(sealed, baseline=baseline)}).error == error


@pytest.mark.parametrize("phase", ["submit", "open", "score", "reveal", "claim"])
def test_no_phase_is_too_short_to_act_in(play, phase):
    """A phase outlasts a gap between blocks that does not move deadlines: else a creator could get members slashed."""
    gap = DEVNET.max_block_gap_ms
    short = replace(DEVNET.task, **{f"{phase}_phase_ms": gap - 1})
    assert create(play, play.stranger, settings=short).error == OutOfBounds.number
    assert create(play, play.stranger, settings=replace(DEVNET.task, **{f"{phase}_phase_ms": gap})).error == 0


# --- joining ---------------------------------------------------------------------------------------------------------


def test_joining_bonds_a_stake_and_a_trainers_deposit(play):
    """A validator has a stake, a trainer a seat deposit as well."""
    trainer, validator = play.trainers[0], play.validators[0]
    assert play.send(trainer, make_join(play, trainer)).error == 0
    assert play.send(validator, make_join(play, validator, role=Role.VALIDATOR)).error == 0
    assert (play.stake(trainer), play.deposit(trainer)) == (100 * FML, DEVNET.seat_deposit_units)
    assert (play.stake(validator), play.deposit(validator)) == (100 * FML, 0)
    places = get_places(play.ledger.state, play.task)
    assert (places.trainers, places.validators, places.attested) == (1, 1, 0)


def test_a_refused_join_changes_nothing(play):
    """Each reason for a refusal, one after the other."""
    trainer, other, ledger = play.trainers[0], play.trainers[1], play.ledger
    assert play.send(trainer, make_join(play, trainer)).error == 0
    foreign = make_join(play, other)
    cases = [
        (NotEligible, play.creator, make_join(play, play.creator)),
        (AlreadyDone, trainer, make_join(play, trainer, role=Role.VALIDATOR)),
        (AlreadyDone, other, make_join(play, other, key=trainer)),
        (InvalidProof, play.stranger, foreign),
        (InvalidProof, other, replace(foreign, vrf_proof=foreign.vrf_proof[:-1])),
        (InvalidProof, other, replace(foreign, vrf_key=bytes(32))),
        (NotEligible, other, make_join(play, other, stake=DEVNET.min_stake_trainer_units - 1)),
        (InsufficientFunds, other, make_join(play, other, stake=2**63 - 1)),
        (InsufficientFunds, other, make_join(play, other, stake=10_000 * FML - DEVNET.seat_deposit_units)),
        (NotFound, other, replace(foreign, task=99)),
        (NotFound, other, replace(foreign, task=2**63 - 1)),
    ]
    for error, sender, payload in cases:
        assert play.send(sender, payload).error == error.number, (error, sender)
        assert play.stake(other) == play.deposit(other) == play.stake(play.stranger) == 0
    assert get_places(ledger.state, play.task).trainers == 1
    assert play.send(other, foreign).error == 0


def test_a_proof_for_an_epoch_joins_nothing(play):
    """Joining is proven over an input of its own: a proof over an epoch's input would reveal that pseudonym."""
    person = play.trainers[0]
    secret = person.secret(play.task)
    proof = vrf.prove(secret, alpha=submit_alpha(play.ledger.chain, play.task, 0), ad=b"", randomness=bytes(32))
    payload = Join(play.task, Role.TRAINER, 100 * FML, vrf.public(secret), proof, NEEDS)
    assert play.send(person, payload).error == InvalidProof.number


@pytest.mark.parametrize("role", Role)
def test_a_role_has_so_many_places(role):
    """Who comes when all places are taken is refused, until somebody leaves; the other role does not count."""
    play = Play(
        trainers=5, validators=5, params=replace(DEVNET, max_trainers=3, max_trainer_members=3, max_validators=3)
    )
    people = play.trainers if role is Role.TRAINER else play.validators
    for person in people[:3]:
        assert play.send(person, make_join(play, person, role=role)).error == 0
    assert play.send(people[3], make_join(play, people[3], role=role)).error == NotEligible.number
    assert play.send(people[0], Leave(play.task)).error == 0
    assert play.send(people[3], make_join(play, people[3], role=role)).error == 0
    assert play.send(people[4], make_join(play, people[4], role=role)).error == NotEligible.number
    other = Role.TRAINER if role is Role.VALIDATOR else Role.VALIDATOR
    assert play.send(people[4], make_join(play, people[4], role=other)).error == 0


def test_a_closed_task_takes_nobody(play):
    """Neither an expired nor a finished task can be joined or left."""
    play.wait(Phase.EXPIRED)
    assert play.send(play.trainers[0], make_join(play, play.trainers[0])).error == WrongPhase.number
    finished = Play().begin().run_epoch().run_epoch()
    assert finished.phase is Phase.FINISHED
    assert finished.send(finished.stranger, make_join(finished, finished.stranger)).error == WrongPhase.number
    assert finished.send(finished.trainers[0], Leave(finished.task)).error == WrongPhase.number


# --- attesting -------------------------------------------------------------------------------------------------------


def test_only_validators_attest_and_once(play):
    """A trainer holds no dataset, a stranger no role; a second word is refused."""
    trainer, validator = play.trainers[0], play.validators[0]
    play.send(trainer, make_join(play, trainer))
    play.send(validator, make_join(play, validator, role=Role.VALIDATOR))
    assert play.send(trainer, Attest(play.task)).error == NotEligible.number
    assert play.send(play.stranger, Attest(play.task)).error == NotEligible.number
    assert play.send(validator, Attest(99)).error == NotFound.number
    assert play.send(validator, Attest(play.task)).error == 0
    assert play.send(validator, Attest(play.task)).error == AlreadyDone.number
    assert get_places(play.ledger.state, play.task).attested == 1


# --- leaving ---------------------------------------------------------------------------------------------------------


def test_who_leaves_while_the_task_opens_is_gone_at_once(play):
    """The stake unbonds, the deposit is back, and place and key are free again."""
    trainer, validator = play.trainers[0], play.validators[0]
    for person, role in ((trainer, Role.TRAINER), (validator, Role.VALIDATOR)):
        play.send(person, make_join(play, person, role=role))
    play.send(validator, Attest(play.task))
    before = play.balance(trainer)
    for person in (trainer, validator):
        assert play.send(person, Leave(play.task)).error == 0
        assert play.send(person, Leave(play.task)).error == NotEligible.number
    assert play.balance(trainer) >= before + DEVNET.seat_deposit_units - 2 * FEE
    places = get_places(play.ledger.state, play.task)
    assert (places.trainers, places.validators, places.attested) == (0, 0, 0)
    assert play.balance(trainer) < before + 100 * FML
    play.ledger.block(after_ms=DEVNET.unbonding_ms)
    assert play.balance(trainer) > before + 100 * FML
    assert play.send(trainer, make_join(play, trainer)).error == 0
    assert play.send(trainer, Leave(play.task)).error == 0
    assert play.send(play.trainers[1], make_join(play, play.trainers[1], key=trainer)).error == 0


def test_who_leaves_during_an_epoch_goes_when_it_settles(play):
    """The role lasts until then, with its duties and its pay; then the stake unbonds."""
    play.begin()
    leaver = play.trainers[0]
    assert play.send(leaver, Leave(play.task)).error == 0
    assert play.send(leaver, Leave(play.task)).error == AlreadyDone.number
    assert play.send(play.stranger, Leave(play.task)).error == NotEligible.number
    assert play.stake(leaver) == 100 * FML
    play.run_epoch()
    assert play.result(0).ranking[0].author == leaver.address
    assert play.result(0).ranking[0].reward_a > 0
    assert play.stake(leaver) == play.deposit(leaver) == 0
    assert leaver.address not in {seat.address for seat in play.epoch_record.seats}
    assert get_places(play.ledger.state, play.task).trainers == 2
    play.expect_conserved()


# --- ending ----------------------------------------------------------------------------------------------------------


def test_an_expired_task_returns_everything_but_the_fees(play):
    """Nobody is bonded any longer, and the escrow is the creator's again."""
    for person in play.trainers:
        play.ledger.join(person, play.task, Role.TRAINER)
    play.ledger.block()
    play.wait(Phase.EXPIRED)
    for person in play.trainers:
        assert play.balance(person) >= 10_000 * FML - FEE
    assert play.balance(play.creator) >= 10_000 * FML - DEVNET.registration_fee_units - FEE
    for kind in (b"s", b"d", b"p", b"u"):
        assert not list(purses.scan_purses(play.ledger.state, kind))
    assert not scan_active_tasks(play.ledger.state)
    assert not scan_tasks_of_creator(play.ledger.state, play.creator.address)


def test_keys_are_published_by_the_creator_after_the_end(play):
    """Early, foreign, wrong or repeated keys are refused; with both out, stake and deposit are free in a while."""
    task, creator = play.task, play.creator
    key_a = PublishKey(task, DatasetName.A, seed_of("key a"))
    key_b = PublishKey(task, DatasetName.B, seed_of("key b"))
    assert play.send(creator, key_a).error == WrongPhase.number
    play.begin().run_epoch().run_epoch()
    assert play.send(play.stranger, key_a).error == NotEligible.number
    assert play.send(creator, replace(key_a, key=key_b.key)).error == OutOfBounds.number
    assert play.send(creator, key_a).error == 0
    assert play.send(creator, key_a).error == AlreadyDone.number
    assert play.deposit(creator) == DEVNET.creator_deposit_units
    assert play.send(creator, key_b).error == 0
    assert play.record.published == (key_a.key, key_b.key)
    play.ledger.block(after_ms=DEVNET.evidence_age_ms - 1)
    assert play.deposit(creator) == DEVNET.creator_deposit_units
    play.ledger.block(after_ms=1)
    assert play.deposit(creator) == play.stake(creator) == 0
    assert not scan_tasks_of_creator(play.ledger.state, creator.address)
    play.ledger.block(after_ms=DEVNET.unbonding_ms + STEP_MS)
    assert not list(purses.scan_purses(play.ledger.state, b"u"))
    play.expect_conserved()
