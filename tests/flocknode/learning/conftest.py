"""What the tests of learning share: torch as the worker sets it up, and hand-made safetensors files."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from flocknode.learning.device import prepare_torch


@pytest.fixture(scope="session", autouse=True)
def _worker_settings() -> None:
    prepare_torch()


@pytest.fixture
def write_raw(tmp_path: Path) -> Callable[..., Path]:
    """Return a writer of files with any header: an object, or bytes, with any length in front."""

    def write(header: object, data: bytes = b"", *, length: int | None = None, name: str = "raw") -> Path:
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        path = tmp_path / name
        path.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + data)
        return path

    return write
