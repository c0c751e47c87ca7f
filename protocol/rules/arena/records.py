"""The Arena's state records and their tables. Keys: task (8 bytes), epoch (8 bytes), then an address or a tag."""

from enum import IntEnum

from msgspec.structs import replace

from protocol.blobs import BlobId
from protocol.crypto import integer_bytes, wide_bytes
from protocol.errors import NotFound, WrongPhase
from protocol.rules.jobs import NOTHING_COUNTED, Counter, Job, Mark
from protocol.state import Overlay, StateView, Table
from protocol.transactions import Role, ScoreEntry, SealedKey, TaskSpec
from protocol.types import Address, Amount, Bytes32, Count, Digest, Record, WideAmount


class Phase(IntEnum):
    """Where a task stands. SUBMIT to CLAIM repeat every epoch."""

    OPENING = 1
    SUBMIT = 2
    OPEN = 3
    SCORE = 4
    REVEAL = 5
    CLAIM = 6
    FINISHED = 7
    EXPIRED = 8
    CANCELLED = 9
    # Within an epoch, only when something went wrong: other validators are drawn, a complaint is answered.
    REDRAW = 10
    ANSWER = 11


class Task(Job):
    """One Arena job. `has_submissions` once anything was entered: from then on it cannot be cancelled."""

    spec: TaskSpec
    has_submissions: bool
    phase: Phase
    epoch: Count
    published: tuple[Bytes32 | None, Bytes32 | None]

    def is_last_epoch(self) -> bool:
        """Return whether the current epoch decides on dataset B."""
        return self.epoch + 1 == self.spec.epochs

    def baseline(self) -> int:
        """Return the score that a model of the current epoch must beat to earn anything, in millionths.

        Each dataset has its own: what a constant answer scores is a matter of the targets that happen to be in it.
        """
        return (self.spec.dataset_b if self.is_last_epoch() else self.spec.dataset_a).baseline

    def begun(self) -> int:
        """Return how many epochs have begun."""
        return 0 if self.phase is Phase.OPENING else self.epoch + 1


class Member(Record):
    """An account's role in a task, and what it earned there itself; `passed_on` is what went to its delegators.

    `stake_sum` adds the stake that it counted with over the epochs it sat in.
    """

    role: Role
    vrf_key: Bytes32
    is_attested: bool
    is_leaving: bool
    epochs_claimed: Count
    stake_sum: WideAmount
    earned_a: Amount
    earned_b: Amount
    earned_validating: Amount
    passed_on: Amount


class Earned(Record):
    """What an account was paid in a task before it left it; with a new role it goes on from there."""

    earned_a: Amount
    earned_b: Amount
    earned_validating: Amount
    passed_on: Amount


class Places(Record):
    """How many members hold each role of a task, how many validators attested, and how many delegations there are.

    So that nobody need count them.
    """

    trainers: Count
    validators: Count
    attested: Count
    delegations: Count


class Seat(Record):
    """A trainer's place in an epoch, with the stake it counts with."""

    vrf_key: Bytes32
    address: Address
    stake: Amount


class Juror(Record):
    """A validator that may be drawn, or was drawn, for an epoch, with the stake it counts with."""

    address: Address
    stake: Amount


class Epoch(Record):
    """What froze for one epoch: the ring (seats sorted by key), and who may be drawn, or drawn again, by address.

    `drawn` are all that were drawn, in their order; the last draw is the *panel*, which follows `earlier` jurors of
    whom too few revealed. `is_drawn`, `is_key_released`, `sealed` and `complaints` are the panel's.
    """

    seats: tuple[Seat, ...]
    candidates: tuple[Juror, ...]
    drawn: tuple[Juror, ...]
    is_drawn: bool
    is_key_released: bool
    sealed: tuple[SealedKey, ...]
    clear_key: Bytes32 | None
    earlier: Count
    complaints: tuple[Address, ...]

    def panel(self) -> tuple[Juror, ...]:
        """Return who judges now: the jurors of the last draw."""
        return self.drawn[self.earlier :]

    def jurors_with_key(self) -> tuple[Juror, ...]:
        """Return the drawn that could judge: those whom the dataset's key was handed out to."""
        return self.drawn if self.is_key_released else self.drawn[: self.earlier]

    def is_on_panel(self, address: bytes) -> bool:
        """Return whether an account was chosen by the last draw."""
        return any(juror.address == address for juror in self.panel())


