"""What can go wrong with a devnet, in words that help."""

from flocknode.errors import FlocknodeError


class DevnetError(FlocknodeError):
    """The devnet cannot do what was asked; the message says why."""

    number = 160


class DaemonFailed(DevnetError):
    """A daemon ended that should run. `name` says which; `last_lines` are what it wrote last."""

    number = 161

    def __init__(self, message: str, *, name: str, last_lines: list[str]) -> None:
        super().__init__(message)
        self.name = name
        self.last_lines = last_lines
