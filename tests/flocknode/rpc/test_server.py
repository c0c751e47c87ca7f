"""The socket: framing, limits, concurrency, subscriptions, and who may open it."""

import json
import stat

import pytest
import trio

from flocknode.errors import AlreadyRunning, ConnectionLost, HomeMissing, NotReady, NotRunning
from flocknode.home import Home
from flocknode.rpc import events, jsonrpc, server
from flocknode.rpc.call import call
from flocknode.rpc.client import open_client
from flocknode.rpc.events import EventHub
from flocknode.rpc.jsonrpc import RpcError
from flocknode.rpc.records import ChainHead
from flocknode.rpc.server import RpcServer


def request(method, number=1, **params):
    """Return the line of a request."""
    return json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n"


async def test_a_raw_client_gets_an_answer(served):
    """Whatever speaks JSON-RPC over the socket works, also when it closes its end before the answer."""
    async with served.connect() as (stream, receive):
        await stream.send_all(request("t.add", left=2, right=3))
        await stream.send_eof()
        assert await receive() == {"jsonrpc": "2.0", "id": 1, "result": 5}
        assert await receive() is None


async def test_requests_of_one_connection_do_not_wait_for_each_other(served):
    """A request that waits leaves the connection free for others; answers come as they are ready."""
    async with served.connect() as (stream, receive):
        await stream.send_all(request("t.wait", 1) + request("t.add", 2, left=1))
        assert (await receive())["id"] == 2
        served.released.set()
        assert (await receive()) == {"jsonrpc": "2.0", "id": 1, "result": "released"}


async def test_a_batch_is_answered_as_one(served):
    """A batch gives one line with the answers of its requests; notifications in it have none."""
    notification = {"jsonrpc": "2.0", "method": "t.add", "params": {"left": 1}}
    batch = [{**notification, "id": 1}, notification, 3, {**notification, "id": 2, "method": "no.such"}]
    async with served.connect() as (stream, receive):
        await stream.send_all(json.dumps(batch).encode() + b"\n")
        first, second, third = await receive()
    assert first == {"jsonrpc": "2.0", "id": 1, "result": 2}
    assert second["error"]["code"] == jsonrpc.INVALID_REQUEST
    assert third["error"]["code"] == jsonrpc.METHOD_NOT_FOUND


async def test_what_is_too_much_or_no_json_is_refused(served):
    """Batches beyond the limit, empty ones and broken JSON are errors; the connection goes on."""
    async with served.connect() as (stream, receive):
        for line, code in (
            (b"[]", jsonrpc.INVALID_REQUEST),
            (json.dumps([1] * (jsonrpc.MAX_BATCH + 1)).encode(), jsonrpc.INVALID_REQUEST),
            (b"{nonsense", jsonrpc.PARSE_ERROR),
            (b"\xff\xfe", jsonrpc.PARSE_ERROR),
        ):
            await stream.send_all(line + b"\n")
            assert (await receive())["error"]["code"] == code
        await stream.send_all(b"\n\n" + request("t.add", left=1))
        assert (await receive())["result"] == 2


async def test_a_line_beyond_the_limit_ends_the_connection(served):
    """A line that is too long is answered with an error and the connection closed, whatever else was sent."""
    async with served.connect() as (stream, receive):
        await stream.send_all(b"x" * (jsonrpc.MAX_LINE_BYTES + 1) + b"\n")
        assert (await receive())["error"]["code"] == jsonrpc.INVALID_REQUEST
        assert await receive() is None


async def test_an_answer_beyond_the_limit_becomes_an_error(served):
    """A result that does not fit in a line is refused with words, under the id of its request."""
    async with served.connect() as (stream, receive):
        await stream.send_all(request("t.big", 9, size=jsonrpc.MAX_LINE_BYTES))
        message = await receive()
    assert message["id"] == 9
    assert "ask for less" in message["error"]["message"]


async def test_connections_are_limited(served, monkeypatch):
    """A connection beyond the limit is told so and closed."""
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 1)
    async with served.connect() as (first, receive_first), served.connect() as (_, receive_second):
        await first.send_all(request("t.add", left=1))
        assert (await receive_first())["result"] == 2
        assert (await receive_second())["error"]["code"] == NotReady.number
        assert await receive_second() is None


async def test_the_socket_is_its_owners_alone_and_goes_with_the_server(served):
    """The socket has mode 0600, and nothing is left of it when the server has stopped."""
    path = served.home.find_socket()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    async with open_client(served.home) as client:
        # The answer to the request to stop still arrives.
        assert await client.call("t.stop", int) == 1
        await trio.testing.wait_all_tasks_blocked()
    assert not path.exists()


async def test_a_second_server_is_refused_and_a_dead_ones_socket_replaced(served, tmp_path):
    """While a daemon answers, a second one says so; a socket file that nobody listens on is no obstacle."""
    with pytest.raises(AlreadyRunning):
        await RpcServer(served.home.find_socket(), {}, EventHub()).run()
    dead = Home(tmp_path / "dead")
    dead.create()
    listener = trio.socket.socket(trio.socket.AF_UNIX)
    await listener.bind(str(dead.choose_socket()))
    listener.close()
    async with trio.open_nursery() as nursery:
        await nursery.start(RpcServer(dead.choose_socket(), {}, EventHub()).run)
        async with open_client(dead) as client:
            assert isinstance(await client.call("rpc.discover"), dict)
        nursery.cancel_scope.cancel()


