"""Commands about the settings of a node."""

import json
from typing import Any

from cyclopts import App
from msgspec import Struct

from flocknode.cli.calls import parse_value
from flocknode.cli.options import Common
from flocknode.cli.output import note, show
from flocknode.cli.text import Table

config = App(name="config")


class Settings(Struct, frozen=True):
    """The settings in a file, by name."""

    file: str
    settings: dict[str, Any]


@config.command(name="show")
def show_config(*, options: Common) -> None:
    """Show the settings by name."""
    from flocknode.config import list_settings, load_config

    found = Settings(file=str(options.home.config_file), settings=list_settings(load_config(options.home)))

    def render(found: Settings) -> Table:
        return Table(("SETTING", "VALUE"), [(name, json.dumps(value)) for name, value in found.settings.items()])

    show(options, found, render)


@config.command
def check(*, options: Common) -> None:
    """Check `config.toml` and `genesis.json` as the daemon does when it starts; a fault is named with its place."""
    from flocknode.config import list_settings, load_config
    from flocknode.founding import load_document

    found = Settings(file=str(options.home.config_file), settings=list_settings(load_config(options.home)))
    if options.home.genesis_file.exists():
        load_document(options.home.genesis_file)
    else:
        note(options, f"There is no chain yet: `flocknode init --genesis FILE --home {options.home.path}` adds it.")
    show(options, found, lambda found: f"{found.file} is in order")


@config.command(name="set")
def set_config(name: str, value: str, /, *, options: Common) -> None:
    """Change one setting; the other lines of the file stay as they are.

    Parameters
    ----------
    name
        Such as network.port.
    value
        JSON, or text if it is not.
    """
    from flocknode.config import change_setting, list_settings

    changed = change_setting(options.home, name, parse_value(value))
    found = Settings(file=str(options.home.config_file), settings=list_settings(changed))
    show(options, found, lambda found: f"{name} = {json.dumps(found.settings[name])} in {found.file}")
    note(options, "It takes effect at the next start of the daemon.")
