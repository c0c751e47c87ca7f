"""Poisoning changes what it says in a file, and nothing else."""

from array import array
from pathlib import Path

from devnet.study.attacks import INT32, INT64, MAX_MAGNITUDE, add_noise, decode, encode, flip_labels, flip_sign
from devnet.study.attacks import read_tensors as read

HEADER = (
    '{"bias":{"dtype":"I32","shape":[1],"data_offsets":[0,4]},'
    '"weight":{"dtype":"I32","shape":[2],"data_offsets":[4,12]}}'
)
DATASET = (
    '{"features":{"dtype":"F32","shape":[3,1],"data_offsets":[24,36]},'
    '"targets":{"dtype":"I64","shape":[3],"data_offsets":[0,24]}}'
)


def write(path: Path, header: str, data: bytes) -> Path:
    path.write_bytes(len(header).to_bytes(8, "little") + header.encode() + data)
    return path


def model(path: Path, *values: int) -> Path:
    return write(path, HEADER, encode(array(INT32, values)))


def test_labels_are_turned_around_and_rows_left_alone(tmp_path: Path) -> None:
    """Of ten classes 0 becomes 9, 4 becomes 5; twice is the file as it was."""
    source = write(tmp_path / "data", DATASET, encode(array(INT64, [0, 4, 9])) + b"twelve bytes")
    flip_labels(source, tmp_path / "flipped", 10)
    head, tensors, data = read(tmp_path / "flipped")
    begin, end = tensors["targets"].data_offsets
    assert decode(INT64, data[begin:end]).tolist() == [9, 5, 0]
    assert data[end:] == b"twelve bytes"
    assert head == read(source)[0]
    flip_labels(tmp_path / "flipped", tmp_path / "again", 10)
    assert (tmp_path / "again").read_bytes() == source.read_bytes()


def test_a_turned_update_goes_three_times_as_far_the_other_way(tmp_path: Path) -> None:
    """start - 3 (update - start), within the range of a weight."""
    start = model(tmp_path / "start", 10, -20, MAX_MAGNITUDE)
    update = model(tmp_path / "update", 12, -20, -MAX_MAGNITUDE)
    flip_sign(start, update)
    assert decode(INT32, read(update)[2]).tolist() == [4, -20, MAX_MAGNITUDE]


def test_noise_comes_from_its_seed(tmp_path: Path) -> None:
    """The same seed gives the same file, another one another; the noise is as large as it should be."""
    files = [model(tmp_path / str(number), 0, 0, MAX_MAGNITUDE) for number in range(3)]
    for path, seed in zip(files, (1, 1, 2), strict=True):
        add_noise(path, seed)
    first, again, other = (path.read_bytes() for path in files)
    assert first == again != other
    assert all(2**10 < abs(value) < 2**18 for value in decode(INT32, read(files[0])[2])[:2])
