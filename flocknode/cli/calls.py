"""Calls of the socket's methods as people type them: a method, then parameters as name=value or one JSON object."""

import json
import shlex
from collections.abc import Sequence
from typing import Any

from flocknode.errors import UsageError


def parse_call(line: str) -> tuple[str, dict[str, Any]]:
    """Return a method and its parameters from a line such as `chain.block height=3`. Raises `UsageError`."""
    method, _, rest = line.strip().partition(" ")
    if rest.strip().startswith("{"):
        try:
            return method, json.loads(rest)
        except ValueError as error:
            raise UsageError(f"the parameters are no JSON: {error}") from error
    try:
        return method, parse_parameters(shlex.split(rest))
    except ValueError as error:
        raise UsageError(f"the line cannot be read: {error}") from error


def parse_parameters(words: Sequence[str]) -> dict[str, Any]:
    """Return parameters from words such as `height=3`: values are JSON, or text if they are not."""
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals:
            raise UsageError(f"{word!r} is not a parameter such as height=3")
        values[name] = parse_value(text)
    return values


def parse_value(text: str) -> Any:
    """Return the value that a text means: JSON, or the text itself if it is none."""
    try:
        return json.loads(text)
    except ValueError:
        return text
