"""What can go wrong on this node that is not a refusal by the protocol: each with an exit code and words that help.

`number` is the error code over RPC (100 and up; the numbers below are the protocol's), `exit_code` what the command
line ends with.
"""

from enum import IntEnum
from typing import ClassVar


class Exit(IntEnum):
    """The exit codes of the command line."""

    OK = 0
    ERROR = 1
    USAGE = 2
    NOT_RUNNING = 3
    REFUSED = 4
    LOCKED = 5


class FlocknodeError(Exception):
    """Base: something failed on this node."""

    number: ClassVar[int] = 100
    exit_code: ClassVar[Exit] = Exit.ERROR
    # An instance may know better than its class.
    help: str = ""

    def __init__(self, message: str, *, help: str | None = None, **data: object) -> None:
        super().__init__(message)
        self.message = message
        self.data = data
        if help is not None:
            self.help = help


class UsageError(FlocknodeError):
    """A command or a parameter does not make sense as given."""

    number = 101
    exit_code = Exit.USAGE


class HomeMissing(FlocknodeError):
    """There is no node in the home folder."""

    number = 102


class HomeExists(FlocknodeError):
    """The home folder has a node already, which must not be overwritten."""

    number = 103


class ConfigInvalid(FlocknodeError):
    """`config.toml` or `genesis.json` has a key or value that is not allowed; the message names its path."""

    number = 104


class KeyInvalid(FlocknodeError):
    """A key file is missing, damaged or readable by others."""

    number = 105


class KeyLocked(FlocknodeError):
    """The account's key is locked: the node replicates, but nothing can be signed for the account."""

    number = 106
    exit_code = Exit.LOCKED
    help: str = "Open it with `flocknode keys unlock`, or start the node with --passphrase-file."


class NotRunning(FlocknodeError):
    """No daemon answers on the home's socket."""

    number = 107
    exit_code = Exit.NOT_RUNNING


class AlreadyRunning(FlocknodeError):
    """Another daemon answers on the home's socket."""

    number = 108


class ConnectionLost(FlocknodeError):
    """The daemon closed the connection, did not answer in time, or sent what is not JSON-RPC."""

    number = 109


class NotReady(FlocknodeError):
    """The node cannot do this now: it is starting, catching up, or its queue is full."""

    number = 110
    help: str = "Try again in a moment; `flocknode status` says what the node is doing."


class FileUnusable(FlocknodeError):
    """A file that a person named cannot be used."""

    number = 111


class WrongPassphrase(FlocknodeError):
    """The passphrase does not open the key."""

    number = 112
    exit_code = Exit.LOCKED
    help: str = "Try again; a passphrase that is lost cannot be recovered, only a backup of the key can."


class HistoryGone(FlocknodeError):
    """Events from so far back are no longer there; `have` is the first height or line number that still is."""

    number = 113
    help: str = "Subscribe again from `have`."
