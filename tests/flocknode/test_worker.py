"""The learning worker as a real process: jobs, crashes, cancellation, and prints that break nothing.

One worker serves the whole module, since torch takes seconds to import. Two families that exist only here come in
through the entry-point group, as an operator's would: one prints on every way out, one waits to be killed.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio.testing

from flocknode import worker as worker_module
from flocknode.frames import Progress, decode_request, encode_frame
from flocknode.jobs import (
    MAX_REASON_CHARACTERS,
    AggregateUpdates,
    DatasetPart,
    DatasetSplit,
    Evaluate,
    MakeModel,
    QuantiseWeights,
    ScoreModels,
    SplitDataset,
    SplitRows,
    Submitted,
    Train,
    TrainSettings,
    TrainUpdate,
    Update,
    shorten,
)
from flocknode.worker import MAX_LOG_BYTES, MAX_WAITING_JOBS, JobFailed, Worker
from protocol.errors import Malformed
from protocol.models import MetricSpec, ModelSpec, linear_model
from protocol.transactions import Verdict

ROOT = Path(__file__).resolve().parents[2]
MODULE = """
import os, subprocess, sys, time
from torch import nn

def build_noisy(settings):
    print("printed")
    sys.stdout.flush()
    os.write(1, b"written")
    subprocess.run(["echo", "from a child"], check=True)
    assert sys.stdin.read() == ""
    return nn.Linear(10, 1)

def build_waiting(settings):
    with open(os.environ["TMPDIR"] + "/waiting", "w") as pipe:
        pipe.write("now")
    time.sleep(600)

def build_broken(settings):
    raise KeyError("a bug in a family")

def build_greedy(settings):
    return nn.Linear(2**16, 2**16)
"""
FAMILIES = ("noisy", "waiting", "broken", "greedy")
ENTRY_POINTS = "[flocknode.models]\n" + "".join(f"test.{name} = test_families:build_{name}\n" for name in FAMILIES)
SETTINGS = TrainSettings(3, 100_000, 64, 1, "sgd")
MEMORY_BYTES = 2 * 1024**3


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the worker's folder."""
    scratch = tmp_path_factory.mktemp("worker")
    os.mkfifo(scratch / "waiting")
    return scratch


@pytest.fixture(scope="module")
def worker(scratch: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worker]:
    """Yield the worker of this module, which finds the test's families."""
    site = tmp_path_factory.mktemp("site")
    (site / "test_families.py").write_text(MODULE)
    metadata = site / "test_families-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: test-families\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(site))
        worker = Worker(scratch, memory_bytes=MEMORY_BYTES)
        yield worker
        trio.run(worker.stop)


async def _split(worker: Worker, directory: Path) -> DatasetSplit:
    parts = (DatasetPart("train", 3), DatasetPart("test", 1))
    return await worker.run(SplitDataset("diabetes", 0, parts, str(directory)))


def _training(split: DatasetSplit, output: Path, family: str | None = None) -> Train:
    model = ModelSpec(family, ()) if family else linear_model(inputs=10, outputs=1)
    return Train(model, split.files[0].path, SETTINGS, str(output), None, None)


async def test_split_train_evaluate(worker: Worker, tmp_path: Path) -> None:
    """The three jobs work in turn over the pipe, with progress; the worker runs nicely and stays the same process."""
    split = await _split(worker, tmp_path)
    pid = worker.pid
    assert pid is not None
    assert os.getpriority(os.PRIO_PROCESS, pid) >= os.getpriority(os.PRIO_PROCESS, 0) + 10
    seen: list[Progress] = []
    trained = await worker.run(_training(split, tmp_path / "weights"), seen.append)
    assert trained.rows == 331
    assert (seen[-1].done, seen[-1].total) == (18, 18)
    submissions = (Submitted(bytes(32), str(tmp_path / "weights")), Submitted(bytes([1]) * 32, split.files[0].path))
    metric = MetricSpec("r2", True, -1_000_000, 1_000_000)
    result = await worker.run(
        Evaluate(linear_model(inputs=10, outputs=1), metric, split.files[1].path, submissions, (), 9, 0)
    )
    assert [a.entry.verdict for a in result.assessments] == [Verdict.SCORED, Verdict.INVALID]
    assert worker.pid == pid


