"""A first look at dataset files, before a task is paid for or a stake is bonded: is it one at all?

Only the header of the safetensors file is read, which says what tensors there are: names, types, shapes. What is in
them is the learning worker's to check (`flocknode.learning.datasets`).
"""

import json
from pathlib import Path
from typing import Any

from flocknode.errors import FileUnusable

HEADER_LENGTH_BYTES = 8
MAX_HEADER_BYTES = 1024 * 1024


def require_dataset(path: Path) -> str:
    """Return the absolute path of a dataset, which the daemon can open whatever folder it runs in.

    Raises `FileUnusable` when there is no such file, or when it is no dataset.
    """
    if not path.is_file():
        raise FileUnusable(f"there is no file {path}")
    header = read_header(path)
    features, targets = header.get("features"), header.get("targets")
    if not isinstance(features, dict) or not isinstance(targets, dict):
        raise _no_dataset(path, "it does not hold the tensors features and targets")
    if features.get("dtype") not in ("F32", "I64") or len(features.get("shape", ())) != 2:
        raise _no_dataset(path, "its features are neither float32 of shape [rows, columns] nor tokens [rows, length]")
    if targets.get("shape", [0])[:1] != features["shape"][:1]:
        raise _no_dataset(path, "it does not have a target for each row of features")
    return str(path.absolute())


def read_header(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors file. Raises `FileUnusable` when the file is none."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(HEADER_LENGTH_BYTES), "little")
        text = file.read(length) if length <= MAX_HEADER_BYTES else b""
    try:
        header = json.loads(text)
    except ValueError as error:
        raise _no_dataset(path, "it is no safetensors file") from error
    if not isinstance(header, dict):
        raise _no_dataset(path, "it is no safetensors file")
    return header


def _no_dataset(path: Path, reason: str) -> FileUnusable:
    return FileUnusable(f"{path} is no dataset: {reason}", help="`flocknode data split` makes datasets.")
