"""Reads what describes models and jobs on the command line: settings of a model, options of a task or an alliance."""

from flocknode.errors import UsageError


def parse_settings(entries: list[str]) -> dict[str, list[int]]:
    """Return the settings of a model from entries such as layers=64,32,10. Raises `UsageError`."""
    settings: dict[str, list[int]] = {}
    for entry in entries:
        name, _, values = entry.partition("=")
        try:
            settings[name] = [int(value) for value in values.split(",")]
        except ValueError as error:
            raise UsageError(f"{entry!r} is not a setting such as layers=64,32,10") from error
    return settings


def parse_options(entries: list[str]) -> dict[str, int | str]:
    """Return options from entries such as aggregation=median. Raises `UsageError`."""
    options: dict[str, int | str] = {}
    for entry in entries:
        name, _, value = entry.partition("=")
        if not value:
            raise UsageError(f"{entry!r} is not an option such as aggregation=median")
        options[name] = int(value) if value.isdecimal() else value
    return options
