"""The daemon's end of the socket: connections, lines, limits and subscriptions."""

import os
import socket as stdlib_socket
from collections.abc import Mapping
from contextlib import aclosing
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog
import trio

from flocknode.errors import AlreadyRunning, HistoryGone, NotReady
from flocknode.rpc import events, jsonrpc
from flocknode.rpc.dispatch import Handler, Method, answer, make_method
from flocknode.rpc.events import EventHub, Subscriber
from flocknode.rpc.jsonrpc import MAX_BATCH, MAX_LINE_BYTES
from flocknode.rpc.lines import LineReader, LineTooLong
from flocknode.rpc.openrpc import make_document
from flocknode.rpc.records import Notification, Topic
from storage.errors import StorageError

if TYPE_CHECKING:
    # The stubs that libp2p brings stand before trio's own types.
    from trio_typing import TaskStatus

log = structlog.get_logger()

MAX_CONNECTIONS = 64
MAX_IN_FLIGHT = 64
MAX_SUBSCRIPTIONS_PER_CONNECTION = 16
# How long a client may take to read one line; also how long an answer may still leave while the daemon stops.
WRITE_TIMEOUT_SECONDS = 1.0
# How long it may take to read one line of the past, which does not wait for it in memory.
PAST_TIMEOUT_SECONDS = 30.0
PROBE_TIMEOUT_SECONDS = 1.0


