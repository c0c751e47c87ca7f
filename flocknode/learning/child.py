"""The worker's process: says hello, imports torch, then does one job after the other until its input ends.

Frames go out on the descriptor that was stdout; stdout itself becomes stderr, so that no library's print can break a
frame. The process dies with its parent.
"""

import argparse
import os
import resource
import select
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

from flocknode.frames import (
    FRAME_LENGTH_BYTES,
    Failed,
    FromWorker,
    GiveWay,
    Hello,
    Job,
    Progress,
    decode_request,
    encode_frame,
    frame_length,
)
from flocknode.jobs import (
    AggregateUpdates,
    Canonicalise,
    Canonicalised,
    Evaluate,
    MakeModel,
    MeasureBaseline,
    ProgressReport,
    QuantiseWeights,
    ScoreModels,
    SplitDataset,
    SplitFile,
    SplitRows,
    Train,
    TrainUpdate,
    shorten,
)
from flocknode.learning.errors import LearningError
from flocknode.masked_jobs import AddMasked, FindLiars, MaskUpdate
from flocknode.private_jobs import CheckReveals, ConsultSum, HideUpdate, ProveSum
from flocknode.processes import die_with, take_over_pipes
from protocol.codec import encode
from protocol.errors import ProtocolError

PROGRESS_INTERVAL_S = 0.1
GIVE_WAY = encode(GiveWay())
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
    incoming, answers = take_over_pipes()
    requests = Requests(incoming.fileno())
    _send(answers, Hello())
    performers = _load_performers()
    while (request := requests.receive()) is not None:
        # What was sent while an earlier job came to its end means nothing any more.
        if request != GIVE_WAY:
            _send(answers, _perform(performers, request, Reporter(requests, answers)))


class Requests:
    """The pipe from the parent, read without a buffer, so that whether something came can be asked."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._is_open = True

    def receive(self) -> bytes | None:
        """Return the body of the next frame, or None once the parent has closed the pipe."""
        header = self._read(FRAME_LENGTH_BYTES)
        return None if header is None else self._read(frame_length(header))

    def is_asked_to_give_way(self) -> bool:
        """Return whether the parent has asked for it since this was asked last."""
        if not self._is_open or not select.select([self._descriptor], [], [], 0)[0]:
            return False
        # While a job runs, the parent says nothing else.
        request = self.receive()
        assert request in (GIVE_WAY, None), "a second job at once"
        return request is not None

    def _read(self, length: int) -> bytes | None:
        data = b""
        while len(data) < length and self._is_open:
            piece = os.read(self._descriptor, length - len(data))
            self._is_open = bool(piece)
            data += piece
        return data if len(data) == length else None


class Reporter:
    """Tells the parent how far a job is, seldom enough; the last report is always told."""

    def __init__(self, requests: Requests, answers: BinaryIO) -> None:
        self._requests = requests
        self._answers = answers
        self._next = 0.0
        self._is_asked = False

    def __call__(self, done: int, total: int, loss_millionths: int | None = None) -> bool:
        """Tell, if it is time to, and return whether another job waits for this one."""
        if time.monotonic() >= self._next or done == total:
            _send(self._answers, Progress(done, total, loss_millionths))
            self._next = time.monotonic() + PROGRESS_INTERVAL_S
        # A job may look only now and then, and the request comes once: it holds until the job ends.
        self._is_asked = self._is_asked or self._requests.is_asked_to_give_way()
        return self._is_asked


def _load_performers() -> Performers:
    # Takes seconds: after the hello, so that nobody waits for it, and before the first job.
    from flocknode.learning.baseline import measure_baseline
    from flocknode.learning.device import prepare_torch
    from flocknode.learning.evaluate import evaluate_submissions
    from flocknode.learning.hidden import check_reveals, consult_sum, hide_update, prove_sum
    from flocknode.learning.masked import add_vectors, find_liars, mask_update
    from flocknode.learning.own_split import split_file, split_rows
    from flocknode.learning.scores import score_models
    from flocknode.learning.train import train_model
    from flocknode.learning.updates import aggregate_updates, make_model, quantise_weights, train_update

    prepare_torch()
    return {
        SplitDataset: _split_dataset,
        SplitFile: split_file,
        Train: train_model,
        Evaluate: evaluate_submissions,
        MeasureBaseline: measure_baseline,
        Canonicalise: _canonicalise,
        MakeModel: make_model,
        QuantiseWeights: quantise_weights,
        SplitRows: split_rows,
        TrainUpdate: train_update,
        AggregateUpdates: aggregate_updates,
        ScoreModels: score_models,
        HideUpdate: hide_update,
        CheckReveals: check_reveals,
        ProveSum: prove_sum,
        ConsultSum: consult_sum,
        MaskUpdate: mask_update,
        AddMasked: add_vectors,
        FindLiars: find_liars,
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
        job = decode_request(request)
        assert not isinstance(job, GiveWay)
        return performers[type(job)](job, report)
    except (LearningError, ProtocolError, OSError, MemoryError, RuntimeError) as error:
        # RuntimeError is torch's word for whatever a tensor operation cannot do, memory included. All else is a bug.
        return Failed(shorten(f"{type(error).__name__}: {error}"))


def _send(answers: BinaryIO, message: FromWorker) -> None:
    answers.write(encode_frame(message))
    answers.flush()
