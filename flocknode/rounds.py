"""Tells people what each block did: one line per block, and one for what it began in tasks of this node.

What happened to tasks was written down with the block (`flocknode.task_events`); this module only passes it on. Events
for subscribers cover all tasks, the log only this account's.
"""

from itertools import chain, takewhile

import structlog

from flocknode.block_history import describe_commit
from flocknode.chain import Chain
from flocknode.rpc.events import EventHub
from flocknode.rpc.records import TaskEvent
from flocknode.task_events import TaskHistory, encode_event, get_position, make_event
from protocol.blocks import Block
from protocol.rules.arena.records import Task, get_member, get_task
from protocol.tendermint.messages import Commit

log = structlog.get_logger()

# The phase of an event that tells what this node did, where others name a phase of the task.
WORK = "work"


class Rounds:
    """Follows the log for its readers, on behalf of an account."""

    def __init__(self, chain: Chain, *, hub: EventHub, address: bytes) -> None:
        self._chain = chain
        self._hub = hub
        self._address = address
        self._history = TaskHistory(chain.store)

    def observe(self, block: Block, commit: Commit, *, duration_ms: int) -> None:
        """Tell what a block that was committed did; `duration_ms` is the time since its height began."""
        replicas = len(self._chain.voters.previous.replicas)
        self._hub.publish("blocks", describe_commit(block, commit, replicas=replicas, duration_ms=duration_ms))
        ours = []
        for event in self._load_events(block.header.height):
            self._hub.publish("tasks", event)
            if self._is_ours(event.task):
                ours.append(event)
        if ours:
            # With the block's own line that makes two, whatever happened in it.
            first, *others = ours
            text = "; ".join([first.text, *(f"{one.name} e{one.epoch + 1} {one.phase}: {one.text}" for one in others)])
            about = {"task": first.name, "epoch": first.epoch + 1, "phase": first.phase, "text": text}
            log.info("round", height=block.header.height, **about)

    def report(self, task: Task, text: str) -> None:
        """Tell what this node does for a task."""
        height, index = place = self._chain.store.next_task_event()
        event = make_event(task, height=height, index=index, epoch=task.epoch, phase=WORK, text=text)
        self._chain.store.append_task_event(encode_event(event), place)
        self._hub.publish("tasks", event)
        log.debug("round", task=task.spec.name, epoch=task.epoch + 1, phase=WORK, text=text)

    def _load_events(self, height: int) -> list[TaskEvent]:
        """Return what a block did to tasks; what this node does at its height is told at once, by itself."""
        end = get_position((height + 1, 0))
        stored = chain.from_iterable(self._history.pages(get_position((height, 0))))
        events = [event for _, event in takewhile(lambda item: item[0] < end, stored)]
        return [event for event in events if isinstance(event, TaskEvent) and event.phase != WORK]

    def _is_ours(self, number: int) -> bool:
        view = self._chain.view
        return get_task(view, number).creator == self._address or get_member(view, number, self._address) is not None
