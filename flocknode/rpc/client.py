"""The other end of the socket for everything longer than one call: concurrent calls and subscriptions, under trio."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import TypeVar, overload

import trio
from msgspec import UNSET

from flocknode.errors import ConnectionLost
from flocknode.home import Home
from flocknode.rpc import jsonrpc
from flocknode.rpc.call import convert_result, not_running
from flocknode.rpc.jsonrpc import Incoming
from flocknode.rpc.lines import LineReader
from flocknode.rpc.records import Notification, Subscription, Topic

R = TypeVar("R")
Events = trio.MemoryReceiveChannel[Notification]

# Notifications that may wait for the reader of a client; when they are more, the daemon is made to wait.
MAX_WAITING_NOTIFICATIONS = 1000


class RpcClient:
    """An open connection: any number of calls at a time, and subscriptions. Made by `open_client`."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._write_lock = trio.Lock()
        self._answers: dict[int, trio.MemorySendChannel[Incoming]] = {}
        # By the number of the request to subscribe, until its answer is here; afterwards by subscription.
        self._subscribing: dict[int, trio.MemorySendChannel[Notification]] = {}
        self._subscriptions: dict[int, trio.MemorySendChannel[Notification]] = {}
        self._last_number = 0
        self._is_closed = False

    @overload
    async def call(self, method: str, result: None = None, /, **params: object) -> object: ...

    @overload
    async def call(self, method: str, result: type[R], /, **params: object) -> R: ...

    async def call(self, method: str, result: type[R] | None = None, /, **params: object) -> R | object:
        """Return what the daemon answers, as a record if its type is given. Raises `RpcError` or `ConnectionLost`."""
        self._last_number += 1
        plain = await self._request(self._last_number, method, params)
        return plain if result is None else convert_result(plain, result)

    async def call_all(self, method: str, result: type[R], calls: Sequence[Mapping[str, object]]) -> list[R]:
        """Return the answers to many calls of one method, at most `jsonrpc.MAX_BATCH`, which travel as one batch.

        `calls` are their parameters. Raises the first error among the answers as `RpcError`, or `ConnectionLost`.
        """
        numbered = dict(enumerate(calls, self._last_number + 1))
        self._last_number += len(calls)
        answers = await self._exchange(jsonrpc.encode_batch(method, numbered), method, list(numbered))
        return [convert_result(plain, result) for plain in answers]

    async def subscribe(
        self, topics: Sequence[Topic], *, from_height: int | None = None, from_line: int | None = None
    ) -> Events:
        """Return a channel of the events of some topics, from now on or since a height or a line of the log.

        It ends when the connection does. Raises `RpcError`, of kind `HistoryGone` when the past is not there any more.
        """
        self._last_number += 1
        number = self._last_number
        sender, receiver = trio.open_memory_channel[Notification](MAX_WAITING_NOTIFICATIONS)
        self._subscribing[number] = sender
        try:
            params: dict[str, object] = {"topics": list(topics), "from_height": from_height, "from_line": from_line}
            await self._request(number, "events.subscribe", params)
        finally:
            self._subscribing.pop(number, None)
        return receiver

    async def read(self) -> None:
        """Read until the daemon closes the connection, and hand each message to who waits for it."""
        reader = LineReader(self._stream)
        try:
            # A broken connection ends like a closed one: everybody who waits is told below.
            with suppress(trio.BrokenResourceError):
                while (line := await reader.next()) is not None:
                    for message in jsonrpc.decode_all_incoming(line):
                        await self._take(message)
        finally:
            self._is_closed = True
            for answer in self._answers.values():
                answer.close()
            for subscription in self._subscriptions.values():
                subscription.close()

    async def _request(self, number: int, method: str, params: dict[str, object]) -> object:
        return (await self._exchange(jsonrpc.encode_request(method, params, number), method, [number]))[0]

    async def _exchange(self, line: bytes, method: str, numbers: Sequence[int]) -> list[object]:
        """Send a line and return the results of the requests in it."""
        if self._is_closed:
            raise ConnectionLost("the daemon has closed the connection")
        receivers = []
        for number in numbers:
            self._answers[number], receiver = trio.open_memory_channel[Incoming](1)
            receivers.append(receiver)
        try:
            async with self._write_lock:
                await self._stream.send_all(line)
            return [jsonrpc.take_result(await receiver.receive()) for receiver in receivers]
        except (trio.EndOfChannel, trio.BrokenResourceError) as error:
            raise ConnectionLost(f"the daemon closed the connection before it answered {method}") from error
        finally:
            for number in numbers:
                self._answers.pop(number, None)

    async def _take(self, message: Incoming) -> None:
        if message.method == jsonrpc.NOTIFICATION:
            await self._deliver(convert_result(message.params, Notification))
        elif message.id is None and message.error is not UNSET:
            raise jsonrpc.RpcError(message.error)
        elif isinstance(message.id, int) and message.id in self._answers:
            if message.id in self._subscribing and message.error is UNSET:
                # Before the next line is read, which may be the first notification.
                found = convert_result(message.result, Subscription)
                self._subscriptions[found.subscription] = self._subscribing[message.id]
            self._answers[message.id].send_nowait(message)

    async def _deliver(self, notification: Notification) -> None:
        channel = self._subscriptions.get(notification.subscription)
        if channel is None:
            return
        try:
            # Waiting here fills the socket, and the daemon then cuts this reader off: its bound is ours too.
            await channel.send(notification)
        except trio.BrokenResourceError:
            del self._subscriptions[notification.subscription]


@asynccontextmanager
async def open_client(home: Home) -> AsyncIterator[RpcClient]:
    """Connect to the daemon of a home. Raises `NotRunning`."""
    try:
        stream = await trio.open_unix_socket(str(home.find_socket()))
    except (FileNotFoundError, ConnectionRefusedError) as error:
        home.require()
        raise not_running(home) from error
    client = RpcClient(stream)
    try:
        async with stream, trio.open_nursery() as nursery:
            nursery.start_soon(client.read)
            yield client
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        # The nursery is a detail of the client: whoever uses it catches plain errors.
        if len(group.exceptions) > 1:
            raise
        raise group.exceptions[0] from None
