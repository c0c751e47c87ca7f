"""The daemon's database for a verifying child: the child asks for records over a pipe and says how far it is.

LevelDB can be open in one process only, and a replay on the daemon's own interpreter would slow down consensus. Frames
are length-prefixed MessagePack; one question at a time, and the child alone asks.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, TypeVar

import msgspec
from msgspec import Struct

from flocknode.rpc.log_records import Verification
from storage.database import CheckedReads
from storage.errors import Corrupted

LENGTH_BYTES = 4
# A block of the largest size, or a page of a scan with one record of that size at its end.
MAX_FRAME_BYTES = 16 * 1024 * 1024
PAGE_BYTES = 1024 * 1024

Pairs = tuple[tuple[bytes, bytes], ...]
F = TypeVar("F")


class Task(Struct, frozen=True, tag=1):
    """What the child shall verify: the encoded genesis document, the database's path for messages, the journal."""

    document: bytes
    database: str
    journal: str


class Get(Struct, frozen=True, tag=2):
    """The child asks for the value of a key."""

    key: bytes


class Scan(Struct, frozen=True, tag=3):
    """The child asks for the first records under a prefix, from a key on."""

    prefix: bytes
    start: bytes


class Said(Struct, frozen=True, tag=4):
    """The child says how far it is; the last time, the verdict."""

    verification: Verification


class Value(Struct, frozen=True, tag=5):
    """The answer to `Get`."""

    value: bytes | None


class Page(Struct, frozen=True, tag=6):
    """The answer to `Scan`: some records, and whether the scan is at its end."""

    pairs: Pairs
    is_last: bool


class Damaged(Struct, frozen=True, tag=7):
    """The answer to either, where stored bytes were altered."""

    where: str
    reason: str


FromChild = Get | Scan | Said
ToChild = Task | Value | Page | Damaged


def write_frame(pipe: IO[bytes], message: FromChild | ToChild) -> None:
    """Send a message. Raises `OSError` when nobody reads."""
    data = msgspec.msgpack.encode(message)
    assert len(data) <= MAX_FRAME_BYTES, f"a frame of {len(data)} bytes"
    pipe.write(len(data).to_bytes(LENGTH_BYTES, "big") + data)
    pipe.flush()


def read_frame(pipe: IO[bytes], kind: type[F]) -> F | None:
    """Return the next message, or None when the pipe ends."""
    header = pipe.read(LENGTH_BYTES)
    length = int.from_bytes(header, "big")
    assert length <= MAX_FRAME_BYTES, f"a frame of {length} bytes"
    data = pipe.read(length)
    if len(header) < LENGTH_BYTES or len(data) < length:
        return None
    return msgspec.msgpack.decode(data, type=kind)


class RemoteRecords:
    """The child's end: a database that is open in the parent."""

    def __init__(self, path: Path, questions: IO[bytes], answers: IO[bytes]) -> None:
        self.path = path
        self._questions = questions
        self._answers = answers

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None. Raises `Corrupted` when the stored bytes were altered."""
        answer = self._ask(Get(key))
        assert isinstance(answer, Value), "the answer to Get"
        return answer.value

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the records whose key starts with `prefix`, sorted by key. Raises `Corrupted` at altered ones."""
        start, is_last = prefix, False
        while not is_last:
            answer = self._ask(Scan(prefix, start))
            assert isinstance(answer, Page), "the answer to Scan"
            yield from answer.pairs
            is_last = answer.is_last
            start = answer.pairs[-1][0] + b"\x00" if answer.pairs else start

    def _ask(self, question: Get | Scan) -> ToChild:
        write_frame(self._questions, question)
        answer: ToChild | None = read_frame(self._answers, ToChild)  # type: ignore[arg-type]
        if answer is None:
            raise SystemExit("the parent is gone")
        if isinstance(answer, Damaged):
            raise Corrupted(answer.where, answer.reason)
        return answer


def answer_question(records: CheckedReads, question: Get | Scan) -> ToChild:
    """Return the parent's answer."""
    try:
        if isinstance(question, Get):
            return Value(records.get(question.key))
        return read_page(records, question)
    except Corrupted as error:
        return Damaged(error.where, error.reason)


def read_page(records: CheckedReads, question: Scan) -> Page:
    """Return the first records of a scan: those before damage, for the next question will come upon it again."""
    pairs: list[tuple[bytes, bytes]] = []
    size_bytes = 0
    try:
        for pair in records.scan(question.prefix, question.start):
            pairs.append(pair)
            size_bytes += len(pair[0]) + len(pair[1])
            if size_bytes >= PAGE_BYTES:
                return Page(tuple(pairs), False)
    except Corrupted:
        if not pairs:
            raise
        return Page(tuple(pairs), False)
    return Page(tuple(pairs), True)
