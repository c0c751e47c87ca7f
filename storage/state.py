"""The replicated state in the database: its records, and the 256 bucket hashes that its root is made of."""

from collections.abc import Iterator, Mapping

from protocol.crypto import MULTISET_BYTES
from protocol.state import BUCKETS
from storage.database import Records
from storage.errors import Corrupted

RECORD_PREFIX = b"s"
BUCKET_PREFIX = b"m"


class StoredState:
    """The state after the newest committed block, as rules see it (`protocol.state.StateView`)."""

    def __init__(self, records: Records) -> None:
        self._records = records

    def get(self, key: bytes) -> bytes | None:
        """Return the value of a key, or None."""
        return self._records.get(RECORD_PREFIX + key)

    def scan(self, prefix: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Yield the records whose key starts with `prefix`, sorted by key, as they were when `scan` was called."""
        found = self._records.scan(RECORD_PREFIX + prefix)
        return ((key[len(RECORD_PREFIX) :], value) for key, value in found)


def encode_changes(
    changes: Mapping[bytes, bytes | None], buckets: Mapping[int, bytes]
) -> Iterator[tuple[bytes, bytes | None]]:
    """Yield the database records of changed state records (None deletes) and of changed buckets (384 bytes each)."""
    for key, value in changes.items():
        yield RECORD_PREFIX + key, value
    for index, bucket in buckets.items():
        assert 0 <= index < BUCKETS, "there is no such bucket"
        assert len(bucket) == MULTISET_BYTES, "a bucket is a multiset hash"
        yield BUCKET_PREFIX + bytes([index]), bucket


def load_buckets(records: Records) -> tuple[bytes, ...]:
    """Return all bucket hashes in order. Raises `Corrupted` when they are not 256 of 384 bytes."""
    stored = dict(records.scan(BUCKET_PREFIX))
    buckets = tuple(stored.get(BUCKET_PREFIX + bytes([index]), b"") for index in range(BUCKETS))
    for index, bucket in enumerate(buckets):
        if len(bucket) != MULTISET_BYTES:
            raise Corrupted(f"{records.path}, state bucket {index}", f"{len(bucket)} bytes instead of {MULTISET_BYTES}")
    return buckets