class RpcServer:
    """Serves the methods on a Unix socket that only its owner can open."""

    def __init__(self, path: Path, handlers: Mapping[str, Handler], hub: EventHub) -> None:
        self.path = path
        self.hub = hub
        self.connections = 0
        built_in: dict[str, Handler] = {
            "events.subscribe": events.subscribe,
            "events.unsubscribe": events.unsubscribe,
            "rpc.discover": self._discover,
        }
        assert not built_in.keys() & handlers.keys(), "a method of the server itself was given"
        self.methods: dict[str, Method] = {
            name: make_method(name, handler) for name, handler in sorted({**handlers, **built_in}.items())
        }

    async def run(self, *, task_status: "TaskStatus[None]" = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; reports started once clients can connect. Raises `AlreadyRunning`."""
        _remove_stale(self.path)
        listener = _open_listener(self.path)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.serve_listeners, self._serve, [listener])
                task_status.started()
        finally:
            self.path.unlink(missing_ok=True)

    async def _serve(self, stream: trio.SocketStream) -> None:
        self.connections += 1
        try:
            connection = Connection(stream, self.methods, self.hub)
            if self.connections > MAX_CONNECTIONS:
                await connection.refuse(NotReady.number, f"{MAX_CONNECTIONS} connections are open already")
            else:
                await connection.serve()
        finally:
            self.connections -= 1
            await trio.aclose_forcefully(stream)

    async def _discover(self) -> dict[str, Any]:
        """Return the methods of this socket as an OpenRPC document."""
        return self._document

    @cached_property
    def _document(self) -> dict[str, Any]:
        # It takes longer to make than any other answer, and a client may ask for it many times in a row.
        return make_document(self.methods)


class Connection:
    """One client: reads its lines, answers each in a task of its own, and sends what it subscribed to."""

    def __init__(self, stream: trio.SocketStream, methods: Mapping[str, Method], hub: EventHub) -> None:
        self._stream = stream
        self._methods = methods
        self._hub = hub
        self._write_lock = trio.Lock()
        self._slots = trio.Semaphore(MAX_IN_FLIGHT)
        self._scope = trio.CancelScope()
        self._subscribers: dict[int, Subscriber] = {}
        # Subscriptions whose first notification must not overtake the answer that announces them.
        self._unstarted: list[int] = []
        self._notifiers: trio.Nursery | None = None

    async def serve(self) -> None:
        """Serve until the client closes its end and every request is answered, or the client stops reading."""
        with self._scope:
            async with trio.open_nursery() as self._notifiers:
                async with trio.open_nursery() as requests:
                    await self._read(requests)
                self._notifiers.cancel_scope.cancel()
        for number in list(self._subscribers):
            self.unsubscribe(number)

    async def refuse(self, code: int, message: str) -> None:
        """Send one error that answers no request."""
        await self._send(jsonrpc.encode_line(jsonrpc.failure(None, code, message)))

    def subscribe(
        self, number: int, topics: tuple[Topic, ...], *, from_height: int | None, from_line: int | None
    ) -> int:
        """Begin a subscription; its notifications start once the answer to the current request has left."""
        if len(self._subscribers) >= MAX_SUBSCRIPTIONS_PER_CONNECTION:
            raise NotReady(f"this connection has {MAX_SUBSCRIPTIONS_PER_CONNECTION} subscriptions already")
        self._subscribers[number] = self._hub.subscribe(topics, from_height=from_height, from_line=from_line)
        self._unstarted.append(number)
        return number

    def unsubscribe(self, number: int) -> bool:
        """End a subscription and return whether there was one."""
        subscriber = self._subscribers.pop(number, None)
        if subscriber is None:
            return False
        self._hub.unsubscribe(subscriber)
        return True

    async def _read(self, requests: trio.Nursery) -> None:
        reader = LineReader(self._stream)
        try:
            while (line := await reader.next()) is not None:
                await self._slots.acquire()
                requests.start_soon(self._answer_line, line)
        except LineTooLong:
            await self.refuse(jsonrpc.INVALID_REQUEST, f"a line is longer than {MAX_LINE_BYTES} bytes")
        except trio.BrokenResourceError:
            self._scope.cancel()

    async def _answer_line(self, line: bytes) -> None:
        try:
            response = await self._get_response(line)
            if response is not None:
                await self._send(_encode_response(response))
            self._start_notifiers()
        finally:
            self._slots.release()

    async def _get_response(self, line: bytes) -> object:
        try:
            message = msgspec.json.decode(line)
        except msgspec.DecodeError as error:
            return jsonrpc.failure(None, jsonrpc.PARSE_ERROR, f"not JSON: {error}")
        if not isinstance(message, list):
            return await answer(message, self._methods, self)
        if not 0 < len(message) <= MAX_BATCH:
            text = f"a batch holds 1 to {MAX_BATCH} requests, not {len(message)}"
            return jsonrpc.failure(None, jsonrpc.INVALID_REQUEST, text)
        return await self._answer_batch(message)

    async def _answer_batch(self, messages: list[object]) -> list[object] | None:
        responses: list[object] = [None] * len(messages)

        async def fill(index: int) -> None:
            responses[index] = await answer(messages[index], self._methods, self)

        async with trio.open_nursery() as nursery:
            for index in range(len(messages)):
                nursery.start_soon(fill, index)
        return [response for response in responses if response is not None] or None

    def _start_notifiers(self) -> None:
        assert self._notifiers is not None, "a connection answers only while it is served"
        while self._unstarted:
            self._notifiers.start_soon(self._notify, self._unstarted.pop(0))

    async def _notify(self, number: int) -> None:
        subscriber = self._subscribers.get(number)
        if subscriber is None:
            return
        sequence = 0
        try:
            async with aclosing(subscriber.events()) as events_of_topics:
                async for topic, event in events_of_topics:
                    line = _encode_notification(number, sequence, topic, event)
                    await (self._send_past(line) if subscriber.is_replaying else self._send(line))
                    sequence += 1
        except HistoryGone:
            pass  # it lagged, and is told so
        except StorageError as error:
            log.error("the past of a subscription cannot be read", reason=str(error))
            self._scope.cancel()
            return
        if self._subscribers.pop(number, None) is not None:
            await self._send(_encode_notification(number, sequence, "lagged", {}))

    async def _send_past(self, data: bytes) -> None:
        """Write one line of the past, which a reader may take its time for; a stop of the daemon does not wait."""
        with trio.move_on_after(PAST_TIMEOUT_SECONDS) as patience:
            await self._write(data)
        if patience.cancelled_caught:
            self._scope.cancel()

    async def _send(self, data: bytes) -> None:
        """Write one line. Shielded, so that the answer to a request to stop still leaves; bounded by a timeout."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + WRITE_TIMEOUT_SECONDS) as shield:
            await self._write(data)
        if shield.cancelled_caught:
            # A part of the line may have left, so nothing sent after it could be understood.
            self._scope.cancel()

    async def _write(self, data: bytes) -> None:
        try:
            async with self._write_lock:
                await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._scope.cancel()


def _encode_response(response: object) -> bytes:
    line = jsonrpc.encode_line(response)
    if len(line) <= MAX_LINE_BYTES:
        return line
    text = f"the answer takes {len(line)} bytes, at most {MAX_LINE_BYTES} are allowed; ask for less"
    number = response.id if isinstance(response, jsonrpc.Response) else None
    return jsonrpc.encode_line(jsonrpc.failure(number, NotReady.number, text))


def _encode_notification(number: int, sequence: int, topic: str, event: object) -> bytes:
    params = Notification(subscription=number, seq=sequence, topic=topic, event=msgspec.to_builtins(event))  # type: ignore[arg-type]
    return jsonrpc.encode_line({"jsonrpc": "2.0", "method": jsonrpc.NOTIFICATION, "params": params})


def _remove_stale(path: Path) -> None:
    """Remove the socket that a killed daemon left behind; raise `AlreadyRunning` if one still answers."""
    probe = stdlib_socket.socket(stdlib_socket.AF_UNIX, stdlib_socket.SOCK_STREAM)
    with probe:
        probe.settimeout(PROBE_TIMEOUT_SECONDS)
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            path.unlink()
            return
        except TimeoutError:
            pass  # its queue is full: it is alive
    raise AlreadyRunning(f"a daemon already listens on {path}", help="Stop it with `flocknode stop`.")


def _open_listener(path: Path) -> trio.SocketListener:
    listener = stdlib_socket.socket(stdlib_socket.AF_UNIX, stdlib_socket.SOCK_STREAM)
    old_mask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(old_mask)
    listener.listen(MAX_CONNECTIONS)
    return trio.SocketListener(trio.socket.from_stdlib_socket(listener))
