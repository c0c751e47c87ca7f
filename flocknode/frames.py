"""How jobs, and what comes of them, travel between the node and its learning worker.

A frame is 4 bytes of length, big endian, then canonical MessagePack.
"""

from typing import Any, cast

from flocknode.jobs import AllianceJob, AllianceResult, ArenaJob, ArenaResult, Reason
from flocknode.masked_jobs import MaskedJob, MaskedResult
from flocknode.private_jobs import PrivateJob, PrivateResult
from protocol.codec import decode, encode
from protocol.models import MetricValue
from protocol.types import Count, Record

FRAME_LENGTH_BYTES = 4
MAX_FRAME_BYTES = 8 * 1024 * 1024

Job = ArenaJob | AllianceJob | PrivateJob | MaskedJob
Result = ArenaResult | AllianceResult | PrivateResult | MaskedResult


class Hello(Record, tag=21):
    """The child runs and takes jobs."""


class Progress(Record, tag=22):
    """How far a job is; what is counted depends on the job: parts, steps, submissions. A training tells its loss."""

    done: Count
    total: Count
    loss_millionths: MetricValue | None


class Failed(Record, tag=23):
    """The job cannot be done; the child goes on."""

    reason: Reason


class GiveWay(Record, tag=31):
    """To the child: another job waits, so a training with a checkpoint should pause. Means nothing to other jobs."""


FromWorker = Hello | Progress | Failed | Result


def encode_frame(message: Job | GiveWay | FromWorker) -> bytes:
    """Return a message as a frame; asserts that it is not too long."""
    body = encode(message)
    assert len(body) <= MAX_FRAME_BYTES, f"a frame of {len(body)} bytes"
    return len(body).to_bytes(FRAME_LENGTH_BYTES, "big") + body


def frame_length(header: bytes) -> int:
    """Return how many bytes follow a frame's header; asserts that they are not too many."""
    length = int.from_bytes(header, "big")
    assert length <= MAX_FRAME_BYTES, f"a frame of {length} bytes"
    return length


def decode_request(body: bytes) -> Job | GiveWay:
    """Return what the parent says in a frame's body; raise `Malformed` for a job that leaves its bounds."""
    request: Job | GiveWay = decode(body, cast(Any, Job | GiveWay), max_bytes=MAX_FRAME_BYTES)
    return request


def decode_answer(body: bytes) -> FromWorker:
    """Return what the child says in a frame's body."""
    answer: FromWorker = decode(body, cast(Any, FromWorker), max_bytes=MAX_FRAME_BYTES)
    return answer
