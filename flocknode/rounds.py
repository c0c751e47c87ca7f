"""Tells people what each block did: one line per block, and one for what it began in tasks and alliances of this node.

What happened to these was written down with the block (`flocknode.task_events`); this module only passes it on. Events
for subscribers cover all of them, the log only this account's.
"""

from itertools import chain, takewhile

import structlog

from flocknode.alliance_events import make_alliance_event
from flocknode.block_history import describe_commit
from flocknode.chain import Chain
from flocknode.logs import get_round_fields
from flocknode.rpc.events import EventHub
from flocknode.rpc.records import AllianceEvent, JobEvent, TaskEvent
from flocknode.task_events import TaskHistory, encode_event, get_position, make_event
from flocknode.waiting import takes_part
from protocol.blocks import Block
from protocol.rules.alliance.records import Alliance, get_alliance
from protocol.rules.arena.records import Task, get_task
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
            if self._is_ours(event):
                ours.append(event)
        if ours:
            # With the block's own line that makes two, whatever happened in it.
            first, *others = ours
            text = "; ".join([first.text, *(f"{one.name} {place_of(one)} {one.phase}: {one.text}" for one in others)])
            log.info("round", height=block.header.height, **{**get_round_fields(first), "text": text})

    def report(self, job: Task | Alliance, text: str) -> None:
        """Tell what this node does for a task or an alliance."""
        height, index = place = self._chain.store.next_task_event()
        event: JobEvent
        if isinstance(job, Task):
            event = make_event(job, height=height, index=index, epoch=job.epoch, phase=WORK, text=text)
        else:
            event = make_alliance_event(job, height=height, index=index, round=job.round, phase=WORK, text=text)
        self._chain.store.append_task_event(encode_event(event), place)
        self._hub.publish("tasks", event)
        log.debug("round", **get_round_fields(event))

    def _load_events(self, height: int) -> list[JobEvent]:
        """Return what a block did to tasks; what this node does at its height is told at once, by itself."""
        end = get_position((height + 1, 0))
        stored = chain.from_iterable(self._history.pages(get_position((height, 0))))
        events = [event for _, event in takewhile(lambda item: item[0] < end, stored)]
        return [event for event in events if isinstance(event, TaskEvent | AllianceEvent) and event.phase != WORK]

    def _is_ours(self, event: JobEvent) -> bool:
        view = self._chain.view
        job = get_task(view, event.task) if isinstance(event, TaskEvent) else get_alliance(view, event.alliance)
        return takes_part(view, job, self._address)


def place_of(event: JobEvent) -> str:
    """Return the epoch of a task or the round of an alliance, as people count them."""
    return f"e{event.epoch + 1}" if isinstance(event, TaskEvent) else f"t{event.round + 1}"
