"""What a task remembers of the models that were opened in it: whose each plaintext is, and the best of the originals.

A plaintext belongs to whoever opened it first, in any epoch. Models that merely resemble each other can be told only by
running them, so validators compare each submission with the *gallery*: the best originals so far, of which copying is
worth something. Both are as large as the submissions of a task at most.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from protocol.crypto import integer_bytes
from protocol.rules.arena.records import Task
from protocol.state import Overlay, StateView, Table
from protocol.types import Address, Bytes32, Count, Record, Score


class Origin(Record):
    """Who opened a plaintext first, or what that copied: the epoch, the pseudonym, and the account if it claimed."""

    epoch: Count
    tag: Bytes32
    author: Address | None


class Original(Record):
    """A model that copied none when it was judged, with its consensus score on dataset A."""

    origin: Origin
    score: Score


class Gallery(Record):
    """The best originals of a task, best first."""

    originals: tuple[Original, ...]


ORIGINS = Table(b"o", Origin)
GALLERIES = Table(b"O", Gallery)


@dataclass(frozen=True)
class Known:
    """What a task remembers from its earlier epochs."""

    state: StateView
    task: int
    gallery: Mapping[bytes, Origin]

    def find(self, *, root: bytes | None, near: bytes | None) -> Origin | None:
        """Return the original of a model with this plaintext, or of one that resembles a model of the gallery."""
        same = None if root is None else get_origin(self.state, self.task, root)
        return same or (None if near is None else self.gallery.get(near))


def load_known(state: StateView, task: Task) -> Known:
    """Return what a task remembers from its earlier epochs."""
    gallery = {original.origin.tag: original.origin for original in get_gallery(state, task.id)}
    return Known(state, task.id, gallery)


def get_origin(state: StateView, task: int, root: bytes) -> Origin | None:
    """Return whose a plaintext is, if an earlier epoch brought it."""
    return ORIGINS.get(state, integer_bytes(task), root)


def put_origin(state: Overlay, task: int, root: bytes, origin: Origin) -> None:
    """Note whose a plaintext is, unless that is known."""
    if get_origin(state, task, root) is None:
        ORIGINS.put(state, origin, integer_bytes(task), root)


def get_gallery(state: StateView, task: int) -> tuple[Original, ...]:
    """Return the models that submissions of the current epoch are compared with, best first."""
    gallery = GALLERIES.get(state, integer_bytes(task))
    return () if gallery is None else gallery.originals


def extend_gallery(state: Overlay, task: int, originals: Iterable[Original], *, limit: int) -> None:
    """Take new originals into the gallery, in the order they were entered, and keep the best."""
    ordered = sorted([*get_gallery(state, task), *originals], key=lambda original: original.score, reverse=True)
    GALLERIES.put(state, Gallery(tuple(ordered[:limit])), integer_bytes(task))
