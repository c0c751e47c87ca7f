"""One blocking call over the socket, for the command line.

It exists beside the async client because a command such as `status` must answer at once, and importing trio alone takes
longer than the daemon takes to reply.
"""

import socket
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from flocknode.errors import ConnectionLost, NotRunning
from flocknode.home import Home
from flocknode.rpc import jsonrpc
from flocknode.rpc.jsonrpc import MAX_LINE_BYTES
from flocknode.rpc.records import JobEvent

R = TypeVar("R")

# The longest a call waits: a transaction that waits for its block may take as long as its expiry height is away.
CALL_TIMEOUT_SECONDS = 3600.0


def call(home: Home, method: str, result: type[R], /, **params: object) -> R:
    """Return what the daemon of a home answers. Raises `NotRunning`, `RpcError` or `ConnectionLost`."""
    path = home.find_socket()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(CALL_TIMEOUT_SECONDS)
            _connect(connection, path, home)
            connection.sendall(jsonrpc.encode_request(method, params, 1))
            with connection.makefile("rb") as file:
                line = file.readline(MAX_LINE_BYTES + 1)
    except OSError as error:
        raise ConnectionLost(f"the connection to {path} broke: {error}") from error
    if not line.endswith(b"\n"):
        raise ConnectionLost(f"the daemon closed {path} without an answer")
    return convert_result(jsonrpc.take_result(jsonrpc.decode_incoming(line)), result)


def convert_result(plain: object, kind: type[R]) -> R:
    """Return a result as its record. Raises `ConnectionLost` when the daemon answers with another shape."""
    try:
        return msgspec.convert(plain, kind)
    except msgspec.ValidationError as error:
        raise ConnectionLost(
            f"the daemon answered with something else: {error}",
            help="The daemon may be of another version: stop it and start it again.",
        ) from error


def convert_job_event(plain: object) -> JobEvent:
    """Return an event of the topic `tasks`. Raises `ConnectionLost` when the daemon tells something else."""
    event: JobEvent = convert_result(plain, cast(Any, JobEvent))
    return event


def not_running(home: Home) -> NotRunning:
    """Return the error that says that no daemon answers, and how to start one."""
    return NotRunning(
        f"no daemon is running in {home.path}", help=f"Start one with `flocknode node --home {home.path}`."
    )


def _connect(connection: socket.socket, path: Path, home: Home) -> None:
    try:
        connection.connect(str(path))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        home.require()
        raise not_running(home) from error
