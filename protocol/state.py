"""What rules see of the state: sorted records of bytes, typed tables over them, and an overlay of changes.

Also the commitment that a header carries: records fall into 256 buckets by the hash of their key, each bucket is a
multiset hash, the state root a Merkle root over the buckets. So an update costs microseconds, one bucket can be checked
alone, and a mismatch can be located.
"""

import heapq
from bisect import bisect_left, insort
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Generic, Protocol, TypeVar

import gmpy2

from protocol import crypto
from protocol.codec import encode, read

BUCKETS = 256

R = TypeVar("R")


class StateView(Protocol):
    """Read access to the records of one state."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the records whose key starts with `prefix`, sorted by key."""


class MemoryState:
    """A state held in memory: the genesis state, a replay of the log, simulations and tests."""

    def __init__(self, records: Mapping[bytes, bytes] | None = None) -> None:
        self.records = dict(records or {})
        self._keys = sorted(self.records)

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        return self.records.get(key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the records whose key starts with `prefix`, sorted by key, as they were when `scan` was called."""
        return iter([(key, self.records[key]) for key in _with_prefix(self._keys, prefix)])

    def apply(self, changes: Mapping[bytes, bytes | None]) -> None:
        """Write the changes; None deletes."""
        for key, value in changes.items():
            if value is not None:
                if key not in self.records:
                    insort(self._keys, key)
                self.records[key] = value
            elif self.records.pop(key, None) is not None:
                del self._keys[bisect_left(self._keys, key)]


class Overlay:
    """A state with changes on top that the state below does not see; dropping the overlay undoes them."""

    def __init__(self, base: StateView) -> None:
        self.base = base
        self.changes: dict[bytes, bytes | None] = {}
        # Those of the changes, sorted: a scan must not look at all of them.
        self._keys: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key as changed, or None."""
        if key in self.changes:
            return self.changes[key]
        return self.base.get(key)

    def put(self, key: bytes, value: bytes | None) -> None:
        """Set a record; None deletes it."""
        if key not in self.changes:
            insort(self._keys, key)
        self.changes[key] = value

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the records as changed, sorted by key. The scan sees the changes made before it began."""
        changed = {key: self.changes[key] for key in _with_prefix(self._keys, prefix)}
        if not changed:
            return self.base.scan(prefix)
        kept = (record for record in self.base.scan(prefix) if record[0] not in changed)
        added = [(key, value) for key, value in changed.items() if value is not None]
        return heapq.merge(kept, added)

    def merge(self) -> None:
        """Move the changes into the overlay below."""
        assert isinstance(self.base, Overlay), "only an overlay takes changes"
        for key, value in self.changes.items():
            self.base.put(key, value)
        self.changes, self._keys = {}, []


class Table(Generic[R]):
    """Typed records under one prefix; keys are fixed-length bytes joined by the caller."""

    def __init__(self, prefix: bytes, kind: type[R]) -> None:
        self.prefix = prefix
        self.kind = kind

    def get(self, state: StateView, *key: bytes) -> R | None:
        """Return the record under the joined key, or None."""
        value = state.get(self.prefix + b"".join(key))
        return None if value is None else read(value, self.kind)

    def put(self, state: Overlay, record: R, *key: bytes) -> None:
        """Set the record under the joined key."""
        state.put(self.prefix + b"".join(key), encode(record))

    def delete(self, state: Overlay, *key: bytes) -> None:
        """Remove the record under the joined key."""
        state.put(self.prefix + b"".join(key), None)

    def scan(self, state: StateView, *key: bytes) -> Iterator[tuple[bytes, R]]:
        """Yield (rest of the key, record) for all keys that start with the joined key, sorted."""
        prefix = self.prefix + b"".join(key)
        for full_key, value in state.scan(prefix):
            yield full_key[len(prefix) :], read(value, self.kind)


class Commitment:
    """The 256 bucket hashes of one state; immutable."""

    def __init__(self, buckets: Sequence["gmpy2.mpz"] | None = None) -> None:
        self.buckets = tuple(buckets) if buckets else (gmpy2.mpz(1),) * BUCKETS

    def root(self) -> bytes:
        """Return the state root: a Merkle root (RFC 6962) over the buckets."""
        return crypto.merkle_root([_leaf(bucket) for bucket in self.buckets])

    def update(self, view: StateView, changes: Mapping[bytes, bytes | None]) -> "Commitment":
        """Return the commitment after the changes; `view` is the state before them."""
        added: dict[int, list[bytes]] = {}
        removed: dict[int, list[bytes]] = {}
        for key in sorted(changes):
            old, new, bucket = view.get(key), changes[key], bucket_of(key)
            if old == new:
                continue
            if old is not None:
                removed.setdefault(bucket, []).append(_member(key, old))
            if new is not None:
                added.setdefault(bucket, []).append(_member(key, new))
        buckets = list(self.buckets)
        for bucket in added.keys() | removed.keys():
            buckets[bucket] = crypto.multiset_update(buckets[bucket], added.get(bucket, ()), removed.get(bucket, ()))
        return Commitment(buckets)


def bucket_of(key: bytes) -> int:
    """Return the bucket, 0 to 255, that a record with this key falls into."""
    return crypto.hash_parts("flock/bucket", key)[0]


def _with_prefix(keys: Sequence[bytes], prefix: bytes) -> Sequence[bytes]:
    """Return those of sorted keys that start with a prefix."""
    first = bisect_left(keys, prefix)
    last = bisect_left(keys, True, first, key=lambda key: key[: len(prefix)] > prefix)
    return keys[first:last]


# A block changes few buckets; several states that build on each other are in use at a time.
@lru_cache(maxsize=8 * BUCKETS)
def _leaf(bucket: "gmpy2.mpz") -> bytes:
    return crypto.merkle_leaf(crypto.multiset_bytes(bucket))


def _member(key: bytes, value: bytes) -> bytes:
    return crypto.join_parts("flock/record", (key, value))
