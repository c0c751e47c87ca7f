"""Records as plain JSON values and back: objects with field names, bytes as hexadecimal text.

For people and their tools (the genesis file, RPC answers). Never hashed or signed; those bytes come from `codec`.
"""

import types
from enum import IntEnum
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

from protocol.errors import Malformed
from protocol.types import Record

R = TypeVar("R", bound=Record)


def to_plain(value: Any) -> Any:
    """Return a record, or a tuple of them, as dictionaries, lists, text and numbers."""
    match value:
        case Record():
            return {name: to_plain(getattr(value, name)) for name in value.__struct_fields__}
        case bytes():
            return value.hex()
        case tuple() | list():
            return [to_plain(item) for item in value]
        case IntEnum():
            return value.name.lower()
        case _:
            return value


def from_plain(kind: type[R], value: Any, path: str = "$") -> R:
    """Return the record that a plain value describes; every field must be there, and nothing else.

    Raises `Malformed` naming the path of what is wrong.
    """
    record = _parse(kind, value, path)
    try:
        # Checks the ranges that live in the types; text may hold what UTF-8 cannot.
        return msgspec.convert(msgspec.to_builtins(record, builtin_types=(bytes,)), kind)
    except (ValueError, OverflowError) as error:
        raise Malformed(f"{path}: {error}") from error


def _parse(kind: Any, value: Any, path: str) -> Any:
    origin = get_origin(kind)
    if origin is not None and hasattr(kind, "__metadata__"):
        return _parse(get_args(kind)[0], value, path)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        return _parse(next(option for option in get_args(kind) if option is not type(None)), value, path)
    if origin is tuple:
        if not isinstance(value, list):
            raise Malformed(f"{path}: expected a list")
        return tuple(_parse(get_args(kind)[0], item, f"{path}[{i}]") for i, item in enumerate(value))
    if isinstance(kind, type) and issubclass(kind, Record):
        return _parse_record(kind, value, path)
    if kind is bytes:
        return _parse_hex(value, path)
    if isinstance(kind, type) and issubclass(kind, IntEnum):
        return _parse_name(kind, value, path)
    return value


def _parse_record(kind: type[Record], value: Any, path: str) -> Record:
    fields = kind.__struct_fields__
    if not isinstance(value, dict):
        raise Malformed(f"{path}: expected an object with the fields {', '.join(fields)}")
    wrong = [name for name in value if name not in fields] or [name for name in fields if name not in value]
    if wrong:
        raise Malformed(f"{path}.{wrong[0]}: {'unknown' if wrong[0] in value else 'missing'} field")
    hints = get_type_hints(kind, include_extras=True)
    return kind(**{name: _parse(hints[name], value[name], f"{path}.{name}") for name in fields})


def _parse_hex(value: Any, path: str) -> bytes:
    try:
        return bytes.fromhex(value)
    except (TypeError, ValueError) as error:
        raise Malformed(f"{path}: expected hexadecimal text") from error


def _parse_name(kind: type[IntEnum], value: Any, path: str) -> IntEnum:
    try:
        return kind[value.upper()]
    except (AttributeError, KeyError) as error:
        raise Malformed(f"{path}: expected one of {', '.join(item.name.lower() for item in kind)}") from error
