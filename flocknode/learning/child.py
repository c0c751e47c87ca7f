"""The worker's process: says hello, imports torch, then does one job after the other until its input ends.

Frames go out on the descriptor that was stdout; stdout itself becomes stderr, so that no library's print can break a
frame. The process dies with its parent.
"""

import argparse
import os
import resource
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from flocknode.jobs import (
    FRAME_LENGTH_BYTES,
    Canonicalise,
    Canonicalised,
    Evaluate,
    Failed,
    FromWorker,
    Hello,
    Job,
    Progress,
    ProgressReport,
    SplitDataset,
    Train,
    decode_job,
    encode_frame,
    frame_length,
    shorten,
)
from flocknode.learning.errors import LearningError
from flocknode.processes import die_with, take_over_pipes
from protocol.errors import ProtocolError

PROGRESS_INTERVAL_S = 0.1
NICENESS = 10

Performers = dict[type[Job], Callable[[Any, ProgressReport], FromWorker]]


def main() -> None:
    """Serve jobs from standard input; see the module's docstring. Arguments: --parent PID --memory-bytes N."""
    parser = argparse.ArgumentParser(prog="python -m flocknode.learning")
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--memory-bytes", type=int, required=True)
    arguments = parser.parse_args()
    die_with(arguments.parent)
    os.nice(NICENESS)
    # Written memory, not addresses: CUDA reserves far more addresses than it ever uses.
    resource.setrlimit(resource.RLIMIT_DATA, (arguments.memory_bytes, arguments.memory_bytes))
    requests, answers = take_over_pipes()
    _send(answers, Hello())
    performers = _load_performers()
    while (request := _receive(requests)) is not None:
        _send(answers, _perform(performers, request, _reporter(answers)))


def _load_performers() -> Performers:
    # Takes seconds: after the hello, so that nobody waits for it, and before the first job.
    from flocknode.learning.device import prepare_torch
    from flocknode.learning.evaluate import evaluate_submissions
    from flocknode.learning.train import train_model

    prepare_torch()
    return {
        SplitDataset: _split_dataset,
        Train: train_model,
        Evaluate: evaluate_submissions,
        Canonicalise: _canonicalise,
    }


def _canonicalise(job: Canonicalise, report: ProgressReport) -> FromWorker:
    from flocknode.learning.families import build_model
    from flocknode.learning.weights import load_weights, save_weights

    module = build_model(job.model)
    load_weights(module, Path(job.source))
    save_weights(module, Path(job.output))
    report(1, 1)
    return Canonicalised(job.output)


def _split_dataset(job: SplitDataset, report: ProgressReport) -> FromWorker:
    # Only this job pays for importing scikit-learn.
    from flocknode.learning.splits import split_dataset

    return split_dataset(job, report)


def _perform(performers: Performers, request: bytes, report: ProgressReport) -> FromWorker:
    try:
        job = decode_job(request)
        return performers[type(job)](job, report)
    except (LearningError, ProtocolError, OSError, MemoryError, RuntimeError) as error:
        # RuntimeError is torch's word for whatever a tensor operation cannot do, memory included. All else is a bug.
        return Failed(shorten(f"{type(error).__name__}: {error}"))


def _reporter(answers: BinaryIO) -> ProgressReport:
    next_report = time.monotonic() + PROGRESS_INTERVAL_S

    def report(done: int, total: int) -> None:
        nonlocal next_report
        if time.monotonic() >= next_report or done == total:
            _send(answers, Progress(done, total))
            next_report = time.monotonic() + PROGRESS_INTERVAL_S

    return report


def _send(answers: BinaryIO, message: FromWorker) -> None:
    answers.write(encode_frame(message))
    answers.flush()


def _receive(requests: BinaryIO) -> bytes | None:
    header = requests.read(FRAME_LENGTH_BYTES)
    return requests.read(frame_length(header)) if len(header) == FRAME_LENGTH_BYTES else None
