"""Where a training is, saved now and then, so that whatever ends it costs seconds and not hours.

A checkpoint is a safetensors file of this node's own: the weights, what the rule of descent remembers, the steps done,
and the digest of the job. It holds the weights of a model that nobody else has seen, so it stays in the home.
"""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import torch
from torch import Tensor, nn

from flocknode.jobs import Train, TrainUpdate
from flocknode.learning.errors import UnusableFile
from flocknode.learning.evaluate import compute_root
from flocknode.learning.formulas import Moments, make_moments
from flocknode.learning.tensors import load_tensors, read_header, save_tensors
from protocol.codec import encode

DIGEST_NUMBERS = 4
DIGEST_BYTES = 32
# Tensors of the file beside the model's own.
STEPS, JOB, LOSS = "steps", "job", "loss"

# The jobs that train.
Training = Train | TrainUpdate


@dataclass
class Descent:
    """A training at one moment: the module on its device, its moments if Adam is the rule, and the steps taken.

    `loss` is the decayed mean of the batches' losses.
    """

    module: nn.Module
    moments: list[Moments]
    steps: int
    loss: Tensor

    @classmethod
    def begin(cls, module: nn.Module, job: Training, device: torch.device) -> "Descent":
        """Return the training before its first step."""
        moments = make_moments(module.parameters()) if job.settings.optimizer == "adam" else []
        return cls(module, moments, 0, torch.zeros((), device=device))

    def save(self, path: Path, job: bytes) -> None:
        """Write the checkpoint, whole or not at all."""
        numbers = torch.frombuffer(bytearray(job), dtype=torch.int64)
        save_tensors({**self._tensors(), STEPS: torch.tensor([self.steps]), JOB: numbers}, path)

    def resume(self, path: Path, job: bytes) -> None:
        """Go on where a checkpoint of the same job is. One of another job, or a file that is none, changes nothing."""
        try:
            header = read_header(path)
            own = self._tensors()
            expected = {name: ("F32", tuple(tensor.shape)) for name, tensor in own.items()}
            expected |= {STEPS: ("I64", (1,)), JOB: ("I64", (DIGEST_NUMBERS,))}
            if {name: (info.dtype, info.shape) for name, info in header.items()} != expected:
                return
            found = load_tensors(path, header)
        except (UnusableFile, FileNotFoundError):
            return
        if found[JOB].numpy().tobytes() != job:
            return
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(found[name])
        self.steps = int(found[STEPS])

    def _tensors(self) -> dict[str, Tensor]:
        """Return everything that changes with a step, by the name that it has in the file."""
        tensors = {f"weights.{name}": tensor for name, tensor in self.module.state_dict().items()}
        for number, moment in enumerate(self.moments):
            tensors |= {f"first.{number}": moment.first, f"second.{number}": moment.second}
        return {**tensors, LOSS: self.loss}


def digest_job(job: Training) -> bytes:
    """Return what tells a job from another one: all that it says, the data by size and time, the start by content."""
    digest = sha256(encode(job))
    status = Path(job.dataset).stat()
    digest.update(f" {status.st_size} {status.st_mtime_ns}".encode())
    start = job.initial if isinstance(job, Train) else job.start
    if start is not None:
        # Fetched again by every attempt, so its time says nothing.
        digest.update(compute_root(Path(start)))
    assert digest.digest_size == DIGEST_BYTES
    return digest.digest()
