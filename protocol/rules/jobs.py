"""What a task of the Arena and an alliance have in common: a creator, money, and phases that end at a block's end.

Phases close early when every expected act was applied, otherwise at the deadline, but only once proposers with more
than 1/3 of the voting power have made blocks in the phase. So neither an outage nor one censoring proposer gets an
honest account slashed. A draw waits for as many proposers since those that may be drawn were frozen: so nobody whose
block comes just then can choose its result.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum
from typing import Generic, TypeVar

from msgspec.structs import replace

from protocol.rules.context import Context
from protocol.state import Overlay, StateView
from protocol.tendermint.replicas import is_skip
from protocol.types import Address, Bytes32, Count, Height, Record, TimeMs


class Funding(IntEnum):
    """What pays a job: its creator's escrow; nothing yet, for it awaits verification; the emission as well."""

    ESCROW = 1
    AWAITED = 2
    VERIFIED = 3


class Mark(Record):
    """An entry of an index; the key says it all."""


class Job(Record):
    """A task or an alliance. Ids count from 1, for each kind by itself.

    `block_proposers` are those who proposed blocks in this phase; `deadline_ms` None waits for a draw.
    """

    id: Count
    creator: Address
    funding: Funding
    phase_height: Height
    deadline_ms: TimeMs | None
    block_proposers: tuple[Bytes32, ...]


class Counter(Record):
    """How many jobs of a kind were ever created, with ids from 1, and how many verified ones have not ended."""

    created: Count
    verified: Count


NOTHING_COUNTED = Counter(created=0, verified=0)

J = TypeVar("J", bound=Job)


@dataclass(frozen=True)
class PhaseRule(Generic[J]):
    """When a phase is over before its deadline, and what its end does."""

    is_complete: Callable[[StateView, Context, J], bool]
    close: Callable[[Overlay, Context, J], None]


def with_block(context: Context, job: J) -> J:
    """Return the job with the block's proposer counted, and its deadline moved by an outage before the block."""
    proposers = tuple(sorted({*job.block_proposers, context.proposer_key}))
    gap_ms, deadline_ms = context.time_ms - context.previous_time_ms, job.deadline_ms
    is_outage = context.height > 1 and gap_ms > context.params.max_block_gap_ms
    # A job that this block created counts from here.
    if deadline_ms is not None and is_outage and job.phase_height < context.height:
        deadline_ms += gap_ms
    return replace(job, block_proposers=proposers, deadline_ms=deadline_ms)


def in_phase(context: Context, job: J, phase: IntEnum, length_ms: int | None) -> J:
    """Return the job in a phase that begins at this block; a length of None has no deadline yet."""
    deadline_ms = None if length_ms is None else context.time_ms + length_ms
    return replace(job, phase=phase, phase_height=context.height, deadline_ms=deadline_ms, block_proposers=())


def is_past_deadline(context: Context, job: Job) -> bool:
    """Return whether the time is over and enough different proposers had the chance to include an act."""
    return job.deadline_ms is not None and context.time_ms >= job.deadline_ms and has_enough_proposers(context, job)


def has_enough_proposers(context: Context, job: Job) -> bool:
    """Return whether proposers with more than 1/3 of the power made blocks in the phase: one of them is honest."""
    power = sum(context.replicas.power_of(key) for key in job.block_proposers)
    return is_skip(power, context.replicas.total_power())


def is_due(job: Job, now_ms: int) -> bool:
    """Return whether a block would do something for the job without a transaction: a draw waits, or time is over."""
    return job.deadline_ms is None or job.deadline_ms <= now_ms
