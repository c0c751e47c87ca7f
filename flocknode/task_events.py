"""What a block did to tasks and alliances, as events that tell of it: a pure function of the state before and after.

So every node tells the same, the events are stored with their block, and a reader finds those of any height.
"""

from collections.abc import Generator, Iterator, Mapping

import msgspec

from flocknode.alliance_events import Namer, make_alliance_event, tell_alliances
from flocknode.rpc.history import PAGE_EVENTS, Page
from flocknode.rpc.records import AllianceEvent, Event, JobEvent, TaskEvent
from protocol.crypto import integer_bytes
from protocol.rules.arena.records import (
    TASKS,
    Phase,
    Task,
    get_epoch,
    scan_members,
    scan_opened,
    scan_sheets,
    scan_submissions,
)
from protocol.rules.arena.results import RESULTS, EpochResult
from protocol.state import Overlay, StateView
from protocol.transactions import Role
from protocol.types import UNITS_PER_FML
from storage.log import ChainStore, TaskEventPlace

TAG_DIGITS = 8
MILLION = 10**6
# A position is the height, then so many bits for the index of the event at that height.
INDEX_BITS = 32

DECODER: msgspec.json.Decoder[JobEvent] = msgspec.json.Decoder(JobEvent)


def describe_changes(
    before: StateView, changes: Mapping[bytes, bytes | None], *, height: int, name: Namer
) -> list[JobEvent]:
    """Return what a block's changes of the state did to tasks, then to alliances, each by number.

    `name` gives an account's name for people.
    """
    after = Overlay(before)
    for key, value in changes.items():
        after.put(key, value)
    events: list[JobEvent] = []
    for task, epoch, phase, text in tell_tasks(before, after, changes, name):
        events.append(make_event(task, height=height, index=len(events), epoch=epoch, phase=phase, text=text))
    for alliance, round, phase, text in tell_alliances(before, after, changes, name):
        index = len(events)
        events.append(make_alliance_event(alliance, height=height, index=index, round=round, phase=phase, text=text))
    return events


def tell_tasks(
    before: StateView, after: StateView, changes: Mapping[bytes, bytes | None], name: Namer
) -> Iterator[tuple[Task, int, str, str]]:
    """Yield (task, epoch, phase, sentence) of what a block's changes did to tasks."""
    for key in sorted(key for key in changes if key.startswith(TASKS.prefix)):
        number = key.removeprefix(TASKS.prefix)
        old, task = TASKS.get(before, number), TASKS.get(after, number)
        if task is None or (old is not None and (old.epoch, old.phase) == (task.epoch, task.phase)):
            continue
        if old is not None and old.phase is Phase.CLAIM:
            yield task, old.epoch, "settled", describe_settled(after, task, old.epoch, name)
        yield task, task.epoch, task.phase.name.lower(), describe_phase(after, task, name)


def make_event(task: Task, *, height: int, index: int, epoch: int, phase: str, text: str) -> TaskEvent:
    """Return the event of a task; `index` is its place among those of its height."""
    return TaskEvent(height=height, index=index, task=task.id, name=task.spec.name, epoch=epoch, phase=phase, text=text)


def describe_phase(view: StateView, task: Task, name: Namer) -> str:
    """Return what a phase that just began waits for, or how the task ended."""
    match task.phase:
        case Phase.OPENING:
            return f"task {task.id} created by {name(task.creator)}, {task.spec.epochs} epochs; waits for members"
        case Phase.SUBMIT:
            seats = len(get_epoch(view, task.id, task.epoch).seats)
            validators = len(scan_members(view, task.id, Role.VALIDATOR))
            dataset = "B" if task.is_last_epoch() else "A"
            return f"open for models: {seats} trainers, {validators} validators, dataset {dataset}"
        case Phase.OPEN:
            tags = ", ".join(tag.hex()[:TAG_DIGITS] for tag, _ in scan_submissions(view, task.id, task.epoch))
            return f"entering closed; pseudonyms {tags or 'none'}; the beacon draws validators"
        case Phase.SCORE:
            drawn = ", ".join(name(juror.address) for juror in get_epoch(view, task.id, task.epoch).panel())
            return f"{len(scan_opened(view, task.id, task.epoch))} models opened; {drawn} evaluate blindly"
        case Phase.ANSWER:
            accusers = ", ".join(name(address) for address in get_epoch(view, task.id, task.epoch).complaints)
            return f"{accusers} cannot open dataset A; {name(task.creator)} must publish its key"
        case Phase.REDRAW:
            return "too few revealed their scores; the beacon draws other validators"
        case Phase.REVEAL:
            return f"{len(scan_sheets(view, task.id, task.epoch))} validators committed to their scores"
        case Phase.CLAIM:
            return "scores are revealed; authors claim their pseudonyms"
        case Phase.FINISHED:
            return "everything is paid, stakes are released"
        case Phase.EXPIRED:
            return "too few members came, or nobody verified it: everything is returned"
        case Phase.CANCELLED:
            return f"{name(task.creator)} called it off: everything is returned"


