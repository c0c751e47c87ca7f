"""The options that every command takes, and how commands ask for them."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from flocknode.errors import UsageError
from flocknode.home import Home

DEFAULT_HOME = "~/.flocknode"
HOME_VARIABLE = "FLOCKNODE_HOME"


@dataclass(frozen=True)
class Options:
    """What every command takes: the homes (one, but for commands about several), `--json` and `--quiet`."""

    homes: tuple[Path, ...]
    json: bool
    quiet: bool

    @property
    def home(self) -> Home:
        """Return the one home that the command is about."""
        if len(self.homes) > 1:
            raise UsageError("this command takes one --home")
        home = self.homes[0] if self.homes else Path(os.environ.get(HOME_VARIABLE) or DEFAULT_HOME)
        return Home(home.expanduser())


# The parameter of a command that receives the options; never parsed, filled in by the launcher.
Common = Annotated[Options, Parameter(parse=False)]