async def test_a_long_home_moves_the_socket(tmp_path, monkeypatch):
    """A home whose path is too long for a socket still has one, which clients find by `rpc.path`."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    home = Home(tmp_path / ("x" * 60) / ("y" * 60))
    home.create()
    path = home.choose_socket()
    assert home.socket_reference.exists()
    async with trio.open_nursery() as nursery:
        await nursery.start(RpcServer(path, {}, EventHub()).run)
        async with open_client(home) as client:
            await client.call("rpc.discover")
        nursery.cancel_scope.cancel()


async def test_events_arrive_in_order_and_numbered(served):
    """A subscription delivers the events of its topics, numbered from 0 without gaps, until it is ended."""
    async with served.connect() as (stream, receive):
        served.publish_block(1)  # before anybody listens
        await stream.send_all(request("events.subscribe", 5, topics=["blocks", "tasks"]))
        subscription = (await receive())["result"]["subscription"]
        for height in (2, 3):
            served.publish_block(height)
        received = [await receive() for _ in range(2)]
        assert [one["method"] for one in received] == ["events.event"] * 2
        assert [one["params"]["seq"] for one in received] == [0, 1]
        assert [one["params"]["event"]["height"] for one in received] == [2, 3]
        await stream.send_all(request("events.unsubscribe", 6, subscription=subscription))
        assert (await receive())["result"] == {"was_subscribed": True}
        served.publish_block(4)
        await stream.send_all(request("events.unsubscribe", 7, subscription=subscription))
        assert (await receive())["result"] == {"was_subscribed": False}


async def test_events_from_another_thread_arrive(served):
    """What a worker thread publishes reaches the subscriber."""
    async with open_client(served.home) as client:
        channel = await client.subscribe(["blocks"])
        await trio.to_thread.run_sync(served.publish_block, 8)
        assert (await channel.receive()).event["height"] == 8


async def test_a_reader_that_lags_is_told_and_cut_off(served, monkeypatch):
    """More waiting events than the bound end the subscription with a last notification that says so."""
    monkeypatch.setattr(events, "MAX_WAITING_EVENTS", 3)
    async with open_client(served.home) as client:
        channel = await client.subscribe(["blocks"])
        for height in range(1, 20):  # without letting the connection's task run
            served.publish_block(height)
        received = []
        while not received or received[-1].topic != "lagged":
            received.append(await channel.receive())
    assert [one.seq for one in received] == list(range(len(received)))
    assert [one.event["height"] for one in received[:-1]] == list(range(1, len(received)))
    assert len(received) < 19


async def test_closing_the_connection_ends_its_subscriptions(served):
    """Nothing of a subscriber is kept once it has gone."""
    async with open_client(served.home) as client:
        await client.subscribe(["logs"])
        assert len(served.hub._subscribers) == 1
    await trio.testing.wait_all_tasks_blocked()
    assert served.hub._subscribers == []


async def test_the_client_raises_what_the_daemon_refused(served):
    """An error response becomes an exception with number, kind, help and data; plain, in no group."""
    with pytest.raises(RpcError) as caught:
        async with open_client(served.home) as client:
            await client.call("t.refuse", int)
    assert (caught.value.code, caught.value.kind, caught.value.data) == (31, "WrongNonce", {"have": 1, "need": 2})
    assert "flocknode account show" in caught.value.help


async def test_calls_that_wait_fail_when_the_daemon_goes(served):
    """A daemon that goes away fails the calls that wait, ends the subscriptions, and refuses further calls."""
    async with open_client(served.home) as client:
        channel = await client.subscribe(["blocks"])
        async with trio.open_nursery() as nursery:

            async def wait():
                with pytest.raises(ConnectionLost):
                    await client.call("t.wait", str)

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            served.stopped.set()
        with pytest.raises(trio.EndOfChannel):
            await channel.receive()
        with pytest.raises(ConnectionLost):
            await client.call("t.add", int, left=1)


async def test_the_blocking_call(served, tmp_path):
    """The command line's call returns records and raises what went wrong: refused, other shape, no daemon, no home."""

    def check():
        assert call(served.home, "t.add", int, left=4) == 5
        with pytest.raises(RpcError, match="wrong nonce"):
            call(served.home, "t.refuse", int)
        with pytest.raises(ConnectionLost, match="something else"):
            call(served.home, "t.add", ChainHead, left=4)

    await trio.to_thread.run_sync(check)
    idle = Home(tmp_path / "idle")
    with pytest.raises(HomeMissing):
        call(idle, "t.add", int)
    idle.create()
    idle.config_file.write_text("")
    with pytest.raises(NotRunning, match="no daemon is running"):
        call(idle, "t.add", int)