def describe_settled(view: StateView, task: Task, epoch: int, name: Namer) -> str:
    """Return a settled epoch in a line, with its best score and what that gained on the epoch before."""
    result = get_result(view, task, epoch)
    assert result is not None, "an epoch that was settled has a result"
    text, best = describe_result(result, name), find_best(result)
    if best is None:
        return text
    before = find_best(get_result(view, task, epoch - 1)) if epoch else None
    gain = "" if before is None else f" ({(best - before) / MILLION:+.4f})"
    return f"{text}  best {best / MILLION:.4f}{gain}"


def describe_result(result: EpochResult, name: Namer) -> str:
    """Return a settled epoch in a line: places, pseudonyms, authors, payouts."""
    places = [
        f"{ranked.rank or '-'}. {ranked.tag.hex()[:TAG_DIGITS]} = "
        f"{name(ranked.author) if ranked.author else 'unclaimed'} "
        f"{(ranked.score or 0) / MILLION:.4f} +{(ranked.reward_a + ranked.reward_b) / UNITS_PER_FML:.2f} FML"
        for ranked in result.ranking
    ]
    validators = sum(1 for payout in result.validators if payout.earned)
    return f"{len(result.ranking)} submissions, {validators} validators paid; {'; '.join(places) or 'no models'}"


def get_result(view: StateView, task: Task, epoch: int) -> EpochResult | None:
    """Return what came of an epoch that was settled."""
    return RESULTS.get(view, integer_bytes(task.id), integer_bytes(epoch))


def find_best(result: EpochResult | None) -> int | None:
    """Return the best score of those that were ranked."""
    ranking = () if result is None else result.ranking
    return max((ranked.score for ranked in ranking if ranked.score is not None and ranked.rank), default=None)


# --- as they are stored -----------------------------------------------------------------------------------------------


def encode_event(event: JobEvent) -> bytes:
    """Return an event as it is stored."""
    return msgspec.json.encode(event)


class TaskHistory:
    """The past of the topic `tasks`: what each block did to tasks and alliances, and this node for them, from the disk.

    An event's position is its height and its index there.
    """

    def __init__(self, store: ChainStore) -> None:
        self._store = store

    def next_position(self) -> int:
        """Return the position of the next event of the newest height, should this node do something now."""
        return get_position(self._store.next_task_event())

    def find(self, start: int) -> int:
        """Return the position of the first event at a height: the past is whole."""
        return get_position((start, 0))

    def pages(self, position: int) -> Generator[Page, None, None]:
        """Yield the events from a position on that are stored."""
        while page := self.load(position):
            yield page
            position = page[-1][0] + 1

    def position_of(self, event: Event) -> int | None:
        """Return the position: what comes live is stored already."""
        assert isinstance(event, TaskEvent | AllianceEvent), "the topic of tasks"
        return get_position((event.height, event.index))

    def load(self, position: int) -> list[tuple[int, JobEvent]]:
        """Return the first events from a position on."""
        place = position >> INDEX_BITS, position & (1 << INDEX_BITS) - 1
        return [
            (get_position(found), DECODER.decode(data))
            for found, data in self._store.load_task_events(place, PAGE_EVENTS)
        ]


def get_position(place: TaskEventPlace) -> int:
    """Return the number that orders an event by its height and its index there."""
    height, index = place
    return height << INDEX_BITS | index
