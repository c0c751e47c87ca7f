"""What of one node outlives a power cut: the real write-ahead log in a file, and a database in memory.

The power can go at every write. What was appended and not synced is then lost from some byte on, or reads as zeros from
some sector on; the database's batches are atomic and durable, as LevelDB's synced ones are.
"""

import itertools
import random
from bisect import bisect_left
from collections.abc import Callable, Generator, Mapping
from pathlib import Path

from storage.wal import SECTOR_BYTES, WriteAheadLog


class PowerCut(Exception):
    """The node is off from here on; nobody catches this but the simulator."""


class Disk:
    """The writes of one node, counted; `writes_left` None is a power supply that holds."""

    def __init__(self, folder: Path, name: str) -> None:
        self.path = folder / f"{name}.wal"
        self.database = MemoryDatabase(self)
        self.log: SimulatedLog | None = None
        self.writes_left: int | None = None
        self.points: list[str] = []
        self.on_commit: Callable[[], None] = lambda: None

    def pass_point(self, name: str) -> None:
        """Stand at one of the points between which a node can lose power."""
        self.points.append(name)
        if self.writes_left is None:
            return
        if self.writes_left == 0:
            self.writes_left = None
            raise PowerCut(name)
        self.writes_left -= 1

    def open_log(self) -> "SimulatedLog":
        """Open the log again, as a starting node does."""
        self.log = SimulatedLog(self)
        return self.log

    def lose_power(self, dice: random.Random) -> None:
        """Let go of the log; of what was not synced, an arbitrary beginning stays."""
        if self.log is not None:
            self.log.tear(dice)
            self.log = None

    def wipe(self) -> None:
        """Forget the log, as a restored older copy of a home would."""
        self.path.unlink(missing_ok=True)


class MemoryDatabase:
    """`storage.database.Database` in memory."""

    def __init__(self, disk: Disk) -> None:
        self.path = disk.path.with_suffix(".db")
        self._disk = disk
        self._records: dict[bytes, bytes] = {}
        self._keys: list[bytes] = []

    def get(self, key: bytes) -> bytes | None:
        return self._records.get(key)

    def scan(self, prefix: bytes, start: bytes = b"") -> Generator[tuple[bytes, bytes], None, None]:
        first = bisect_left(self._keys, max(prefix, start))
        keys = itertools.takewhile(lambda key: key.startswith(prefix), self._keys[first:])
        found = [(key, self._records[key]) for key in keys]
        return (record for record in found)

    def write(self, changes: Mapping[bytes, bytes | None]) -> None:
        self._disk.pass_point("batch")
        for key, value in changes.items():
            if value is None:
                self._records.pop(key, None)
            else:
                self._records[key] = value
        self._keys = sorted(self._records)
        self._disk.on_commit()
        self._disk.pass_point("batch done")

    def snapshot(self) -> "MemoryDatabase":
        frozen = MemoryDatabase(self._disk)
        frozen._records, frozen._keys = dict(self._records), self._keys
        return frozen

    def close(self) -> None:
        return


class SimulatedLog(WriteAheadLog):
    """The real log, but that a sync takes no time and says how far it went."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        super().__init__(disk.path)
        self.synced_bytes = self.size_bytes

    def append(self, payload: bytes) -> None:
        super().append(payload)
        self._disk.pass_point("append")

    def sync(self) -> None:
        self._disk.pass_point("sync")
        self.synced_bytes = self.size_bytes
        self._disk.pass_point("sync done")

    def rotate(self, keep: list[bytes]) -> None:
        self._temporary.write_bytes(b"unfinished")
        self._disk.pass_point("rotate")
        super().rotate(keep)
        self.synced_bytes = self.size_bytes
        self._disk.pass_point("rotate done")

    def tear(self, dice: random.Random) -> None:
        """Close the file and lose what a power cut loses."""
        self.close()
        synced, size = self.synced_bytes, self.size_bytes
        with self.path.open("r+b") as file:
            if dice.random() < 0.5:
                file.truncate(dice.randint(synced, size))
            else:
                # The file grew, but its last sectors never reached the disk.
                first_sector = (synced // SECTOR_BYTES + 1) * SECTOR_BYTES
                file.truncate(dice.choice([synced, *range(first_sector, size, SECTOR_BYTES)]))
                file.truncate(size)
