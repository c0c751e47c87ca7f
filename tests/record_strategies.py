"""Hypothesis strategies for any record, made from its annotations: every value that the types allow."""

import types
from enum import IntEnum
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from hypothesis import strategies as st
from msgspec import Meta

from protocol.types import Record

MAX_LENGTH = 4


def any_of(kind: Any, meta: Meta | None = None) -> st.SearchStrategy[Any]:
    """Return a strategy for the values of a type, within the bounds of its annotation."""
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return any_of(arguments[0], next(part for part in arguments[1:] if isinstance(part, Meta)))
    if origin in (Union, types.UnionType):
        return st.one_of([any_of(option) for option in arguments])
    if origin is tuple:
        return _any_tuple(arguments, meta)
    if kind is type(None):
        return st.none()
    if issubclass(kind, IntEnum):
        return st.sampled_from(kind)
    if issubclass(kind, Record):
        hints = get_type_hints(kind, include_extras=True)
        return st.builds(kind, *(any_of(hints[name]) for name in kind.__struct_fields__))
    return _any_scalar(kind, meta)


def _any_tuple(arguments: tuple[Any, ...], meta: Meta | None) -> st.SearchStrategy[Any]:
    if arguments[-1] is not Ellipsis:
        return st.tuples(*map(any_of, arguments))
    least = (meta and meta.min_length) or 0
    most = min(least + MAX_LENGTH, (meta and meta.max_length) or least + MAX_LENGTH)
    return st.lists(any_of(arguments[0]), min_size=least, max_size=most).map(tuple)


def _any_scalar(kind: type, meta: Meta | None) -> st.SearchStrategy[Any]:
    if kind is bool:
        return st.booleans()
    if kind is int:
        assert meta is not None, "a number of a record has bounds"
        return st.integers(meta.ge, meta.le)
    least = (meta and meta.min_length) or 0
    most = (meta and meta.max_length) or least + 40
    return st.binary(min_size=least, max_size=most) if kind is bytes else st.text(min_size=least, max_size=most)