class Submission(Record):
    """One model entered for one epoch. `order` counts submissions of the epoch; `key` opens the blob."""

    order: Count
    blob: BlobId
    key_commitment: Digest
    key: Bytes32 | None
    author: Address | None


class ScoreSheet(Record):
    """A drawn validator's word: bound by the commitment, then revealed."""

    commitment: Digest
    entries: tuple[ScoreEntry, ...] | None


COUNTER = Table(b"N", Counter)
TASKS = Table(b"T", Task)
ACTIVE = Table(b"a", Mark)
CREATED = Table(b"c", Mark)
MEMBERS = Table(b"M", Member)
# Of accounts that left a task after they were paid in it.
LEFT = Table(b"L", Earned)
PLACES = Table(b"m", Places)
KEYS = Table(b"K", Mark)
EPOCHS = Table(b"E", Epoch)
SUBMISSIONS = Table(b"S", Submission)
SHEETS = Table(b"C", ScoreSheet)
# Tasks whose creators get their bonds back, by the time of that.
RELEASES = Table(b"b", Mark)
# Submissions that were proven to be no models.
PROVEN = Table(b"x", Mark)

NOTHING_EARNED = Earned(0, 0, 0, 0)

CLOSED_PHASES = (Phase.FINISHED, Phase.EXPIRED, Phase.CANCELLED)


def get_counter(state: StateView) -> Counter:
    """Return the counts of tasks."""
    return COUNTER.get(state) or NOTHING_COUNTED


def get_task(state: StateView, task: int) -> Task:
    """Return the task; raises `NotFound`."""
    record = TASKS.get(state, integer_bytes(task))
    if record is None:
        raise NotFound(f"there is no task {task}", task=task)
    return record


def put_task(state: Overlay, task: Task) -> None:
    """Set the task."""
    TASKS.put(state, task, integer_bytes(task.id))


def scan_active_tasks(state: StateView) -> list[Task]:
    """Return the tasks that are neither finished nor expired, by id."""
    return [get_task(state, int.from_bytes(key, "big")) for key, _ in ACTIVE.scan(state)]


def scan_tasks_of_creator(state: StateView, address: bytes) -> list[Task]:
    """Return all tasks that an account created and that still bind its deposit, by id."""
    return [get_task(state, int.from_bytes(key, "big")) for key, _ in CREATED.scan(state, address)]


def get_member(state: StateView, task: int, address: bytes) -> Member | None:
    """Return the account's role in the task, if it has one."""
    return MEMBERS.get(state, integer_bytes(task), address)


def scan_earned(state: StateView, task: int) -> list[tuple[bytes, Member | Earned]]:
    """Return all accounts that have or had a role in a task with what they were paid, sorted by address."""
    members: list[tuple[bytes, Member | Earned]] = [*MEMBERS.scan(state, integer_bytes(task))]
    return sorted([*members, *LEFT.scan(state, integer_bytes(task))], key=lambda entry: entry[0])


def put_member(state: Overlay, task: int, address: bytes, member: Member) -> None:
    """Set a member."""
    MEMBERS.put(state, member, integer_bytes(task), address)


def add_member(state: Overlay, task: int, address: bytes, role: Role, vrf_key: bytes) -> None:
    """Give an account a role, and take the place and the key that belong to it."""
    found = LEFT.get(state, integer_bytes(task), address) or NOTHING_EARNED
    LEFT.delete(state, integer_bytes(task), address)
    paid = (found.earned_a, found.earned_b, found.earned_validating, found.passed_on)
    put_member(state, task, address, Member(role, vrf_key, False, False, 0, wide_bytes(0), *paid))
    KEYS.put(state, Mark(), integer_bytes(task), vrf_key)
    places = get_places(state, task)
    if role is Role.TRAINER:
        put_places(state, task, replace(places, trainers=places.trainers + 1))
    else:
        put_places(state, task, replace(places, validators=places.validators + 1))


def attest_member(state: Overlay, task: int, address: bytes, member: Member) -> None:
    """Note that a validator holds the datasets."""
    put_member(state, task, address, replace(member, is_attested=True))
    places = get_places(state, task)
    put_places(state, task, replace(places, attested=places.attested + 1))