async def test_a_round_of_an_alliance(worker: Worker, tmp_path: Path) -> None:
    """The jobs of a round work in turn over the pipe; what is no update comes back by its place."""
    model, metric = linear_model(inputs=10, outputs=1), MetricSpec("r2", True, -1_000_000, 1_000_000)
    data, start, updates = await _split(worker, tmp_path), str(tmp_path / "start"), []
    assert (await worker.run(MakeModel(model, 1, start))).parameters == 11
    own = SplitRows(data.files[0].path, 1, 200_000, str(tmp_path / "train"), str(tmp_path / "test"))
    assert (await worker.run(own)).test_rows == 66
    for number in (1, 2):
        settings, output = TrainSettings(20, 50_000, 64, number, "sgd"), str(tmp_path / f"update{number}")
        assert (await worker.run(TrainUpdate(model, own.train_output, settings, start, output, None))).rows == 265
        updates.append(Update(output, number))
    updates.append(Update(own.train_output, 1))
    aggregate = AggregateUpdates(model, tuple(updates), "fedavg", 0, str(tmp_path / "aggregate"))
    assert [refused.index for refused in (await worker.run(aggregate)).refused] == [2]
    candidates = (start, aggregate.output, own.train_output)
    before, after, none = (await worker.run(ScoreModels(model, metric, own.test_output, candidates))).scores
    assert before.value_millionths is not None
    assert after.value_millionths is not None
    assert after.value_millionths > before.value_millionths
    assert none.value_millionths is None
    train = _training(data, tmp_path / "weights")
    await worker.run(train)
    made = await worker.run(QuantiseWeights(model, train.output, str(tmp_path / "quantised")))
    assert (made.parameters, made.clipped) == (11, 0)


async def test_prints_break_no_frames(worker: Worker, scratch: Path, tmp_path: Path) -> None:
    """Print, raw writes to descriptor 1 and a child's output end in the log; the job still answers."""
    split = await _split(worker, tmp_path)
    await worker.run(_training(split, tmp_path / "weights", "test.noisy"))
    log = (scratch / "worker.log").read_text()
    assert "printed" in log
    assert "written" in log
    assert "from a child" in log
    (scratch / "worker.log").write_bytes(bytes(MAX_LOG_BYTES + 1))
    await worker.run(_training(split, tmp_path / "weights", "test.noisy"))
    assert 0 < (scratch / "worker.log").stat().st_size < 100


async def test_a_failed_job_says_why_and_the_worker_goes_on(worker: Worker, tmp_path: Path) -> None:
    """A missing file, an unknown family and too large a model are reasons; the process is the same afterwards."""
    split = await _split(worker, tmp_path)
    pid = worker.pid
    good = _training(split, tmp_path / "weights")
    for job, word in (
        (Train(good.model, str(tmp_path / "nowhere"), SETTINGS, good.output, None, None), "nowhere"),
        (_training(split, tmp_path / "weights", "test.absent"), "test.absent"),
        (_training(split, tmp_path / "weights", "test.greedy"), "allocate"),
    ):
        with pytest.raises(JobFailed, match=word):
            await worker.run(job)
    await worker.run(good)
    assert worker.pid == pid


@pytest.mark.parametrize("part", ["../escape", "", "a/b", "A", "a\n"])
async def test_a_job_out_of_bounds_is_refused(worker: Worker, tmp_path: Path, part: str) -> None:
    """A part's name that would be a path does not even decode; the worker says so and goes on."""
    job = SplitDataset("diabetes", 0, (DatasetPart(part, 1),), str(tmp_path))
    with pytest.raises(Malformed):
        decode_request(encode_frame(job)[4:])
    with pytest.raises(JobFailed, match="Malformed"):
        await worker.run(job)


def _long_training(split: DatasetSplit, output: Path, passes: int = 100) -> Train:
    settings = TrainSettings(passes, 1_000, 16, 1, "adam")
    model = linear_model(inputs=10, outputs=1)
    return Train(model, split.files[0].path, settings, str(output), None, f"{output}.checkpoint")


async def test_training_gives_way_to_others_and_loses_nothing(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two long trainings take turns, a job that comes later is done before both, and the weights are as if alone."""
    split = await _split(worker, tmp_path)
    await worker.run(_long_training(split, tmp_path / "alone"))
    monkeypatch.setattr(worker_module, "SLICE_S", 0.05)
    done: list[str] = []
    order: list[str] = []
    began = trio.Event()

    async def train(name: str) -> None:
        def note(progress: Progress) -> None:
            if order[-1:] != [name]:
                order.append(name)
            began.set()

        await worker.run(_long_training(split, tmp_path / name), note)
        done.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(train, "first")
        nursery.start_soon(train, "second")
        await began.wait()
        metric = MetricSpec("r2", True, -1_000_000, 1_000_000)
        await worker.run(Evaluate(linear_model(inputs=10, outputs=1), metric, split.files[1].path, (), (), 9, 9))
        done.append("evaluation")
    assert done[0] == "evaluation"
    assert len(order) >= 4, "they took turns"
    for name in ("first", "second"):
        assert (tmp_path / name).read_bytes() == (tmp_path / "alone").read_bytes()


async def test_a_killed_training_goes_on_from_its_checkpoint(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After kill -9 the same job begins where it last saved, and comes to the same bytes."""
    monkeypatch.setattr(worker_module, "SLICE_S", 0.05)
    split = await _split(worker, tmp_path)
    job = _long_training(split, tmp_path / "killed")
    checkpoint = Path(f"{tmp_path / 'killed'}.checkpoint")
    seen: list[Progress] = []
    began = trio.Event()

    def kill_once_saved(progress: Progress) -> None:
        seen.append(progress)
        began.set()
        if checkpoint.is_file() and progress.loss_millionths is not None:
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)

    async def interrupt() -> None:
        # It saves where it is to make room for this.
        await began.wait()
        await _split(worker, tmp_path / "other")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(interrupt)
        with pytest.raises(JobFailed, match="status -9"):
            await worker.run(job, kill_once_saved)
    again: list[Progress] = []
    result = await worker.run(job, again.append)
    assert 0 < again[0].done <= seen[-1].done
    assert again[0].loss_millionths is None
    assert again[-1].loss_millionths is not None
    assert await worker.run(_long_training(split, tmp_path / "whole")) == result
    assert (tmp_path / "killed").read_bytes() == (tmp_path / "whole").read_bytes()


