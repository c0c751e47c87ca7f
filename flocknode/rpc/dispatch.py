"""From a request to its response: finds the method, types its parameters, turns errors into codes. No sockets here."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, get_type_hints

import msgspec
import structlog
from msgspec import UNSET, Struct

from flocknode.errors import FlocknodeError
from flocknode.rpc import jsonrpc
from flocknode.rpc.jsonrpc import Request, Response
from protocol.errors import ProtocolError
from storage.errors import StorageError

Handler = Callable[..., Awaitable[object]]

log = structlog.get_logger()


@dataclass(frozen=True)
class Method:
    """A method of the socket: its handler, and the types that its handler's annotations give."""

    name: str
    handler: Handler
    parameters: type[Struct]
    required: frozenset[str]
    result: Any
    summary: str
    takes_connection: bool

    async def call(self, params: object, connection: object) -> object:
        """Return the handler's result. Raises `msgspec.ValidationError` when the parameters do not fit its types."""
        typed = msgspec.convert({} if params is UNSET else params, self.parameters)
        values = {name: getattr(typed, name) for name in self.parameters.__struct_fields__}
        leading = (connection,) if self.takes_connection else ()
        return await self.handler(*leading, **values)


def make_method(name: str, handler: Handler) -> Method:
    """Return the method that a handler makes: an async function with annotated, keyword-only parameters.

    A first parameter called `connection` is not part of the method; it receives the caller's connection.
    """
    hints = get_type_hints(handler, include_extras=True)
    signature = inspect.signature(handler)
    parameters = [parameter for parameter in signature.parameters.values() if parameter.name != "connection"]
    assert all(parameter.kind is parameter.KEYWORD_ONLY for parameter in parameters), f"{name}: parameters go by name"
    fields = [
        (p.name, hints[p.name]) if p.default is p.empty else (p.name, hints[p.name], p.default) for p in parameters
    ]
    return Method(
        name=name,
        handler=handler,
        parameters=msgspec.defstruct(f"{name} parameters", fields, kw_only=True, forbid_unknown_fields=True),
        required=frozenset(p.name for p in parameters if p.default is p.empty),
        result=hints["return"],
        summary=(inspect.getdoc(handler) or "").partition("\n")[0],
        takes_connection="connection" in signature.parameters,
    )


async def answer(message: object, methods: Mapping[str, Method], connection: object) -> Response | None:
    """Return the response to one decoded message, or None to a notification."""
    try:
        request = msgspec.convert(message, Request)
    except msgspec.ValidationError as error:
        return jsonrpc.failure(_find_id(message), jsonrpc.INVALID_REQUEST, f"not a request: {error}")
    if request.jsonrpc != "2.0":
        return jsonrpc.failure(_find_id(message), jsonrpc.INVALID_REQUEST, 'not a request: "jsonrpc" must be "2.0"')
    response = await _perform(request, methods, connection)
    return None if request.id is UNSET else response


async def _perform(request: Request, methods: Mapping[str, Method], connection: object) -> Response:
    number = None if request.id is UNSET else request.id
    method = methods.get(request.method)
    if method is None:
        text = f"there is no method {request.method[:64]!r}; rpc.discover lists them"
        return jsonrpc.failure(number, jsonrpc.METHOD_NOT_FOUND, text)
    try:
        return jsonrpc.success(number, await method.call(request.params, connection))
    except msgspec.ValidationError as error:
        return jsonrpc.failure(number, jsonrpc.INVALID_PARAMS, f"{method.name}: {error}")
    except (ProtocolError, FlocknodeError, StorageError) as error:
        return _domain_failure(number, error)
    except Exception as error:  # a defect in one handler is no reason to stop replicating
        log.exception("a method of the socket failed", method=method.name)
        return jsonrpc.failure(number, jsonrpc.INTERNAL_ERROR, f"{method.name}: internal error: {error!r}")


def _domain_failure(number: jsonrpc.RequestId, error: ProtocolError | FlocknodeError | StorageError) -> Response:
    if isinstance(error, StorageError):
        error = FlocknodeError(str(error.args[0]), help=error.help)
    return jsonrpc.failure(
        number,
        error.number,
        error.message,
        {"kind": type(error).__name__, "help": error.help, "have": None, "need": None, **error.data},
    )


def _find_id(message: object) -> jsonrpc.RequestId:
    number = message.get("id") if isinstance(message, dict) else None
    return number if isinstance(number, int | str) else None
