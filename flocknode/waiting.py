"""What tasks and alliances of an account wait for, and what its node does in them: part of the sentence of cause.

Read from the state alone; nothing here decides anything.
"""

from collections.abc import Callable, Iterator, Sequence

from flocknode.alliance_events import Namer, name_turn
from flocknode.rpc.records import WorkEvent
from protocol.params import Params
from protocol.rules.alliance.commitments import is_masked, is_private
from protocol.rules.alliance.masks import find_unopened
from protocol.rules.alliance.phases import count_trained, find_updates, get_voter_sheets
from protocol.rules.alliance.records import (
    Alliance,
    AlliancePhase,
    VoterSheet,
    get_participant,
    get_round,
    scan_active_alliances,
)
from protocol.rules.arena.records import (
    Phase,
    Task,
    get_epoch,
    get_member,
    get_places,
    get_sheet,
    scan_active_tasks,
    scan_opened,
    scan_submissions,
)
from protocol.rules.jobs import Funding
from protocol.state import StateView

# So many tasks and alliances are named; of more, how many there are.
MAX_JOBS = 3
SECOND_MS = 1_000
BEACON = "the beacon's draw"

# What each step awaits of a voter, who awaits it (the step before must have been done), and what it is called.
Did = Callable[[VoterSheet], bool]
VOTER_STEPS: dict[AlliancePhase, tuple[Did, Did, str]] = {
    AlliancePhase.HOLD: (lambda _: True, lambda sheet: sheet.held is not None, "voters to fetch the updates"),
    AlliancePhase.VOTE: (lambda sheet: sheet.held is not None, lambda sheet: sheet.commitment is not None, "votes"),
    AlliancePhase.REVEAL: (
        lambda sheet: sheet.commitment is not None,
        lambda sheet: sheet.ballot is not None,
        "votes to be revealed",
    ),
    AlliancePhase.CONFIRM: (
        lambda sheet: sheet.ballot is not None,
        lambda sheet: sheet.confirmation is not None,
        "voters to confirm the aggregate",
    ),
    AlliancePhase.DISPUTE: (
        lambda sheet: sheet.held is not None,
        lambda sheet: sheet.opens is not None,
        "voters to add up the sum",
    ),
    AlliancePhase.VERDICT: (
        lambda sheet: sheet.opens is not None,
        lambda sheet: sheet.liars is not None,
        "voters to name who lied",
    ),
}


def takes_part(view: StateView, job: Task | Alliance, address: bytes) -> bool:
    """Return whether an account created a task or an alliance, or has a role in it."""
    if job.creator == address:
        return True
    if isinstance(job, Task):
        return get_member(view, job.id, address) is not None
    return get_participant(view, job.id, address) is not None


def describe_calm(height: int, *, pending: int) -> str:
    """Return the sentence of cause of a node that nothing keeps waiting; `pending` transactions wait for the height."""
    if pending:
        return f"height {height} is being agreed on"
    return f"idle: height {height} begins with the next transaction or deadline"


def describe_jobs(
    view: StateView, params: Params, address: bytes, *, name: Namer, works: Sequence[WorkEvent], now_ms: int
) -> list[str]:
    """Return a sentence on each task and alliance of an account that has not ended, tasks first, a few of them.

    `name` gives an account's name for people, `works` is what the node is busy with, `now_ms` the time since the Unix
    epoch.
    """
    jobs: list[Task | Alliance] = [*scan_active_tasks(view), *scan_active_alliances(view)]
    own = [job for job in jobs if takes_part(view, job, address)]
    sentences = []
    for job in own[:MAX_JOBS]:
        missing = (
            describe_task(view, params, job, name) if isinstance(job, Task) else describe_alliance(view, job, name)
        )
        parts = [f"waits for {missing}{describe_deadline(job, now_ms)}", *describe_works(job, works)]
        sentences.append(f"{describe_place(job)}: {'; '.join(parts)}")
    if len(own) > MAX_JOBS:
        sentences.append(f"and {len(own) - MAX_JOBS} more")
    return sentences


def describe_awaited(view: StateView, params: Params, job: Task | Alliance, name: Namer) -> str:
    """Return what a task or an alliance waits for."""
    return describe_task(view, params, job, name) if isinstance(job, Task) else describe_alliance(view, job, name)


def describe_place(job: Task | Alliance) -> str:
    """Return which task or alliance it is, and where it stands, as people count."""
    if isinstance(job, Task):
        return f"task {job.id}" + ("" if job.phase is Phase.OPENING else f", epoch {job.epoch + 1}")
    return f"alliance {job.id}" + ("" if job.phase is AlliancePhase.OPENING else f", round {job.round + 1}")


def describe_deadline(job: Task | Alliance, now_ms: int) -> str:
    """Return how long its phase may last still; nothing where a draw ends it."""
    if job.deadline_ms is None:
        return ""
    left_s = (job.deadline_ms - now_ms) // SECOND_MS
    return f", at most {left_s:,} s more" if left_s > 0 else ", until the next block"


