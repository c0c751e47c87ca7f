"""The jobs of a study's rounds, in a real learning worker."""

from array import array
from pathlib import Path

import pytest

from devnet.study.attacks import INT32, MAX_MAGNITUDE, encode, read_tensors
from devnet.study.learners import MODELS, Learner, prepare_data
from flocknode.worker import JobFailed, Worker


async def test_a_client_that_cannot_train_from_a_spoiled_model_proposes_it_again(tmp_path: Path) -> None:
    """Weights at the end of their range make training diverge, and the update is the model; other failures are told."""
    worker = Worker(tmp_path / "worker")
    try:
        data = await prepare_data(worker, "digits", clients=8, seed=0, directory=tmp_path / "data")
        head, _, content = read_tensors(data.start)
        spoiled, update = tmp_path / "spoiled", tmp_path / "update"
        spoiled.write_bytes(head + encode(array(INT32, [MAX_MAGNITUDE, -MAX_MAGNITUDE] * (len(content) // 8))))
        learner = Learner(worker, MODELS["digits"])
        await learner.train(data.clients[0].train, start=data.start, output=update, seed=1)
        assert update.read_bytes() != data.start.read_bytes()
        await learner.train(data.clients[0].train, start=spoiled, output=update, seed=1)
        assert update.read_bytes() == spoiled.read_bytes()
        with pytest.raises(JobFailed, match="nowhere"):
            await learner.train(tmp_path / "nowhere", start=data.start, output=update, seed=1)
    finally:
        await worker.stop()
