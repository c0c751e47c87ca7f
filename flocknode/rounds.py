"""Tells people what each block did: one line per block, and one for what it began in tasks of this node.

Reads the state before and after a block; nothing in it decides anything. Events for subscribers cover all tasks, the
log only this account's.
"""

from collections.abc import Callable, Mapping

import structlog

from flocknode.block_history import describe_commit
from flocknode.chain import Chain
from flocknode.rpc.events import EventHub
from flocknode.rpc.records import TaskEvent
from protocol.blocks import Block
from protocol.crypto import integer_bytes
from protocol.rules.arena.records import (
    RESULTS,
    EpochResult,
    Phase,
    Task,
    get_epoch,
    get_member,
    get_task,
    scan_active_tasks,
    scan_members,
    scan_opened,
    scan_sheets,
    scan_submissions,
)
from protocol.state import StateView
from protocol.tendermint.messages import Commit
from protocol.transactions import Role
from protocol.types import UNITS_PER_FML

log = structlog.get_logger()

TAG_DIGITS = 8
# The phase of an event that tells what this node did, where others name a phase of the task.
WORK = "work"


class Rounds:
    """Follows the log for its readers. `names` are those of the genesis document, by address."""

    def __init__(self, chain: Chain, *, hub: EventHub, address: bytes, names: Mapping[bytes, str]) -> None:
        self._chain = chain
        self._hub = hub
        self._address = address
        self._names = names
        self._known = {task.id: (task.epoch, task.phase) for task in scan_active_tasks(chain.view)}
        self._best: dict[int, int] = {}

    def observe(self, block: Block, commit: Commit, *, duration_ms: int) -> None:
        """Tell what a block that was just committed did; `duration_ms` is the time since its height began."""
        replicas = len(self._chain.voters.previous.replicas)
        self._hub.publish("blocks", describe_commit(block, commit, replicas=replicas, duration_ms=duration_ms))
        ours = [event for event in self._observe_tasks() if self._is_ours(event.task)]
        if ours:
            # With the block's own line that makes two, whatever happened in it.
            first, *others = ours
            text = "; ".join([first.text, *(f"{one.name} e{one.epoch + 1} {one.phase}: {one.text}" for one in others)])
            log.info("round", task=first.name, epoch=first.epoch + 1, phase=first.phase, text=text)

    def report(self, task: Task, text: str) -> None:
        """Tell what this node does for a task."""
        self._tell(task, WORK, text)
        log.debug("round", task=task.spec.name, epoch=task.epoch + 1, phase=WORK, text=text)

    def _observe_tasks(self) -> list[TaskEvent]:
        view, told = self._chain.view, []
        active = {task.id: task for task in scan_active_tasks(view)}
        ended = {number: get_task(view, number) for number in self._known.keys() - active.keys()}
        for number, task in sorted({**active, **ended}.items()):
            before, now = self._known.get(number), (task.epoch, task.phase)
            if before == now:
                continue
            if before is not None and before[1] is Phase.CLAIM:
                told.append(self._tell_settled(view, task, before[0]))
            told.append(self._tell(task, task.phase.name.lower(), describe_phase(view, task, self._name)))
            self._known[number] = now
            if number in ended:
                del self._known[number]
        return told

    def _tell_settled(self, view: StateView, task: Task, epoch: int) -> TaskEvent:
        result = RESULTS.get(view, integer_bytes(task.id), integer_bytes(epoch))
        assert result is not None, "an epoch that was settled has a result"
        scores = [ranked.score for ranked in result.ranking if ranked.score is not None and ranked.rank]
        text = describe_result(result, self._name)
        if scores:
            best = max(scores)
            gain = "" if task.id not in self._best else f" ({(best - self._best[task.id]) / 1e6:+.4f})"
            text = f"{text}  best {best / 1e6:.4f}{gain}"
            self._best[task.id] = best
        return self._tell(task, "settled", text, epoch=epoch)

    def _tell(self, task: Task, phase: str, text: str, epoch: int | None = None) -> TaskEvent:
        event = TaskEvent(
            height=self._chain.head.height,
            task=task.id,
            name=task.spec.name,
            epoch=task.epoch if epoch is None else epoch,
            phase=phase,
            text=text,
        )
        self._hub.publish("tasks", event)
        return event

    def _is_ours(self, number: int) -> bool:
        view = self._chain.view
        return get_task(view, number).creator == self._address or get_member(view, number, self._address) is not None

    def _name(self, address: bytes) -> str:
        return self._names.get(address, address.hex()[:TAG_DIGITS])


def describe_phase(view: StateView, task: Task, name: Callable[[bytes], str]) -> str:
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
            drawn = ", ".join(name(juror.address) for juror in get_epoch(view, task.id, task.epoch).drawn)
            return f"{len(scan_opened(view, task.id, task.epoch))} models opened; {drawn} evaluate blindly"
        case Phase.REVEAL:
            return f"{len(scan_sheets(view, task.id, task.epoch))} validators committed to their scores"
        case Phase.CLAIM:
            return "scores are revealed; authors claim their pseudonyms"
        case Phase.FINISHED:
            return "everything is paid, stakes are released"
        case Phase.EXPIRED:
            return "too few members came: everything is returned"


def describe_result(result: EpochResult, name: Callable[[bytes], str]) -> str:
    """Return a settled epoch in a line: places, pseudonyms, authors, payouts."""
    places = [
        f"{ranked.rank or '-'}. {ranked.tag.hex()[:TAG_DIGITS]} = "
        f"{name(ranked.author) if ranked.author else 'unclaimed'} "
        f"{(ranked.score or 0) / 1e6:.4f} +{(ranked.reward_a + ranked.reward_b) / UNITS_PER_FML:.2f} FML"
        for ranked in result.ranking
    ]
    validators = sum(1 for payout in result.validators if payout.earned)
    return f"{len(result.ranking)} submissions, {validators} validators paid; {'; '.join(places) or 'no models'}"
