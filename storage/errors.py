"""What can be wrong with the files of a home, each with the words and the command a person needs next."""

from pathlib import Path
from typing import ClassVar


class StorageError(Exception):
    """The files of a home cannot be used as they are: the disk refused, or a limit of this program is reached."""

    help: ClassVar[str] = ""

    def __str__(self) -> str:
        text = super().__str__()
        return f"{text}. {self.help}" if self.help else text


class HomeLocked(StorageError):
    """Another process holds the home; `process_id` is its number, or None while it has not written it down yet."""

    help = "Stop that process, or choose another folder with --home."

    def __init__(self, home: Path, process_id: int | None, command: str) -> None:
        self.home = home
        self.process_id = process_id
        name = f"process {process_id} ({command})" if process_id is not None else "another process"
        super().__init__(f"{home} is in use by {name}")


class Corrupted(StorageError):
    """Stored bytes are not the bytes that were written; `where` names the file and the place in it."""

    help = "Stop the node and run `flocknode db repair`."

    def __init__(self, where: str, reason: str) -> None:
        self.where = where
        self.reason = reason
        super().__init__(f"{where}: {reason}")


class BlobMissing(StorageError):
    """The store does not hold the blob, or the blob has no such run."""
