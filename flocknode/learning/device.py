"""Where tensors live, and how torch is made to give the same answer twice."""

import os

import torch


def prepare_torch() -> None:
    """Make torch deterministic and one-threaded in this process: consensus comes first on the processor."""
    # Without it, products on CUDA are not deterministic, and torch refuses them.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    # Like `use_deterministic_algorithms(True)`, which would also load torch's compiler: 2 s and 70 MB per worker.
    torch.set_deterministic_debug_mode("error")
    torch.set_num_threads(1)
    # Convolutions on CUDA round to 10 bits by default, and would give other scores than elsewhere.
    torch.backends.cudnn.allow_tf32 = False


def get_device() -> torch.device:
    """Return the accelerator when there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