def describe_works(job: Task | Alliance, works: Sequence[WorkEvent]) -> Iterator[str]:
    """Yield what the node is busy with for it."""
    prefix = f"{'task' if isinstance(job, Task) else 'alliance'} {job.id} "
    for work in works:
        if work.subject.startswith(prefix):
            far = f", {work.done} of {work.total} {work.unit}" if work.total else ""
            yield f"this node is {work.kind}{far}"


def lacking(missing: int, of: int, what: str) -> str:
    """Return how many are awaited of all that should come."""
    return f"{missing} of {of} {what}"


# --- alliances -------------------------------------------------------------------------------------------------------


def describe_alliance(view: StateView, alliance: Alliance, name: Namer) -> str:
    """Return what an alliance waits for."""
    if alliance.phase in VOTER_STEPS:
        return describe_voters(view, alliance)
    trained = count_trained(view, alliance) if alliance.phase in (AlliancePhase.TRAIN, AlliancePhase.SEAL) else 0
    match alliance.phase:
        case AlliancePhase.OPENING if alliance.places < alliance.spec.participants:
            return lacking(alliance.spec.participants - alliance.places, alliance.spec.participants, "participants")
        case AlliancePhase.OPENING:
            return "governance to verify it"
        case AlliancePhase.TRAIN:
            proposers = len(get_round(view, alliance.id, alliance.round).proposers)
            return lacking(proposers - trained, proposers, "commitments" if is_private(alliance) else "updates")
        case AlliancePhase.SEAL:
            kind = "masked" if is_masked(alliance) else "sealed"
            return lacking(trained - len(find_updates(view, alliance)), trained, f"{kind} updates")
        case AlliancePhase.AGGREGATE:
            return f"{name_turn(get_round(view, alliance.id, alliance.round), name)}'s sum of the updates"
        case AlliancePhase.UNMASK:
            frozen = get_round(view, alliance.id, alliance.round).frozen
            return lacking(len(find_unopened(view, alliance)), len(frozen), "masks to be opened")
        case _:
            return BEACON


def describe_voters(view: StateView, alliance: Alliance) -> str:
    """Return how many voters have not done what the step asks of them."""
    is_awaited, is_done, what = VOTER_STEPS[alliance.phase]
    sheets = get_voter_sheets(view, alliance)
    awaited = [sheet for sheet in sheets if is_awaited(sheet)]
    return lacking(sum(not is_done(sheet) for sheet in awaited), len(awaited), what)


# --- tasks -----------------------------------------------------------------------------------------------------------


def describe_task(view: StateView, params: Params, task: Task, name: Namer) -> str:
    """Return what a task waits for."""
    epoch = None if task.phase is Phase.OPENING else get_epoch(view, task.id, task.epoch)
    if epoch is None:
        return describe_opening(view, params, task)
    opened = scan_opened(view, task.id, task.epoch)
    match task.phase:
        case Phase.SUBMIT if not epoch.seats:
            return BEACON
        case Phase.SUBMIT:
            made = len(scan_submissions(view, task.id, task.epoch))
            return lacking(len(epoch.seats) - made, len(epoch.seats), "models")
        case Phase.OPEN | Phase.REDRAW if not epoch.is_drawn:
            return BEACON
        case Phase.OPEN | Phase.REDRAW if not epoch.is_key_released:
            return f"{name(task.creator)} to hand out the dataset's key"
        case Phase.OPEN | Phase.REDRAW:
            made = len(scan_submissions(view, task.id, task.epoch))
            return lacking(made - len(opened), made, "models to be opened")
        case Phase.ANSWER:
            return f"{name(task.creator)} to publish the dataset's key"
        case Phase.CLAIM:
            return lacking(sum(one.author is None for _, one in opened), len(opened), "models to be claimed")
        case _:
            return describe_jurors(view, task)


def describe_opening(view: StateView, params: Params, task: Task) -> str:
    """Return what a task needs to open: money, members, and validators that have its datasets."""
    places = get_places(view, task.id)
    if task.funding is Funding.AWAITED:
        return "governance to verify it"
    wanted = []
    if places.trainers < params.min_trainers:
        wanted.append(lacking(params.min_trainers - places.trainers, params.min_trainers, "trainers"))
    validators = max(params.min_validators, places.validators)
    if places.attested < validators:
        wanted.append(lacking(validators - places.attested, validators, "validators with its datasets"))
    return " and ".join(wanted) or "the next block"


def describe_jurors(view: StateView, task: Task) -> str:
    """Return how many of the drawn validators have not committed to their scores, or not shown them."""
    panel = get_epoch(view, task.id, task.epoch).panel()
    sheets = [get_sheet(view, task.id, task.epoch, juror.address) for juror in panel]
    if task.phase is Phase.SCORE:
        return lacking(sum(sheet is None for sheet in sheets), len(sheets), "validators to score")
    committed = [sheet for sheet in sheets if sheet is not None]
    return lacking(sum(sheet.entries is None for sheet in committed), len(committed), "scores to be revealed")