def delete_member(state: Overlay, task: int, address: bytes, member: Member) -> None:
    """Take a role from an account, and free its place and its key; what it was paid stays on record."""
    earned = Earned(member.earned_a, member.earned_b, member.earned_validating, member.passed_on)
    if earned != NOTHING_EARNED:
        LEFT.put(state, earned, integer_bytes(task), address)
    MEMBERS.delete(state, integer_bytes(task), address)
    KEYS.delete(state, integer_bytes(task), member.vrf_key)
    places = get_places(state, task)
    if member.role is Role.TRAINER:
        put_places(state, task, replace(places, trainers=places.trainers - 1))
    else:
        attested = places.attested - member.is_attested
        put_places(state, task, replace(places, validators=places.validators - 1, attested=attested))


def is_key_taken(state: StateView, task: int, vrf_key: bytes) -> bool:
    """Return whether a member of the task has this VRF key."""
    return KEYS.get(state, integer_bytes(task), vrf_key) is not None


def get_places(state: StateView, task: int) -> Places:
    """Return how many members a task has."""
    return PLACES.get(state, integer_bytes(task)) or Places(trainers=0, validators=0, attested=0, delegations=0)


def put_places(state: Overlay, task: int, places: Places) -> None:
    """Set how many members a task has."""
    PLACES.put(state, places, integer_bytes(task))


def scan_members(state: StateView, task: int, role: Role) -> list[tuple[bytes, Member]]:
    """Return the task's members in one role, sorted by address."""
    return [(address, member) for address, member in MEMBERS.scan(state, integer_bytes(task)) if member.role is role]


def get_epoch(state: StateView, task: int, epoch: int) -> Epoch:
    """Return an epoch that began; raises `NotFound`."""
    record = EPOCHS.get(state, integer_bytes(task), integer_bytes(epoch))
    if record is None:
        raise NotFound(f"epoch {epoch} of task {task} has not begun", task=task, epoch=epoch)
    return record


def put_epoch(state: Overlay, task: Task, epoch: Epoch) -> None:
    """Set the task's current epoch."""
    EPOCHS.put(state, epoch, integer_bytes(task.id), integer_bytes(task.epoch))


def get_submission(state: StateView, task: int, epoch: int, tag: bytes) -> Submission | None:
    """Return what was entered under a tag."""
    return SUBMISSIONS.get(state, integer_bytes(task), integer_bytes(epoch), tag)


def put_submission(state: Overlay, task: int, epoch: int, tag: bytes, submission: Submission) -> None:
    """Set a submission."""
    SUBMISSIONS.put(state, submission, integer_bytes(task), integer_bytes(epoch), tag)


def scan_submissions(state: StateView, task: int, epoch: int) -> list[tuple[bytes, Submission]]:
    """Return an epoch's submissions, sorted by tag."""
    return list(SUBMISSIONS.scan(state, integer_bytes(task), integer_bytes(epoch)))


def scan_opened(state: StateView, task: int, epoch: int) -> list[tuple[bytes, Submission]]:
    """Return the epoch's submissions that were opened, sorted by tag: those that are judged."""
    return [(tag, submission) for tag, submission in scan_submissions(state, task, epoch) if submission.key is not None]


def get_sheet(state: StateView, task: int, epoch: int, address: bytes) -> ScoreSheet | None:
    """Return a validator's commitment or scores for an epoch."""
    return SHEETS.get(state, integer_bytes(task), integer_bytes(epoch), address)


def put_sheet(state: Overlay, task: int, epoch: int, address: bytes, sheet: ScoreSheet) -> None:
    """Set a score sheet."""
    SHEETS.put(state, sheet, integer_bytes(task), integer_bytes(epoch), address)


def scan_sheets(state: StateView, task: int, epoch: int) -> list[tuple[bytes, ScoreSheet]]:
    """Return the epoch's score sheets, sorted by validator."""
    return list(SHEETS.scan(state, integer_bytes(task), integer_bytes(epoch)))


def require_phase(state: StateView, task: int, epoch: int, *phases: Phase) -> Task:
    """Return the task if it is in this epoch and one of these phases; raises `WrongPhase` or `NotFound`."""
    record = get_task(state, task)
    if record.epoch != epoch or record.phase not in phases:
        wanted = " or ".join(phase.name.lower() for phase in phases)
        raise WrongPhase(
            f"task {task} is in epoch {record.epoch}, phase {record.phase.name.lower()}; "
            f"this needs epoch {epoch}, phase {wanted}",
            task=task,
        )
    return record
