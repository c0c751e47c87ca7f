"""Our own client: many calls in one line."""

import pytest
import trio

from flocknode.errors import ConnectionLost
from flocknode.rpc.client import open_client
from flocknode.rpc.jsonrpc import MAX_BATCH, RpcError


async def test_many_calls_travel_as_one_batch(served):
    """The answers come in the order of the calls, beside a call that is still waiting."""
    async with open_client(served.home) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.call, "t.wait", str)
        assert await client.call_all("t.add", int, [{"left": left} for left in range(MAX_BATCH)]) == [
            left + 1 for left in range(MAX_BATCH)
        ]
        served.released.set()


async def test_the_first_refusal_of_a_batch_is_raised(served):
    """As it would be for a call of its own; the connection stays usable."""
    async with open_client(served.home) as client:
        with pytest.raises(RpcError) as caught:
            await client.call_all("t.add", int, [{"left": 1}, {"wrong": 1}, {"left": 2}])
        assert caught.value.code == -32602
        assert await client.call("t.add", int, left=1) == 2


async def test_a_batch_is_not_waited_for_when_the_daemon_is_gone(served):
    """Whoever waits for a batch learns that the connection is lost."""
    async with open_client(served.home) as client, trio.open_nursery() as nursery:
        nursery.start_soon(client.call, "t.stop", int)
        with pytest.raises(ConnectionLost):
            await client.call_all("t.wait", str, [{}, {}])
