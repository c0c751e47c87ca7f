"""Dataset files without torch: the header of a safetensors file, and zeros or noise for what it promises."""

import json
import random
import struct


def write_dataset(path, *, rows=2, columns=1, seed=None):
    """Write a dataset of classes, and return its path: all zero, or with a seed, noise of which two classes are made.

    The class is 1 where the features add up to more than zero.
    """
    features, targets = 4 * rows * columns, 8 * rows
    header = {
        "features": {"dtype": "F32", "shape": [rows, columns], "data_offsets": [0, features]},
        "targets": {"dtype": "I64", "shape": [rows], "data_offsets": [features, features + targets]},
    }
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + _fill(rows, columns, seed))
    return path


def _fill(rows, columns, seed):
    if seed is None:
        return bytes(rows * (4 * columns + 8))
    source = random.Random(seed)
    noise = [[source.gauss(0, 1) for _ in range(columns)] for _ in range(rows)]
    features = struct.pack(f"<{rows * columns}f", *(value for row in noise for value in row))
    return features + struct.pack(f"<{rows}q", *(sum(row) > 0 for row in noise))
