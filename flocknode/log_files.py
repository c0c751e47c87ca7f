"""The files of the log as they are read back: JSON lines, the newest file without a suffix, older ones `.1`, `.2` ...

Lines are numbered through all files and restarts, so that a reader can go on where it stopped.
"""

from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO

import msgspec

from flocknode.rpc.records import LogLine

MAX_OLD_FILES = 4
# The last line of a file lies within so many bytes of its end.
TAIL_BYTES = 256 * 1024


def find_files(newest: Path) -> list[Path]:
    """Return the files of a log that exist, oldest first."""
    older = [newest.with_name(f"{newest.name}.{number}") for number in range(MAX_OLD_FILES, 0, -1)]
    return [path for path in (*older, newest) if path.is_file()]


def read_lines(newest: Path, from_number: int) -> Generator[LogLine, None, None]:
    """Yield the lines from a number on, oldest first; what a crash cut off is skipped.

    All files are opened at once, so that their being moved on meanwhile changes nothing.
    """
    with ExitStack() as stack:
        for file in [stack.enter_context(path.open("rb")) for path in find_files(newest)]:
            for raw in file:
                line = _decode(raw)
                if line is not None and line.number >= from_number:
                    yield line


def get_first_number(newest: Path) -> int | None:
    """Return the number of the oldest line that is still there, None if there is none."""
    return next((line.number for line in read_lines(newest, 0)), None)


def get_last_number(newest: Path) -> int:
    """Return the number of the newest line, 0 if there is none."""
    for path in reversed(find_files(newest)):
        with path.open("rb") as file:
            numbers = [line.number for line in _read_tail(file)]
        if numbers:
            return numbers[-1]
    return 0


def end_last_line(newest: Path) -> None:
    """Give a line that a crash cut off its end, so that it does not spoil the next one."""
    if newest.is_file() and newest.stat().st_size:
        with newest.open("r+b") as file:
            file.seek(-1, 2)
            if file.read() != b"\n":
                file.write(b"\n")


def _read_tail(file: BinaryIO) -> Iterator[LogLine]:
    file.seek(0, 2)
    file.seek(max(0, file.tell() - TAIL_BYTES))
    for raw in file:
        line = _decode(raw)
        if line is not None:
            yield line


def _decode(raw: bytes) -> LogLine | None:
    try:
        return msgspec.json.decode(raw, type=LogLine)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
