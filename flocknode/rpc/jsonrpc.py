"""The wire of JSON-RPC 2.0 as both ends use it: limits, error codes, messages to and from lines. No sockets here.

Source: the JSON-RPC 2.0 specification (jsonrpc.org/specification); lines end in a newline, so messages hold none.
"""

from collections.abc import Mapping

import msgspec
from msgspec import UNSET, Struct, UnsetType

from flocknode.errors import ConnectionLost, Exit, FlocknodeError, KeyLocked, WrongPassphrase

MAX_LINE_BYTES = 4 * 1024 * 1024
MAX_BATCH = 100
NOTIFICATION = "events.event"

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603

# Error numbers of `protocol.errors` that mean: the network's rules refuse this transaction.
REFUSED_NUMBERS = range(30, 100)
LOCKED_NUMBERS = (KeyLocked.number, WrongPassphrase.number)

RequestId = int | str | None


class Request(Struct, frozen=True):
    """A request; without an id it is a notification, which nobody answers."""

    jsonrpc: str
    method: str
    params: object = UNSET
    id: RequestId | UnsetType = UNSET


class Error(Struct, frozen=True, omit_defaults=True):
    """Why a request failed: a standard code below zero, or the number of a class of errors."""

    code: int
    message: str
    data: Mapping[str, object] | UnsetType = UNSET


class Response(Struct, frozen=True):
    """The answer to a request: a result or an error, never both."""

    jsonrpc: str
    id: RequestId
    result: object = UNSET
    error: Error | UnsetType = UNSET


class RpcError(FlocknodeError):
    """The daemon answered with an error; `code` is its number, `kind` the name of its class.

    `data` holds what it says beyond that; `have` and `need` are left out where they do not apply.
    """

    def __init__(self, error: Error) -> None:
        data = dict(error.data) if error.data is not UNSET else {}
        help_text = data.pop("help", "")
        super().__init__(error.message, help=str(help_text))
        self.code = error.code
        self.kind = str(data.pop("kind", ""))
        self.data = {key: value for key, value in data.items() if value is not None}

    @property
    def exit(self) -> Exit:
        """Return the exit code that the command line ends with."""
        if self.code in REFUSED_NUMBERS:
            return Exit.REFUSED
        if self.code == INVALID_PARAMS:
            return Exit.USAGE
        return Exit.LOCKED if self.code in LOCKED_NUMBERS else Exit.ERROR


def encode_line(message: object) -> bytes:
    """Return a message as one line."""
    return msgspec.json.encode(message) + b"\n"


def encode_request(method: str, params: Mapping[str, object], number: int) -> bytes:
    """Return the line of a request."""
    return encode_line({"jsonrpc": "2.0", "method": method, "params": params, "id": number})


def encode_batch(method: str, calls: Mapping[int, Mapping[str, object]]) -> bytes:
    """Return the line of a batch: calls of one method, their parameters by the number of the request."""
    return encode_line(
        [{"jsonrpc": "2.0", "method": method, "params": params, "id": number} for number, params in calls.items()]
    )


def success(number: RequestId, result: object) -> Response:
    """Return the answer that carries a result."""
    return Response("2.0", number, result=result)


def failure(number: RequestId, code: int, message: str, data: Mapping[str, object] | UnsetType = UNSET) -> Response:
    """Return the answer that carries an error."""
    return Response("2.0", number, error=Error(code, message, data))


class Incoming(Struct, frozen=True):
    """What a client receives: a response, or a notification with its parameters."""

    id: RequestId = None
    result: object = UNSET
    error: Error | UnsetType = UNSET
    method: str | UnsetType = UNSET
    params: object = UNSET


def decode_incoming(line: bytes) -> Incoming:
    """Return the message that a daemon sent. Raises `ConnectionLost` when it is none."""
    try:
        return msgspec.json.decode(line, type=Incoming)
    except msgspec.DecodeError as error:
        raise ConnectionLost(f"the daemon sent what is not JSON-RPC: {error}") from error


def decode_all_incoming(line: bytes) -> list[Incoming]:
    """Return the messages of a line: one, or the answers to a batch. Raises `ConnectionLost` when it is neither."""
    if not line.startswith(b"["):
        return [decode_incoming(line)]
    try:
        return msgspec.json.decode(line, type=list[Incoming])
    except msgspec.DecodeError as error:
        raise ConnectionLost(f"the daemon sent what is no batch of JSON-RPC: {error}") from error


def take_result(message: Incoming) -> object:
    """Return the result of a response; raise its error as `RpcError`."""
    if message.error is not UNSET:
        raise RpcError(message.error)
    if message.result is UNSET:
        raise ConnectionLost("the daemon sent a response with neither result nor error")
    return message.result