async def _wait_until_busy(scratch: Path) -> None:
    with trio.fail_after(60):
        await trio.to_thread.run_sync((scratch / "waiting").read_bytes, abandon_on_cancel=True)


async def test_a_dead_child_fails_its_job_only(worker: Worker, scratch: Path, tmp_path: Path) -> None:
    """kill -9 in a job and a bug in a job fail that job with the reason; the next job runs in a new process."""
    split = await _split(worker, tmp_path)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_expect_failure, worker, _training(split, tmp_path / "w", "test.waiting"), "status -9")
        await _wait_until_busy(scratch)
        assert worker.pid is not None
        os.kill(worker.pid, signal.SIGKILL)
    await _expect_failure(worker, _training(split, tmp_path / "w", "test.broken"), "a bug in a family")
    assert (await worker.run(_training(split, tmp_path / "w"))).rows == 331


async def _expect_failure(worker: Worker, job: Train, reason: str) -> None:
    with pytest.raises(JobFailed, match=reason):
        await worker.run(job)


async def test_waiting_jobs_are_bounded_and_cancelled(
    worker: Worker, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Jobs beyond the limit are refused at once; the one that runs, cancelled, has a moment before its process ends."""
    monkeypatch.setattr(worker_module, "FINISH_S", 0.1)
    split = await _split(worker, tmp_path)
    waiting = _training(split, tmp_path / "weights", "test.waiting")
    async with trio.open_nursery() as nursery:
        for _ in range(MAX_WAITING_JOBS):
            nursery.start_soon(worker.run, waiting)
        await _wait_until_busy(scratch)
        await _expect_failure(worker, waiting, "waiting already")
        pid = worker.pid
        nursery.cancel_scope.cancel()
    await worker.start()
    assert pid not in (None, worker.pid)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_cancelled_training_leaves_its_process_to_the_next_job(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a busy machine too it pauses with its checkpoint; one cancelled in the import of torch is kept as well."""
    monkeypatch.setattr(worker_module, "FINISH_S", 60.0)
    split = await _split(worker, tmp_path)
    pid, job, told = worker.pid, _long_training(split, tmp_path / "cancelled"), trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(worker.run, job, lambda progress: told.set())
        await told.wait()
        nursery.cancel_scope.cancel()
    await _split(worker, tmp_path)
    assert worker.pid == pid
    assert await trio.Path(f"{tmp_path / 'cancelled'}.checkpoint").is_file()
    cold = Worker(tmp_path / "cold")
    await cold.start()
    first = cold.pid
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_split, cold, tmp_path)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    await _split(cold, tmp_path)
    assert cold.pid == first
    await cold.stop()


async def test_a_child_that_died_idle_is_replaced(tmp_path: Path) -> None:
    """A process killed between two jobs costs no job: it is noticed, and another one started."""
    worker = Worker(tmp_path)
    await worker.start()
    first = worker.pid
    assert first is not None
    process = os.pidfd_open(first)
    os.kill(first, signal.SIGKILL)
    await trio.lowlevel.wait_readable(process)
    os.close(process)
    await worker.start()
    assert worker.pid not in (None, first)
    await worker.stop()


async def test_stopping_is_final(tmp_path: Path) -> None:
    """The hello comes long before torch does; a stopped worker refuses jobs and leaves no process."""
    worker = Worker(tmp_path)
    await worker.start()
    pid = worker.pid
    assert pid is not None
    await worker.stop()
    await worker.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(JobFailed, match="stopped"):
        await _split(worker, tmp_path)


DYING_PARENT = """
import os, signal, sys, trio
from pathlib import Path
from flocknode.worker import Worker

async def main():
    worker = Worker(Path(sys.argv[1]))
    await worker.start()
    print(worker.pid, flush=True)
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGKILL)

trio.run(main)
"""


async def test_the_worker_dies_with_its_parent(tmp_path: Path) -> None:
    """When the node is killed with signal 9, the worker ends too."""
    parent = await trio.lowlevel.open_process(
        [sys.executable, "-c", DYING_PARENT, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert parent.stdin is not None
    assert parent.stdout is not None
    orphan = os.pidfd_open(int(await parent.stdout.receive_some()))
    await parent.stdin.aclose()
    assert await parent.wait() == -signal.SIGKILL
    with trio.fail_after(10):
        await trio.lowlevel.wait_readable(orphan)
    os.close(orphan)
    await parent.stdout.aclose()


def test_reasons_are_short() -> None:
    """A reason of any length fits into a frame."""
    assert shorten("short") == "short"
    assert len(shorten("x" * 10_000)) == MAX_REASON_CHARACTERS
